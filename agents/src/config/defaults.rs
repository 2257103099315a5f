//! Defaults that follow from other keys: what is null or left out becomes a number before the job is read, so that a run folder
//! states it.

use serde_json::{Map, Value};

/// The share of a training over which the learning rate rises.
const WARMUP: u64 = 10;

/// Most minibatches of a pass over a rollout, and environments of a group.
const MOST_MINIBATCHES: u64 = 32;
const MOST_ENVS_PER_GROUP: u64 = 2;

/// Says the numbers that follow from others. Where those are no numbers, nothing is said, and they are what is wrong.
pub(super) fn derive(json: &mut Value) {
    if let Some(train) = json.get_mut("train").and_then(Value::as_object_mut) {
        unless_said(train, "warmup_steps", |train| Some(train.get("steps")?.as_u64()? / WARMUP));
    }
    if let Some(policy) = json.get_mut("policy").and_then(Value::as_object_mut)
        && fits_monarch(policy)
    {
        policy.entry("feed_forward_kind").or_insert("monarch".into());
    }
    let is_absent = |key: &str| json.get(key).is_none_or(Value::is_null);
    if !is_absent("task") {
        // Sequences mean something as a whole, and all of them are to reach their ends.
        let train = json.as_object_mut().map(|json| json.entry("train").or_insert_with(|| Map::new().into()));
        if let Some(train) = train.and_then(Value::as_object_mut) {
            train.entry("context_length").or_insert("episode".into());
            train.entry("cut_segments").or_insert("continue".into());
        }
    }
    let is_absent = |key: &str| json.get(key).is_none_or(Value::is_null);
    if is_absent("env") && is_absent("ppo") && is_absent("collect") {
        let mut say = |section: &str, key: &str, value: Value| {
            let section = super::keys::get_mut(json, section).and_then(Value::as_object_mut);
            section
                .filter(|section| section.get(key).is_none_or(Value::is_null))
                .map(|section| section.insert(key.into(), value));
        };
        say("data", "validation", super::DataConfig::HELD_OUT.into());
        say("evaluation.stop", "metric", "validation_loss".into());
    }
    if let Some(ppo) = json.get_mut("ppo").and_then(Value::as_object_mut) {
        let number = |ppo: &Map<String, Value>, key, default: usize| match ppo.get(key) {
            Some(value) => value.as_u64().filter(|&number| number > 0),
            None => Some(default as u64),
        };
        let default = super::PpoConfig::default();
        unless_said(ppo, "envs_per_group", |ppo| largest_divisor(number(ppo, "envs", default.envs)?, MOST_ENVS_PER_GROUP));
        unless_said(ppo, "minibatches", |ppo| {
            let envs = number(ppo, "envs", default.envs)?;
            match ppo.get("network").and_then(Value::as_str) {
                // Each of as many groups, or timesteps, as there are shards at least.
                Some("recurrent") => {
                    let groups = envs / number(ppo, "envs_per_group", default.envs_per_group)?;
                    largest_divisor(share(groups, number(ppo, "shards", default.shards)?), MOST_MINIBATCHES)
                }
                // Of two timesteps at least: advantages are normalised within a minibatch.
                _ => {
                    let timesteps = envs.checked_mul(number(ppo, "rollout_len", default.rollout_len)?)?;
                    let share = share(timesteps, number(ppo, "shards", default.shards)?);
                    largest_divisor(share, MOST_MINIBATCHES.min(timesteps / 2))
                }
            }
        });
    }
}

/// Whether a policy's mixer is Monarch's and its widths have room for Monarch's feed-forward half, which was published with it.
fn fits_monarch(policy: &Map<String, Value>) -> bool {
    let default = aaren_policy::PolicyConfig::default();
    let has_room = |key: &str, default: usize| {
        let width = policy.get(key).map_or(Some(default as u64), Value::as_u64);
        width.is_some_and(|width| width.is_multiple_of(aaren_policy::FEED_FORWARD_BLOCKS as u64))
    };
    policy.get("mixer").is_some_and(|mixer| mixer == "monarch")
        && has_room("width", default.width)
        && has_room("feed_forward", default.feed_forward)
}

