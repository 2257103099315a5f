//! The JSON Schema of a job, made from the structs that read one, and a page that says every key in words.

use std::fmt::Write;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{CollectJob, OfflineJob, PpoJob, SequenceJob};

/// The schema of a file that is a job of any kind or a part of one, for editors: nothing is required, and every key of every kind is
/// there.
pub fn schema() -> Value {
    let mut properties = Map::new();
    for of_kind in [of::<OfflineJob>(), of::<PpoJob>(), of::<CollectJob>(), of::<SequenceJob>()] {
        let Value::Object(of_kind) = of_kind else { continue };
        for (key, value) in of_kind {
            // Offline jobs come first, and have all keys of the sections that they share with the others.
            properties.entry(key).or_insert(value);
        }
    }
    properties.insert(
        "base".into(),
        json!({ "type": "string", "description": "Path, relative to this file, of another file that this one is laid over." }),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A job of aaren, or a part of one",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

/// The properties of a kind of job, without references.
fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    unrequire(&mut schema);
    schema["properties"].take()
}

/// A part of a job need not have any key.
fn unrequire(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.remove("required");
            object.values_mut().for_each(unrequire);
        }
        Value::Array(items) => items.iter_mut().for_each(unrequire),
        _ => {}
    }
}

/// Every key with its values, its default and what it is, as a page of the book.
pub fn keys_page() -> String {
    let mut page = String::from(
        "# Keys of a job\n\nMade by `aaren schema --markdown` from the doc comments of the structs that read a job; a test compares \
         the two.\n[Jobs](jobs.md) says how files are laid over each other.\n",
    );
    let schema = schema();
    let empty = Map::new();
    for (key, section) in schema["properties"].as_object().unwrap_or(&empty) {
        let _ = write!(page, "\n## `{key}`\n\n{}\n", text(section));
        let mut rows = Vec::new();
        rows_of(section, key, &mut rows);
        if !rows.is_empty() {
            page += "\n| key | values | default | what it is |\n|---|---|---|---|\n";
            page.extend(rows);
        }
    }
    page
}

/// What a key is, on one line.
fn text(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn rows_of(schema: &Value, prefix: &str, rows: &mut Vec<String>) {
    for kind in schema["oneOf"].as_array().into_iter().flatten() {
        rows_of(kind, prefix, rows);
    }
    for (key, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}.{key}");
        // What tells a kind from others is said at the kind.
        let about = if below["const"].is_string() { text(schema) } else { text(below) };
        let inner = below["anyOf"].as_array().and_then(|kinds| kinds.iter().find(|kind| kind["properties"].is_object()));
        let inner = inner.unwrap_or(below);
        if inner["properties"].as_object().is_some_and(|properties| !properties.is_empty()) {
            rows.push(format!("| `{path}` | | | {} |\n", text(below)));
            rows_of(inner, &path, rows);
            continue;
        }
        let default = below.get("default").map_or(String::new(), |default| format!("`{default}`"));
        rows.push(format!("| `{path}` | {} | {default} | {about} |\n", values(below)));
    }
}

/// Which values a key takes.
fn values(schema: &Value) -> String {
    let constant = |value: &Value| format!("`{value}`");
    if let Some(kinds) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        return kinds.iter().map(values).filter(|words| !words.is_empty()).collect::<Vec<_>>().join(", ");
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(constant).collect::<Vec<_>>().join(", ");
    }
    if schema["const"].is_string() {
        return constant(&schema["const"]);
    }
    let word = |kind: &str| match kind {
        "integer" => "whole number".to_owned(),
        "array" => format!("list of {}", values(&schema["items"])),
        "null" => "`null`".to_owned(),
        other => other.to_owned(),
    };
    match &schema["type"] {
        Value::String(kind) => word(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).map(word).collect::<Vec<_>>().join(", "),
        _ => String::new(),
    }
}

/// A kind of task on sequences.
#[derive(Clone, Debug, Serialize)]
pub struct TaskKind {
    /// The value of `task.kind`.
    pub kind: String,
    /// What is learnt.
    pub what: String,
    /// What a job of the kind can say, in its section `task`.
    pub keys: Vec<TaskKey>,
}

/// A key of a task.
#[derive(Clone, Debug, Serialize)]
pub struct TaskKey {
    /// Its path.
    pub key: String,
    /// Which values it takes.
    pub values: String,
    /// What it is where a job does not say it; null where a job has to.
    pub default: Value,
    /// What it is.
    pub what: String,
}

/// All kinds of tasks on sequences.
pub fn task_kinds() -> Vec<TaskKind> {
    let schema = schema();
    let kinds = schema["properties"]["task"]["oneOf"].as_array().cloned().unwrap_or_default();
    let kind = |schema: &Value| {
        let mut keys = Vec::new();
        keys_of(schema, "task", &mut keys);
        keys.retain(|key| key.key != "task.kind");
        let kind = schema["properties"]["kind"]["const"].as_str().unwrap_or_default().to_owned();
        TaskKind { kind, what: text(schema), keys }
    };
    kinds.iter().map(kind).collect()
}

fn keys_of(schema: &Value, prefix: &str, keys: &mut Vec<TaskKey>) {
    for (key, below) in schema["properties"].as_object().into_iter().flatten() {
        let key = format!("{prefix}.{key}");
        if below["properties"].is_object() {
            keys_of(below, &key, keys);
        } else {
            keys.push(TaskKey {
                key,
                values: values(below).replace('`', ""),
                default: below["default"].clone(),
                what: text(below),
            });
        }
    }
}
