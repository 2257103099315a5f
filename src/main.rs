//! The `aaren` binary; its commands are in the library, from where the Python package runs them too.

use std::process::ExitCode;

use aaren_agents::run::process;

// Training allocates and frees many short-lived tensors; the system allocator returns their memory to the kernel each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::keep_pages();
    aaren::run_program(std::env::args_os()).into()
}
