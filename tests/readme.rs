//! README.md is about the files that are there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// The paths of "The tree": one a line, two blanks deeper than the folder that it is in.
fn tree() -> BTreeSet<PathBuf> {
    let readme = readme();
    let lines = readme.split("## The tree\n\n```text\n").nth(1).unwrap().lines().take_while(|line| *line != "```");
    let mut above: Vec<&str> = Vec::new();
    lines
        .map(|line| {
            let name = line.split_whitespace().next().unwrap();
            above.truncate(line.find(name).unwrap() / 2);
            above.push(name);
            above.iter().collect()
        })
        .collect()
}

#[test]
fn the_tree_is_the_one_that_is_there() {
    let tree = tree();
    assert!(tree.contains(Path::new("agents/src/train.rs")), "{tree:?}");
    for path in &tree {
        assert!(root().join(path).exists(), "README.md's tree has {}, which is not there", path.display());
    }
    for folder in ["kernels/src", "policy/src", "envs/src", "agents/src"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = Path::new(folder).join(entry.unwrap().file_name());
            assert!(tree.contains(&path), "README.md's tree lacks {}: say in a line what it is for", path.display());
        }
    }
}

#[test]
fn links_lead_to_files() {
    let readme = readme();
    let links = readme.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
    let links: Vec<_> = links.filter(|link| !link.starts_with("https://")).collect();
    assert!(links.len() > 5, "{links:?}");
    for link in links {
        assert!(root().join(link).exists(), "README.md leads to {link}, which is not there");
    }
}

#[test]
fn jobs_in_commands_are_there() {
    let readme = readme();
    let words = readme.split_whitespace().filter(|word| word.starts_with("configs/") && word.ends_with(".json"));
    for job in words.filter(|word| !word.contains('$')) {
        assert!(root().join(job).is_file(), "README.md runs {job}, which is not there");
    }
}
