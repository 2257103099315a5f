//! What carries bytes between processes.

use std::time::Duration;

use anyhow::Result;
use thiserror::Error;

/// Carries bytes between the ranks of a job. Every call is made by all ranks, in the same order, with equally many bytes, and from one
/// thread; it returns when all have made it.
///
/// It does no arithmetic: [`super::Ranks`] adds what it carries.
pub trait Exchange {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;

    /// How many processes there are.
    fn size(&self) -> usize;

    /// Sends the n-th of [`Exchange::size`] equally long parts of `bytes` to rank n; gives what each rank sent to this one, in order of
    /// rank.
    ///
    /// # Errors
    /// [`WaitedTooLong`], or what the carrier says.
    fn all_to_all(&self, bytes: &[u8]) -> Result<Vec<u8>>;

    /// Sends `bytes` to all; gives what each rank sent, in order of rank.
    ///
    /// # Errors
    /// As [`Exchange::all_to_all`].
    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<u8>>;

    /// Sends the bytes of rank 0 to all, which have room for as many.
    ///
    /// # Errors
    /// As [`Exchange::all_to_all`].
    fn broadcast(&self, bytes: &mut [u8]) -> Result<()>;
}

/// A process that the others waited for did not come.
#[derive(Clone, Copy, Debug, Error)]
#[error(
    "waited {} s for another process, which has stopped or is slow; see what it does, and go on with --resume (--collective-timeout says \
     how long to wait)",
    .0.as_secs_f64()
)]
pub struct WaitedTooLong(pub Duration);

/// A process without others.
pub(super) struct Alone;

impl Exchange for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_to_all(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        Ok(bytes.to_vec())
    }

    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        Ok(bytes.to_vec())
    }

    fn broadcast(&self, _: &mut [u8]) -> Result<()> {
        Ok(())
    }
}
