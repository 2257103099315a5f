//! What a device's tensor cores multiply.

use burn_cubecl::CubeRuntime;
use burn_cubecl::cubecl::client::ComputeClient;
use burn_cubecl::cubecl::ir::{ElemType, FloatKind, StorageType};

/// Whether tensor cores multiply matrices of a kind into sums of single precision.
pub(crate) fn multiplies<R: CubeRuntime>(client: &ComputeClient<R>, kind: FloatKind) -> bool {
    let [factor, sum] = [kind, FloatKind::F32].map(|kind| StorageType::Scalar(ElemType::Float(kind)));
    let mut products = client.properties().features.matmul.cmma.iter();
    products.any(|product| product.a_type == factor && product.b_type == factor && product.cd_type == sum)
}
