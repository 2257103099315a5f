//! README.md and the book are about what is there: links, commands, jobs, the tree, the mixers, and the figures that were measured.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aaren_agents::config::{Changes, Job};
use aaren_agents::table::{Choice, Plan};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Files below a folder whose name ends so, by their paths from the root.
fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&path, ending)),
            false if path.ends_with(ending) => found.push(path),
            false => {}
        }
    }
    found.sort();
    found
}

/// README.md, those of folders, and the pages of the book.
fn pages() -> Vec<String> {
    let readmes = ["README.md", "configs/README.md", "policies/README.md"].map(String::from);
    readmes.into_iter().chain(files("docs/src", ".md")).collect()
}

/// Where the links of a page lead, but for other sites.
fn links(page: &str) -> Vec<String> {
    let text = read(page);
    let links = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap().to_string());
    links.filter(|link| !link.contains("://")).collect()
}

/// A path from the root without `..`, for a link of a page.
fn target(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The anchor that a heading has, in mdBook as on GitHub.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 150, "README.md has {lines} lines; what is more than 150 belongs into docs/src");
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut wrong = Vec::new();
    for page in pages() {
        for link in links(&page) {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let file = if file.is_empty() { page.clone() } else { target(&page, file) };
            if !root().join(&file).exists() {
                wrong.push(format!("{page} leads to {file}, which is not there"));
            } else if !heading.is_empty() {
                let text = read(&file);
                let mut headings =
                    text.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#')));
                if !headings.any(|found| found == heading) {
                    wrong.push(format!("{page} leads to #{heading} in {file}, which has no such heading"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = "docs/src/SUMMARY.md";
    let listed: BTreeSet<String> = links(summary).iter().map(|link| target(summary, link)).collect();
    let pages: BTreeSet<String> = files("docs/src", ".md").into_iter().filter(|page| page != summary).collect();
    assert_eq!(listed, pages, "left: {summary}, right: the pages in docs/src");
}

#[test]
fn every_mixer_and_every_environment_is_described() {
    let index = read("docs/src/mixers/index.md");
    for mixer in aaren_policy::mixer::choices() {
        assert!(index.contains(&format!("`{mixer}`")), "docs/src/mixers/index.md lacks {mixer}");
    }
    for mixer in aaren_policy::mixer::names() {
        assert!(root().join(format!("docs/src/mixers/{mixer}.md")).is_file(), "docs/src/mixers/{mixer}.md is missing");
    }
    let environments = read("docs/src/environments.md");
    for task in aaren_envs::tasks() {
        assert!(environments.contains(&format!("`{}`", task.id)), "docs/src/environments.md lacks {}", task.id);
    }
}

/// A command in words as a shell splits them, without what is quoted or expanded in any other way.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The lines of a page's code, indented or fenced, with continued lines joined, and the code inside its sentences.
fn code(page: &str) -> Vec<String> {
    let (mut lines, mut sentences, mut fenced) = (Vec::new(), String::new(), false);
    for line in read(page).replace("\\\n", " ").lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            lines.push(line.trim().to_string());
        } else {
            sentences.push_str(line);
            sentences.push(' ');
        }
    }
    lines.extend(sentences.split('`').skip(1).step_by(2).map(String::from));
    lines
}

/// Commands in a page: of `aaren`, and of `aaren-bench`, each without the program's name.
fn commands(page: &str) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
    let (mut ours, mut bench) = (Vec::new(), Vec::new());
    for line in code(page) {
        let line = line.split(" #").next().unwrap();
        let words = words(line);
        let mut rest = match words.first().map(String::as_str) {
            Some("aaren") => words[1..].to_vec(),
            Some("cargo") if words.get(1).is_some_and(|word| word == "run") => {
                let separator = words.iter().position(|word| word == "--").unwrap_or(words.len());
                words.iter().skip(separator + 1).cloned().collect()
            }
            _ => continue,
        };
        rest.retain(|word| word != "...");
        // `aaren COMMAND` and the like stand for any.
        if rest.first().is_none_or(|word| !word.starts_with(|c: char| c.is_ascii_lowercase())) {
            continue;
        }
        if line.contains("-p aaren-bench") { bench.push(rest) } else { ours.push(rest) }
    }
    (ours, bench)
}

fn help(command: &[&str]) -> Option<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_aaren")).args(command).arg("--help").output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

fn flags(command: &[String]) -> impl Iterator<Item = &str> {
    command.iter().filter(|word| word.starts_with("--")).map(|word| word.split('=').next().unwrap())
}

#[test]
fn commands_have_their_subcommands_and_flags() {
    let mut known: BTreeMap<Vec<&str>, Option<String>> = BTreeMap::new();
    let mut count = 0;
    let all: Vec<(String, Vec<String>)> =
        pages().into_iter().flat_map(|page| commands(&page).0.into_iter().map(move |command| (page.clone(), command))).collect();
    for (page, command) in &all {
        let nested = matches!(command[0].as_str(), "dataset" | "envs") && command.len() > 1;
        let name: Vec<&str> = command.iter().take(1 + usize::from(nested)).map(String::as_str).collect();
        let help = known.entry(name.clone()).or_insert_with(|| help(&name));
        let help = help.as_ref().unwrap_or_else(|| panic!("{page}: there is no command `aaren {}`", name.join(" ")));
        for flag in flags(command) {
            let is_there = help.split(|c: char| !c.is_alphanumeric() && c != '-').any(|word| word == flag);
            assert!(is_there, "{page}: `aaren {}` has no {flag}", name.join(" "));
        }
        count += 1;
    }
    assert!(count > 40, "only {count} commands were found");
}

#[test]
fn commands_of_the_benchmarks_are_there() {
    let mut count = 0;
    for page in pages() {
        for command in commands(&page).1 {
            let name = &command[0];
            let file = format!("bench/src/{name}.rs");
            let sources = if root().join(&file).exists() { vec![file] } else { files(&format!("bench/src/{name}"), ".rs") };
            let source: String = sources.iter().chain([&"bench/src/lib.rs".to_string()]).map(|file| read(file)).collect();
            for flag in flags(&command) {
                let name_of_flag = flag.trim_start_matches("--");
                let field = format!("{}: ", name_of_flag.replace('-', "_"));
                let is_field = |line: &str| line.trim_start().trim_start_matches("pub ").starts_with(&field);
                let is_there = source.lines().any(is_field) || source.contains(&format!("long = \"{name_of_flag}\""));
                assert!(is_there, "{page}: `aaren-bench {name}` has no {flag}");
            }
            count += 1;
        }
    }
    assert!(count > 10, "only {count} commands were found");
}

/// The keys and values in commands are those of jobs.
#[test]
fn commands_make_jobs() {
    let mut count = 0;
    for page in pages() {
        for command in commands(&page).0 {
            let line = command.join(" ");
            let is_a_job = matches!(command[0].as_str(), "train" | "inspect" | "collect");
            let stands_for_something =
                ["NAME", "ID", "PATH", "FOLDER", "RUN", "KEY", "A.toml"].iter().any(|word| line.contains(word));
            if !is_a_job || stands_for_something || line.contains("--resume") {
                continue;
            }
            let (mut jobs, mut changes) = (Vec::new(), Changes::default());
            let mut words = command[1..].iter();
            while let Some(word) = words.next() {
                let mut value = || words.next().unwrap_or_else(|| panic!("{page}: {line}: {word} has no value")).clone();
                match word.as_str() {
                    "--set" => changes.set.push(value()),
                    "--mixer" => changes.mixer = Some(value()),
                    "--env" => changes.env = Some(value()),
                    "--data" => changes.data.push(value()),
                    "--seed" => changes.seed = Some(value().parse().unwrap()),
                    flag if flag.starts_with("--") => drop(value()),
                    job => jobs.push(root().join(job)),
                }
            }
            Job::load(&jobs, &changes).unwrap_or_else(|error| panic!("{page}: aaren {line}: {error:#}"));
            count += 1;
        }
    }
    assert!(count > 20, "only {count} jobs were found");
}

/// The manifests in commands are there, with the rows and agents that are named.
#[test]
fn commands_make_tables() {
    let mut count = 0;
    for page in pages() {
        for command in
            commands(&page).0.into_iter().filter(|command| command[0] == "table" && command.len() > 1 && command[1] != "MANIFEST")
        {
            let (mut manifest, mut choice) = (None, Choice::default());
            let mut words = command[1..].iter();
            while let Some(word) = words.next() {
                let mut value = || words.next().unwrap_or_else(|| panic!("{page}: {command:?}: {word} has no value")).clone();
                let list = |value: String| value.split(',').map(String::from).collect();
                match word.as_str() {
                    "--rows" => choice.rows = list(value()),
                    "--agents" => choice.agents = list(value()),
                    "--set" => choice.set.push(value()),
                    "--list" | "--json" => {}
                    flag if flag.starts_with("--") => drop(value()),
                    file => manifest = Some(root().join(file)),
                }
            }
            let manifest = manifest.unwrap_or_else(|| panic!("{page}: {command:?} has no manifest"));
            Plan::read(&manifest, &choice).unwrap_or_else(|error| panic!("{page}: {command:?}: {error:#}"));
            count += 1;
        }
    }
    assert!(count > 2, "only {count} tables were found");
}

#[test]
fn jobs_that_are_named_are_there() {
    for page in pages() {
        let text = read(&page);
        let words = text.split(|c: char| c.is_whitespace() || matches!(c, '`' | '(' | ')' | '[' | ']' | '=' | ',' | ';'));
        for job in words.filter(|word| word.starts_with("configs/") && (word.ends_with(".toml") || word.ends_with(".json"))) {
            assert!(root().join(job).is_file(), "{page} names {job}, which is not there");
        }
    }
}

/// The paths of "The tree": one a line, two blanks deeper than the folder that it is in.
fn tree() -> BTreeSet<PathBuf> {
    let page = read("docs/src/tree.md");
    let lines = page.split("```text\n").nth(1).unwrap().lines().take_while(|line| *line != "```");
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
    assert!(tree.len() > 100, "only {} lines were found in docs/src/tree.md", tree.len());
    let mut wrong = Vec::new();
    for path in &tree {
        if !root().join(path).exists() {
            wrong.push(format!("docs/src/tree.md has {}, which is not there: remove its line", path.display()));
        }
    }
    for folder in ["src", "kernels/src", "policy/src", "envs/src", "data/src", "agents/src", "bench/src", "python/src"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = Path::new(folder).join(entry.unwrap().file_name());
            if !tree.contains(&path) {
                wrong.push(format!("docs/src/tree.md lacks {}: say in a line below {folder}/ what it is for", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn text<'a>(value: &'a Value, file: &str) -> &'a str {
    value.as_str().unwrap_or_else(|| panic!("{file}: {value} is no text"))
}

/// The rows of a file of results, as a page quotes them.
fn rows(result: &Value, file: &str) -> Vec<String> {
    let lists = |key: &str| result["figures"][key].as_array().unwrap_or_else(|| panic!("{file}: figures.{key} is no list"));
    let columns = lists("columns").len();
    let row = |row: &Value| {
        let cells: Vec<&str> = row.as_array().unwrap().iter().map(|cell| text(cell, file)).collect();
        assert_eq!(cells.len(), columns, "{file}: {row} does not fit the columns");
        let cells: Vec<String> =
            cells.iter().map(|cell| if cell.is_empty() { " ".into() } else { format!(" {cell} ") }).collect();
        format!("|{}|", cells.join("|"))
    };
    lists("rows").iter().map(row).collect()
}

#[test]
fn results_say_how_they_were_measured() {
    let all_pages: String = files("docs/src", ".md").iter().map(|page| read(page)).collect();
    let results = files("docs/results", ".json");
    assert!(results.len() > 20, "{results:?}");
    for file in results {
        let result: Value = serde_json::from_str(&read(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        for key in ["command", "commit", "machine", "profile", "seeds", "spread", "figures", "notes"] {
            assert!(!result[key].is_null(), "{file} has no {key}");
        }
        assert!(["release", "dev", "unrecorded"].contains(&text(&result["profile"], &file)), "{file}: {}", result["profile"]);
        for key in ["processor", "cores", "system", "rust", "load"] {
            assert!(!result["machine"][key].is_null(), "{file} has no machine.{key}");
        }
        assert!(!rows(&result, &file).is_empty(), "{file} has no figures");
        let name = file.strip_prefix("docs/").unwrap();
        assert!(all_pages.contains(name), "no page of the book names {file}");
    }
}

/// A table is preceded by a line that begins with a link to its file, in a section whose heading names the profile.
#[test]
fn pages_quote_the_figures_of_their_files() {
    for page in files("docs/src/results", ".md").into_iter().filter(|page| !page.ends_with("/index.md")) {
        let content = read(&page);
        let (mut heading, mut count) = ("", 0);
        for line in content.lines() {
            if line.starts_with("## ") {
                heading = line;
            }
            let Some(link) = line.strip_prefix('[').and_then(|line| line.split_once("](")).map(|(_, rest)| rest) else {
                continue;
            };
            let file = target(&page, link.split(')').next().unwrap());
            if !file.ends_with(".json") {
                continue;
            }
            let result: Value = serde_json::from_str(&read(&file)).unwrap();
            let profile = match text(&result["profile"], &file) {
                "unrecorded" => "(profile unrecorded)".to_string(),
                profile => format!("({profile} build)"),
            };
            assert!(heading.contains(&profile), "{page}: {file} stands below \"{heading}\", which does not say {profile}");
            for row in rows(&result, &file) {
                assert!(content.contains(&row), "{page} does not quote this row of {file}:\n{row}");
            }
            count += 1;
        }
        assert!(count > 0, "{page} names no file of results");
    }
}
