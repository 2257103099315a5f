//! The robots by name.

use super::{ant, half_cheetah, hopper, model::Model, simulation::Simulation, walker2d};
use crate::{bare::BareSimulation, error::EnvError};

/// The model of every robot, in the variant of Gymnasium.
pub(super) const ROBOTS: [&Model; 4] = [&hopper::MODEL, &half_cheetah::MODEL, &walker2d::MODEL, &ant::MODEL];

/// The simulation under a robot's task; `None` for a task that is no robot.
pub(crate) fn bare_simulation(env_id: &str) -> Result<Option<Box<dyn BareSimulation>>, EnvError> {
    let Some(model) = ROBOTS.into_iter().find(|model| model.env == env_id) else { return Ok(None) };
    Ok(Some(Box::new(Simulation::new(model)?)))
}
