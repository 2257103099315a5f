//! In what two configs differ.

/// Keys, as dotted paths, at which two JSON values differ.
pub fn differing_keys(left: &serde_json::Value, right: &serde_json::Value) -> Vec<String> {
    const NULL: serde_json::Value = serde_json::Value::Null;
    fn visit(left: &serde_json::Value, right: &serde_json::Value, path: &str, found: &mut Vec<String>) {
        match (left.as_object(), right.as_object()) {
            (Some(left), Some(right)) => {
                let only_right = right.keys().filter(|key| !left.contains_key(*key));
                for key in left.keys().chain(only_right) {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    let (left, right) = (left.get(key), right.get(key));
                    visit(left.unwrap_or(&NULL), right.unwrap_or(&NULL), &path, found);
                }
            }
            _ if left != right => found.push(path.to_string()),
            _ => {}
        }
    }
    let mut found = Vec::new();
    visit(left, right, "", &mut found);
    found
}

/// Whether a key of a job, in whatever section, cannot change what a run learns or how it is judged.
pub(crate) fn is_without_effect(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key);
    key == "strict"
        || key.starts_with("log.")
        || ["log", "actors", "beside", "log_every", "checkpoint_every", "keep_checkpoints"].contains(&last)
}
