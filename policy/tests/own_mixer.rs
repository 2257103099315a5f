//! A mixer that this crate does not know obeys the same laws, and is trained, stored and run like those it does know.

mod common;

use aaren_kernels::{Dropout, KernelBackend, gated_recurrence};
use aaren_policy::mixer::{AnyMixer, Mixer, MixerFamily, MixerOptions, Sizes, register};
use aaren_policy::state::tensor_state;
use aaren_policy::{DecisionNetwork, Init, PolicyError, Reset, checkpoint};
use burn::backend::{Autodiff, Flex};
use burn::module::{AutodiffModule, Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, activation};
use common::{laws::*, *};
use serde::{Deserialize, Serialize};

type Cpu = Flex;
type Graph = Autodiff<Flex>;

/// An exponential moving average with a learned rate for every channel: `m_t = k m_{t-1} + (1 - k) x_t`, `k = sigmoid(rate)`.
#[derive(Module, Debug)]
struct Average<B: Backend> {
    /// `[width]`
    rate: Param<Tensor<B, 1>>,
}

tensor_state! {
    /// The average so far, `[batch, width]`.
    AverageState { mean: 2 }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AverageOptions {
    /// The largest rate before training.
    rate: f32,
}

impl Default for AverageOptions {
    fn default() -> Self {
        Self { rate: 0.2 }
    }
}

impl MixerOptions for AverageOptions {
    fn check(&self) -> Result<(), PolicyError> {
        if self.rate > 0.0 {
            return Ok(());
        }
        Err(PolicyError::Size {
            key: "options.custom.average.rate",
            problem: format!("{}, expected a positive number", self.rate),
        })
    }
}

impl<B: KernelBackend> Mixer<B> for Average<B> {
    type State = AverageState<B>;
    type Options = AverageOptions;

    fn new(sizes: Sizes, options: &AverageOptions, init: &mut Init, device: &B::Device) -> Self {
        Self { rate: init.uniform([sizes.width], options.rate, device) }
    }

    fn initial_state(&self, batch: usize, device: &B::Device) -> AverageState<B> {
        AverageState { mean: Tensor::zeros([batch, self.rate.dims()[0]], device) }
    }

    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: AverageState<B>, _: Dropout) -> (Tensor<B, 3>, AverageState<B>) {
        let [batch, time, width] = x.dims();
        let kept = activation::sigmoid(self.rate.val()).reshape([1, 1, width]).expand([batch, time, width]);
        let y = gated_recurrence(kept.clone(), x.clone() - kept * x, reset.tensor(), state.mean);
        let mean = y.clone().slice([0..batch, time - 1..time]).reshape([batch, width]);
        (y, AverageState { mean })
    }

    fn no_decay(&self) -> Vec<burn::module::ParamId> {
        vec![self.rate.id]
    }
}

struct Averages;

impl MixerFamily for Averages {
    type Mixer<B: KernelBackend> = Average<B>;
}

/// Its name, known from now on.
fn average() -> &'static str {
    register::<Averages>("average", "Exponential moving average: 4 width bytes a layer").unwrap();
    "average"
}

const LAWS: Laws = Laws {
    batch: 3,
    rounding: 1e-5,
    sequences: &[(1, 0, true), (31, 7, true), (257, 40, false)],
    pieces: &[&[1], &[10], &[1, 2, 30, 5]],
    passes: &[44, 1, 30],
    growing: (300, 3),
    constant: (3_000, 300),
};

#[test]
fn it_obeys_the_laws() {
    let name = average();
    LAWS.any_split_gives_the_outputs_of_one_pass::<Cpu>(name);
    LAWS.any_split_gives_the_gradients_of_one_pass::<Graph>(name);
    LAWS.a_token_changes_no_output_before_it::<Cpu>(name, &[(9, 4), (97, 0), (97, 96)]);
    LAWS.a_reset_gives_what_a_fresh_sequence_gives::<Cpu>(name, &[(1, 0), (13, 12), (131, 77)]);
    LAWS.the_state_is_as_large_as_documented::<Cpu>(name);
    LAWS.a_stored_state_goes_on_as_the_state_itself::<Cpu>(name);
    LAWS.cloning_a_state_forks_it::<Cpu>(name);
    LAWS.rows_of_a_batch_do_not_see_each_other::<Cpu>(name);
}

