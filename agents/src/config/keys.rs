//! Keys of a job: which there are, which one a misspelt one may mean, and setting one.

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

/// Where options begin whose names are the business of a task, or of a mixer of another crate.
const OPTIONS: [&str; 2] = ["env.options", "policy.options.custom"];

/// Takes out of `json` every key, at any depth, that `known` lacks, and says so.
///
/// - `known`: a valid job in which every key is present
/// - `wrong`: receives a sentence for each, with the nearest known key
pub(crate) fn check_known(json: &mut Value, known: &Value, wrong: &mut Vec<String>) {
    check_below(json, known, "", wrong);
}

fn check_below(json: &mut Value, known: &Value, prefix: &str, wrong: &mut Vec<String>) {
    // A plain value where an object belongs is found later, as a wrong type.
    let Some(object) = json.as_object_mut().filter(|_| !OPTIONS.contains(&prefix)) else { return };
    let Some(known) = known.as_object() else {
        wrong.push(format!("{prefix} is a single value, it has no keys; found {json}"));
        *json = known.clone();
        return;
    };
    object.retain(|key, value| {
        let path = join(prefix, key);
        match known.get(key) {
            Some(below) => check_below(value, below, &path, wrong),
            None => wrong.push(format!("there is no key {path}{}", hint(key, known))),
        }
        known.contains_key(key)
    });
}

/// The nearest known key, or all of them if none is near.
fn hint(key: &str, known: &Map<String, Value>) -> String {
    match did_you_mean(key, known.keys().map(String::as_str)) {
        hint if hint.is_empty() => format!("; the keys here are {}", list(known)),
        hint => hint,
    }
}

/// The keys of an object, for a message.
pub(crate) fn list(known: &Map<String, Value>) -> String {
    known.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// `; did you mean "name"?` for the nearest of `names`, or nothing if none is near.
pub(crate) fn did_you_mean<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| format!("; did you mean \"{name}\"?"))
        .unwrap_or_default()
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_string() } else { format!("{prefix}.{key}") }
}

/// The value at a dotted key.
pub(crate) fn get<'a>(json: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(json, |json, key| json.get(key))
}

/// As [`get`].
pub(super) fn get_mut<'a>(json: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    path.split('.').try_fold(json, |json, key| json.get_mut(key))
}

/// Sets the value at a dotted key, and makes the objects above it that are not there.
///
/// # Errors
/// If the job has no such key, or something above it is no object.
pub(super) fn set(json: &mut Value, path: &str, value: Value, known: &Value) -> Result<()> {
    // The setting as a job of its own, so that one function finds every unknown key.
    let mut lone = path.rsplit('.').fold(value.clone(), |inner, key| Value::Object(Map::from_iter([(key.to_string(), inner)])));
    let mut wrong = Vec::new();
    check_known(&mut lone, known, &mut wrong);
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    let mut place = json;
    let mut above = String::new();
    for key in path.split('.') {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        let object = place.as_object_mut().with_context(|| format!("{above} is a single value, it has no key {key}"))?;
        place = object.entry(key).or_insert(Value::Null);
        above = join(&above, key);
    }
    *place = value;
    Ok(())
}

/// Lays `over` over `under`: objects key by key, anything else, lists and null included, as a whole.
pub fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}
