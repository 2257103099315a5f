//! Every remedy that a message names exists: the flags and keys in the texts of the program are flags of a command and keys of a job.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use aaren_agents::config::keys_page;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Flags of Cargo's, which the program names where a build lacks something, and of its own environment variable's filter.
const CARGO: [&str; 3] = ["--features", "--release", "--all-targets"];

/// What begins a key of a job.
const SECTIONS: [&str; 7] = ["data.", "train.", "policy.", "ppo.", "evaluation.", "collect.", "env."];

/// Endings of files, whose names begin like keys.
const FILES: [&str; 8] = [".json", ".toml", ".html", ".md", ".safetensors", ".hdf5", ".jsonl", ".pkl"];

/// String literals of the program, without those of tests and of attributes, documentation among them.
fn literals(tokens: TokenStream, found: &mut Vec<String>) {
    let (mut after_hash, mut is_test) = (false, false);
    for token in tokens {
        match token {
            TokenTree::Punct(punct) => {
                after_hash = punct.as_char() == '#' || after_hash && punct.as_char() == '!';
                is_test &= punct.as_char() != ';';
                continue;
            }
            TokenTree::Group(group) if after_hash && group.delimiter() == Delimiter::Bracket => {
                is_test |= group.to_string().replace(' ', "") == "[cfg(test)]";
            }
            TokenTree::Group(group) if is_test => is_test = group.delimiter() != Delimiter::Brace,
            TokenTree::Group(group) => literals(group.stream(), found),
            TokenTree::Literal(literal) => {
                if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                    found.push(text.value());
                }
            }
            TokenTree::Ident(_) => {}
        }
        after_hash = false;
    }
}

/// The messages of every source file below a folder, each with its file.
fn messages(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if path.is_dir() {
            messages(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            let mut texts = Vec::new();
            literals(fs::read_to_string(&path).unwrap().parse().unwrap(), &mut texts);
            found.extend(texts.into_iter().map(|text| (path.display().to_string(), text)));
        }
    }
}

/// Every word of a text that begins so, up to the first character that no flag or key has.
fn words<'a>(text: &'a str, start: &str, inside: fn(char) -> bool) -> Vec<&'a str> {
    let begins = |at: usize| !text[..at].ends_with(|c: char| inside(c) || c == '/');
    let word = |at: usize| {
        let rest = &text[at..];
        rest[..rest.find(|c| !inside(c)).unwrap_or(rest.len())].trim_end_matches(['.', '-'])
    };
    text.match_indices(start).filter(|(at, _)| begins(*at)).map(|(at, _)| word(at)).collect()
}

fn help(command: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_aaren")).args(command).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The flags of a command and of those below it.
fn flags(command: &[&str], found: &mut BTreeSet<String>) {
    let help = help(command);
    found.extend(words(&help, "--", |c| c.is_ascii_lowercase() || c == '-').into_iter().map(String::from));
    let below = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    let names =
        below.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).filter(|name| !["", "help"].contains(name));
    names.for_each(|name| flags(&[command, &[name]].concat(), found));
}

#[test]
fn the_flags_and_keys_that_messages_name_are_there() {
    let mut known = CARGO.map(String::from).into();
    flags(&[], &mut known);
    assert!(known.contains("--max-episode-steps") && known.contains("--strict"), "{known:?}");
    let page = keys_page();
    let keys: BTreeSet<&str> = page.split('`').filter(|word| SECTIONS.iter().any(|section| word.starts_with(section))).collect();

    let mut said = Vec::new();
    for folder in ["src", "agents/src", "data/src", "envs/src", "policy/src"] {
        messages(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut said);
    }
    let (mut flags, mut settings, mut wrong) = (0, 0, Vec::new());
    for (file, text) in &said {
        for flag in words(text, "--", |c| c.is_ascii_lowercase() || c == '-') {
            flags += usize::from(flag.len() > 2);
            if flag.len() > 2 && !known.contains(flag) {
                wrong.push(format!("{file}: {flag} in {text:?}"));
            }
        }
        for key in SECTIONS
            .iter()
            .flat_map(|section| words(text, section, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.'))
        {
            let is_free = key.starts_with("env.options") || key.starts_with("policy.options.custom");
            if is_free || FILES.iter().any(|ending| key.ends_with(ending)) || SECTIONS.contains(&&*format!("{key}.")) {
                continue;
            }
            settings += 1;
            let below = format!("{key}.");
            if !keys.iter().any(|known| *known == key || known.starts_with(&below)) {
                wrong.push(format!("{file}: {key} in {text:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "named in messages, and not there:\n{}", wrong.join("\n"));
    assert!(flags > 20 && settings > 50, "{flags} flags and {settings} keys are too few to be all");
}

#[test]
fn a_flag_or_key_that_is_not_there_would_be_found() {
    let mut found = Vec::new();
    let source = r#"//! `--nor-that`
        /// `--not-this`
        fn f() { bail!("give --lenient, or data.lenient=true (see data.json)") }
        #[cfg(test)] mod tests { const A: &str = "--nor-this"; }"#;
    literals(source.parse().unwrap(), &mut found);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(words(&found[0], "--", |c| c.is_ascii_lowercase() || c == '-'), ["--lenient"]);
    assert_eq!(words(&found[0], "data.", |c| c.is_ascii_lowercase() || c == '.'), ["data.lenient", "data.json"]);
}