#[test]
fn its_parameters_are_trained_and_follow_it_to_the_other_backend() {
    let pass = Pass::new::<Graph>(average(), 2, &[5, 6], Dropout::OFF);
    assert_eq!(pass.of_parameters.len(), WIDTH);
    assert!(pass.of_parameters.iter().all(|gradient| gradient.abs() > 1e-6), "{:?}", pass.of_parameters);

    let graph = mixer::<Graph>(average(), 4);
    let inner = graph.valid();
    let rates = |mixer: AnyMixer<Cpu>| mixer.into_record();
    let back = AnyMixer::<Graph>::from_inner(inner.clone()).valid();
    let other = mixer::<Cpu>(average(), 5).load_record(rates(inner.clone()));
    let x = random_tensor::<Cpu, 3>([2, 7, WIDTH], 1);
    let reset = Reset::none(2, 7, &Default::default());
    let run = |mixer: &AnyMixer<Cpu>| {
        numbers(mixer.forward(x.clone(), &reset, mixer.initial_state(2, &Default::default()), Dropout::OFF).0)
    };
    let reset = Reset::none(2, 7, &Default::default());
    let state = graph.initial_state(2, &Default::default());
    let expected = numbers(graph.forward(Tensor::from_inner(x.clone()), &reset, state, Dropout::OFF).0);
    for mixer in [&inner, &back, &other] {
        assert_eq!(run(mixer), expected);
    }
}

#[test]
fn a_policy_with_it_is_stored_and_loaded() {
    let (name, device) = (average(), Default::default());
    let folder = tempfile::tempdir().unwrap();
    let policy = policy(name);
    checkpoint::save(&policy, folder.path()).unwrap();
    let loaded = checkpoint::load::<Cpu>(folder.path(), &device).unwrap();
    assert_eq!(loaded.description, policy.description);
    let bytes = |module: &DecisionNetwork<Cpu>| {
        let mut all = Vec::new();
        struct All<'a>(&'a mut Vec<f64>);
        impl burn::module::ModuleVisitor<Cpu> for All<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Cpu, D>>) {
                self.0.extend(numbers(param.val()));
            }
        }
        module.visit(&mut All(&mut all));
        all
    };
    assert_eq!(bytes(&loaded.network), bytes(&policy.network));
    assert_eq!(policy.network.num_params(), bytes(&policy.network).len());
    assert_eq!(policy.network.backbone().no_decay().len(), 2);
}

#[test]
fn a_name_goes_to_one_of_several_threads_and_to_all_that_register_the_same() {
    struct Others;
    impl MixerFamily for Others {
        type Mixer<B: KernelBackend> = Average<B>;
    }
    for name in ["raced-1", "raced-2", "raced-3", "raced-4", "raced-5", "raced-6"] {
        let gate = std::sync::Barrier::new(8);
        let has_it = |number: u32| {
            gate.wait();
            if number.is_multiple_of(2) { register::<Averages>(name, "").is_ok() } else { register::<Others>(name, "").is_ok() }
        };
        let took: Vec<bool> = std::thread::scope(|scope| {
            let has_it = &has_it;
            let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || has_it(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (even, odd): (Vec<_>, Vec<_>) = (took.iter().step_by(2).collect(), took.iter().skip(1).step_by(2).collect());
        assert!(even.iter().all(|one| *one == even[0]) && odd.iter().all(|one| *one == odd[0]) && even[0] != odd[0], "{took:?}");
    }
}

#[test]
fn its_options_are_checked_and_its_name_is_its_own() {
    let mut config = config(average());
    let mut error = |options: serde_json::Value| {
        config.options.custom.insert("average".into(), options);
        config.check().map_err(|error| error.to_string())
    };
    error(serde_json::json!({ "rate": 0.5 })).unwrap();
    assert!(error(serde_json::json!({ "rat": 0.5 })).unwrap_err().contains("rate"));
    assert!(error(serde_json::json!({ "rate": -1.0 })).unwrap_err().contains("policy.options.custom.average.rate: -1"));
    config.mixer = "aaren".into();
    assert!(config.check().unwrap_err().to_string().contains("no block is one; there are aaren"));

    struct Others;
    impl MixerFamily for Others {
        type Mixer<B: KernelBackend> = Average<B>;
    }
    for name in ["aaren", "attention", "based", average()] {
        let error = register::<Others>(name, "").unwrap_err();
        assert!(matches!(error, PolicyError::MixerName { .. }), "{error}");
    }
}
