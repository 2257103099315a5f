//! Which tokens' outputs the caller of a backbone reads.

use burn::tensor::{Tensor, backend::Backend};

/// Which tokens' outputs the caller reads. After the last mixer nothing is computed for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All of them.
    All,
    /// The last of every group of this many.
    LastOf(usize),
}

impl Keep {
    /// The kept rows of `[rows, width]`.
    pub(crate) fn of<B: Backend>(self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        match self {
            Keep::All | Keep::LastOf(1) => x,
            Keep::LastOf(group) => {
                let [rows, width] = x.dims();
                x.reshape([rows / group, group * width]).slice([0..rows / group, (group - 1) * width..group * width])
            }
        }
    }
}
