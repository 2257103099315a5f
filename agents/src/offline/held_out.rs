//! Episodes that are held out of a training, and the loss of a policy on them.

use std::collections::BTreeMap;

use aaren_data::Dataset;
use aaren_envs::derive_seed;
use aaren_kernels::Dropout;
use aaren_policy::{AnyPolicy, DecisionNetwork, Description, Model, Rows as _, Trainable};
use anyhow::{Result, bail, ensure};
use burn::tensor::ElementConversion;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::segments::{Segment, SegmentSampler};
use super::source::SegmentSource;
use crate::config::{OfflineJob, TrainConfig};
use crate::device::{CPU, Cpu};
use crate::run::report::ValidationReport;
use crate::seeds;

/// The episodes that a job is trained on, and those that it holds out, both in their order; none where it holds out none. Which they are
/// follows from the job's seed and the number of episodes.
///
/// # Errors
/// If there are too few episodes for both.
pub(crate) fn hold_out(job: &OfflineJob, mut dataset: Dataset) -> Result<(Dataset, Option<Dataset>)> {
    let share = job.validation();
    if share == 0.0 {
        return Ok((dataset, None));
    }
    dataset.trajectories.retain(|trajectory| !trajectory.is_empty());
    let episodes = dataset.trajectories.len();
    ensure!(
        episodes >= 2,
        "data.validation: found {share}, and the data ({}) have {episodes} episode to train on and hold out; set it to 0, or take more data",
        dataset.id
    );
    let count = ((share * episodes as f64).round() as usize).clamp(1, episodes - 1);
    let mut generator = Pcg64Mcg::seed_from_u64(derive_seed(job.seed, &[seeds::VALIDATION]));
    // The first of a shuffle.
    let mut order: Vec<usize> = (0..episodes).collect();
    for place in 0..count {
        let other = generator.random_range(place..episodes);
        order.swap(place, other);
    }
    let mut is_held_out = vec![false; episodes];
    order[..count].iter().for_each(|&episode| is_held_out[episode] = true);
    let all = std::mem::take(&mut dataset.trajectories);
    let mut held_out = dataset.clone();
    for (trajectory, is_held_out) in all.into_iter().zip(is_held_out) {
        if is_held_out { &mut held_out } else { &mut dataset }.trajectories.push(trajectory);
    }
    Ok((dataset, Some(held_out)))
}

/// The loss on held-out episodes. Every timestep counts once, in segments as long as those of the training, or in whole episodes.
#[derive(Debug)]
pub(crate) struct Validation {
    sampler: SegmentSampler<SegmentSource>,
    /// Segments of one length, as many as a batch has rows or fewer.
    batches: Vec<Vec<Segment>>,
    description: Description,
    episodes: usize,
}

impl Validation {
    /// - `description`: of the policies that are judged
    ///
    /// # Errors
    /// If there is no timestep.
    pub(crate) fn new(held_out: Dataset, description: Description, config: &TrainConfig, seed: u64) -> Result<Self> {
        let lengths: Vec<usize> = held_out.trajectories.iter().map(|trajectory| trajectory.len()).collect();
        let mut of_length: BTreeMap<usize, Vec<Segment>> = BTreeMap::new();
        for (trajectory, &length) in lengths.iter().enumerate() {
            for segment in Segment::all(trajectory, length, config.context_length.window().unwrap_or(length)) {
                of_length.entry(segment.len()).or_default().push(segment);
            }
        }
        let batches = of_length.values().flat_map(|segments| segments.chunks(config.batch_size).map(<[_]>::to_vec)).collect();
        let sampler = SegmentSampler::new(SegmentSource::new(held_out, description.clone())?, config, seed);
        Ok(Self { sampler, batches, description, episodes: lengths.len() })
    }