/// Sets a key that is null or absent. A null goes, whether there is a number or not.
fn unless_said(section: &mut Map<String, Value>, key: &str, number: impl Fn(&Map<String, Value>) -> Option<u64>) {
    if section.get(key).is_none_or(Value::is_null) {
        section.shift_remove(key);
        if let Some(number) = number(section) {
            section.insert(key.into(), number.into());
        }
    }
}

/// What each of some shards has of a whole; where they do not divide it, the number of shards is what is wrong.
fn share(whole: u64, shards: u64) -> u64 {
    if whole.is_multiple_of(shards) { whole / shards } else { whole }
}

/// The largest number up to `most` that divides `whole`; 1 divides all.
fn largest_divisor(whole: u64, most: u64) -> Option<u64> {
    (1..=most).rev().find(|number| whole.is_multiple_of(*number)).or(Some(1))
}

#[cfg(test)]
mod tests {
    use crate::config::{Changes, Job, OfflineJob, PpoConfig, TrainConfig};
    use aaren_policy::FeedForwardKind;

    fn offline(text: &str) -> OfflineJob {
        let rest = r#""env": {"id": "TMaze-v0"}, "data": {"source": "x"}, "evaluation": {"target_returns": [1]}"#;
        Job::parse(&format!("{{{rest}, {text}}}"), &Changes::default()).unwrap().offline().unwrap()
    }

    fn ppo(text: &str) -> PpoConfig {
        let rest = r#""env": {"id": "CartPole-v1"}, "evaluation": {}"#;
        Job::parse(&format!("{{{rest}, \"ppo\": {text}}}"), &Changes::default()).unwrap().ppo().unwrap().ppo
    }

    #[test]
    fn the_warm_up_is_a_tenth_of_the_steps_unless_it_is_said() {
        let warmup = |train: &str| offline(&format!("\"train\": {train}")).train.warmup_steps;
        assert_eq!(
            [warmup(r#"{"steps": 3000}"#), warmup(r#"{"steps": 1e5, "warmup_steps": null}"#), warmup("{}")],
            [300, 10_000, 1000]
        );
        assert_eq!([warmup(r#"{"steps": 100, "warmup_steps": 7}"#), warmup(r#"{"steps": 5}"#)], [7, 0]);
        assert_eq!(TrainConfig::default().warmup_steps, TrainConfig::default().steps / 10);
    }

    #[test]
    fn a_monarch_mixer_has_its_feed_forward_half_unless_it_is_said_or_does_not_fit() {
        let kind = |policy: &str| offline(&format!("\"policy\": {policy}")).policy.feed_forward_kind;
        assert_eq!(kind(r#"{"mixer": "monarch"}"#), FeedForwardKind::Monarch);
        for dense in [
            r#"{"mixer": "hyena"}"#,
            r#"{"mixer": "monarch", "feed_forward_kind": "dense"}"#,
            r#"{"mixer": "monarch", "width": 130}"#,
            r#"{"mixer": "monarch", "feed_forward": 130}"#,
        ] {
            assert_eq!(kind(dense), FeedForwardKind::Dense, "{dense}");
        }
    }

    #[test]
    fn default_minibatches_and_groups_fit() {
        assert_eq!(ppo("{}"), PpoConfig::default());
        let sizes = |text: &str| (ppo(text).envs_per_group, ppo(text).minibatches);
        assert_eq!(sizes(r#"{"network": "recurrent"}"#), (2, 2));
        assert_eq!(sizes(r#"{"network": "recurrent", "envs": 6, "minibatches": null}"#), (2, 3));
        assert_eq!(sizes(r#"{"network": "recurrent", "envs": 3}"#), (1, 3));
        assert_eq!(sizes(r#"{"envs": 1, "rollout_len": 9}"#), (1, 3)); // of three timesteps
        assert_eq!(sizes(r#"{"envs": 1, "rollout_len": 1, "normalise_advantages": false}"#), (1, 1));
        assert_eq!(sizes(r#"{"envs": 8, "envs_per_group": 4}"#), (4, 32));
        assert_eq!(sizes(r#"{"network": "recurrent", "envs": 16, "shards": 4}"#), (2, 2)); // of four groups
        assert_eq!(sizes(r#"{"envs": 3, "rollout_len": 32, "shards": 32}"#), (1, 3));
    }
}
