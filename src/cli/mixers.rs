//! `aaren mixers`: list the mixers and stacks.

use aaren_agents::run::report;
use anyhow::Result;
use serde::Serialize;

use super::args::{ListArgs, show};

#[derive(Serialize)]
struct Mixer {
    name: &'static str,
    description: &'static str,
}

/// Prints the list.
pub fn run(args: &ListArgs) -> Result<()> {
    // Doc comments begin with a blank.
    let mixer = |(name, description): (&'static str, &'static str)| Mixer { name, description: description.trim() };
    let mixers: Vec<Mixer> = aaren_policy::mixer::list().into_iter().map(mixer).collect();
    show(args.json, &mixers, || {
        let mut table = report::table(&["mixer", "what it is"]);
        mixers.iter().for_each(|mixer| {
            table.add_row([mixer.name, mixer.description]);
        });
        table.to_string()
    })
}
