//! The op on a GPU: its kernels where they fit and are trusted, else the reference.

use super::launch::{attention_scan, attention_scan_backward, fits};
use crate::cube::self_check::{is_trusted, serves};
use crate::cube::{Limits, self_check};
use crate::scan::inputs::{LogSumGradients, LogSumInputs, ScanGradients, ScanInputs, ScanOutputs};
use crate::scan::log_sums::cube::launch::{running_log_sum_exp, running_log_sum_exp_backward};
use crate::scan::ops::ScanOps;
use crate::scan::reference;
use burn::backend::Flex;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Device};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

impl<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement> ScanOps for CubeBackend<R, F, I, BT> {
    fn has_backward(device: &Device<Self>, head_dim: usize, dtype: DType) -> bool {
        runs::<Self>(device, dtype) && fits(head_dim)
    }

    fn attention_scan(inputs: ScanInputs<Self>) -> ScanOutputs<Self> {
        let x = &inputs.values;
        let runs = runs::<Self>(&x.device, x.dtype);
        let outputs = runs.then(|| attention_scan(inputs.clone(), Limits::of(&x.client))).flatten();
        outputs.unwrap_or_else(|| reference::attention_scan(inputs))
    }

    fn attention_scan_backward(
        inputs: ScanInputs<Self>,
        outputs: ScanOutputs<Self>,
        grad: FloatTensor<Self>,
    ) -> ScanGradients<Self> {
        let x = &inputs.values;
        let runs = runs::<Self>(&x.device, x.dtype);
        let kernel = || attention_scan_backward(inputs.clone(), outputs, grad.clone(), Limits::of(&x.client));
        let gradients = runs.then(kernel).flatten();
        gradients.unwrap_or_else(|| inputs.derive(|inputs| reference::attention_scan(inputs).outputs, grad))
    }

    fn has_log_sum_backward(device: &Device<Self>, dtype: DType) -> bool {
        serves(dtype) && is_trusted::<Self>("the running log-sum-exp", device, log_sum_results::<Self>, log_sum_results::<Flex>)
    }

    fn running_log_sum_exp(inputs: LogSumInputs<Self>) -> FloatTensor<Self> {
        let x = &inputs.scores;
        let runs = Self::has_log_sum_backward(&x.device, x.dtype);
        let log_sums = runs.then(|| running_log_sum_exp(inputs.clone(), Limits::of(&x.client))).flatten();
        log_sums.unwrap_or_else(|| reference::running_log_sum_exp(inputs))
    }

    fn running_log_sum_exp_backward(
        inputs: LogSumInputs<Self>,
        log_sums: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> LogSumGradients<Self> {
        let x = &inputs.scores;
        let runs = Self::has_log_sum_backward(&x.device, x.dtype);
        let kernel = || running_log_sum_exp_backward(inputs.clone(), log_sums, grad.clone(), Limits::of(&x.client));
        let gradients = runs.then(kernel).flatten();
        gradients.unwrap_or_else(|| reference::running_log_sum_exp_backward(inputs, grad))
    }
}

fn runs<B: ScanOps>(device: &Device<B>, dtype: DType) -> bool {
    serves(dtype) && is_trusted::<B>("the attention scan", device, results::<B>, results::<Flex>)
}

const ROWS: usize = 2;
const TIME: usize = 37;
const HEAD_DIM: usize = 4;

fn inputs<B: ScanOps>(device: &Device<B>) -> ScanInputs<B> {
    ScanInputs {
        scores: self_check::tensor::<B, 3>([ROWS, 1, TIME], 0.7, device),
        values: self_check::tensor::<B, 4>([ROWS, 1, TIME, HEAD_DIM], 0.3, device),
        reset: self_check::reset::<B>([ROWS, TIME], 50, device),
        carry_log_sum: self_check::tensor::<B, 2>([ROWS, 1], 1.1, device),
        carry_output: self_check::tensor::<B, 3>([ROWS, 1, HEAD_DIM], 1.3, device),
    }
}

fn results<B: ScanOps>(device: &Device<B>) -> Vec<f64> {
    let outputs = B::attention_scan(inputs(device));
    let grad = self_check::tensor::<B, 4>([ROWS, 1, TIME, HEAD_DIM], 0.9, device);
    let gradients = B::attention_scan_backward(inputs(device), outputs.clone(), grad);
    self_check::read::<B>([outputs.outputs, outputs.log_sums].into_iter().chain(gradients.floats()))
}

fn log_sum_results<B: ScanOps>(device: &Device<B>) -> Vec<f64> {
    let scan = inputs::<B>(device);
    let inputs = LogSumInputs { scores: scan.scores, reset: scan.reset, carry: scan.carry_log_sum };
    let log_sums = B::running_log_sum_exp(inputs.clone());
    let grad = self_check::tensor::<B, 3>([ROWS, 1, TIME], 0.9, device);
    let gradients = B::running_log_sum_exp_backward(inputs, log_sums.clone(), grad);
    self_check::read::<B>([log_sums].into_iter().chain(gradients.floats()))
}
