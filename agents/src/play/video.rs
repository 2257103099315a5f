//! An episode as a video: a GIF of a robot, drawn from the states that it went through.

use crate::device::Cpu;
use crate::play::episodes::PlayedEpisode;
use crate::play::evaluate::{Evaluation, play_with_policy};
use crate::run::interrupt;
use aaren_envs::{Action, Env, EnvError, Renderer, Spec, Step};
use aaren_policy::AnyPolicy;
use anyhow::{Context, Result, ensure};
use gif::{Encoder, Frame, Repeat};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Pixels of a frame.
const WIDTH: usize = 480;
const HEIGHT: usize = 360;

/// Simulated seconds from frame to frame, about; a frame is drawn after whole environment steps.
const SECONDS_PER_FRAME: f64 = 0.04;

/// How much effort goes into a frame's palette, from 1 (best) to 30 (fastest).
const PALETTE_SPEED: i32 = 10;

/// A video that is to be made.
///
/// ```
/// use aaren_agents::play::Video;
///
/// let refused = Video::new("clip.mp4".as_ref(), "Hopper-v5").err().unwrap();
/// assert!(refused.to_string().contains("give it the extension .gif"));
/// ```
pub struct Video {
    path: PathBuf,
    renderer: Box<dyn Renderer>,
}

impl Video {
    /// Prepares a video of a task, so that what is missing shows before any episode is played.
    ///
    /// # Errors
    /// A file that is not called `.gif`, or a task that cannot be drawn here.
    pub fn new(path: &Path, env_id: &str) -> Result<Self> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        ensure!(extension == "gif", "--video: {} is to be a GIF; give it the extension .gif", path.display());
        let renderer = aaren_envs::renderer(env_id, WIDTH, HEIGHT).context("--video")?;
        Ok(Self { path: path.into(), renderer })
    }

    /// Plays the first episode of an evaluation, on one thread, writes it, and says so in one line.
    ///
    /// # Errors
    /// An environment that fails, a file that cannot be written, or an interrupt.
    pub fn record(&mut self, policy: &AnyPolicy<Cpu>, evaluation: &Evaluation) -> Result<String> {
        let alone = Evaluation { actors: 1, envs_per_actor: 1, ..evaluation.clone() };
        let states = Arc::new(Mutex::new(Vec::new()));
        let make = || {
            let env = evaluation.make_env()?;
            Ok(Box::new(Recorder { env, states: states.clone() }) as Box<dyn Env>)
        };
        let episodes = play_with_policy(policy, &alone.starts()[..1], &alone, &make, |_| ())?;
        let states = std::mem::take(&mut *states.lock().unwrap_or_else(PoisonError::into_inner));
        let frames = self.draw(&states)?;
        let PlayedEpisode { length, episode_return, .. } = &episodes[0];
        Ok(format!("video: {}, {frames} frames; {length} steps, return {episode_return:.1}", self.path.display()))
    }

    fn draw(&mut self, states: &[Vec<f64>]) -> Result<usize> {
        let seconds = self.renderer.seconds_per_step();
        let stride = (SECONDS_PER_FRAME / seconds).round().max(1.0);
        let mut image = vec![0; 3 * WIDTH * HEIGHT];
        let mut encoded = Vec::new();
        let mut encoder = Encoder::new(&mut encoded, WIDTH as u16, HEIGHT as u16, &[])?;
        encoder.set_repeat(Repeat::Infinite)?;
        let mut frames = 0;
        for state in states.iter().step_by(stride as usize) {
            interrupt::check()?;
            self.renderer.render(state, &mut image)?;
            let mut frame = Frame::from_rgb_speed(WIDTH as u16, HEIGHT as u16, &image, PALETTE_SPEED);
            // In hundredths of a second.
            frame.delay = (100.0 * stride * seconds).round() as u16;
            encoder.write_frame(&frame)?;
            frames += 1;
        }
        drop(encoder);
        crate::run::write_output(&self.path, &encoded)?;
        Ok(frames)
    }
}

