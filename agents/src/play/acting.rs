//! A policy in the middle of episodes, as a value.

use aaren_policy::{ActionValue, AnyPolicy, PolicyState, PreviousStep, StateRecord};
use anyhow::{Context, Result, bail, ensure};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::agent::{Actions, ActorCriticAgent, Agent};
use super::decision_agent::{DecisionAgent, Row};
use super::episodes::env_action;
use super::policy_agent::ExecutionMode;
use crate::device::{CPU, Cpu};

/// Version of [`Acting::store`].
const FORMAT: u32 = 1;

/// A policy in the middle of episodes, one in each row of a batch, as a value: cloned to fork the episodes, stored, gone on with. It acts
/// by the very code of the actor threads, for whoever steps the environments themselves.
///
/// ```
/// use aaren_agents::config::OfflineJob;
/// use aaren_agents::device::{CPU, Cpu};
/// use aaren_agents::offline::{describe, trajectories};
/// use aaren_agents::play::{Acting, ExecutionMode};
/// use aaren_policy::{AnyPolicy, DecisionNetwork, DecisionPolicy};
///
/// let job = OfflineJob::quickstart(&["env.options.corridor=3".into()])?;
/// let description = describe(&job.env, &job.policy, &trajectories(&job)?)?;
/// let network = DecisionNetwork::<Cpu>::new(&description, 1, &CPU)?;
/// let policy = AnyPolicy::from(DecisionPolicy { network, description });
///
/// let mut acting = Acting::new(&policy, ExecutionMode::default(), 1)?;
/// acting.begin(0, 7, 1.0); // an episode that shall bring a return of 1
/// acting.act(&[1.0, 0.0, 0.0], &[true])?;
/// acting.reward(0, 0.0);
/// let mut stored = Acting::restore(&policy, &acting.store()?)?;
/// let observation = [0.0, 0.0, 1.0];
/// assert_eq!(stored.act(&observation, &[true])?, acting.act(&observation, &[true])?);
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Clone)]
pub struct Acting {
    agent: Kind,
}

#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "there are never many of them")]
enum Kind {
    Decision(DecisionAgent),
    ActorCritic(ActorCriticAgent),
}

/// What an agent of either kind does.
macro_rules! of_either {
    ($kind:expr, $agent:ident => $of:expr) => {
        match $kind {
            Kind::Decision($agent) => $of,
            Kind::ActorCritic($agent) => $of,
        }
    };
}

/// All of it but the weights.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    state: Vec<StateRecord>,
    episodes: Episodes,
}

#[derive(Serialize, Deserialize)]
enum Episodes {
    Decision {
        window: Option<usize>,
        rows: Vec<Row>,
    },
    ActorCritic {
        stochastic: bool,
        generators: Vec<Pcg64Mcg>,
        resets: Vec<bool>,
        /// Nothing for a policy that is not shown the timestep before.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        previous: Vec<PreviousStep>,
    },
}

impl Acting {
    /// A policy in rows whose episodes have not begun.
    ///
    /// # Errors
    /// A policy that cannot be executed so, or no row.
    pub fn new(policy: &AnyPolicy<Cpu>, mode: ExecutionMode, rows: usize) -> Result<Self> {
        ensure!(rows > 0, "a batch has at least one row, found 0");
        mode.check(policy)?;
        let state = policy.bounded_state(mode.cache, rows, &CPU)?;
        let agent = match policy.clone() {
            AnyPolicy::Decision(policy) => Kind::Decision(DecisionAgent::new(policy, state, mode.window, rows)),
            AnyPolicy::ActorCritic(policy) => {
                Kind::ActorCritic(ActorCriticAgent::resume(policy, mode.stochastic, state, vec![true; rows]))
            }
        };
        Ok(Self { agent })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match &self.agent {
            Kind::Decision(agent) => agent.rows().len(),
            Kind::ActorCritic(agent) => agent.resets().len(),
        }
    }

    /// Whether the episode of a row has made a step.
    ///
    /// # Panics
    /// Here and below, if there is no such row.
    pub fn is_under_way(&self, row: usize) -> bool {
        match &self.agent {
            Kind::Decision(agent) => agent.is_under_way(row),
            Kind::ActorCritic(agent) => !agent.resets()[row],
        }
    }

