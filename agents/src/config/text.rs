//! From the text of a config, TOML or JSON, to values, with errors that say where.

use anyhow::{Result, anyhow, ensure};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::json::Unique;

/// The text of a file as JSON, which is an object.
///
/// - `keys`: names the keys that there can be, for a text that is no object
///
/// # Errors
/// Where the text is not valid.
pub(crate) fn parse(name: &str, text: &str, is_json: bool, keys: &dyn Fn() -> String) -> Result<Value> {
    ensure!(
        !text.trim_ascii().is_empty() || !is_json,
        "{name}: the file is empty, expected a JSON object with the keys {}",
        keys()
    );
    let json = if is_json {
        let parsed = serde_json::from_str::<Unique>(text);
        parsed.map_err(|error| not_valid(name, "JSON", error.line(), error.column(), &error.to_string()))?.0
    } else {
        let parsed = text.parse::<toml::Table>();
        let table = parsed.map_err(|error| {
            let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
            let (line, column) =
                (before.matches('\n').count() + 1, before.rsplit('\n').next().map_or(0, |end| end.chars().count()) + 1);
            not_valid(name, "TOML", line, column, error.message())
        })?;
        serde_json::to_value(table)?
    };
    ensure!(json.is_object(), "{name}: expected a JSON object with the keys {}", keys());
    Ok(whole_numbers(json))
}

fn not_valid(name: &str, format: &str, line: usize, column: usize, error: &str) -> anyhow::Error {
    let what = error.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(error);
    anyhow!("{name}, line {line}, column {column}: not valid {format}: {what}")
}

/// Makes whole numbers of those that are written otherwise: `1e5` is one where one is meant, and where none is meant it will do too.
pub(super) fn whole_numbers(json: Value) -> Value {
    match json {
        Value::Number(number) => match number.as_f64() {
            Some(float)
                if number.is_f64() && float.fract() == 0.0 && (0.0..9e15).contains(&float) && float.is_sign_positive() =>
            {
                (float as u64).into()
            }
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(whole_numbers).collect(),
        Value::Object(object) => Value::Object(object.into_iter().map(|(key, value)| (key, whole_numbers(value))).collect()),
        other => other,
    }
}

/// The value of a setting: JSON, or else what TOML has, such as `100_000`, or else a string.
pub(crate) fn value(text: &str) -> Value {
    let toml = || toml::from_str::<Value>(&format!("value = {text}")).ok()?.get("value").cloned();
    let is_plain = |value: &Value| value.is_number() || value.is_array();
    match serde_json::from_str::<Unique>(text) {
        Ok(Unique(value)) => whole_numbers(value),
        Err(_) => toml().filter(is_plain).map_or_else(|| text.into(), whole_numbers),
    }
}

/// JSON as what reads it; ranges are still to be checked.
///
/// # Errors
/// The key whose value is of another type, and what is expected.
pub(crate) fn typed<T: DeserializeOwned>(json: Value) -> Result<T> {
    serde_path_to_error::deserialize(json).map_err(|error| anyhow!("{}: {}", error.path(), in_words(error.inner())))
}

/// An error about a value, without Rust's names for its type.
fn in_words(error: &serde_json::Error) -> String {
    [
        ("u64", "a whole number of at least 0"),
        ("usize", "a whole number of at least 0"),
        ("f64", "a number"),
        ("a sequence", "a list"),
    ]
    .into_iter()
    .fold(error.to_string(), |text, (name, words)| text.replace(&format!("expected {name}"), &format!("expected {words}")))
}
