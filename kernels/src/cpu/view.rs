//! Typed views of the backend's tensors.

use super::real::Real;
use burn::tensor::{DType, Element, Shape, TensorMetadata};
use burn_flex::{FlexTensor, Layout};
use bytemuck::Pod;

/// Read access to a tensor of `N` axes whose last axis is contiguous.
#[derive(Clone, Copy)]
pub(crate) struct View<'a, T, const N: usize> {
    data: &'a [T],
    pub shape: [usize; N],
    pub strides: [usize; N],
}

impl<'a, T: Copy, const N: usize> View<'a, T, N> {
    /// The row at the given leading indices.
    #[inline(always)]
    pub fn row(&self, index: [usize; N], length: usize) -> &'a [T] {
        let start = self.offset(index);
        &self.data[start..start + length]
    }

    /// One element.
    #[inline(always)]
    pub fn at(&self, index: [usize; N]) -> T {
        self.data[self.offset(index)]
    }

    /// What lies in memory from the element at `index` on, for matrix products that walk the strides themselves.
    pub fn from(&self, index: [usize; N]) -> &'a [T] {
        &self.data[self.offset(index)..]
    }

    #[inline(always)]
    fn offset(&self, index: [usize; N]) -> usize {
        index.iter().zip(&self.strides).map(|(index, stride)| index * stride).sum()
    }
}

/// Makes a tensor viewable: positive strides and a contiguous last axis. Copies only where that does not hold.
pub(crate) fn viewable(tensor: FlexTensor) -> FlexTensor {
    let strides = tensor.layout().strides();
    let last_contiguous = strides.last().is_none_or(|&stride| stride == 1) || tensor.shape().num_elements() == 0;
    if last_contiguous && strides.iter().all(|&stride| stride >= 0) { tensor } else { tensor.to_contiguous() }
}

/// A tensor to be written to: contiguous, and its memory is its own from the first element on. A contiguous tensor is passed on without
/// taking another handle (as `to_contiguous` does), for what is shared is copied when written.
pub(crate) fn whole(tensor: FlexTensor) -> FlexTensor {
    let is_whole = tensor.is_contiguous() && tensor.layout().start_offset() == 0;
    if is_whole { tensor } else { tensor.to_contiguous() }
}

/// A view of a tensor made [`viewable`].
pub(crate) fn view<T: Pod + Element, const N: usize>(tensor: &FlexTensor) -> View<'_, T, N> {
    let layout = tensor.layout();
    let storage: &[T] = tensor.storage();
    let mut view = View { data: &storage[layout.start_offset().min(storage.len())..], shape: [0; N], strides: [0; N] };
    for axis in 0..N {
        view.shape[axis] = layout.shape()[axis];
        view.strides[axis] = layout.strides()[axis] as usize;
    }
    view
}

/// The elements of a bool tensor in row-major order, as 0 and 1.
pub(crate) fn flags(tensor: &FlexTensor) -> Vec<bool> {
    let tensor = tensor.to_contiguous();
    let start = tensor.layout().start_offset();
    tensor.bytes()[start..start + tensor.shape().num_elements()].iter().map(|&byte| byte != 0).collect()
}

/// The elements of an integer tensor in row-major order.
pub(crate) fn indices(tensor: &FlexTensor) -> Vec<i64> {
    let tensor = tensor.to_contiguous();
    match tensor.dtype() {
        DType::I64 => tensor.as_slice::<i64>().expect("contiguous i64").to_vec(),
        _ => tensor.as_slice::<i32>().expect("contiguous i32").iter().map(|&i| i64::from(i)).collect(),
    }
}

/// A contiguous tensor from its elements.
pub(crate) fn tensor<T: Real, const N: usize>(data: Vec<T>, shape: [usize; N]) -> FlexTensor {
    FlexTensor::new(burn::tensor::Bytes::from_elems(data), Layout::contiguous(Shape::from(shape.to_vec())), T::dtype())
}
