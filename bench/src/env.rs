//! Environment steps a second: ours, the bare simulator below it, Gymnasium and EnvPool, under the same random actions.
//!
//! All of them take turns in short slices, so that whatever else the machine does slows all of them down alike. Ratios are medians of
//! the ratios of each turn, by the clock and by processor time, which is less disturbed by other work on the machine.

use crate::measure::{Column, Spread, cores, library, median, or_dash, processor_seconds, publish, table};
use crate::peers::gymnasium::{ENVPOOL, GYMNASIUM, Library, Peer, Slice};
use aaren_agents::run::interrupt;
use aaren_envs::{Action, BareSimulation, Env, Generator, bare_simulation, make};
use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, json};
use std::{path::Path, sync::Barrier, time::Instant};

/// Options of `aaren-bench env`.
#[derive(Debug, Args)]
pub struct EnvArgs {
    /// Tasks to step, which take continuous actions; may be repeated
    #[arg(long = "env", value_name = "ID", default_values_t = ["Hopper-v5", "HalfCheetah-v5", "Walker2d-v5", "Ant-v5"].map(String::from))]
    env_ids: Vec<String>,
    /// Threads, each with an environment; may be repeated [default: 1 and all cores]
    #[arg(long = "threads", value_name = "N")]
    threads: Vec<usize>,
    /// Turns of each contender
    #[arg(long, value_name = "N", default_value_t = 9)]
    turns: usize,
    /// Seconds that our part of a turn takes, about
    #[arg(long, value_name = "S", default_value_t = 0.3)]
    seconds: f64,
    /// Leave Gymnasium and EnvPool out
    #[arg(long)]
    no_peer: bool,
}

/// Of actions and first states; a thread adds its number.
const SEED: u64 = 1;

