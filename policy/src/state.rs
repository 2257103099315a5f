//! What a mixer carries from one call to the next, as a value: cloned to fork a sequence, stored as a [`StateRecord`], moved between
//! devices. [`tensor_state!`](crate::state::tensor_state) makes a state of plain tensors.
//!
//! ```
//! use burn::{backend::Flex, tensor::Tensor};
//! use aaren_policy::state::{MixerState, tensor_state};
//!
//! tensor_state! {
//!     /// Sums so far.
//!     SumState {
//!         /// `[batch, width]`
//!         sum: 2,
//!     }
//! }
//!
//! let state = SumState::<Flex> { sum: Tensor::ones([3, 4], &Default::default()) };
//! assert_eq!(state.bytes(), 4 * 3 * 4);
//! let again = SumState::<Flex>::from_record(state.to_record(), &Default::default())?;
//! assert_eq!(again.sum.to_data(), state.sum.to_data());
//! # Ok::<(), aaren_policy::PolicyError>(())
//! ```

#[doc(hidden)]
pub use crate::error::PolicyError;
#[doc(hidden)]
pub use aaren_kernels::KernelBackend;
use burn::tensor::TensorData;
#[doc(hidden)]
pub use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Debug};

/// What every mixer's state can do.
pub trait MixerState<B: KernelBackend>: Clone + Debug + Send + Sync + Sized + 'static {
    /// Bytes that the state holds on its device.
    fn bytes(&self) -> usize;

    /// The state as named tensors on the host.
    fn to_record(&self) -> StateRecord;

    /// The state that [`MixerState::to_record`] stored.
    ///
    /// # Errors
    /// [`PolicyError::State`] if tensors are missing or of another shape.
    fn from_record(record: StateRecord, device: &B::Device) -> Result<Self, PolicyError>;

    /// Cut from the graph that made it: gradients stop here.
    fn detach(self) -> Self;

    /// On another device.
    fn to_device(self, device: &B::Device) -> Self;
}

/// Named tensors of one mixer's state on the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StateRecord(BTreeMap<String, TensorData>);

impl StateRecord {
    /// From names and tensors.
    pub fn new<const N: usize>(tensors: [(&str, TensorData); N]) -> Self {
        Self(tensors.into_iter().map(|(name, data)| (name.to_owned(), data)).collect())
    }

    /// Adds a tensor.
    pub fn insert(&mut self, name: &str, data: TensorData) {
        self.0.insert(name.to_owned(), data);
    }

    /// Whether a tensor of that name is there.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether this may be a state of the mixer that gives `initial` before the first token, `one` after it and `two` after the next:
    /// the tensors of either, of the same types and shapes but for the axes that grow, and as many bytes as the shapes say.
    pub(crate) fn check(&self, [initial, one, two]: [&Self; 3]) -> Result<(), PolicyError> {
        let wrong = |problem: String| Err(PolicyError::State(problem));
        let names = |record: &Self| record.0.keys().cloned().collect::<Vec<_>>();
        if names(self) != names(initial) && names(self) != names(one) {
            return wrong(format!("holds {}, expected {}", names(self).join(", "), names(one).join(", ")));
        }
        for (name, data) in &self.0 {
            let (Some(like), Some(next)) = (one.0.get(name).or_else(|| initial.0.get(name)), two.0.get(name)) else {
                return wrong(format!("\"{name}\" has no place in the state"));
            };
            let (dtype, expected) = (data.dtype, like.dtype);
            if dtype != expected {
                return wrong(format!("\"{name}\" is stored as {dtype:?}, expected {expected:?}"));
            }
            let axes = data.shape.iter().zip(like.shape.iter()).zip(next.shape.iter());
            let fits = axes.fold(true, |fits, ((found, like), next)| fits && (found == like || like != next));
            let bytes = data.shape.iter().try_fold(dtype.size(), |product, &axis| product.checked_mul(axis));
            if data.shape.len() != like.shape.len() || !fits || bytes != Some(data.bytes.len()) {
                let (shape, expected, bytes) = (&data.shape, &like.shape, data.bytes.len());
                return wrong(format!("\"{name}\" has shape {shape:?} in {bytes} bytes, expected {expected:?}"));
            }
        }
        Ok(())
    }

    /// Takes a tensor out.
    ///
    /// # Errors
    /// [`PolicyError::State`] if it is missing or has another number of axes.
    pub fn take<B: Backend, const D: usize>(&mut self, name: &str, device: &B::Device) -> Result<Tensor<B, D>, PolicyError> {
        let data = self.remove(name)?;
        if data.shape.len() != D {
            return Err(PolicyError::State(format!("\"{name}\" has shape {:?}, expected {D} axes", data.shape)));
        }
        Ok(Tensor::from_data(data, device))
    }

    /// Takes a list of indices out.
    ///
    /// # Errors
    /// [`PolicyError::State`] if it is missing or holds something else.
    pub fn take_indices(&mut self, name: &str) -> Result<Vec<usize>, PolicyError> {
        let bad = |problem: String| PolicyError::State(format!("\"{name}\" {problem}"));
        let indices = self.remove(name)?.convert::<i64>().to_vec::<i64>().map_err(|error| bad(format!("{error:?}")))?;
        indices.into_iter().map(|i| usize::try_from(i).map_err(|_| bad(format!("holds the index {i}")))).collect()
    }

    /// Takes a list of numbers out.
    ///
    /// # Errors
    /// [`PolicyError::State`] if it is missing or holds something else.
    pub fn take_numbers(&mut self, name: &str) -> Result<Vec<f32>, PolicyError> {
        let numbers = self.remove(name)?.convert::<f32>().to_vec::<f32>();
        numbers.map_err(|error| PolicyError::State(format!("\"{name}\" {error:?}")))
    }

    fn remove(&mut self, name: &str) -> Result<TensorData, PolicyError> {
        self.0.remove(name).ok_or_else(|| PolicyError::State(format!("\"{name}\" is missing")))
    }
}

/// A list of indices, for [`StateRecord::take_indices`] to read.
pub(crate) fn indices(list: &[usize]) -> TensorData {
    TensorData::from(&list.iter().map(|&index| index as i64).collect::<Vec<i64>>()[..])
}

/// Makes a state of plain tensors: the struct, with the number of axes of every tensor, and its [`MixerState`](crate::state::MixerState).
#[macro_export]
macro_rules! tensor_state {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $axes:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $name<B: $crate::state::Backend> {
            $($(#[$field_meta])* $field: $crate::state::Tensor<B, $axes>,)*
        }

        impl<B: $crate::state::KernelBackend> $crate::state::MixerState<B> for $name<B> {
            fn bytes(&self) -> usize {
                0 $(+ 4 * self.$field.dims().iter().product::<usize>())*
            }

            fn to_record(&self) -> $crate::state::StateRecord {
                $crate::state::StateRecord::new([$((stringify!($field), self.$field.to_data())),*])
            }

            fn from_record(mut record: $crate::state::StateRecord, device: &B::Device) -> Result<Self, $crate::state::PolicyError> {
                Ok(Self { $($field: record.take(stringify!($field), device)?,)* })
            }

            fn detach(self) -> Self {
                Self { $($field: self.$field.detach(),)* }
            }

            fn to_device(self, device: &B::Device) -> Self {
                Self { $($field: self.$field.to_device(device),)* }
            }
        }
    };
}
#[doc(inline)]
pub use tensor_state;
