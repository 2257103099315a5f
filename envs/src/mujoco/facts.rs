//! Compares a compiled model with the recorded numbers of the original. Tests only.

use mujoco_rs::prelude::MjtObjBase;
use serde_json::Value;

use super::{model::Model, robots::ROBOTS, simulation::Simulation};
use crate::fixtures;

#[test]
fn the_compiled_models_are_gymnasiums() {
    for (folder, model) in ["hopper", "halfcheetah", "walker2d", "ant"].iter().zip(ROBOTS) {
        compare(&format!("gymnasium/{folder}"), model);
    }
}

/// Every recorded array of `<folder>/model.json`, exactly.
pub(super) fn compare(folder: &str, model: &Model) {
    let facts = fixtures::recording(folder, "model");
    let simulation = Simulation::new(model).unwrap();
    assert_eq!(facts["frame_skip"], model.frame_skip);
    let model = model.get().unwrap();
    let (mut compared, ffi) = (vec!["frame_skip"], model.ffi());
    let mut check = |key: &'static str, found: Vec<f64>| {
        if let Some(recorded) = facts.get(key) {
            assert_eq!(found, fixtures::numbers(recorded), "{folder}: {key}");
            compared.push(key);
        }
    };
    macro_rules! sizes {
        ($($name:ident)*) => { $( check(stringify!($name), vec![ffi.$name as f64]); )* };
    }
    macro_rules! scalars {
        ($($name:ident)*) => { $( check(stringify!($name), model.$name().iter().map(|&value| value as i32 as f64).collect()); )* };
    }
    macro_rules! numbers {
        ($($name:ident)*) => { $( check(stringify!($name), model.$name().to_vec()); )* };
    }
    macro_rules! rows {
        ($($name:ident)*) => { $( check(stringify!($name), model.$name().iter().flatten().map(|&value| value as f64).collect()); )* };
    }
    sizes!(nq nv nu na nbody ngeom njnt);
    scalars!(body_parentid jnt_type jnt_bodyid jnt_limited geom_type geom_bodyid geom_contype geom_conaffinity geom_condim
        actuator_ctrllimited);
    numbers!(qpos0 qpos_spring body_mass jnt_stiffness jnt_margin dof_damping dof_armature dof_frictionloss dof_invweight0 geom_margin geom_gap);
    rows!(body_pos body_quat body_ipos body_iquat body_inertia body_invweight0 jnt_pos jnt_axis jnt_range jnt_solref jnt_solimp
        geom_pos geom_quat geom_size geom_friction geom_solref geom_solimp actuator_trnid actuator_gear actuator_ctrlrange);
    check("dt", vec![simulation.seconds()]);
    check("init_qpos", simulation.qpos0().to_vec());
    check("init_qvel", simulation.qvel().to_vec());
    compare_options(folder, &facts["opt"], model.opt());
    for (kind, names) in facts["names"].as_object().unwrap() {
        let object = match kind.as_str() {
            "body" => MjtObjBase::mjOBJ_BODY,
            "joint" => MjtObjBase::mjOBJ_JOINT,
            "geom" => MjtObjBase::mjOBJ_GEOM,
            _ => continue, // Our motors have no names.
        };
        for (id, name) in names.as_array().unwrap().iter().enumerate() {
            assert_eq!(model.id_to_name(object, id).unwrap_or(""), name, "{folder}: {kind} {id}");
        }
    }
    let told = ["kind", "env_id", "gymnasium", "mujoco", "numpy", "platform", "set", "asset", "layout", "opt", "names"];
    for key in facts.as_object().unwrap().keys() {
        assert!(told.contains(&key.as_str()) || compared.contains(&key.as_str()), "{folder}: {key} is recorded but not compared");
    }
}

fn compare_options(folder: &str, facts: &Value, opt: &mujoco_rs::prelude::MjOption) {
    let found = serde_json::json!({
        "timestep": opt.timestep, "integrator": opt.integrator, "solver": opt.solver, "iterations": opt.iterations,
        "tolerance": opt.tolerance, "cone": opt.cone, "jacobian": opt.jacobian, "impratio": opt.impratio,
        "gravity": opt.gravity, "density": opt.density, "viscosity": opt.viscosity, "disableflags": opt.disableflags,
        "enableflags": opt.enableflags,
    });
    for (key, value) in facts.as_object().unwrap() {
        assert_eq!(fixtures::numbers(&found[key]), fixtures::numbers(value), "{folder}: opt.{key}");
    }
}
