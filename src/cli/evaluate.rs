//! `aaren evaluate`.

use super::args::show;
use aaren_agents::jobs::{EvaluateRequest, Prepared};
use aaren_agents::play::{SavedPolicy, Video, VideoOptions, bounded_caches, evaluate_and_keep, evaluate_caches};
use aaren_agents::run::{RunDir, check_json_file, log_video, progress, report, write_json_atomically, write_json_output};
use aaren_envs::Moment;
use aaren_policy::mixer::CachePolicy;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Serialize;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Bytes of an evaluation's name, at most: with its ending and on its way to the disk it must be a name that file systems take.
const LONGEST_NAME: usize = 160;

#[derive(Debug, Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    request: EvaluateRequest,
    /// Play the same episodes with every kind of bounded cache of each of these sizes, in entries, and with the full one; `aaren
    /// compare` then shows them
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', conflicts_with_all = ["cache", "video"])]
    cache_sizes: Vec<usize>,
    /// Where to write the report [default: in the run folder evaluations/ and what was changed, with --cache-sizes
    /// evaluation-caches.json]; without a file, print it as JSON in place of a table
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    json: Option<Option<PathBuf>>,
    /// Also write the first episode of the table as a video: GIF, or animated PNG without loss of colour
    #[arg(long, value_name = "FILE.gif|FILE.png")]
    video: Option<PathBuf>,
    /// Size of the video in pixels
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "480x360", value_parser = parse_size, requires = "video")]
    video_size: (usize, usize),
    /// Frames a second of the video, at most; a task without a clock makes as many steps a second [default: 25, or 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=50), requires = "video")]
    video_fps: Option<u16>,
    /// Steps of the episode that the video shows, at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), requires = "video")]
    video_steps: Option<u64>,
}

pub fn run(args: &EvaluateArgs) -> Result<()> {
    args.cache_sizes.iter().try_for_each(|&entries| bounded_caches(entries).map(drop))?;
    if let Some(prepared) = args.request.prepare_sequences()? {
        let plays = args.video.is_some() || !args.cache_sizes.is_empty();
        ensure!(
            !plays,
            "{} is a model of sequences and plays no episodes; leave out --video and --cache-sizes",
            args.request.policy.display()
        );
        let (report_to, report) = (args.report_to(&prepared.saved)?, prepared.evaluate()?);
        return args.tell(&report, report_to, |run| run.write_evaluation(&args.name(prepared.saved.step), &report));
    }
    let Prepared { saved, policy, evaluation } = args.request.prepare()?;
    // What cannot be written shows before the episodes are played.
    let report_to = args.report_to(&saved)?;
    if !args.cache_sizes.is_empty() {
        let report = evaluate_caches(&policy, &saved.name, saved.step, &args.cache_sizes, &evaluation)?;
        let in_run = |run: &RunDir| {
            let path = run.path().join("evaluation-caches.json");
            write_json_atomically(&path, &report).map(|()| path)
        };
        return args.tell(&report, report_to, in_run);
    }
    // What a video lacks shows before the episodes are played.
    let options = VideoOptions { size: args.video_size, frame_rate: args.video_fps, steps: args.video_steps };
    let video = args.video.as_deref().map(|path| Video::new(path, &evaluation.env, options)).transpose()?;
    let (report, moments) = evaluate_and_keep(&policy, &saved.name, saved.step, &evaluation, video.is_some())?;
    let told = args.tell(&report, report_to, |run| run.write_evaluation(&args.name(saved.step), &report));
    let drawn = video.map_or(Ok(()), |mut video| args.draw(&mut video, &moments, &saved));
    told.and(drawn)
}