    /// The loss of a policy, without dropout.
    ///
    /// # Errors
    /// If it is no decision policy.
    pub(crate) fn judge(&self, policy: &Model<Cpu>) -> Result<ValidationReport> {
        let Model::Policy(AnyPolicy::Decision(policy)) = policy else {
            bail!("a policy that learned online has no loss on data")
        };
        let (mut sum, mut timesteps) = (0.0, 0);
        for segments in &self.batches {
            let timesteps_of = self.sampler.batch_of(segments);
            let (rows, count) = (segments.len(), timesteps_of.len());
            let (inputs, actions) = DecisionNetwork::<Cpu>::batch(&timesteps_of, rows, &self.description, &CPU);
            let (loss, _) = policy.network.loss(&inputs, actions, policy.initial_state(rows, &CPU), Dropout::OFF);
            sum += loss.into_scalar().elem::<f64>() * count as f64;
            timesteps += count;
        }
        Ok(ValidationReport { loss: sum / timesteps as f64, episodes: self.episodes, timesteps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::{describe, trajectories};
    use aaren_policy::{DecisionNetwork, DecisionPolicy};

    fn job(settings: &[&str]) -> OfflineJob {
        let settings = [&["env.options.corridor=4", "data.scripted.episodes=21", "data.scripted.quality=0.5"], settings].concat();
        OfflineJob::quickstart(&settings.into_iter().map(String::from).collect::<Vec<_>>()).unwrap()
    }

    fn seeds_of(dataset: &Dataset) -> Vec<Option<u64>> {
        dataset.trajectories.iter().map(|trajectory| trajectory.seed).collect()
    }

    #[test]
    fn episodes_are_held_out_by_the_seed_and_each_is_on_one_side() {
        let split = |settings: &[&str]| {
            let all = trajectories(&job(&[])).unwrap();
            let (trained, held_out) = hold_out(&job(settings), all.clone()).unwrap();
            (seeds_of(&all), seeds_of(&trained), held_out.map(|dataset| seeds_of(&dataset)))
        };
        let (all, trained, held_out) = split(&[]);
        assert_eq!((&trained, held_out), (&all, None), "none unless it is asked for");
        let (all, trained, held_out) = split(&["data.validation=0.3"]);
        let held_out = held_out.unwrap();
        assert_eq!((trained.len(), held_out.len()), (15, 6));
        let side = |of: &[Option<u64>]| all.iter().filter(|seed| of.contains(seed)).copied().collect::<Vec<_>>();
        assert_eq!((side(&trained), side(&held_out)), (trained.clone(), held_out.clone()), "in their order");
        assert!(trained.iter().all(|seed| !held_out.contains(seed)));
        assert_eq!(split(&["data.validation=0.3"]).2.unwrap(), held_out);
        assert_ne!(split(&["data.validation=0.3", "seed=2"]).2.unwrap(), held_out);
        // At least one on each side.
        assert_eq!(split(&["data.validation=0.001"]).2.unwrap().len(), 1);
        assert_eq!(split(&["data.validation=0.999"]).1.len(), 1);
        let mut one = trajectories(&job(&[])).unwrap();
        one.trajectories.truncate(1);
        let error = hold_out(&job(&["data.validation=0.3"]), one).unwrap_err().to_string();
        assert!(error.contains("data.validation: found 0.3") && error.contains("1 episode"), "{error}");
    }

    #[test]
    fn the_loss_is_the_mean_over_all_timesteps_however_they_are_batched() {
        let loss = |settings: &[&str]| {
            let job = job(settings);
            let (trained, held_out) = hold_out(&job, trajectories(&job).unwrap()).unwrap();
            let description = describe(&job.env, &job.policy, &trained).unwrap();
            let network = DecisionNetwork::<Cpu>::new(&description, 1, &CPU).unwrap();
            let held_out = held_out.unwrap();
            let steps: usize = held_out.trajectories.iter().map(|trajectory| trajectory.len()).sum();
            // By hand: an episode after the other, a timestep after the other, the state carried along.
            let mut sum = 0.0;
            let source = SegmentSource::new(held_out.clone(), description.clone()).unwrap();
            let sampler = SegmentSampler::new(source, &job.train, 1);
            for (trajectory, length) in held_out.trajectories.iter().map(|trajectory| trajectory.len()).enumerate() {
                let mut state = network.backbone().initial_state(1, &CPU);
                for segment in Segment::all(trajectory, length, 1) {
                    let batch = sampler.batch_of(&[segment]);
                    let is_first = segment == Segment::all(trajectory, length, 1).next().unwrap();
                    let (mut inputs, actions) = DecisionNetwork::<Cpu>::batch(&batch, 1, &description, &CPU);
                    if !is_first {
                        inputs.reset = aaren_policy::Reset::none(1, inputs.reset.flags().len(), &CPU);
                    }
                    let (loss, next) = network.loss(&inputs, actions, state, Dropout::OFF);
                    sum += loss.into_scalar().elem::<f64>();
                    state = next;
                }
            }
            let validation = Validation::new(held_out, description.clone(), &job.train, 1).unwrap();
            let report = validation.judge(&Model::Policy(DecisionPolicy { network, description }.into())).unwrap();
            assert_eq!(report.timesteps, steps);
            (report.loss, sum / steps as f64)
        };
        let (whole, by_hand) = loss(&["data.validation=0.3", "train.context_length=episode", "train.batch_size=2"]);
        assert!((whole - by_hand).abs() < 1e-5, "{whole} {by_hand}");
        let (many, _) = loss(&["data.validation=0.3", "train.context_length=episode", "train.batch_size=64"]);
        assert!((many - whole).abs() < 1e-6, "{many} {whole}");
        let (cut, _) = loss(&["data.validation=0.3", "train.context_length=3", "train.batch_size=2"]);
        assert!(cut.is_finite() && cut != whole, "{cut}");
    }
}
