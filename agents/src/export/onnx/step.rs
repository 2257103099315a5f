//! One step of a policy as operators: from a raw observation to an action for the environment.

use aaren_policy::{
    ActionSpec, ActorCriticConfig, ActorCriticDescription, Description, HiddenActivation, Inputs, Normalizer, PolicyConfig,
    Tokens,
};
use anyhow::{Result, ensure};

use super::blocks::{self, State};
use super::graph::{Graph, Value, int};
use super::proto::{BOOL, DOUBLE, FLOAT, INT64};

/// What the file says of itself: every state that is carried, as `state.NAME` and `next.NAME`.
pub(super) type Carried = Vec<String>;

/// An observation, `[batch, width]` in double precision, normalized in it and then rounded, as everywhere here.
fn observation(graph: &mut Graph, normalizer: &Normalizer) -> Value {
    let width = normalizer.width();
    let raw = graph.input("observation", DOUBLE, &[width], "as the environment shows it");
    let (mean, deviation) = (graph.doubles(&[width], &normalizer.mean), graph.doubles(&[width], &normalizer.deviation));
    let centred = graph.op("Sub", &[&raw, &mean]);
    let scaled = graph.op("Div", &[&centred, &deviation]);
    graph.cast(&scaled, FLOAT)
}

/// `[batch, 1]`, whether an episode begins.
fn reset(graph: &mut Graph) -> Value {
    graph.input("reset", BOOL, &[1], "true at the first step of an episode: nothing that is carried matters then")
}

/// Turns outputs in `[-1, 1]` or logits into the action of the environment, which becomes an output. Gives the action as the network is
/// told it later, `[batch, action width]`.
fn action(graph: &mut Graph, action: &ActionSpec, outputs: &str) -> Value {
    match action {
        ActionSpec::Continuous { low, high } => {
            let width = low.len();
            let (low_value, range) = (graph.doubles(&[width], low), high.iter().zip(low).map(|(high, low)| high - low));
            let range: Vec<f64> = range.collect();
            let range = graph.doubles(&[width], &range);
            let [one, two] = [1.0, 2.0].map(|number| graph.double(number));
            let y = graph.cast(outputs, DOUBLE);
            let y = graph.op("Add", &[&y, &one]);
            let y = graph.op("Div", &[&y, &two]);
            let y = graph.op("Mul", &[&y, &range]);
            let y = graph.op("Add", &[&low_value, &y]);
            let executed = graph.cast(&y, FLOAT);
            graph.output(&executed, "action", FLOAT, &[width], "for the environment, within its bounds");
            let high_value = graph.doubles(&[width], high);
            let a = graph.cast(&executed, DOUBLE);
            let a = graph.op("Mul", &[&a, &two]);
            let a = graph.op("Sub", &[&a, &low_value]);
            let a = graph.op("Sub", &[&a, &high_value]);
            let a = graph.op("Div", &[&a, &range]);
            graph.cast(&a, FLOAT)
        }
        ActionSpec::Discrete { n, start } => {
            let index = graph.op_with("ArgMax", &[outputs], vec![int("axis", 1), int("keepdims", 0)]);
            let first = graph.int(*start);
            let executed = graph.op("Add", &[&index, &first]);
            graph.output(&executed, "action", INT64, &[], "for the environment");
            let depth = graph.int(*n as i64);
            let values = graph.floats(&[2], &[0.0, 1.0]);
            graph.op_with("OneHot", &[&index, &depth, &values], vec![int("axis", -1)])
        }
    }
}

fn carry(graph: &mut Graph, states: Vec<State>, carried: &mut Carried) {
    for State { name, shape, value } in states {
        graph.output(&value, &format!("next.{name}"), FLOAT, &shape, "give it as the state of the next step");
        carried.push(name);
    }
}

/// What an actor-critic is shown: an observation, and what its inputs name of the timestep before, which is 0 at a reset.
fn with_previous(graph: &mut Graph, description: &ActorCriticDescription, observation: Value, reset: &str) -> Value {
    let mut parts = vec![observation];
    if description.inputs.action {
        let width = description.action.width();
        let action = graph.input("state.previous_action", FLOAT, &[width], "the last action, as the network is told it");
        let zero = graph.float(0.0);
        parts.push(graph.op("Where", &[reset, &zero, &action]));
    }
    if description.inputs.reward {
        let reward = graph.input("reward", DOUBLE, &[1], "what the last action was rewarded with; not read at a reset");
        let [zero, least, largest] = [0.0, -Inputs::REWARD_CLIP, Inputs::REWARD_CLIP].map(|number| graph.double(number));
        let reward = graph.op("Where", &[reset, &zero, &reward]);
        let reward = graph.op("Max", &[&reward, &least]);
        let reward = graph.op("Min", &[&reward, &largest]);
        parts.push(graph.cast(&reward, FLOAT));
    }
    match &parts[..] {
        [_] => parts.remove(0),
        parts => graph.concat(&parts.iter().map(String::as_str).collect::<Vec<_>>(), 1),
    }
}