/// An environment that writes down the states it goes through.
struct Recorder {
    env: Box<dyn Env>,
    states: Arc<Mutex<Vec<Vec<f64>>>>,
}

impl Recorder {
    fn note(&self) -> Result<(), EnvError> {
        let mut state = Vec::new();
        self.env.state(&mut state)?;
        self.states.lock().unwrap_or_else(PoisonError::into_inner).push(state);
        Ok(())
    }
}

impl Env for Recorder {
    fn spec(&self) -> &Spec {
        self.env.spec()
    }

    fn reset(&mut self, seed: Option<u64>, observation: &mut [f64]) -> Result<(), EnvError> {
        self.env.reset(seed, observation)?;
        self.note()
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Step, EnvError> {
        let step = self.env.step(action, observation)?;
        self.note()?;
        Ok(step)
    }

    fn info(&self, visit: &mut dyn FnMut(&'static str, f64)) {
        self.env.info(visit)
    }

    fn state(&self, state: &mut Vec<f64>) -> Result<(), EnvError> {
        self.env.state(state)
    }

    fn qpos_width(&self) -> Option<usize> {
        self.env.qpos_width()
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        self.env.set_state(state, observation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(path: &str, env_id: &str) -> String {
        format!("{:#}", Video::new(Path::new(path), env_id).err().expect("an error"))
    }

    #[test]
    fn other_files_and_other_tasks_are_refused() {
        assert_eq!(error("clip.mp4", "TMaze-v0"), "--video: clip.mp4 is to be a GIF; give it the extension .gif");
        assert!(error("clip", "TMaze-v0").contains("clip is to be a GIF"));
        assert!(error("clip.gif", "TMaze-v0").starts_with("--video: TMaze-v0 does not support rendering"));
    }

    #[cfg(feature = "mujoco")]
    #[test]
    fn an_episode_becomes_a_gif() {
        use crate::{config::EnvConfig, device::CPU, play::spaces::action_spec};
        use aaren_policy::mixer::CachePolicy;
        use aaren_policy::{DecisionNetwork, DecisionPolicy, Description, Normalizer, PolicyConfig};

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hop.gif");
        let mut video = match Video::new(&path, "Hopper-v5") {
            Ok(video) => video,
            Err(error) => return println!("skipped: {error:#}"),
        };
        let serde_json::Value::Object(env_options) = serde_json::json!({"max_episode_steps": 11}) else { unreachable!() };
        let description = Description {
            format: Description::FORMAT,
            config: PolicyConfig { width: 8, heads: 2, layers: 1, ..PolicyConfig::default() },
            normalizer: Normalizer::identity(11),
            action: action_spec(&aaren_envs::make("Hopper-v5", &env_options).unwrap().spec().action_space),
            environment: serde_json::Value::Null,
        };
        let network = DecisionNetwork::new(&description, 1, &CPU).unwrap();
        let policy = AnyPolicy::Decision(DecisionPolicy { network, description });
        let evaluation = Evaluation {
            env: EnvConfig { id: "Hopper-v5".into(), options: env_options },
            data: String::new(),
            target_returns: vec![Some(100.0), Some(200.0)],
            episodes: 1,
            seed: 3,
            actors: 2,
            envs_per_actor: 2,
            window: None,
            cache: CachePolicy::Full,
            stochastic: false,
            latency_steps: None,
        };
        let line = video.record(&policy, &evaluation).unwrap();
        // The first state and those after steps 5 and 10, 40 ms apart.
        assert!(line.contains("hop.gif, 3 frames; 11 steps"), "{line}");
        let mut decoder = gif::Decoder::new(std::fs::File::open(&path).unwrap()).unwrap();
        assert_eq!((usize::from(decoder.width()), usize::from(decoder.height())), (WIDTH, HEIGHT));
        let mut frames = vec![];
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            assert_eq!(frame.delay, 4);
            frames.push(frame.buffer.to_vec());
        }
        assert_eq!(frames.len(), 3);
        assert!(frames[0] != frames[2], "nothing moves");
    }
}
