//! Actions in other units.

use crate::trajectory::{Actions, Dataset};
use aaren_envs::Space;

/// Maps the actions of a dataset from the bounds of its action space to those of another, component by component and linearly, and
/// gives it that space.
///
/// ```
/// use aaren_data::{Actions, rescale_actions, scripted};
/// use aaren_envs::{Dtype, Space};
///
/// let config = serde_json::json!({"env": "Pendulum-v1", "collector": "random", "episodes": 1, "seed": 8});
/// let mut dataset = scripted::collect(&serde_json::from_value(config)?)?; // torques from -2 to 2
/// let before = dataset.trajectories[0].actions.clone();
/// rescale_actions(&mut dataset, &Space::uniform_box(1, -1.0, 1.0, Dtype::Float32))?;
/// let (Actions::Continuous(before), Actions::Continuous(after)) = (before, &dataset.trajectories[0].actions) else { panic!() };
/// assert_eq!(after[3], before[3] / 2.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Says why the spaces cannot be mapped: discrete ones, other widths, a bound that is not finite.
pub fn rescale_actions(dataset: &mut Dataset, to: &Space) -> Result<(), String> {
    let (Space::Box { low, high, .. }, Space::Box { low: to_low, high: to_high, .. }) = (&dataset.action_space, to) else {
        return Err("discrete actions have no units".into());
    };
    if low.len() != to_low.len() {
        return Err(format!("actions of {} numbers cannot become actions of {}", low.len(), to_low.len()));
    }
    for (of, low, high) in [("the dataset", low, high), ("the task", to_low, to_high)] {
        let ranges = || low.iter().zip(high);
        if let Some((low, high)) = ranges().find(|(low, high)| !(low.is_finite() && high.is_finite() && low < high)) {
            return Err(format!("actions of {of} lie in [{low}, {high}]; only finite bounds can be mapped"));
        }
    }
    if (low, high) != (to_low, to_high) {
        let scale: Vec<f64> = (0..low.len()).map(|i| (to_high[i] - to_low[i]) / (high[i] - low[i])).collect();
        for trajectory in &mut dataset.trajectories {
            let Actions::Continuous(actions) = &mut trajectory.actions else { continue };
            for (index, action) in actions.iter_mut().enumerate() {
                let i = index % low.len();
                *action = (to_low[i] + (f64::from(*action) - low[i]) * scale[i]) as f32;
            }
        }
    }
    dataset.action_space = to.clone();
    Ok(())
}