/// A policy that PPO has trained, with its likeliest action.
pub(super) fn actor_critic(graph: &mut Graph, description: &ActorCriticDescription, window: Option<usize>) -> Result<Carried> {
    ensure!(window.is_none(), "--window: only decision policies are executed on a window");
    let x = observation(graph, &description.normalizer);
    let clip = description.observation_clip as f32;
    let [low, high] = [-clip, clip].map(|bound| graph.float(bound));
    let x = graph.op("Clip", &[&x, &low, &high]);
    let mut carried = Carried::new();
    let mut states = Vec::new();
    let outputs = match &description.network {
        ActorCriticConfig::Mlp { hidden, activation } => {
            let mut x = x;
            for layer in 0..hidden.len() {
                let y = graph.dense(&format!("body.actor.hidden.{layer}"), &x)?;
                x = match activation {
                    HiddenActivation::Tanh => graph.op("Tanh", &[&y]),
                    HiddenActivation::Relu => graph.op("Relu", &[&y]),
                };
            }
            graph.dense("body.actor.output", &x)?
        }
        ActorCriticConfig::Recurrent(config) => {
            blocks::check(config, false)?;
            let reset = reset(graph);
            states = blocks::states(graph, config, "body.backbone")?;
            let x = with_previous(graph, description, x, &reset);
            let x = graph.dense("body.embedding", &x)?;
            let features = blocks::token(graph, config, "body.backbone", x, Some(&reset), &mut states, true)?;
            graph.dense("body.actor", &features)?
        }
    };
    let outputs = if description.action.is_discrete() {
        outputs
    } else {
        let [low, high] = [-1.0, 1.0].map(|bound| graph.float(bound));
        graph.op("Clip", &[&outputs, &low, &high])
    };
    let taken = action(graph, &description.action, &outputs);
    if description.inputs.action {
        graph.output(
            &taken,
            "next.previous_action",
            FLOAT,
            &[description.action.width()],
            "give it as the state of the next step",
        );
        carried.push("previous_action".into());
    }
    carry(graph, states.into_iter().flatten().collect(), &mut carried);
    Ok(carried)
}

/// What the tokens of timesteps are made of. The axes before the last are those of rows, or of rows and timesteps.
struct Parts {
    observation: Value,
    /// As the network is told it; none where the tokens are observations.
    previous_action: Value,
    /// Whether there is no previous action, `[.., 1]`.
    is_first: Value,
    return_to_go: Value,
    timestep: Value,
}

/// A decision policy. It keeps its own books: of the return that is left, the timestep and its last action.
pub(super) fn decision(graph: &mut Graph, description: &Description, window: Option<usize>) -> Result<Carried> {
    let config = &description.config;
    blocks::check(config, window.is_some())?;
    let width = description.action.width();
    let observation = observation(graph, &description.normalizer);
    let reset = reset(graph);
    let mut carried = Carried::new();

    let [zero, one] = [0, 1].map(|number| graph.int(number));
    let has_return = config.tokens.has_return_to_go();
    let mut books = None;
    let mut parts = Parts {
        observation,
        previous_action: Value::new(),
        is_first: reset.clone(),
        return_to_go: Value::new(),
        timestep: Value::new(),
    };
    if has_return {
        let reward = graph.input("reward", DOUBLE, &[1], "what the last action was rewarded with; not read at a reset");
        let target = graph.input("target_return", DOUBLE, &[1], "the return to ask for; read at a reset");
        let left = graph.input("state.return_to_go", DOUBLE, &[1], "what is left of it");
        let timestep = graph.input("state.timestep", INT64, &[1], "steps of the episode so far");
        parts.previous_action =
            graph.input("state.previous_action", FLOAT, &[width], "the last action, as the network is told it");
        let left = graph.op("Sub", &[&left, &reward]);
        let left = graph.op("Where", &[&reset, &target, &left]);
        let timestep = graph.op("Where", &[&reset, &zero, &timestep]);
        let scale = graph.double(config.return_scale.unwrap_or(1.0));
        let told = match config.return_range {
            None => left.clone(),
            Some([least, largest]) => {
                let [least, largest] = [least, largest].map(|bound| graph.double(bound));
                let told = graph.op("Max", &[&left, &least]);
                graph.op("Min", &[&told, &largest])
            }
        };
        let scaled = graph.op("Div", &[&told, &scale]);
        parts.return_to_go = graph.cast(&scaled, FLOAT);
        parts.timestep = timestep.clone();
        let next = graph.op("Add", &[&timestep, &one]);
        books = Some((left, next));
    }
    let outputs = match window {
        None => streaming(graph, config, parts, &reset, &mut carried)?,
        Some(timesteps) => windowed(graph, config, parts, &reset, timesteps, &mut carried)?,
    };
    let outputs = graph.dense("head.output", &outputs)?;
    let outputs = if description.action.is_discrete() { outputs } else { graph.op("Tanh", &[&outputs]) };
    let taken = action(graph, &description.action, &outputs);
    if let Some((left, timestep)) = books {
        graph.output(&left, "next.return_to_go", DOUBLE, &[1], "give it as the state of the next step");
        graph.output(&timestep, "next.timestep", INT64, &[1], "give it as the state of the next step");
        graph.output(&taken, "next.previous_action", FLOAT, &[width], "give it as the state of the next step");
        carried.extend(["return_to_go", "timestep", "previous_action"].map(String::from));
    }
    Ok(carried)
}

