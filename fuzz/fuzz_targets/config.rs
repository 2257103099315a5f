#![no_main]
//! A job, in JSON or TOML.
use aaren_agents::config::{Changes, Job};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = Job::parse(text, &Changes::default());
});
