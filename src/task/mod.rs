//! Tasks: what a user wants to run and where, as YAML says it and as the wire carries it.
//!
//! Pure: reads no file and no environment (the caller gives text), knows no cloud's offers. Errors name the origin,
//! the line and the field: `examples/a.yaml:7: resources.cpus: …`. What was parsed is expanded: `any_of`, `ordered`
//! and lists of accelerators are [`ResourcesSpec::alternatives`], each complete in itself.
//!
//! ```text
//! YAML text ─ parse ─► Dag ─ Overrides::apply ─ Task::substitute ─ validate ─ to_wire ─► text of the request
//! ```

mod accelerator;
mod amount;
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

pub(crate) use accelerator::{
    Accelerator, canonical as canonical_accelerator, close_names as close_accelerators,
};
pub(crate) use amount::{Amount, PortRange, minutes as parse_minutes, ports as parse_ports};
pub(crate) use infra::{CLOUDS, Infra, canonical_cloud};
pub(crate) use model::{Dag, Execution, Group, MountSource, Task, Workdir, check_name};
pub(crate) use overrides::{Overrides, Secretive, Setting};
pub(crate) use read::{Entry, classify, parse, parse_bytes};
pub(crate) use resources::{AutostopSpec, ImageId, Order, ResourcesSpec, Shape};
pub(crate) use sections::{Hook, HookEvent, hooks};
pub(crate) use validate::validate;
pub(crate) use wire::{to_display, to_wire};
