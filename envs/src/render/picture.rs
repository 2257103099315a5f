//! Simple pictures of the tasks that have no simulator's renderer.

use serde_json::{Map, Value};

use super::canvas::Canvas;
use super::renderer::{Moment, Renderer};
use super::{bandit, cards, maze, rods, tmaze};
use crate::error::EnvError;
use crate::options::Options;
use crate::pile::DECK;
use crate::point_maze::rules;
use crate::{
    cartpole, count_recall, higher_lower, last_cue, multiarmed_bandit, passive_tmaze, pendulum, point_maze, repeat_first,
    repeat_previous, tmaze as t_maze,
};

type Draw = Box<dyn Fn(&Moment, &mut Canvas)>;

/// A simple picture of a task.
struct Picture {
    env: String,
    seconds: Option<f64>,
    /// Numbers of a state that are drawn; wrappers may add some behind.
    state_width: usize,
    draw: Draw,
    canvas: Canvas,
}

/// Draws a task of this crate as a simple picture; `None` for a task that has none.
///
/// # Errors
/// [`EnvError::Option`] as [`make`](crate::make) gives it.
pub(crate) fn picture(
    env_id: &str,
    options: &Map<String, Value>,
    width: usize,
    height: usize,
) -> Result<Option<Box<dyn Renderer>>, EnvError> {
    let count = |of, key| Options::new(env_id, of, options)?.count(key);
    let cards = |of| Ok(count(of, "decks")? as usize * DECK);
    let (seconds, state_width, draw): (Option<f64>, usize, Draw) = match env_id {
        cartpole::ID => (Some(cartpole::DT), 4, Box::new(rods::cartpole)),
        pendulum::ID => (Some(pendulum::DT), 2, Box::new(rods::pendulum)),
        point_maze::ID | "Maze2D-v1" => {
            let layout = rules::layout(&Options::new(env_id, rules::OPTIONS, options)?)?;
            (Some(rules::DT), 4, Box::new(move |moment, canvas| maze::draw(layout, moment, canvas)))
        }
        t_maze::ID => {
            let corridor = count(t_maze::OPTIONS, "corridor")? as f64;
            (None, 3, Box::new(move |moment, canvas| tmaze::draw(corridor, moment, canvas)))
        }
        passive_tmaze::ID => {
            let corridor = count(passive_tmaze::OPTIONS, "corridor")? as f64;
            (None, 3, Box::new(move |moment, canvas| tmaze::draw_passive(corridor, moment, canvas)))
        }
        last_cue::ID => {
            let (corridor, cues) = (count(last_cue::OPTIONS, "corridor")? as f64, count(last_cue::OPTIONS, "cues")? as usize);
            (None, 1 + 2 * cues, Box::new(move |moment, canvas| tmaze::draw_last_cue(corridor, cues, moment, canvas)))
        }
        repeat_previous::ID => {
            let k = count(repeat_previous::OPTIONS, "k")? as usize;
            let cards = cards(repeat_previous::OPTIONS)?;
            let asked = move |dealt: usize| dealt.checked_sub(k);
            (None, cards + 1, Box::new(move |moment, canvas| cards::repeat(asked, cards, moment, canvas)))
        }
        repeat_first::ID => {
            let cards = cards(repeat_first::OPTIONS)?;
            (None, cards + 1, Box::new(move |moment, canvas| cards::repeat(|_| Some(0), cards, moment, canvas)))
        }
        count_recall::ID => {
            let cards = cards(count_recall::OPTIONS)?;
            let kinds = count_recall::kinds(&Options::new(env_id, count_recall::OPTIONS, options)?)?;
            (None, 2 * cards + 1, Box::new(move |moment, canvas| cards::count_recall(kinds, cards, moment, canvas)))
        }
        higher_lower::ID => {
            let cards = cards(higher_lower::OPTIONS)?;
            (None, cards + 1, Box::new(move |moment, canvas| cards::higher_lower(cards, moment, canvas)))
        }
        multiarmed_bandit::ID => {
            let of = multiarmed_bandit::OPTIONS;
            let (arms, pulls) = (count(of, "arms")? as usize, count(of, "pulls")? as usize);
            (None, arms + pulls + 2, Box::new(move |moment, canvas| bandit::draw(arms, pulls, moment, canvas)))
        }
        _ => return Ok(None),
    };
    let canvas = Canvas::new(width, height)
        .ok_or_else(|| EnvError::Render { env: env_id.into(), reason: format!("an image of {width} times {height} pixels") })?;
    Ok(Some(Box::new(Picture { env: env_id.into(), seconds, state_width, draw, canvas })))
}