/// Where a report goes, beside what is printed.
enum ReportTo<'a> {
    Nowhere,
    File(&'a Path),
    Run(&'a RunDir),
}

impl EvaluateArgs {
    /// Whether the report is printed as JSON.
    fn prints_json(&self) -> bool {
        matches!(self.json, Some(None)) || self.is_to_stdout()
    }

    fn is_to_stdout(&self) -> bool {
        self.json.as_ref().is_some_and(|path| path.as_deref() == Some(Path::new("/dev/stdout")))
    }

    /// Where the report goes: a look whether it can be written there, too.
    fn report_to<'a>(&'a self, saved: &'a SavedPolicy) -> Result<ReportTo<'a>> {
        match (&self.json, &saved.run) {
            _ if self.is_to_stdout() => Ok(ReportTo::Nowhere),
            (Some(Some(path)), _) => {
                check_json_file(path, &["format", "checkpoint_step"]).context("--json")?;
                Ok(ReportTo::File(path))
            }
            (_, None) => Ok(ReportTo::Nowhere),
            (printed, Some(run)) => match run.check_evaluations() {
                Ok(()) => Ok(ReportTo::Run(run)),
                // It is printed whole.
                Err(error) if printed.is_some() => {
                    progress::say(&format!("warning: {error:#}; the report is printed and not kept in the run"));
                    Ok(ReportTo::Nowhere)
                }
                Err(error) => {
                    let text = format!("{error:#}");
                    bail!("{text}; --json FILE writes the report to a file elsewhere, --json alone prints it")
                }
            },
        }
    }

    /// Prints a report, and writes it to where it goes; it is printed even if it cannot be written, for it may have taken hours.
    fn tell<R: Serialize + Display>(
        &self,
        report: &R,
        to: ReportTo<'_>,
        in_run: impl FnOnce(&RunDir) -> Result<PathBuf>,
    ) -> Result<()> {
        let shown = show(self.prints_json(), report, || report.to_string());
        let written = match to {
            ReportTo::Nowhere => None,
            ReportTo::File(path) => write_json_output(path, report).map(|()| Some(path.to_path_buf()))?,
            ReportTo::Run(run) => Some(in_run(run)?),
        };
        shown?;
        written.map_or(Ok(()), |path| self.say(&format!("wrote {}", path.display())))
    }

    /// Draws the video of an episode, and adds it to the log of the run.
    fn draw(&self, video: &mut Video, moments: &[Moment], saved: &SavedPolicy) -> Result<()> {
        self.say(&video.write(moments)?)?;
        if let (Some(path), Some(run)) = (&self.video, &saved.run)
            && let Err(error) = log_video(run.path(), saved.step, path)
        {
            progress::say(&format!("warning: {error:#}; TensorBoard will not show the video"));
        }
        Ok(())
    }

    /// Says a line beside the report: on stdout, where that holds a table, else on stderr, since stdout is JSON and nothing else.
    fn say(&self, line: &str) -> Result<()> {
        if !self.prints_json() {
            return report::print(line);
        }
        progress::say(line);
        Ok(())
    }

    /// Names an evaluation by what was changed.
    fn name(&self, step: u64) -> String {
        let list = |targets: &[f64]| targets.iter().map(f64::to_string).collect::<Vec<_>>().join("-");
        let EvaluateRequest { env, env_options, seed, episodes, execution, cache, stochastic, target_returns, .. } =
            &self.request;
        let cache = cache.filter(|cache| *cache != CachePolicy::Full);
        let parts = [
            Some(format!("step-{step}")),
            env.as_ref().map(|id| format!("env-{}", id.replace('/', "-"))),
            (!env_options.is_empty()).then(|| env_options.join("-").replace(['=', '/'], "-")),
            seed.map(|seed| format!("seed-{seed}")),
            episodes.map(|episodes| format!("episodes-{episodes}")),
            execution.map(|execution| execution.to_string()),
            cache.map(|cache| format!("cache-{}", cache.to_string().replace([':', ' '], "-"))),
            stochastic.then(|| "stochastic".into()),
            (!target_returns.is_empty()).then(|| format!("targets-{}", list(target_returns))),
        ];
        report::short_name(&parts.into_iter().flatten().collect::<Vec<_>>().join("-"), LONGEST_NAME).into_owned()
    }
}

fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let size = text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let is_usual = |&(width, height): &(usize, usize)| [width, height].iter().all(|side| (16..=2048).contains(side));
    size.filter(is_usual).ok_or_else(|| "expected a width and a height from 16 to 2048, such as 640x480".into())
}
