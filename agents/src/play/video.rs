//! An episode as a video: an animated GIF or PNG, drawn from what it went through.

use super::animated_png::AnimatedPng;
use crate::config::EnvConfig;
use crate::run::progress::Progress;
use crate::run::{check_signed_file, interrupt};
use aaren_envs::{Moment, Renderer};
use anyhow::{Context, Result, bail, ensure};
use gif::{Encoder, Frame, Repeat};
use std::path::{Path, PathBuf};

/// Frames a second where nothing else is asked for.
const FRAME_RATE: u16 = 25;

/// Steps a second of a task without a clock, where nothing else is asked for.
const STEP_RATE: u16 = 4;

/// How much effort goes into a frame's palette, from 1 (best) to 30 (fastest).
const PALETTE_SPEED: i32 = 10;

/// What a video is to be like.
#[derive(Clone, Copy, Debug)]
pub struct VideoOptions {
    /// Pixels: width and height.
    pub size: (usize, usize),
    /// Frames a second, at most: there is one after every whole number of steps. Of a task without a clock, steps a second.
    pub frame_rate: Option<u16>,
    /// Steps that are shown, at most.
    pub steps: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Gif,
    Png,
}

/// A video that is to be made.
///
/// ```
/// use aaren_agents::{config::OfflineJob, play::{Video, VideoOptions}};
///
/// let options = VideoOptions { size: (64, 48), frame_rate: None, steps: None };
/// let refused = Video::new("clip.mp4".as_ref(), OfflineJob::quickstart(&[])?.task()?, options).err().unwrap();
/// assert!(refused.to_string().contains("name it clip.gif"));
/// # Ok::<(), anyhow::Error>(())
/// ```
pub struct Video {
    path: PathBuf,
    format: Format,
    options: VideoOptions,
    renderer: Box<dyn Renderer>,
}

impl Video {
    /// Prepares a video of a task, so that what is missing shows before any episode is played.
    ///
    /// # Errors
    /// A file that is neither `.gif` nor `.png` or cannot be written, or a task that cannot be drawn here.
    pub fn new(path: &Path, env: &EnvConfig, options: VideoOptions) -> Result<Self> {
        let format = match path.extension().unwrap_or_default().to_string_lossy().to_lowercase().as_str() {
            "gif" => Format::Gif,
            "png" | "apng" => Format::Png,
            _ => {
                let (gif, png) = (path.with_extension("gif"), path.with_extension("png"));
                let convert = format!("ffmpeg -i {} -pix_fmt yuv420p {}", png.display(), path.with_extension("mp4").display());
                bail!(
                    "--video: cannot make {}: videos are animated GIFs or PNGs; name it {} or {} (`{convert}` makes an MP4 of that)",
                    path.display(),
                    gif.display(),
                    png.display()
                )
            }
        };
        match format {
            Format::Gif => check_signed_file(path, "a GIF", b"GIF8"),
            Format::Png => check_signed_file(path, "a PNG", b"\x89PNG\r\n\x1a\n"),
        }
        .context("--video")?;
        let (width, height) = options.size;
        let renderer = aaren_envs::renderer(&env.id, &env.options, width, height).context("--video")?;
        Ok(Self { path: path.into(), format, options, renderer })
    }

    /// Draws an episode and writes it; says so in one line.
    ///
    /// # Errors
    /// A state that cannot be drawn, a file that cannot be written, or an interrupt.
    pub fn write(&mut self, moments: &[Moment]) -> Result<String> {
        ensure!(!moments.is_empty(), "--video: nothing of the episode was kept");
        let _steps = interrupt::Steps::new();
        let (stride, seconds) = self.pace();
        let steps = moments.len().saturating_sub(1);
        let shown = self.options.steps.map_or(steps, |most| steps.min(usize::try_from(most).unwrap_or(usize::MAX)));
        let mut drawn: Vec<&Moment> = moments[..=shown.min(steps)].iter().step_by(stride).collect();
        // The end shows how it went.
        if !shown.is_multiple_of(stride) {
            drawn.push(&moments[shown]);
        }
        let progress = Progress::new(drawn.len() as u64, "drawing");
        let encoded = match self.format {
            Format::Gif => self.gif(&drawn, seconds, &progress),
            Format::Png => self.png(&drawn, seconds, &progress),
        };
        progress.finish();
        crate::run::write_output(&self.path, &encoded?)?;
        let episode_return: f64 = moments[..=shown].iter().map(|moment| moment.reward).sum();
        let of = if shown < steps { format!("the first {shown} of {steps} steps") } else { format!("{steps} steps") };
        Ok(format!("video: {}, {} frames; {of}, return {episode_return:.1}", self.path.display(), drawn.len()))
    }