/// A contender that is not us.
#[derive(Debug, Serialize)]
struct Other {
    name: &'static str,
    steps_per_second: Spread,
    /// Our rate divided by its, in the same turn: above 1 we are faster.
    ratio: f64,
    /// The same of steps a second of processor time.
    processor_ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Row {
    env: String,
    threads: usize,
    steps_per_turn: usize,
    aaren_steps_per_second: Spread,
    others: Vec<Other>,
}

const COLUMNS: &[Column<Row>] = &[
    ("environment", |row| row.env.clone()),
    ("threads", |row| row.threads.to_string()),
    ("aaren (min, max)", |row| row.aaren_steps_per_second.to_string()),
    ("mj_step (min, max)", |row| row.rate("mj_step")),
    ("ratio", |row| row.ratios("mj_step")),
    ("Gymnasium (min, max)", |row| row.rate("Gymnasium")),
    ("ratio", |row| row.ratios("Gymnasium")),
    ("EnvPool (min, max)", |row| row.rate("EnvPool")),
    ("ratio", |row| row.ratios("EnvPool")),
];

pub fn run(args: &EnvArgs, json: Option<&Path>) -> Result<()> {
    ensure!(args.turns > 0 && args.seconds > 0.0, "--turns and --seconds must be positive");
    let version = |library: Library| if args.no_peer { None } else { library.version() };
    let (gymnasium, envpool) = (version(GYMNASIUM), version(ENVPOOL));
    let threads = if args.threads.is_empty() { vec![1, cores()] } else { args.threads.clone() };
    let mut rows = Vec::new();
    for env_id in &args.env_ids {
        for &threads in &threads {
            let libraries = [gymnasium.as_ref().map(|_| GYMNASIUM), envpool.as_ref().map(|_| ENVPOOL)];
            rows.push(measure(env_id, threads, args, libraries.into_iter().flatten())?);
        }
    }
    let text = format!(
        "{}, {}; environment steps a second; ratios by the clock and by processor time, above 1: aaren is faster\n{}",
        library("Gymnasium", gymnasium.as_ref()),
        library("EnvPool", envpool.as_ref()),
        table(&rows, 1, COLUMNS)
    );
    publish(&json!({"gymnasium": gymnasium, "envpool": envpool, "rows": rows}), &text, json)
}

fn measure(env_id: &str, threads: usize, args: &EnvArgs, libraries: impl Iterator<Item = Library>) -> Result<Row> {
    let steps = Lane::new(env_id, 0, 1000)?.steps_in(args.seconds)?;
    let mut lanes = (0..threads as u64).map(|thread| Lane::new(env_id, thread, steps)).collect::<Result<Vec<_>>>()?;
    // EnvPool has threads of its own; of Gymnasium there are as many processes.
    let mut peers = Vec::new();
    for library in libraries {
        let processes = if library == ENVPOOL { 1 } else { threads };
        peers.push((library, (0..processes).map(|_| Peer::start(library)).collect::<Result<Vec<_>>>()?));
    }
    let (mut ours, mut bare, mut theirs) = (Vec::new(), Vec::new(), vec![Vec::new(); peers.len()]);
    // The first turn warms up: peers make their environments in it.
    for turn in 0..=args.turns {
        interrupt::check()?;
        let our_slice = together(&mut lanes, Lane::play)?;
        let bare_slice = if lanes[0].bare.is_some() { Some(together(&mut lanes, Lane::play_bare)?) } else { None };
        let their_slices =
            peers.iter_mut().map(|(library, peers)| ask(*library, peers, env_id, threads, steps)).collect::<Result<Vec<_>>>()?;
        if turn > 0 {
            ours.push(our_slice);
            bare.extend(bare_slice);
            theirs.iter_mut().zip(their_slices).for_each(|(slices, slice)| slices.push(slice));
        }
    }
    let mut others = Vec::new();
    if !bare.is_empty() {
        others.push(Other::new("mj_step", &ours, &bare));
    }
    others.extend(peers.iter().zip(&theirs).map(|((library, _), slices)| Other::new(library.name, &ours, slices)));
    Ok(Row { env: env_id.into(), threads, steps_per_turn: steps * threads, aaren_steps_per_second: rates(&ours), others })
}

impl Other {
    fn new(name: &'static str, ours: &[Slice], its: &[Slice]) -> Self {
        let ratio = |rate: fn(&Slice) -> Option<f64>| {
            let ratios: Option<Vec<f64>> = ours.iter().zip(its).map(|(ours, its)| Some(rate(ours)? / rate(its)?)).collect();
            ratios.map(|ratios| median(&ratios))
        };
        Self {
            name,
            steps_per_second: rates(its),
            ratio: ratio(|slice| Some(per_second(slice))).unwrap_or(f64::NAN),
            processor_ratio: ratio(|slice| Some(slice.steps as f64 / slice.processor_seconds?)),
        }
    }
}

/// Environment steps a second over all threads.
fn rates(slices: &[Slice]) -> Spread {
    Spread::of(&slices.iter().map(per_second).collect::<Vec<_>>())
}

fn per_second(slice: &Slice) -> f64 {
    slice.steps as f64 / slice.seconds
}

/// A slice of a library, over all its processes.
fn ask(library: Library, peers: &mut [Peer], env: &str, threads: usize, steps: usize) -> Result<Slice> {
    for (seed, peer) in (SEED..).zip(peers.iter_mut()) {
        let threads = if library == ENVPOOL { threads } else { 1 };
        peer.ask(env, threads, steps, seed)?;
    }
    Ok(Slice::join(peers.iter_mut().map(Peer::answer).collect::<Result<Vec<_>>>()?))
}

/// What one thread steps: a task, the simulator below it, and the same actions for both.
struct Lane {
    env: Box<dyn Env>,
    bare: Option<Box<dyn BareSimulation>>,
    seed: u64,
    steps: usize,
    width: usize,
    /// Uniform. `[steps, width]`
    actions: Vec<f32>,
    observation: Vec<f64>,
    /// The first state of each episode, and the step that it begins at.
    starts: Vec<(usize, Vec<f64>)>,
}

impl Lane {
    fn new(env_id: &str, thread: u64, steps: usize) -> Result<Self> {
        let env = make(env_id, &Map::new())?;
        let space = &env.spec().action_space;
        ensure!(!space.is_discrete(), "{env_id} has discrete actions; this measures tasks with continuous ones");
        let (width, seed) = (space.width(), SEED + thread);
        let (mut generator, mut sample) = (Generator::from_seed(seed), vec![0.0; width]);
        let mut actions = Vec::with_capacity(steps * width);
        for _ in 0..steps {
            space.sample(&mut generator, &mut sample);
            actions.extend(sample.iter().map(|&value| value as f32));
        }
        let observation = vec![0.0; env.spec().observation_space.width()];
        let mut lane = Self { bare: bare_simulation(env_id)?, env, seed, steps, width, actions, observation, starts: vec![] };
        if lane.bare.is_some() {
            lane.starts = lane.first_states()?;
        }
        Ok(lane)
    }

