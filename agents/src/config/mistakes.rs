//! All that is wrong with a job at once, each mistake with the file or the flag that made it.

use std::fmt;

use serde_json::Value;

use super::keys;

/// What is wrong with a job: at least one sentence, each with its key.
#[derive(Debug)]
pub(crate) struct Mistakes(pub(crate) Vec<String>);

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [mistake] => f.write_str(mistake),
            all => {
                write!(f, "{} mistakes:", all.len())?;
                all.iter().zip(1..).try_for_each(|(mistake, number)| write!(f, " ({number}) {mistake}"))
            }
        }
    }
}

impl Mistakes {
    /// Nothing, or an error if there is any.
    pub(crate) fn none_of(mistakes: Vec<String>) -> anyhow::Result<()> {
        if mistakes.is_empty() { Ok(()) } else { Err(Mistakes(mistakes).into()) }
    }
}

/// The key that a sentence begins with.
fn key_of(mistake: &str) -> &str {
    let end = mistake.find(|c: char| !(c.is_ascii_alphanumeric() || "_.-".contains(c))).unwrap_or(mistake.len());
    mistake[..end].trim_end_matches('.')
}

/// Makes a job of JSON. After a mistake its key takes its default, so that what else is wrong is found too; what is wrong with a
/// key only since another one took its default is not said.
///
/// - `required`: keys without a default, which take their value in `known`
///
/// # Errors
/// The mistakes, in the order in which they were found.
pub(super) fn make<T>(
    mut json: Value,
    required: &[&str],
    known: &Value,
    attempt: impl Fn(Value) -> anyhow::Result<T>,
) -> Result<T, Vec<String>> {
    let (mut mistakes, mut mended) = (Vec::new(), Vec::<String>::new());
    loop {
        let mistake = match attempt(json.clone()) {
            Ok(job) if mistakes.is_empty() => return Ok(job),
            Ok(_) => return Err(mistakes),
            Err(error) => format!("{error:#}"),
        };
        let key = key_of(&mistake).to_string();
        if !mended.iter().any(|mended| concerns(mended, &mistake)) {
            mistakes.push(mistake);
        }
        if !mend(&mut json, &key, required, known) {
            return Err(mistakes);
        }
        mended.push(key);
    }
}

/// Gives a key its default, or the section that it is in; says whether that changed anything.
fn mend(json: &mut Value, key: &str, required: &[&str], known: &Value) -> bool {
    if required.contains(&key) {
        let value = keys::get(known, key).expect("a known job has the required keys").clone();
        return keys::get(json, key) != Some(&value) && keys::set(json, key, value, known).is_ok();
    }
    let (above, last) = key.rsplit_once('.').map_or((None, key), |(above, last)| (Some(above), last));
    let section = match above {
        Some(above) => keys::get_mut(json, above),
        None => Some(&mut *json),
    };
    let is_gone = section.and_then(Value::as_object_mut).is_some_and(|section| section.shift_remove(last).is_some());
    is_gone || above.is_some_and(|above| mend(json, above, required, known))
}

/// Whether a flag that sets `key` has to do with a mistake: it set what is wrong, a part of it, or what that is held against.
pub(super) fn concerns(key: &str, mistake: &str) -> bool {
    let wrong = key_of(mistake);
    let is_below =
        |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    is_below(key, wrong) || is_below(wrong, key) || mistake.contains(key) && key.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Changes, Job};

    fn mistakes(text: &str, set: &[&str]) -> Vec<String> {
        let error = Job::parse(text, &set.iter().map(ToString::to_string).collect::<Vec<_>>()[..].into()).expect_err(text);
        error.downcast_ref::<Mistakes>().unwrap_or_else(|| panic!("{error:#}")).0.clone()
    }

    #[test]
    fn every_mistake_is_said_with_its_own_flag() {
        let text = r#"{"env": {"id": "TMaze-v0"}, "data": {"source": "x"}, "sed": 1, "evaluation": {"target_returns": [1], "actors": 0},
                       "policy": {"width": "wide", "heads": 3, "dropout": 2}}"#;
        let found = mistakes(text, &["train.steps=0", "train.stepz=1", "train.batch_size=many", "seed=4"]);
        let begins = [
            "the job: there is no key sed",
            "--set train.stepz=1: there is no key train.stepz",
            "the job: policy.width: ",
            "the job with --set train.batch_size=many: train.batch_size: ",
            "the job: policy.dropout: found 2",
            "the job with --set train.steps=0: train.steps: found 0",
            "the job: evaluation.actors: found 0",
        ];
        // Heads that do not divide the default width are no mistake: no width was understood.
        assert_eq!(found.len(), begins.len(), "{found:#?}");
        for (mistake, begin) in found.iter().zip(begins) {
            assert!(mistake.starts_with(begin), "{found:#?}");
        }
    }

    #[test]
    fn what_is_missing_or_of_another_kind_hides_nothing() {
        let found = mistakes(r#"{"evaluation": {}, "train": {"steps": 3}, "ppo": {"epochs": 0}}"#, &[]);
        let keys: Vec<&str> = found.iter().map(|mistake| key_of(mistake.strip_prefix("the job: ").unwrap())).collect();
        assert_eq!(keys, ["train", "env", "ppo.epochs"], "{found:#?}");
        assert!(Job::parse(r#"{"env": {"id": "TMaze-v0"}, "ppo": {}, "evaluation": {}}"#, &Changes::default()).is_ok());
    }
}
