//! `aaren mixers`.

use aaren_agents::run::report;
use anyhow::Result;

pub fn run() -> Result<()> {
    let mut table = report::table(&["mixer", "what it is"]);
    for (name, sentence) in aaren_policy::mixer::list() {
        table.add_row([name, sentence.trim()]); // doc comments begin with a blank
    }
    report::print(table)
}