    /// Whether actions are drawn.
    pub fn is_stochastic(&self) -> bool {
        of_either!(&self.agent, agent => agent.is_random())
    }

    /// An episode begins in a row.
    ///
    /// - `seed`: of the noise, for a policy that draws its actions
    /// - `target_return`: in units of reward, for a policy that is told one
    pub fn begin(&mut self, row: usize, seed: u64, target_return: f64) {
        of_either!(&mut self.agent, agent => agent.begin(row, seed, target_return))
    }

    /// An episode begins in a row of a policy that draws its actions; the noise goes on.
    pub fn begin_with_same_noise(&mut self, row: usize) {
        match &mut self.agent {
            Kind::Decision(agent) => agent.begin(row, 0, 0.0),
            Kind::ActorCritic(agent) => agent.reset(row),
        }
    }

    /// Asks for another return from here on, in units of reward. A policy that is not told one does not listen.
    pub fn ask_for(&mut self, row: usize, return_to_go: f64) {
        if let Kind::Decision(agent) = &mut self.agent {
            agent.ask_for(row, return_to_go);
        }
    }

    /// Tells which action was executed in a row in place of the one that was chosen.
    pub fn tell_action(&mut self, row: usize, action: ActionValue<'_>) {
        of_either!(&mut self.agent, agent => agent.tell_action(row, action));
    }

    /// What the action of a row was rewarded with: a policy that is told a return is asked for so much less from here on, and one that
    /// is shown the previous reward is shown it.
    pub fn reward(&mut self, row: usize, reward: f64) {
        of_either!(&mut self.agent, agent => agent.reward(row, reward))
    }

    /// Chooses the next action of every row. Those of rows that are not active mean nothing.
    ///
    /// # Shapes
    /// - `observations`: `[rows, observation width]`
    /// - `active`: `[rows]`, whether an episode is under way
    /// # Errors
    /// An action of an active row that is not a number.
    pub fn act(&mut self, observations: &[f64], active: &[bool]) -> Result<Actions> {
        let mut actions = Actions::default();
        of_either!(&mut self.agent, agent => agent.act(observations, active, &mut actions));
        let count = match &actions.executed {
            aaren_policy::ActionBatch::Continuous(numbers) => numbers.len(),
            aaren_policy::ActionBatch::Discrete(choices) => choices.len(),
        };
        let width = count / active.len();
        for row in (0..active.len()).filter(|&row| active[row]) {
            env_action(actions.executed.row(row, width)).with_context(|| format!("row {row}"))?;
        }
        Ok(actions)
    }

    /// Bytes that the policy carries along, of all rows together.
    pub fn bytes(&self) -> usize {
        self.state().bytes()
    }

    fn state(&self) -> PolicyState<Cpu> {
        of_either!(&self.agent, agent => agent.state())
    }

