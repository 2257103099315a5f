//! Dropout whose mask is a function of a seed and a position, so that nothing is stored, drawn in order, or shared by threads.
//!
//! Burn's own dropout draws its mask from one global generator: slow (a large part of a training step), dependent on what else
//! drew before, and impossible to resume. Here the mask of element `(row, column)` is a hash of the seed and the two indices.
//!
//! ```
//! use burn::{backend::Flex, tensor::Tensor};
//! use aaren_kernels::{Dropout, dropout_add};
//!
//! let x = Tensor::<Flex, 2>::ones([3, 5], &Default::default());
//! let dropout = Dropout { probability: 0.5, seed: 7 };
//! let y = dropout_add(x.clone(), x.clone(), dropout);
//! // The branch is dropped, or doubled so that the expectation stays.
//! assert!(y.to_data().to_vec::<f32>().unwrap().iter().all(|&y| y == 1.0 || y == 3.0));
//! assert_eq!(dropout_add(x.clone(), x, dropout).into_data(), y.into_data());
//! ```

mod autodiff;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(all(test, any(feature = "cuda", feature = "vulkan")))]
mod cube_tests;
mod mask;
mod ops;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

#[cfg(feature = "cube")]
pub(crate) use cube::is_dropped;
pub use mask::Dropout;
pub(crate) use mask::column_hash;
pub use ops::{DropoutOps, dropout_add};
