//! The laws and the policies from outside. One binary, for every further one would compile the generic code of tensors anew.

mod abc;
mod caches;
#[path = "../common/mod.rs"]
mod common;
mod favor;
mod golden;
mod laws;
mod mixers;
mod policy;
mod published;
mod transfer;
