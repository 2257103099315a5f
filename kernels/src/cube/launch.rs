//! Arrays, grids and memory for launching kernels.

use burn::tensor::{DType, Shape, TensorMetadata};
use burn_cubecl::{CubeRuntime, cubecl, kernel, ops::numeric::empty_device_contiguous_dtype, tensor::CubeTensor};
use cubecl::{client::ComputeClient, ir::AddressType, prelude::*};

/// A cube for every row and slice. Rows fill `x`, then `y`; slices are `z`. A kernel checks its row: the last `y` may be ragged.
pub(crate) fn row_cubes<R: CubeRuntime>(client: &ComputeClient<R>, rows: usize, slices: usize) -> CubeCount {
    let most = client.properties().hardware.max_cube_count.0.min(65_535) as usize;
    let y = rows.div_ceil(most);
    CubeCount::Static(rows.div_ceil(y) as u32, y as u32, slices as u32)
}

/// The integers that offsets into the largest of the tensors need.
pub(crate) fn address_type<R: CubeRuntime>(tensors: &[&CubeTensor<R>]) -> AddressType {
    tensors.iter().map(|tensor| tensor.required_address_type()).max().unwrap_or_default()
}

/// The tensor's memory, whatever its shape and strides: the kernels compute offsets themselves.
pub(crate) fn array<R: CubeRuntime>(tensor: &CubeTensor<R>) -> ArrayArg<R> {
    let length = tensor.handle.size() as usize / tensor.elem_size().max(1);
    // SAFETY: the length is that of the allocation, which the handle keeps alive.
    unsafe { ArrayArg::from_raw_parts(tensor.handle.clone(), length) }
}

/// Uninitialized memory on the tensor's device, without padding.
pub(crate) fn empty<R: CubeRuntime, const D: usize>(near: &CubeTensor<R>, shape: [usize; D], dtype: DType) -> CubeTensor<R> {
    empty_device_contiguous_dtype(near.client.clone(), near.device.clone(), Shape::from(shape), dtype)
}

/// Uninitialized memory for a `[batch, heads, time, head_dim]` tensor whose heads and times lie in the order of `like`'s: what was
/// cut from `[batch, time, width]` can then be put together again without a copy.
pub(crate) fn empty_like<R: CubeRuntime>(like: &CubeTensor<R>) -> CubeTensor<R> {
    let [batch, heads, time, head_dim] = like.shape().dims();
    if like.meta.strides()[1] < like.meta.strides()[2] {
        let mut memory = empty(like, [batch, time, heads, head_dim], like.dtype);
        memory.meta.swap(1, 2);
        memory
    } else {
        empty(like, [batch, heads, time, head_dim], like.dtype)
    }
}

pub(crate) fn contiguous<R: CubeRuntime>(tensor: CubeTensor<R>) -> CubeTensor<R> {
    kernel::into_contiguous(tensor)
}

/// The tensor, copied only if neighbours on its last axis are not neighbours in memory.
pub(crate) fn innermost<R: CubeRuntime>(tensor: CubeTensor<R>) -> CubeTensor<R> {
    let last = tensor.rank() - 1;
    if tensor.meta.strides()[last] == 1 { tensor } else { contiguous(tensor) }
}

pub(crate) fn cast_to<R: CubeRuntime>(tensor: CubeTensor<R>, dtype: DType) -> CubeTensor<R> {
    if tensor.dtype == dtype { tensor } else { kernel::cast(tensor, dtype) }
}

/// The type that flags are stored as.
pub(crate) fn flag_type<R: CubeRuntime>(flags: &CubeTensor<R>) -> StorageType {
    flags.dtype.into()
}

/// The most elements that may be read at a time from all of the tensors, along their last axis.
pub(crate) fn vector_size<R: CubeRuntime>(tensors: &[&CubeTensor<R>]) -> usize {
    let most = tensors.first().map_or(1, |tensor| tensor.client.properties().hardware.max_vector_size);
    let fits = |size: usize| {
        size <= most
            && tensors.iter().all(|tensor| {
                let (shape, strides) = (tensor.meta.shape(), tensor.meta.strides());
                let last = tensor.rank() - 1;
                shape[last] % size == 0 && strides[..last].iter().all(|stride| stride % size == 0)
            })
    };
    [4, 2, 1].into_iter().find(|&size| fits(size)).unwrap_or(1)
}

/// A unit for every element; a kernel checks its index.
pub(crate) fn elements<R: CubeRuntime>(client: &ComputeClient<R>, count: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new(client, count);
    (cubecl::calculate_cube_count_elemwise(client, count, dim), dim)
}