    /// All of it but the weights, as bytes.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn store(&self) -> Result<Vec<u8>> {
        let episodes = match &self.agent {
            Kind::Decision(agent) => Episodes::Decision { window: agent.window(), rows: agent.rows().to_vec() },
            Kind::ActorCritic(agent) => Episodes::ActorCritic {
                stochastic: agent.is_random(),
                generators: agent.generators().to_vec(),
                resets: agent.resets().to_vec(),
                previous: agent.previous().to_vec(),
            },
        };
        let stored = Stored { format: FORMAT, state: self.state().to_records(), episodes };
        rmp_serde::to_vec(&stored).context("cannot store the state of a policy")
    }

    /// What [`Acting::store`] stored, to go on with under the policy that it is of.
    ///
    /// # Errors
    /// Bytes that are not the state of such a policy.
    pub fn restore(policy: &AnyPolicy<Cpu>, bytes: &[u8]) -> Result<Self> {
        let Stored { format, state, episodes } = rmp_serde::from_slice(bytes).context("these bytes are no state of a policy")?;
        ensure!(format == FORMAT, "the state is of format {format}, expected {FORMAT}");
        // A bounded cache has fields of its own, which say what it may hold.
        let is_bounded = state.iter().any(|record| record.has("bounded_policy"));
        let agent = match (policy.clone(), episodes) {
            (AnyPolicy::Decision(policy), Episodes::Decision { window, rows }) => {
                let backbone = policy.network.backbone();
                let state = if is_bounded {
                    backbone.restore_state(state, &CPU)
                } else {
                    backbone.restore_state_of(state, rows.len(), &CPU)
                };
                let state = state.context("the state is another policy's")?;
                Kind::Decision(DecisionAgent::resume(policy, state, window, rows)?)
            }
            (AnyPolicy::ActorCritic(policy), Episodes::ActorCritic { stochastic, generators, resets, previous }) => {
                ensure!(
                    generators.len() == resets.len(),
                    "the state is another policy's: it has {} rows and noise for {}",
                    resets.len(),
                    generators.len()
                );
                let network = &policy.network;
                let state = if is_bounded {
                    network.restore_state(state, &CPU)
                } else {
                    network.restore_state_of(state, resets.len(), &CPU)
                };
                let state = state.context("the state is another policy's")?;
                let agent = ActorCriticAgent::resume(policy, stochastic, state, resets).with_generators(generators);
                Kind::ActorCritic(agent.with_previous(previous)?)
            }
            _ => bail!("the state is another policy's: of another kind"),
        };
        Ok(Self { agent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aaren_policy::{
        ActionSpec, ActorCriticConfig, ActorCriticDescription, ActorCriticNetwork, ActorCriticPolicy, Inputs, Normalizer,
        PolicyConfig,
    };

    fn actor_critic(inputs: Inputs) -> AnyPolicy<Cpu> {
        let network = PolicyConfig { mixer: "gru".into(), width: 8, heads: 2, feed_forward: 16, ..Default::default() };
        let description = ActorCriticDescription {
            format: ActorCriticDescription::FORMAT,
            network: ActorCriticConfig::Recurrent(PolicyConfig { dropout: 0.0, ..network }),
            normalizer: Normalizer::identity(3),
            observation_clip: 10.0,
            inputs,
            action: ActionSpec::Discrete { n: 3, start: 0 },
            environment: serde_json::Value::Null,
        };
        let network = ActorCriticNetwork::new(&description, 0.0, 1, &CPU).unwrap();
        ActorCriticPolicy { network, description }.into()
    }

    #[test]
    fn a_stored_state_draws_the_same_actions() {
        for inputs in [Inputs::default(), Inputs { action: true, reward: true }] {
            let policy = actor_critic(inputs);
            let mode = ExecutionMode { stochastic: true, ..ExecutionMode::default() };
            let mut acting = Acting::new(&policy, mode, 2).unwrap();
            (0..2).for_each(|row| acting.begin(row, 3 + row as u64, 0.0));
            let observations = [1.0, 0.0, 0.0, -1.0, 0.0, 0.0];
            for _ in 0..5 {
                acting.act(&observations, &[true, true]).unwrap();
                acting.reward(1, 7.0);
            }
            let mut stored = Acting::restore(&policy, &acting.store().unwrap()).unwrap();
            assert_eq!((stored.rows(), stored.is_stochastic(), stored.is_under_way(1)), (2, true, true));
            for _ in 0..20 {
                let act = |acting: &mut Acting| acting.act(&observations, &[true, true]).unwrap();
                assert_eq!(act(&mut stored), act(&mut acting));
            }
        }
    }

    #[test]
    fn what_is_no_state_of_the_policy_is_refused() {
        let policy = actor_critic(Inputs::default());
        let error = |bytes: &[u8]| format!("{:#}", Acting::restore(&policy, bytes).err().unwrap());
        assert!(error(b"abc").contains("no state of a policy"));
        let stored = Acting::new(&policy, ExecutionMode::default(), 2).unwrap().store().unwrap();
        let mut stored: Stored = rmp_serde::from_slice(&stored).unwrap();
        stored.episodes = Episodes::Decision { window: None, rows: Vec::new() };
        assert!(error(&rmp_serde::to_vec(&stored).unwrap()).contains("of another kind"));
        stored.episodes =
            Episodes::ActorCritic { stochastic: false, generators: Vec::new(), resets: vec![true; 3], previous: Vec::new() };
        assert!(error(&rmp_serde::to_vec(&stored).unwrap()).contains("another policy's"));
        assert!(Acting::new(&policy, ExecutionMode { window: Some(3), ..Default::default() }, 2).is_err());
        assert!(Acting::new(&policy, ExecutionMode::default(), 0).is_err());
    }
}