    /// Steps from frame to frame, and the seconds that a frame is shown.
    fn pace(&self) -> (usize, f64) {
        match self.renderer.seconds_per_step() {
            Some(seconds) => {
                let stride = (1.0 / (f64::from(self.options.frame_rate.unwrap_or(FRAME_RATE)) * seconds)).round().max(1.0);
                (stride as usize, stride * seconds)
            }
            None => (1, 1.0 / f64::from(self.options.frame_rate.unwrap_or(STEP_RATE))),
        }
    }

    /// Draws one frame after the other into `image`.
    fn frames(&mut self, moments: &[&Moment], progress: &Progress, mut encode: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut image = vec![0; 3 * self.options.size.0 * self.options.size.1];
        for moment in moments {
            interrupt::check()?;
            self.renderer.render(moment, &mut image)?;
            encode(&image)?;
            progress.inc(1);
        }
        Ok(())
    }

    fn gif(&mut self, moments: &[&Moment], seconds: f64, progress: &Progress) -> Result<Vec<u8>> {
        let mut encoded = Vec::new();
        let (width, height) = (self.options.size.0 as u16, self.options.size.1 as u16);
        let mut encoder = Encoder::new(&mut encoded, width, height, &[])?;
        encoder.set_repeat(Repeat::Infinite)?;
        self.frames(moments, progress, |image| {
            let mut frame = Frame::from_rgb_speed(width, height, image, PALETTE_SPEED);
            // In hundredths of a second.
            frame.delay = (100.0 * seconds).round() as u16;
            Ok(encoder.write_frame(&frame)?)
        })?;
        drop(encoder);
        Ok(encoded)
    }

    fn png(&mut self, moments: &[&Moment], seconds: f64, progress: &Progress) -> Result<Vec<u8>> {
        let mut encoder = AnimatedPng::new(self.options.size, moments.len(), (1000.0 * seconds).round() as u16);
        self.frames(moments, progress, |image| Ok(encoder.frame(image)?))?;
        Ok(encoder.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(path: &Path, env_id: &str, options: VideoOptions) -> Result<Video> {
        Video::new(path, &EnvConfig { id: env_id.into(), options: Default::default() }, options)
    }

    const SMALL: VideoOptions = VideoOptions { size: (64, 48), frame_rate: None, steps: None };

    fn error(path: &str, env_id: &str) -> String {
        format!("{:#}", video(Path::new(path), env_id, SMALL).err().expect("an error"))
    }

    #[test]
    fn other_files_and_other_tasks_are_refused() {
        let refused = error("clip.mp4", "TMaze-v0");
        assert!(refused.contains("name it clip.gif or clip.png") && refused.contains("ffmpeg -i clip.png"), "{refused}");
        assert!(error("clip", "TMaze-v0").contains("name it clip.gif"));
        let folder = tempfile::tempdir().unwrap();
        let notes = folder.path().join("notes.png");
        std::fs::write(&notes, "notes").unwrap();
        assert!(error(notes.to_str().unwrap(), "TMaze-v0").contains("is not a PNG, so it is not replaced"));
        assert!(error("no/clip.gif", "TMaze-v0").contains("there is no folder no"));
        assert!(error("clip.gif", "Own-v0").starts_with("--video: Own-v0 does not support rendering"));
    }

    fn swing(steps: usize) -> Vec<Moment> {
        let moment = |step: usize| Moment { state: vec![0.3 * step as f64, 0.0], action: vec![1.0], reward: -1.0 };
        (0..=steps).map(moment).collect()
    }

    #[test]
    fn an_episode_becomes_a_gif_of_the_size_rate_and_length_that_were_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("swing.gif");
        // Steps are 50 ms apart.
        let options = VideoOptions { frame_rate: Some(10), steps: Some(5), ..SMALL };
        let line = video(&path, "Pendulum-v1", options).unwrap().write(&swing(11)).unwrap();
        assert!(line.ends_with("swing.gif, 4 frames; the first 5 of 11 steps, return -6.0"), "{line}");
        let mut decoder = gif::Decoder::new(std::fs::File::open(&path).unwrap()).unwrap();
        assert_eq!((decoder.width(), decoder.height()), (64, 48));
        let mut frames = vec![];
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            assert_eq!(frame.delay, 10);
            frames.push(frame.buffer.to_vec());
        }
        assert_eq!(frames.len(), 4);
        assert!(frames[0] != frames[3], "nothing moves");
    }

    #[test]
    fn an_episode_becomes_an_animated_png() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("swing.png");
        let line = video(&path, "Pendulum-v1", SMALL).unwrap().write(&swing(3)).unwrap();
        assert!(line.ends_with("swing.png, 4 frames; 3 steps, return -4.0"), "{line}");
        let png = std::fs::read(&path).unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n") && png.windows(4).filter(|kind| *kind == b"fdAT").count() == 3);
    }
}
