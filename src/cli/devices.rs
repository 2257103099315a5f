//! `aaren devices`: what policies can be trained on here, and why not on the rest.

use aaren_agents::{config::Device, device, run::report};
use anyhow::Result;
use serde::Serialize;

use super::args::{ListArgs, show};

#[derive(Serialize)]
struct Found {
    device: Device,
    usable: bool,
    /// Or why it is not usable.
    description: String,
}

/// Prints the list.
pub fn run(args: &ListArgs) -> Result<()> {
    let find = |device| match device::find(device) {
        Ok(description) => Found { device, usable: true, description },
        Err(reason) => Found { device, usable: false, description: format!("{reason:#}") },
    };
    let found = [Device::Cpu, Device::Cuda, Device::Vulkan].map(find);
    show(args.json, &found, || {
        let mut table = report::table(&["device", "usable", "what it is, or why not"]);
        for Found { device, usable, description } in &found {
            table.add_row([&*device.to_string(), if *usable { "yes" } else { "no" }, description]);
        }
        table.to_string()
    })
}