impl Renderer for Picture {
    fn seconds_per_step(&self) -> Option<f64> {
        self.seconds
    }

    fn render(&mut self, moment: &Moment, pixels: &mut [u8]) -> Result<(), EnvError> {
        EnvError::check_length(&self.env, "state", moment.state.len().min(self.state_width), self.state_width)?;
        EnvError::check_length(&self.env, "image", pixels.len(), self.canvas.bytes())?;
        self.canvas.clear();
        (self.draw)(moment, &mut self.canvas);
        self.canvas.copy_to(pixels);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Generator, fixtures, make, renderer, tasks};
    use serde_json::json;

    const SIZE: (usize, usize) = (160, 120);

    /// The first moments of an episode of random actions, as images.
    fn film(id: &str, options: &Map<String, Value>, steps: usize) -> Vec<Vec<u8>> {
        let mut env = make(id, options).unwrap();
        let spec = env.spec().clone();
        let mut renderer = renderer(id, options, SIZE.0, SIZE.1).unwrap();
        let (mut generator, mut observation) = (Generator::from_seed(1), vec![0.0; spec.observation_space.width()]);
        env.reset(Some(1), &mut observation).unwrap();
        let mut images = Vec::new();
        let mut moment = Moment { state: Vec::new(), action: Vec::new(), reward: 0.0 };
        for _ in 0..=steps {
            moment.state.clear();
            env.state(&mut moment.state).unwrap();
            let mut pixels = vec![0; 3 * SIZE.0 * SIZE.1];
            renderer.render(&moment, &mut pixels).unwrap();
            images.push(pixels);
            let mut action = vec![0.0; spec.action_space.width()];
            let step = if spec.action_space.is_discrete() {
                let index = spec.action_space.sample_index(&mut generator);
                moment.action = vec![index as f64];
                env.step(Action::Discrete(index), &mut observation).unwrap()
            } else {
                spec.action_space.sample(&mut generator, &mut action);
                moment.action.clone_from(&action);
                env.step(Action::F64(&action), &mut observation).unwrap()
            };
            moment.reward = step.reward;
        }
        images
    }

    #[test]
    fn every_task_that_can_be_made_here_is_drawn_and_moves() {
        let ours = tasks().into_iter().filter(|task| task.missing().is_none() && !task.id.starts_with("test/"));
        for task in ours.filter(|task| task.feature.is_none() || task.id == "Maze2D-v1") {
            for options in [json!({}), json!({"reward_delay": 5})] {
                let images = film(task.id, &fixtures::options(options), 6);
                assert!(images[0].iter().any(|&byte| byte != images[0][0]), "{}: an empty image", task.id);
                assert!(images[0] != images[6], "{}: nothing moves", task.id);
            }
        }
    }

    #[test]
    fn other_states_and_images_are_refused() {
        let mut renderer = renderer("Pendulum-v1", &Map::new(), 40, 30).unwrap();
        let moment = |state: &[f64]| Moment { state: state.to_vec(), action: vec![], reward: 0.0 };
        assert!(matches!(renderer.render(&moment(&[0.0]), &mut [0; 3600]), Err(EnvError::Shape { .. })));
        assert!(matches!(renderer.render(&moment(&[0.0, 0.0]), &mut [0; 3599]), Err(EnvError::Shape { .. })));
        renderer.render(&moment(&[0.0, 0.0]), &mut [0; 3600]).unwrap();
        // Numbers beyond all measure, as a hand-made state may have them, are drawn somewhere else.
        renderer.render(&moment(&[1e300, 0.0]), &mut [0; 3600]).unwrap();
    }
}
