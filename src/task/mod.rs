//! Tasks: what a user wants to run and where, as YAML says it and as the wire carries it.
//!
//! Pure: reads no file and no environment (the caller gives text), knows no cloud's offers. Errors name the origin,
//! the line and the field: `examples/a.yaml:7: resources.cpus: …`. What was parsed is expanded: `any_of`, `ordered`
//! and lists of accelerators are `ResourcesSpec::alternatives`, each complete in itself.
//!
//! ```text
//! YAML text ─ parse ─► Dag ─ Overrides::apply ─ Task::substitute ─ validate ─ to_wire ─► text of the request
//! ```

mod accelerator;
mod amount;
pub(crate) mod config;
mod fields;
mod infra;
mod model;
mod overrides;
mod read;
mod read_resources;
mod resources;
mod sections;
mod service;
mod substitute;
mod validate;
mod wire;
pub(crate) mod yaml;

#[cfg(test)]
mod bad_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire_tests;

pub(crate) use accelerator::{Accelerator, close_names as close_accelerators};
pub(crate) use amount::{Amount, LocalDisk, PortRange};
pub(crate) use infra::{CLOUDS, Infra};
pub(crate) use model::{Dag, GIT_SSH_KEY, GIT_TOKEN, MountSource, Task, Workdir};
pub(crate) use overrides::{Overrides, Secretive, Setting};
pub(crate) use read::{Entry, classify, parse};
pub(crate) use resources::{AutostopSpec, ImageId, Order, Shape};
pub(crate) use validate::validate;

pub(crate) use wire::{to_display, to_wire};
pub(crate) use yaml::{MAX_BYTES, text_of_bytes};
#[cfg(test)]
pub(crate) use {
    model::{Execution, Group},
    resources::ResourcesSpec,
};