/// The tokens of a timestep one after another, with states carried along. Features of the last.
fn streaming(graph: &mut Graph, config: &PolicyConfig, parts: Parts, reset: &str, carried: &mut Carried) -> Result<Value> {
    let mut states = blocks::states(graph, config, "backbone")?;
    let tokens = tokens(graph, config, &parts)?;
    let first = if config.tokens == Tokens::Published { 1 } else { 0 };
    let last = tokens.len() - 1;
    let mut features = Value::new();
    for (index, token) in tokens.into_iter().enumerate() {
        let reset = (index == first).then_some(reset);
        features = blocks::token(graph, config, "backbone", token, reset, &mut states, index == last)?;
    }
    carry(graph, states.into_iter().flatten().collect(), carried);
    Ok(features)
}

/// The last timesteps anew at every step, as many as there are of the episode. Features of the last token.
fn windowed(
    graph: &mut Graph,
    config: &PolicyConfig,
    mut parts: Parts,
    reset: &str,
    timesteps: usize,
    carried: &mut Carried,
) -> Result<Value> {
    // Whether there is a previous action is a number here, so that it can be carried.
    parts.is_first = graph.cast(&parts.is_first, FLOAT);
    let (length, per_timestep) = (timesteps, config.tokens.per_timestep());
    let mut remember = |graph: &mut Graph, name: &str, value: &str, elem_type: i32| {
        let width = match name {
            "observations" => graph.weight("tokens.observation.weight").map(|weight| weight.0[0])?,
            "actions" => graph.weight("tokens.action.weight").map(|weight| weight.0[0])?,
            _ => 1,
        };
        let held = graph.input(&format!("state.{name}"), elem_type, &[length, width], "the last timesteps");
        let older = graph.slice(&held, 1, 1, i64::MAX);
        let newest = graph.unsqueeze(value, 1);
        let all = graph.concat(&[&older, &newest], 1);
        graph.output(&all, &format!("next.{name}"), elem_type, &[length, width], "give it as the state of the next step");
        carried.push(name.into());
        Ok::<_, anyhow::Error>(all)
    };
    parts.observation = remember(graph, "observations", &parts.observation, FLOAT)?;
    if config.tokens.has_return_to_go() {
        parts.previous_action = remember(graph, "actions", &parts.previous_action, FLOAT)?;
        parts.return_to_go = remember(graph, "returns", &parts.return_to_go, FLOAT)?;
        parts.timestep = remember(graph, "timesteps", &parts.timestep, INT64)?;
        parts.is_first = remember(graph, "firsts", &parts.is_first, FLOAT)?;
    }
    let half = graph.float(0.5);
    parts.is_first = graph.op("Greater", &[&parts.is_first, &half]);
    // How many timesteps of the window are of the episode.
    let count = graph.input("state.count", INT64, &[1], "timesteps of the window that are of the episode");
    let [one, most] = [1, length as i64].map(|number| graph.int(number));
    let count = graph.op("Add", &[&count, &one]);
    let count = graph.op("Min", &[&count, &most]);
    let count = graph.op("Where", &[reset, &one, &count]);
    graph.output(&count, "next.count", INT64, &[1], "give it as the state of the next step");
    carried.push("count".into());

    let tokens = tokens(graph, config, &parts)?;
    let tokens: Vec<Value> = tokens.iter().map(|token| graph.unsqueeze(token, 2)).collect();
    let tokens = graph.concat(&tokens.iter().map(String::as_str).collect::<Vec<_>>(), 2);
    let total = length * per_timestep;
    let tokens = graph.reshape(&tokens, &[0, total as i64, config.width as i64]);

    // A token attends to itself and to what came before it in the episode.
    let begin = if config.tokens == Tokens::Published { 1 } else { 0 };
    let missing = graph.op("Sub", &[&most, &count]);
    let per_timestep = graph.int(per_timestep as i64);
    let first = graph.op("Mul", &[&missing, &per_timestep]);
    let begin = graph.int(begin);
    let first = graph.op("Add", &[&first, &begin]);
    let first = graph.reshape(&first, &[-1, 1, 1, 1]);
    let keys = graph.ints(&[1, 1, 1, total], &(0..total as i64).collect::<Vec<_>>());
    let queries = graph.ints(&[1, 1, total, 1], &(0..total as i64).collect::<Vec<_>>());
    let is_there = graph.op("GreaterOrEqual", &[&keys, &first]);
    let is_before = graph.op("LessOrEqual", &[&keys, &queries]);
    let is_itself = graph.op("Equal", &[&keys, &queries]);
    let can_attend = graph.op("And", &[&is_there, &is_before]);
    let can_attend = graph.op("Or", &[&can_attend, &is_itself]);
    let features = blocks::window(graph, config, "backbone", tokens, &blocks::Window { can_attend })?;
    let last = graph.int(total as i64 - 1);
    Ok(graph.op_with("Gather", &[&features, &last], vec![int("axis", 1)]))
}

