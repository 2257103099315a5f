//! The schema that editors read and the page of keys are those of the structs that read a job.

use std::{fs, path::Path};

use aaren_agents::config::{keys_page, schema};
use serde_json::Value;

fn committed(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_schema_for_editors_is_that_of_the_structs() {
    let found: Value = serde_json::from_str(&committed("configs/job.schema.json")).unwrap();
    assert!(found == schema(), "configs/job.schema.json is old; make it again with `aaren schema > configs/job.schema.json`");
}

#[test]
fn the_page_of_keys_is_that_of_the_structs() {
    let is_same = committed("docs/src/configs.md").trim_end() == keys_page().trim_end();
    assert!(is_same, "docs/src/configs.md is old; make it again with `aaren schema --markdown > docs/src/configs.md`");
}

#[test]
fn every_key_says_what_it_is() {
    fn visit(schema: &Value, path: &str, silent: &mut Vec<String>) {
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            if below["description"].as_str().is_none_or(str::is_empty) {
                silent.push(path.clone());
            }
            visit(below, &path, silent);
        }
    }
    let mut silent = Vec::new();
    visit(&schema(), "", &mut silent);
    assert!(silent.is_empty(), "keys without a description: {silent:?}");
}

#[test]
fn every_shipped_job_names_the_schema() {
    fn visit(folder: &Path, depth: usize) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("tables") || path.ends_with("evidence") {
                // tests/suite/table.rs looks at these.
            } else if path.is_dir() {
                visit(&path, depth + 1);
            } else if path.extension().is_some_and(|extension| extension == "toml") && !path.is_symlink() {
                let line = format!("#:schema {}job.schema.json", "../".repeat(depth));
                assert!(fs::read_to_string(&path).unwrap().starts_with(&line), "{} does not begin with {line:?}", path.display());
            }
        }
    }
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("configs"), 0);
}