    /// Steps that fill so many seconds, at least one.
    fn steps_in(&mut self, seconds: f64) -> Result<usize> {
        self.play()?;
        let started = Instant::now();
        self.play()?;
        Ok((self.steps as f64 * seconds / started.elapsed().as_secs_f64()).ceil() as usize)
    }

    fn first_states(&mut self) -> Result<Vec<(usize, Vec<f64>)>> {
        let state = |env: &dyn Env| {
            let mut state = vec![];
            env.state(&mut state).map(|()| state)
        };
        let mut starts = Vec::new();
        self.play_with(|step, env| {
            starts.push((step, state(env)?));
            Ok(())
        })?;
        Ok(starts)
    }

    fn play(&mut self) -> Result<()> {
        self.play_with(|_, _| Ok(()))
    }

    /// Calls `begun` at the first step of every episode.
    fn play_with(&mut self, mut begun: impl FnMut(usize, &dyn Env) -> Result<()>) -> Result<()> {
        self.env.reset(Some(self.seed), &mut self.observation)?;
        begun(0, &*self.env)?;
        for (step, action) in self.actions.chunks_exact(self.width).enumerate() {
            if self.env.step(Action::F32(action), &mut self.observation)?.end.is_end() {
                self.env.reset(None, &mut self.observation)?;
                begun(step + 1, &*self.env)?;
            }
        }
        Ok(())
    }

    fn play_bare(&mut self) -> Result<()> {
        let bare = self.bare.as_mut().context("there is no simulator below this task")?;
        let mut starts = self.starts.iter().peekable();
        for (step, action) in self.actions.chunks_exact(self.width).enumerate() {
            if let Some((_, state)) = starts.next_if(|(start, _)| *start == step) {
                bare.restart(state);
            }
            bare.step(action);
        }
        Ok(())
    }
}

/// Lets every lane play in a thread of its own, from a common start.
fn together(lanes: &mut [Lane], play: fn(&mut Lane) -> Result<()>) -> Result<Slice> {
    let start = Barrier::new(lanes.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = lanes
            .iter_mut()
            .map(|lane| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let (started, before) = (Instant::now(), processor_seconds());
                    play(lane)?;
                    let processor_seconds = Some(processor_seconds() - before);
                    Ok(Slice { steps: lane.steps, seconds: started.elapsed().as_secs_f64(), processor_seconds })
                })
            })
            .collect();
        let slices = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?);
        Ok(Slice::join(slices.collect::<Result<Vec<_>>>()?))
    })
}

impl Row {
    fn of<'a>(&'a self, name: &str, shown: impl Fn(&'a Other) -> String) -> String {
        or_dash(self.others.iter().find(|other| other.name == name), shown)
    }

    fn rate(&self, name: &str) -> String {
        self.of(name, |other| other.steps_per_second.to_string())
    }

    /// By the clock, and by processor time.
    fn ratios(&self, name: &str) -> String {
        let shown = |ratio: f64| format!("{ratio:.2}");
        self.of(name, |other| format!("{}, {}", shown(other.ratio), or_dash(other.processor_ratio, shown)))
    }
}