/// The tokens of timesteps, `[.., width]` each.
fn tokens(graph: &mut Graph, config: &PolicyConfig, parts: &Parts) -> Result<Vec<Value>> {
    let observation = graph.dense("tokens.observation", &parts.observation)?;
    if config.tokens == Tokens::Observation {
        return Ok(vec![graph.norm("tokens.norm", &observation)?]);
    }
    let mut action = graph.dense("tokens.action", &parts.previous_action)?;
    if graph.has_weight("tokens.start") {
        let start = graph.weight_constant("tokens.start")?;
        action = graph.op("Where", &[&parts.is_first, &start, &action]);
    }
    let return_to_go = graph.dense("tokens.return_to_go", &parts.return_to_go)?;
    let [mut at, mut action_at] = [None, None];
    if graph.has_weight("tokens.timestep") {
        at = Some(position(graph, config, &parts.timestep)?);
        action_at.clone_from(&at);
        if config.tokens == Tokens::Published {
            let [zero, one] = [0, 1].map(|number| graph.int(number));
            let before = graph.op("Sub", &[&parts.timestep, &one]);
            let before = graph.op("Max", &[&before, &zero]);
            action_at = Some(position(graph, config, &before)?);
        }
    }
    let plus = |graph: &mut Graph, part: &str, at: &Option<Value>| match at {
        Some(at) => graph.op("Add", &[part, at]),
        None => part.to_owned(),
    };
    let mut observation = observation;
    let mut return_to_go = return_to_go;
    if config.tokens == Tokens::Normed {
        for (index, part) in [&mut action, &mut return_to_go, &mut observation].into_iter().enumerate() {
            *part = graph.norm(&format!("tokens.parts.{index}"), part)?;
        }
    }
    let parts = match config.tokens {
        Tokens::Merged | Tokens::Normed => {
            let sum = graph.op("Add", &[&action, &return_to_go]);
            let sum = graph.op("Add", &[&sum, &observation]);
            vec![plus(graph, &sum, &at)]
        }
        _ => vec![plus(graph, &action, &action_at), plus(graph, &return_to_go, &at), plus(graph, &observation, &at)],
    };
    parts.iter().map(|part| graph.norm("tokens.norm", part)).collect()
}

/// The embeddings of timesteps, `[.., 1]` to `[.., width]`; those after the last entry share it.
fn position(graph: &mut Graph, config: &PolicyConfig, timestep: &str) -> Result<Value> {
    let (table, last) = (graph.weight_constant("tokens.timestep")?, graph.int(config.max_timesteps as i64 - 1));
    let entry = graph.op("Min", &[timestep, &last]);
    let rows = graph.op("Gather", &[&table, &entry]); // [.., 1, width]
    let axis = graph.ints(&[1], &[-2]);
    Ok(graph.op("Squeeze", &[&rows, &axis]))
}
