//! Transferring trained weights to a policy with other mixers whose parameters have the same names and shapes: a Transformer's to a
//! Performer, which estimates the same attention, or to a window.
//!
//! ```
//! use burn::backend::{Autodiff, Flex};
//! use aaren_policy::{ActionSpec, DecisionNetwork, Description, Normalizer, PolicyConfig, transfer::transfer_weights};
//!
//! let network = |mixer: &str, seed| {
//!     let description = Description {
//!         format: Description::FORMAT,
//!         config: PolicyConfig { mixer: mixer.into(), width: 8, feed_forward: 16, ..Default::default() },
//!         normalizer: Normalizer::identity(3),
//!         action: ActionSpec::Discrete { n: 2, start: 0 },
//!         environment: serde_json::Value::Null,
//!     };
//!     DecisionNetwork::<Autodiff<Flex>>::new(&description, seed, &Default::default())
//! };
//! let (_performer, transfer) = transfer_weights(&network("transformer", 1)?, network("performer", 2)?)?;
//! // Each of the three layers keeps the projection that it was drawn with.
//! assert_eq!(transfer.drawn.len(), 3);
//! # Ok::<(), aaren_policy::PolicyError>(())
//! ```

use crate::error::PolicyError;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use burn_store::{ModuleSnapshot, TensorSnapshot};

/// How many parameters an error names.
const MOST_NAMED: usize = 6;

/// What [`transfer_weights`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Names of the parameters that were transferred.
    pub transferred: Vec<String>,
    /// Names of the buffers that only the new network has: drawn with it, as a Performer's projection.
    pub drawn: Vec<String>,
}

/// Gives `to` the parameters of `from`. Names are compared without the mixers' own, so `mixer.query.weight` is one parameter in all mixers.
/// Buffers, which no optimizer changes, are transferred where both have them, and may be in one of the two alone.
///
/// # Errors
/// [`PolicyError::Transfer`] with the parameters that one of the two lacks, or that have another shape.
pub fn transfer_weights<B: AutodiffBackend, M: ModuleSnapshot<B>>(from: &M, to: M) -> Result<(M, Transfer), PolicyError> {
    let (buffers_from, buffers_to) = (buffers(from), buffers(&to));
    let names = |module: &M| -> Vec<(String, Option<ParamId>, Vec<usize>)> {
        let name = |one: &TensorSnapshot| (one.full_path(), one.tensor_id, one.shape.to_vec());
        module.collect(None, None, true).iter().map(name).collect()
    };
    let (old, new) = (names(from), names(&to));
    let is_among = |buffers: &[ParamId], id: &Option<ParamId>| id.is_some_and(|id| buffers.contains(&id));
    let has = |names: &[(String, Option<ParamId>, Vec<usize>)], name: &str| names.iter().any(|(other, ..)| other == name);

    let mut problems = Vec::new();
    let mut note = |what: &str, names: Vec<String>| {
        if !names.is_empty() {
            let more = names.len().saturating_sub(MOST_NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            problems.push(format!("{what} {}{more}", names[..names.len().min(MOST_NAMED)].join(", ")));
        }
    };
    let lacking = |names: &[(String, Option<ParamId>, Vec<usize>)], others: &[_], buffers: &[ParamId]| {
        let lacking = names.iter().filter(|(name, id, _)| !has(others, name) && !is_among(buffers, id));
        lacking.map(|(name, ..)| format!("\"{name}\"")).collect::<Vec<_>>()
    };
    note("the new policy has no", lacking(&old, &new, &buffers_from));
    note("the trained policy has no", lacking(&new, &old, &buffers_to));
    let reshaped = old.iter().filter_map(|(name, _, shape)| {
        let (_, _, expected) = new.iter().find(|(other, ..)| other == name)?;
        (shape != expected).then(|| format!("\"{name}\", {shape:?} and not {expected:?}"))
    });
    note("of another shape:", reshaped.collect());
    if !problems.is_empty() {
        return Err(PolicyError::Transfer(problems.join("; ")));
    }

    let drawn = new.iter().map(|(name, ..)| name).filter(|name| !has(&old, name)).cloned().collect();
    let snapshots = from.collect(None, None, true).into_iter().filter(|one| has(&new, &one.full_path())).collect();
    let mut to = to;
    let result = to.apply(snapshots, None, None, true);
    match result.errors.first() {
        Some(error) => Err(PolicyError::Transfer(error.to_string())),
        None => Ok((to, Transfer { transferred: result.applied, drawn })),
    }
}

/// Parameters that no optimizer changes.
fn buffers<B: AutodiffBackend>(module: &impl Module<B>) -> Vec<ParamId> {
    struct Buffers(Vec<ParamId>);
    impl<B: AutodiffBackend> ModuleVisitor<B> for Buffers {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if !param.val().is_require_grad() {
                self.0.push(param.id);
            }
        }
    }
    let mut buffers = Buffers(Vec::new());
    module.visit(&mut buffers);
    buffers.0
}
