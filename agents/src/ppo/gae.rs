//! Generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438).

use aaren_envs::StepEnd;

/// Advantages of one environment's timesteps, `[time]`.
///
/// ```text
/// delta_t = r_t + gamma V(o_{t+1}) - V(o_t)          A_t = delta_t + gamma lambda A_{t+1}
/// ```
///
/// - `values`: of the observation that each action was taken at
/// - `values_after`: of the observation that each action led to, the true last one of an episode included. After a terminated step
///   it counts as 0, whatever is there; after a truncated one it is the estimate of all that was cut off.
///
/// An advantage never reaches over the end of an episode. After the last timestep there is nothing more to add: an episode that
/// goes on there is estimated by its value.
pub(crate) fn advantages(
    rewards: &[f64],
    values: &[f64],
    values_after: &[f64],
    ends: &[StepEnd],
    gamma: f64,
    gae_lambda: f64,
) -> Vec<f64> {
    let mut advantages = vec![0.0; rewards.len()];
    let mut next = 0.0;
    for t in (0..rewards.len()).rev() {
        let value_after = if ends[t].terminated { 0.0 } else { values_after[t] };
        let delta = rewards[t] + gamma * value_after - values[t];
        let reaches_on = if ends[t].is_end() { 0.0 } else { next };
        next = delta + gamma * gae_lambda * reaches_on;
        advantages[t] = next;
    }
    advantages
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOES_ON: StepEnd = StepEnd { terminated: false, truncated: false };
    const TERMINATED: StepEnd = StepEnd { terminated: true, truncated: false };
    const TRUNCATED: StepEnd = StepEnd { terminated: false, truncated: true };
    const BOTH: StepEnd = StepEnd { terminated: true, truncated: true };

    fn assert_near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
    }

    /// Worked out by hand with gamma = 0.5 and lambda = 0.5: rewards 1, 2, 4; values 8, 6, 2; 10 after the last.
    fn ending(middle: StepEnd, last: StepEnd, after: [f64; 3]) -> Vec<f64> {
        advantages(&[1.0, 2.0, 4.0], &[8.0, 6.0, 2.0], &after, &[GOES_ON, middle, last], 0.5, 0.5)
    }

    #[test]
    fn an_episode_that_goes_on_is_estimated_by_its_value() {
        // delta = 1 + 3 - 8, 2 + 1 - 6, 4 + 5 - 2 = -4, -3, 7
        assert_near(&ending(GOES_ON, GOES_ON, [6.0, 2.0, 10.0]), &[-4.0 + 0.25 * (-3.0 + 0.25 * 7.0), -3.0 + 0.25 * 7.0, 7.0]);
    }

    #[test]
    fn a_terminated_step_has_nothing_after_it() {
        // In the middle: delta = -4, 2 - 6 = -4, 7; the value there (of another episode's start, say) does not count.
        assert_near(&ending(TERMINATED, GOES_ON, [6.0, 99.0, 10.0]), &[-4.0 + 0.25 * -4.0, -4.0, 7.0]);
        // At the last row: delta = -4, -3, 4 - 2 = 2.
        assert_near(&ending(GOES_ON, TERMINATED, [6.0, 2.0, 99.0]), &[-4.0 + 0.25 * (-3.0 + 0.25 * 2.0), -3.0 + 0.25 * 2.0, 2.0]);
    }

    #[test]
    fn a_truncated_step_bootstraps_from_its_last_observation_and_no_further() {
        // In the middle, with a value of 20 there: delta = -4, 2 + 10 - 6 = 6, 7.
        assert_near(&ending(TRUNCATED, GOES_ON, [6.0, 20.0, 10.0]), &[-4.0 + 0.25 * 6.0, 6.0, 7.0]);
        // At the last row: delta = -4, -3, 7, as of an episode that continues.
        assert_near(&ending(GOES_ON, TRUNCATED, [6.0, 2.0, 10.0]), &[-4.0 + 0.25 * (-3.0 + 0.25 * 7.0), -3.0 + 0.25 * 7.0, 7.0]);
    }

    #[test]
    fn a_step_with_both_flags_is_terminated() {
        assert_eq!(ending(BOTH, BOTH, [6.0, 20.0, 30.0]), ending(TERMINATED, TERMINATED, [6.0, 0.0, 0.0]));
    }

    #[test]
    fn lambda_one_gives_discounted_returns_and_lambda_zero_one_step_errors() {
        let (rewards, values, after) = ([1.0, -2.0, 0.5, 3.0], [0.3, 0.7, -1.0, 2.0], [0.7, -1.0, 2.0, 5.0]);
        let ends = [GOES_ON; 4];
        let one = advantages(&rewards, &values, &after, &ends, 0.9, 1.0);
        let mut returns = 5.0;
        for t in (0..4).rev() {
            returns = rewards[t] + 0.9 * returns;
            assert!((one[t] - (returns - values[t])).abs() < 1e-12);
        }
        let zero = advantages(&rewards, &values, &after, &ends, 0.9, 0.0);
        assert!((0..4).all(|t| (zero[t] - (rewards[t] + 0.9 * after[t] - values[t])).abs() < 1e-12));
    }
}
