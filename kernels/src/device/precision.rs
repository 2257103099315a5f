//! What GPUs multiply in.

/// What matrix products of single-precision numbers are computed in, on a GPU that has a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Single precision throughout, as on the CPU.
    #[default]
    F32,
    /// Where the GPU has it (NVIDIA's from compute capability 8.0 on): factors rounded to 10 bits behind the point, on tensor cores.
    Tf32,
}
