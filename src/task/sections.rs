//! Sections of a task that are kept as the user wrote them: mounts, volumes, config.
//!
//! Here they are checked so far that a typing error is found before anything is launched; what they mean is the
//! business of the module that carries them out.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::fields::Place;
use super::model::MountSource;
use super::read;
use crate::base::Result;

/// Fields of a storage mapping.
const STORAGE_FIELDS: [&str; 6] = ["name", "source", "store", "persistent", "mode", "config"];
/// How a bucket is mounted.
const STORAGE_MODES: [&str; 3] = ["mount", "copy", "mount_cached"];

/// Reads what is put where.
pub(super) fn file_mounts(place: &Place<'_>) -> Result<BTreeMap<String, MountSource>> {
    let mut mounts = BTreeMap::new();
    for (key, place) in place.entries()? {
        check_destination(&key.text).map_err(|what| place.error(what))?;
        let source = if place.is_map() {
            MountSource::Storage(storage(&place)?)
        } else {
            read::source(&place)?
        };
        mounts.insert(key.text.clone(), source);
    }
    Ok(mounts)
}

/// Checks a path on the node.
pub(super) fn check_destination(path: &str) -> Result<(), &'static str> {
    if path.trim().is_empty() {
        return Err("the destination is empty");
    }
    if path.contains("://") {
        return Err("the destination is a path on the node, not a URL");
    }
    if path.contains(char::is_control) {
        return Err("the destination holds control characters");
    }
    if path != "/" && path.ends_with('/') {
        return Err("the destination must not end with `/`");
    }
    if matches!(path, "/" | "~" | "." | "..") {
        return Err("the destination must name something below a directory");
    }
    Ok(())
}

/// Checks a storage mapping.
fn storage(place: &Place<'_>) -> Result<Map<String, Value>> {
    let fields = place.fields(&STORAGE_FIELDS)?;
    if fields.get("name").is_none() && fields.get("source").is_none() {
        return Err(place.error("a storage needs `name` or `source`"));
    }
    fields.read("name", Place::filled_text)?;
    if let Some(source) = fields.get("source") {
        for place in source.items() {
            place.filled_text()?;
        }
    }
    fields.read("store", Place::filled_text)?;
    fields.read("persistent", Place::truth)?;
    fields.read("mode", |place| place.word(&STORAGE_MODES))?;
    fields.read("config", Place::map)?;
    place.map()
}

/// Reads volumes: path on the node → name or mapping.
pub(super) fn volumes(place: &Place<'_>) -> Result<Map<String, Value>> {
    for (key, place) in place.entries()? {
        check_destination(&key.text).map_err(|what| place.error(what))?;
        if place.is_map() {
            place.map()?;
        } else {
            place.filled_text()?;
        }
    }
    place.map()
}

/// Reads where data lies: one URI and its size in GB.
pub(super) fn estimate(place: &Place<'_>) -> Result<Map<String, Value>> {
    let entries = place.entries()?;
    let [(_, size)] = entries.as_slice() else {
        return Err(place.error("expected one entry: a URI and its size in GB"));
    };
    if size.number()? < 0.0 {
        return Err(size.error("it must not be below 0"));
    }
    place.map()
}

/// Reads how long auxiliary tasks live on: a duration, or a mapping task → duration.
pub(super) fn delay(place: &Place<'_>) -> Result<Value> {
    let check = |place: &Place<'_>| {
        place.parsed(|text| {
            let digits = text.trim().trim_end_matches(['s', 'm', 'h', 'd', 'w']);
            if text.trim().len() <= digits.len() + 1 && digits.parse::<u32>().is_ok() {
                return Ok(());
            }
            Err(format!(
                "`{}` is not a duration such as `30s` or `5m`",
                crate::base::ids::clip(text)
            ))
        })
    };
    if place.is_map() {
        for (_, place) in place.entries()? {
            check(&place)?;
        }
    } else {
        check(place)?;
    }
    place.value()
}

