//! The native half of the Python package `aaren`: environments, policies and jobs, in the terms of Python's own types. `aaren/` beside
//! it is the other half, which people see; `_aaren.pyi` there says what crosses the border.
//!
//! Arrays cross it as bytes: actions are read from a `bytes` object, results are fresh `bytearray` objects that NumPy makes arrays of
//! without a copy. All that takes longer than a step of one environment runs without the interpreter's lock.

mod arrays;
mod env;
mod error;
mod fork;
mod jobs;
mod news;
mod parts;
mod policy;
mod vector;

use aaren_agents::run::process::set_program;
use pyo3::prelude::*;

/// The module `aaren._aaren`.
#[pymodule]
fn _aaren(module: &Bound<'_, PyModule>) -> PyResult<()> {
    aaren_agents::run::made_by::set_commit(aaren::COMMIT);
    // Environments of Gymnasium run where this module does, whatever PATH says.
    if let Ok(interpreter) = module.py().import("sys")?.getattr("executable")?.extract::<String>()
        && !interpreter.is_empty()
    {
        aaren_envs::set_interpreter(&interpreter);
        // Processes of a table run the program where this module is.
        set_program([&*interpreter, "-m", "aaren"].map(Into::into).to_vec());
    }
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("build", aaren::VERSION)?;
    module.add("mujoco_version", aaren_envs::mujoco_version())?;
    module.add("Error", module.py().get_type::<error::Error>())?;
    module.add_class::<env::Env>()?;
    module.add_class::<env::Renderer>()?;
    module.add_class::<vector::VectorEnv>()?;
    module.add_class::<policy::Policy>()?;
    module.add_class::<policy::State>()?;
    module.add_class::<parts::Evaluation>()?;
    module.add_class::<parts::Collection>()?;
    module.add_function(wrap_pyfunction!(env::tasks, module)?)?;
    module.add_function(wrap_pyfunction!(jobs::train, module)?)?;
    module.add_function(wrap_pyfunction!(jobs::evaluate, module)?)?;
    module.add_function(wrap_pyfunction!(jobs::record, module)?)?;
    module.add_function(wrap_pyfunction!(jobs::compare, module)?)?;
    module.add_function(wrap_pyfunction!(jobs::main, module)?)?;
    module.add_function(wrap_pyfunction!(parts::collect_part, module)?)?;
    module.add_function(wrap_pyfunction!(parts::parse_seeds, module)?)?;
    module.add_function(wrap_pyfunction!(parts::table, module)?)?;
    module.add_function(wrap_pyfunction!(parts::table_list, module)?)?;
    module.add_function(wrap_pyfunction!(parts::table_run, module)?)?;
    module.add_function(wrap_pyfunction!(news::drain, module)?)?;
    Ok(())
}
