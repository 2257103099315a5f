//! Trained weights in policies with other mixers.

use crate::common::*;
use aaren_kernels::Dropout;
use aaren_policy::{ActionSpec, ActionValue, DecisionNetwork, Description, PolicyError, Timesteps, transfer::transfer_weights};
use burn::backend::{Autodiff, Flex};
use burn::module::Module;
use burn::tensor::Tensor;
use burn_store::ModuleSnapshot;

type Graph = Autodiff<Flex>;
type Network = DecisionNetwork<Graph>;

fn network(description: &Description, seed: u64) -> Network {
    Network::new(description, seed, &Default::default()).unwrap()
}

fn with_rows(rows: usize) -> Description {
    let mut description = description("performer");
    description.config.options.performer.rows = rows;
    description
}

/// A Transformer whose attention is far from uniform.
fn transformer() -> Network {
    network(&description("transformer"), 3).map(&mut Times(4.0))
}

struct Times(f64);

impl burn::module::ModuleMapper<Graph> for Times {
    fn map_float<const D: usize>(
        &mut self,
        param: burn::module::Param<Tensor<Graph, D>>,
    ) -> burn::module::Param<Tensor<Graph, D>> {
        param.map(|tensor| (tensor * self.0).detach().require_grad())
    }
}

/// Outputs for an episode.
fn outputs(network: &Network) -> Vec<f64> {
    let description = description("transformer");
    let mut timesteps = Timesteps::new();
    let numbers_of = random(12 * 8, 5);
    for (t, numbers) in numbers_of.chunks_exact(8).enumerate() {
        let action = [numbers[6] as f32, numbers[7] as f32];
        let previous = (t > 0).then_some(ActionValue::Continuous(&action));
        timesteps.push(&description, &numbers[..5], previous, 3.0 * numbers[5], t, t == 0);
    }
    let inputs = timesteps.to_tensors::<Graph>(1, description.config.tokens, &Default::default());
    let state = network.backbone().initial_state(1, &Default::default());
    numbers(network.forward(&inputs, state, Dropout::OFF).0)
}

fn error(found: &[f64], expected: &[f64]) -> f64 {
    let squares: f64 = found.iter().zip(expected).map(|(a, b)| (a - b).powi(2)).sum();
    (squares / expected.iter().map(|x| x * x).sum::<f64>()).sqrt()
}

#[test]
fn a_performer_with_many_features_approaches_the_transformer_that_it_was() {
    let trained = transformer();
    let expected = outputs(&trained);
    // Mean over draws of the features.
    let distance = |rows: usize| {
        let of_draw = |seed: u64| {
            let (performer, transfer) = transfer_weights(&trained, network(&with_rows(rows), seed)).unwrap();
            assert_eq!(
                transfer.drawn,
                ["backbone.blocks.0.mixer.features.projection", "backbone.blocks.1.mixer.features.projection"]
            );
            assert_eq!(transfer.transferred.len(), trained.collect(None, None, true).len());
            error(&outputs(&performer), &expected)
        };
        (0..4).map(of_draw).sum::<f64>() / 4.0
    };
    let distances = [4, 64, 1024].map(distance);
    println!("distance from the Transformer's outputs with 4, 64 and 1,024 rows: {distances:.4?}");
    assert!(distances[1] < 0.7 * distances[0] && distances[2] < 0.7 * distances[1], "{distances:?}");
    // Slowly, where scores are as large as here.
    assert!(distances[2] < 0.06, "{distances:?}");
    let drawn = error(&outputs(&network(&with_rows(1024), 0)), &expected);
    assert!(drawn > 5.0 * distances[2], "other weights are as near: {drawn}");
}

#[test]
fn a_window_that_holds_the_episode_is_the_transformer_that_it_was_and_so_is_the_way_back() {
    let trained = transformer();
    let mut window = description("window");
    (window.config.options.window.tokens, window.config.options.window.rotary) = (36, false);
    let (window, transfer) = transfer_weights(&trained, network(&window, 9)).unwrap();
    assert!(transfer.drawn.is_empty());
    assert!(error(&outputs(&window), &outputs(&trained)) < 1e-5);
    // A Performer's features have no place in a Transformer, and are left out.
    let (performer, _) = transfer_weights(&trained, network(&with_rows(8), 1)).unwrap();
    let (back, transfer) = transfer_weights(&performer, network(&description("transformer"), 8)).unwrap();
    assert!(transfer.drawn.is_empty());
    assert_eq!(outputs(&back), outputs(&trained));
    // Between Performers they are transferred.
    let (again, transfer) = transfer_weights(&performer, network(&with_rows(8), 7)).unwrap();
    assert!(transfer.drawn.is_empty());
    assert_eq!(outputs(&again), outputs(&performer));
}

#[test]
fn parameters_that_do_not_match_are_named() {
    let refused = |description: Description| {
        let error =
            transfer_weights(&transformer(), network(&description, 1)).map(drop).expect_err("parameters that do not match");
        assert!(matches!(error, PolicyError::Transfer(_)));
        error.to_string()
    };
    let text = refused(description("lstm"));
    for words in
        ["the new policy has no \"backbone.blocks.0.mixer.query.weight\"", "the trained policy has no \"backbone", "more"]
    {
        assert!(text.contains(words), "{text} lacks {words}");
    }
    let mut wider = description("performer");
    wider.config.feed_forward = 36;
    assert!(refused(wider).contains("\"backbone.blocks.0.up.weight\", [21, 35] and not [21, 36]"));
    let mut deeper = description("performer");
    deeper.config.layers = 3;
    assert!(refused(deeper).contains("the trained policy has no \"backbone.blocks.2"));
    let mut actions = description("performer");
    actions.action = ActionSpec::Discrete { n: 4, start: 0 };
    assert!(refused(actions).contains("of another shape"));
}
