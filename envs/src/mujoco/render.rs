//! Images of robots, drawn by MuJoCo's own renderer without a screen.

use std::sync::Arc;

use mujoco_rs::prelude::{MjModel, MjrContext, MjrRectangle, MjtGeomBase, MjvCamera, MjvOption, MjvPerturb, MjvScene};

use super::{gl::GlContext, robots::ROBOTS, simulation::Simulation};
use crate::render::{Moment, Renderer};
use crate::{bare::BareSimulation, error::EnvError};

/// Where the camera stands.
struct View {
    /// From the robot, in m.
    distance: f64,
    /// Around the vertical, in degrees; 90 looks along y, so that forward is to the right.
    azimuth: f64,
    /// Above the horizon, in degrees, negative looking down.
    elevation: f64,
}

const SIDE: View = View { distance: 3.6, azimuth: 90.0, elevation: -12.0 };
/// A robot that moves in three dimensions is seen from above.
const ABOVE: View = View { distance: 4.5, azimuth: 75.0, elevation: -28.0 };

/// Capacity of a scene for geoms beside the model's.
const MORE_GEOMS: usize = 100;

/// The body that the camera follows: the torso.
const TORSO: usize = 1;

struct RobotRenderer {
    env: &'static str,
    simulation: Simulation,
    camera: MjvCamera,
    options: MjvOption,
    scene: MjvScene,
    viewport: MjrRectangle,
    // Dropped in this order: MuJoCo's context lives in OpenGL's.
    context: MjrContext,
    _gl: GlContext,
}

/// Draws a robot; `None` for a task that is no robot.
pub(crate) fn renderer(env_id: &str, width: usize, height: usize) -> Result<Option<Box<dyn Renderer>>, EnvError> {
    let Some(model) = ROBOTS.into_iter().find(|model| model.env == env_id) else { return Ok(None) };
    let env = model.env;
    // The model's image buffers have the size that it says; the shared model stays as it is.
    let mut sized: MjModel = MjModel::clone(&*model.get()?);
    let global = &mut sized.vis_mut().global;
    (global.offwidth, global.offheight) = (width as i32, height as i32);
    // A plane holds a robot wherever it is, but is drawn only as far as it says: a width of 0 has no end.
    let floors: Vec<usize> = sized
        .geom_type()
        .iter()
        .enumerate()
        .filter(|(_, kind)| **kind == MjtGeomBase::mjGEOM_PLANE)
        .map(|(geom, _)| geom)
        .collect();
    floors.into_iter().for_each(|floor| sized.geom_size_mut()[floor][..2].fill(0.0));
    let gl = GlContext::new(width, height).map_err(|reason| EnvError::Render { env: env.into(), reason })?;
    // SAFETY: a context has just been made current in this thread; the renderer is not `Send`, and it drops MuJoCo's context first.
    let mut context = unsafe { MjrContext::new(&sized) };
    context.offscreen();
    let scene = MjvScene::new(&sized, sized.ngeom() as usize + MORE_GEOMS);
    let simulation = Simulation::of(model, Arc::new(sized))?;
    let view = if simulation.qpos().len() > simulation.qvel().len() { ABOVE } else { SIDE };
    let mut camera = MjvCamera::new_tracking(TORSO);
    (camera.distance, camera.azimuth, camera.elevation) = (view.distance, view.azimuth, view.elevation);
    let viewport = MjrRectangle { left: 0, bottom: 0, width: width as i32, height: height as i32 };
    let options = MjvOption::default();
    Ok(Some(Box::new(RobotRenderer { env, simulation, camera, options, scene, viewport, context, _gl: gl })))
}

impl Renderer for RobotRenderer {
    fn seconds_per_step(&self) -> Option<f64> {
        Some(self.simulation.seconds())
    }

    fn render(&mut self, moment: &Moment, pixels: &mut [u8]) -> Result<(), EnvError> {
        let row = 3 * self.viewport.width as usize;
        let size = row * self.viewport.height as usize;
        // A wrapper may have added numbers behind the simulator's state; they do not show.
        let (state, width) = (&moment.state, self.simulation.state_width());
        EnvError::check_length(self.env, "state", state.len().min(width), width)?;
        EnvError::check_length(self.env, "image", pixels.len(), size)?;
        self.simulation.restart(&state[..width]);
        self.simulation.data.forward();
        // A floor without an end is laid around the camera, which the first update puts in its place.
        for _ in 0..2 {
            self.scene.update(&mut self.simulation.data, &self.options, &MjvPerturb::default(), &mut self.camera);
        }
        self.scene.render(&self.viewport, &self.context);
        let read = self.context.read_pixels(Some(&mut *pixels), None, &self.viewport);
        read.map_err(|error| EnvError::Render { env: self.env.into(), reason: error.to_string() })?;
        // OpenGL's images begin at the bottom.
        let (mut top, mut bottom) = (0, size - row);
        while top < bottom {
            let (upper, lower) = pixels.split_at_mut(bottom);
            upper[top..top + row].swap_with_slice(&mut lower[..row]);
            (top, bottom) = (top + row, bottom - row);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels of an image that differ between two.
    fn different(first: &[u8], second: &[u8]) -> usize {
        first.chunks_exact(3).zip(second.chunks_exact(3)).filter(|(a, b)| a != b).count()
    }

    #[test]
    fn every_robot_is_drawn_and_followed() {
        let (width, height) = (120, 80);
        for model in ROBOTS {
            let env_id = model.env;
            let mut renderer = match renderer(env_id, width, height) {
                Ok(renderer) => renderer.unwrap(),
                Err(EnvError::Render { reason, .. }) => return println!("skipped: {reason}"),
                Err(other) => panic!("{other}"),
            };
            let simulation = Simulation::new(model).unwrap();
            assert_eq!(renderer.seconds_per_step(), Some(simulation.seconds()));
            let moment = |state: &[f64]| Moment { state: state.to_vec(), action: Vec::new(), reward: 0.0 };
            let mut state = [simulation.qpos(), simulation.qvel()].concat();
            let mut image = |state: &[f64]| {
                let mut pixels = vec![0; 3 * width * height];
                renderer.render(&moment(state), &mut pixels).unwrap();
                pixels
            };
            let standing = image(&state);
            assert!(standing == image(&state), "{env_id}: the same state twice");
            // Two metres are two tiles of the floor, so the robot is where it was in the image; its joints are not.
            state[0] += 2.0;
            let moved = different(&standing, &image(&state));
            // The floor has no end: far away it looks the same.
            state[0] += 998.0;
            let far = different(&standing, &image(&state));
            state[0] -= 998.0;
            assert!(far < width * height / 20, "{env_id}: {far} pixels differ far away");
            let last_joint = simulation.qpos().len() - 1;
            state[last_joint] -= 0.7;
            let bent = different(&standing, &image(&state));
            println!("{env_id}: {moved} pixels differ in another place, {bent} in another pose");
            assert!(bent > 20 && moved < bent, "{env_id}: {moved}, {bent}");
            let mut short = vec![0; 3];
            assert!(matches!(renderer.render(&moment(&state), &mut short), Err(EnvError::Shape { .. })));
            assert!(matches!(renderer.render(&moment(&state[1..]), &mut short), Err(EnvError::Shape { .. })));
        }
    }
}