/// Places of the configuration that a task may set.
const CONFIG_KEYS: [(&str, &[&str]); 8] = [
    ("docker", &["run_options"]),
    ("nvidia_gpus", &["disable_ecc"]),
    (
        "ssh",
        &["custom_metadata", "pod_config", "provision_timeout"],
    ),
    (
        "kubernetes",
        &[
            "custom_metadata",
            "pod_config",
            "provision_timeout",
            "dws",
            "kueue",
            "quota",
            "remote_identity",
            "enable_docker",
            "set_pod_resource_limits",
        ],
    ),
    ("azure", &["remote_identity", "vpc_name"]),
    (
        "gcp",
        &[
            "vpc_name",
            "subnet_names",
            "managed_instance_group",
            "enable_gvnic",
            "enable_gpu_direct",
            "placement_policy",
        ],
    ),
    ("vast", &["datacenter_only", "create_instance_kwargs"]),
    ("slurm", &["sbatch_options", "quota", "cpu_partition"]),
];

/// Reads the configuration of a task: only places that a task may set.
pub(super) fn config(place: &Place<'_>) -> Result<Map<String, Value>> {
    let mut known: Vec<&str> = CONFIG_KEYS.iter().map(|(name, _)| *name).collect();
    known.extend(["active_workspace", "hooks"]);
    let fields = place.fields(&known)?;
    for (name, inner) in CONFIG_KEYS {
        fields.read(name, |place| place.fields(inner).map(|_| ()))?;
    }
    fields.read("active_workspace", Place::filled_text)?;
    if let Some(place) = fields.get("hooks") {
        check_hooks(place)?;
    }
    place.map()
}

/// The most hooks of a task.
const MAX_HOOKS: usize = 32;
/// The longest script of a hook.
const MAX_HOOK_BYTES: usize = 16 * 1024;
/// Seconds that a hook may take if nothing is said.
const HOOK_TIMEOUT: u64 = 3600;

/// Checks `config.hooks`.
fn check_hooks(place: &Place<'_>) -> Result<()> {
    let hooks = place.list()?;
    if hooks.len() > MAX_HOOKS {
        return Err(place.error(format!(
            "{} hooks, more than the {MAX_HOOKS} that are possible",
            hooks.len()
        )));
    }
    for hook in &hooks {
        let fields = hook.fields(&["run", "events", "timeout"])?;
        let Some(run) = fields.read("run", Place::filled_text)? else {
            return Err(hook.error("a hook needs `run`"));
        };
        if run.len() > MAX_HOOK_BYTES {
            return Err(hook.error("its script is longer than 16 KiB"));
        }
        if let Some(events) = fields.get("events") {
            for place in events.items() {
                place.word(&["stop", "preemption", "down"])?;
            }
        }
        fields.read("timeout", |place| place.integer(1, i64::from(u32::MAX)))?;
    }
    Ok(())
}

/// A script that runs on the head node before something happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    /// The script.
    pub(crate) run: String,
    /// Before what.
    pub(crate) events: Vec<HookEvent>,
    /// Seconds that it may take.
    pub(crate) timeout: u64,
}

/// What a hook runs before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookEvent {
    /// The cluster stops.
    Stop,
    /// The cluster is torn down.
    Down,
}

impl HookEvent {
    /// Returns the word in YAML and in `SKYPILOT_HOOK_EVENT`.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Down => "down",
        }
    }
}

impl Hook {
    /// Makes the hook that `autostop.hook` means.
    pub(super) fn before_stop(run: String, timeout: Option<i64>) -> Self {
        let timeout = timeout
            .and_then(|seconds| u64::try_from(seconds).ok())
            .unwrap_or(HOOK_TIMEOUT);
        Self {
            run,
            events: vec![HookEvent::Stop, HookEvent::Down],
            timeout,
        }
    }
}

/// Adds a hook to a configuration.
pub(super) fn add_hook(config: &mut Map<String, Value>, hook: &Hook) {
    let events: Vec<&str> = hook.events.iter().map(|event| event.word()).collect();
    let value = json!({ "run": hook.run, "events": events, "timeout": hook.timeout });
    match config.get_mut("hooks") {
        Some(Value::Array(hooks)) => hooks.push(value),
        Some(_) | None => {
            config.insert("hooks".to_owned(), Value::Array(vec![value]));
        }
    }
}
