//! `aaren devices`: what policies can be trained on here, and why not on the rest.

use aaren_agents::{config::Device, device::find, run::report};
use anyhow::Result;

/// Prints the table.
///
/// # Errors
/// If stdout cannot be written.
pub fn run() -> Result<()> {
    let mut table = report::table(&["device", "usable", "what it is, or why not"]);
    for device in [Device::Cpu, Device::Cuda, Device::Vulkan] {
        let found = find(device);
        let usable = if found.is_ok() { "yes" } else { "no" };
        table.add_row([device.to_string(), usable.to_owned(), found.unwrap_or_else(|reason| format!("{reason:#}"))]);
    }
    report::print(table)
}
