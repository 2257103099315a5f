//! aaren kernels
