//! Mixers of other crates, by name.

use super::kind::{Kind, MixerFamily};
use std::sync::RwLock;

/// What names of weights call a mixer of another crate.
const TAG: &str = "Custom";

/// Entries live as long as the process: policies may have been made from them.
static REGISTERED: RwLock<Vec<&'static Kind>> = RwLock::new(Vec::new());
const LOCK: &str = "no thread panics while it holds the lock";

/// Adds a mixer under a name, if no other has it; says whether the name is this mixer's now. Several threads may add the same one.
pub(super) fn insert<F: MixerFamily>(name: &'static str, sentence: &'static str) -> bool {
    let mut registered = REGISTERED.write().expect(LOCK);
    if let Some(known) = registered.iter().find(|other| other.name == name) {
        return known.is::<F>();
    }
    registered.push(Box::leak(Box::new(Kind::new::<F>(name, TAG, sentence))));
    true
}

/// All that are registered, in the order in which they were.
pub(super) fn all() -> Vec<&'static Kind> {
    REGISTERED.read().expect(LOCK).clone()
}

/// The one of a name.
pub(super) fn find(name: &str) -> Option<&'static Kind> {
    all().into_iter().find(|one| one.name == name)
}
