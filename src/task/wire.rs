//! Tasks as text: what requests carry, and what people are shown.

use serde_json::{Map, Number, Value};

use super::model::{Dag, Execution, MountSource, Task, Workdir};
use super::resources::{AutostopSpec, ImageId, Order, Shape};
use super::yaml::{self, Out};
use crate::api::bodies::WaitFor;

/// What stands in place of a secret.
const REDACTED: &str = "<redacted>";

/// Returns the text of a request: a header and a document per task. It holds secrets in clear.
///
/// [`super::parse`] makes an equal dag of it.
pub(crate) fn to_wire(dag: &Dag) -> String {
    let mut text = yaml::document(&header(dag));
    for task in &dag.tasks {
        text.push_str("---\n\n");
        text.push_str(&yaml::document(&task_entries(task, Secrets::Clear)));
    }
    text
}

/// Returns a task as a person may see it: secrets redacted, internal notes left out.
pub(crate) fn to_display(task: &Task) -> String {
    yaml::document(&task_entries(task, Secrets::Redacted))
}

/// Whether secrets are shown.
#[derive(Clone, Copy, PartialEq)]
enum Secrets {
    /// For the server.
    Clear,
    /// For people.
    Redacted,
}

/// Entries of a mapping under construction: what is absent is left out.
#[derive(Default)]
struct Entries(Vec<(String, Out)>);

impl Entries {
    /// Adds an entry.
    fn put(&mut self, key: &str, value: Out) {
        self.0.push((key.to_owned(), value));
    }

    /// Adds an entry that may be absent.
    fn maybe(&mut self, key: &str, value: Option<Out>) {
        self.0.extend(value.map(|value| (key.to_owned(), value)));
    }

    /// Adds a text that may be absent.
    fn text(&mut self, key: &str, text: Option<&String>) {
        self.maybe(key, text.map(Out::text));
    }

    /// Adds a mapping that may be empty.
    fn filled(&mut self, key: &str, map: &Map<String, Value>) {
        self.maybe(key, (!map.is_empty()).then(|| Out::map(map)));
    }
}

/// Returns the header document.
fn header(dag: &Dag) -> Vec<(String, Out)> {
    let mut entries = Entries::default();
    entries.put("name", dag.name.as_ref().map_or(Out::Null, Out::text));
    match &dag.execution {
        Execution::Single => {}
        // Of several tasks this is what the reader assumes.
        Execution::Serial if dag.tasks.len() > 1 => {}
        Execution::Serial => entries.put("execution", Out::text("serial")),
        Execution::Parallel(group) => {
            entries.put("execution", Out::text("parallel"));
            let primary = &group.primary_tasks;
            entries.maybe(
                "primary_tasks",
                (!primary.is_empty()).then(|| Out::List(primary.iter().map(Out::text).collect())),
            );
            entries.maybe(
                "termination_delay",
                group.termination_delay.as_ref().map(Out::from),
            );
            entries.maybe("inter_connection", group.inter_connection.map(Out::Bool));
        }
    }
    entries.0
}

/// Returns the document of a task.
fn task_entries(task: &Task, secrets: Secrets) -> Vec<(String, Out)> {
    let mut entries = Entries::default();
    entries.text("name", task.name.as_ref());
    entries.put("resources", resources(task));
    let pool = task
        .pool
        .as_ref()
        .map(|pool| Out::Map(vec![("pool".to_owned(), pool.into())]));
    entries.maybe("service", pool.or(task.service.as_ref().map(Out::from)));
    entries.put("num_nodes", Out::Number(task.num_nodes.into()));
    entries.maybe("workdir", task.workdir.as_ref().map(workdir));
    entries.text("event_callback", task.event_callback.as_ref());
    entries.text("setup", task.setup.as_ref());
    entries.text("run", task.run.as_ref());
    entries.maybe("envs", envs(task));
    entries.maybe("secrets", secret_values(task, secrets));
    entries.put(
        "file_mounts",
        Out::Map(task.file_mounts.iter().map(mount).collect()),
    );
    let mapping = &task.file_mounts_mapping;
    let text = |(key, value): (&String, &String)| (key.clone(), Out::text(value));
    entries.maybe(
        "file_mounts_mapping",
        (!mapping.is_empty()).then(|| Out::Map(mapping.iter().map(text).collect())),
    );
    entries.put("volumes", Out::map(&task.volumes));
    entries.filled("config", &task.config);
    entries.filled("inputs", &task.inputs);
    entries.filled("outputs", &task.outputs);
    entries.maybe("api_server_access", task.api_server_access.map(Out::Bool));
    if secrets == Secrets::Clear {
        for (key, value) in &task.internal {
            entries.put(key, value.into());
        }
        entries.text("_user_specified_yaml", task.user_yaml.as_ref());
    }
    entries.0
}

/// Returns the work directory.
fn workdir(workdir: &Workdir) -> Out {
    match workdir {
        Workdir::Local(path) => Out::text(path),
        Workdir::Git { url, git_ref } => {
            let mut entries = Entries::default();
            entries.put("url", Out::text(url));
            entries.text("ref", git_ref.as_ref());
            Out::Map(entries.0)
        }
    }
}

/// Returns the environment; null stands for what must still be supplied.
fn envs(task: &Task) -> Option<Out> {
    let set = task
        .envs
        .iter()
        .map(|(name, value)| (name.clone(), Out::text(value)));
    let missing = task
        .missing_envs
        .iter()
        .map(|name| (name.clone(), Out::Null));
    let entries: Vec<_> = set.chain(missing).collect();
    (!entries.is_empty()).then_some(Out::Map(entries))
}

/// Returns the secrets: a mapping, or a list as soon as some are kept on the server.
fn secret_values(task: &Task, secrets: Secrets) -> Option<Out> {
    let shown = |value: &crate::base::secret::Secret| match secrets {
        Secrets::Clear => Out::text(value.reveal()),
        Secrets::Redacted => Out::text(REDACTED),
    };
    let set = task
        .secrets
        .iter()
        .map(|(name, value)| (name.clone(), shown(value)));
    let missing = task
        .missing_secrets
        .iter()
        .map(|name| (name.clone(), Out::Null));
    let values: Vec<_> = set.chain(missing).collect();
    let values = (!values.is_empty()).then_some(Out::Map(values));
    if task.secret_refs.is_empty() {
        return values;
    }
    let refs = task
        .secret_refs
        .iter()
        .map(|name| Out::text(format!("secrets:{name}")));
    Some(Out::List(refs.chain(values).collect()))
}

/// Returns an entry of the file mounts.
fn mount((path, source): (&String, &MountSource)) -> (String, Out) {
    let source = match source {
        MountSource::Local(text) | MountSource::Uri(text) => Out::text(text),
        MountSource::Storage(map) => Out::map(map),
    };
    (path.clone(), source)
}

/// Returns the resources; several alternatives stand complete under `any_of` or `ordered`.
fn resources(task: &Task) -> Out {
    let spec = &task.resources;
    match spec.alternatives.as_slice() {
        [shape] => Out::Map(shape_entries(shape)),
        shapes => {
            let key = match spec.order {
                Order::Cheapest => "any_of",
                Order::AsListed => "ordered",
            };
            let shapes = shapes
                .iter()
                .map(|shape| Out::Map(shape_entries(shape)))
                .collect();
            Out::Map(vec![(key.to_owned(), Out::List(shapes))])
        }
    }
}

/// Returns a finite number.
fn number(value: f64) -> Out {
    Number::from_f64(value).map_or(Out::Null, |number| {
        // A whole count reads as people write it: 8, not 8.0.
        number
            .to_string()
            .strip_suffix(".0")
            .and_then(|whole| whole.parse::<i64>().ok())
            .map_or(Out::Number(number), |whole| Out::Number(whole.into()))
    })
}

/// Returns the entries of a shape.
fn shape_entries(shape: &Shape) -> Vec<(String, Out)> {
    let mut entries = Entries::default();
    entries.maybe(
        "infra",
        (!shape.infra.is_any()).then(|| Out::text(shape.infra.to_string())),
    );
    entries.text("instance_type", shape.instance_type.as_ref());
    entries.maybe(
        "cpus",
        shape.cpus.map(|amount| Out::text(amount.to_string())),
    );
    entries.maybe(
        "memory",
        shape.memory.map(|amount| Out::text(amount.to_string())),
    );
    entries.maybe(
        "accelerators",
        shape
            .accelerators
            .as_ref()
            .map(|kind| Out::Map(vec![(kind.name.clone(), number(kind.count))])),
    );
    entries.maybe(
        "accelerator_args",
        shape.accelerator_args.as_ref().map(Out::map),
    );
    entries.maybe("use_spot", shape.use_spot.map(Out::Bool));
    entries.maybe("job_recovery", shape.job_recovery.as_ref().map(Out::from));
    entries.maybe(
        "disk_size",
        shape.disk_size.map(|size| Out::Number(size.into())),
    );
    entries.text("disk_tier", shape.disk_tier.as_ref());
    entries.text("network_tier", shape.network_tier.as_ref());
    entries.text("local_disk", shape.local_disk.as_ref());
    let ports: Vec<_> = shape
        .ports
        .iter()
        .map(|range| Out::text(range.to_string()))
        .collect();
    entries.maybe("ports", (!ports.is_empty()).then_some(Out::List(ports)));
    let text = |(key, value): (&String, &String)| (key.clone(), Out::text(value));
    entries.maybe(
        "image_id",
        shape.image_id.as_ref().map(|image| match image {
            ImageId::One(image) => Out::text(image),
            ImageId::PerRegion(images) => Out::Map(images.iter().map(text).collect()),
        }),
    );
    let labels: Vec<_> = shape.labels.iter().map(text).collect();
    entries.maybe("labels", (!labels.is_empty()).then_some(Out::Map(labels)));
    entries.maybe("autostop", shape.autostop.map(autostop));
    entries.maybe(
        "priority",
        shape.priority.map(|priority| Out::Number(priority.into())),
    );
    entries.text("priority_class", shape.priority_class.as_ref());
    entries.maybe("max_hourly_cost", shape.max_hourly_cost.map(number));
    let volumes: Vec<_> = shape.volumes.iter().map(Out::from).collect();
    entries.maybe(
        "volumes",
        (!volumes.is_empty()).then_some(Out::List(volumes)),
    );
    for (key, value) in &shape.internal {
        entries.put(key, value.into());
    }
    entries.0
}

/// Returns the autostop setting.
fn autostop(spec: AutostopSpec) -> Out {
    if spec == AutostopSpec::OFF {
        return Out::Bool(false);
    }
    let wait_for = match spec.wait_for {
        WaitFor::JobsAndSsh => "jobs_and_ssh",
        WaitFor::Jobs => "jobs",
        WaitFor::None => "none",
    };
    Out::Map(vec![
        (
            "idle_minutes".to_owned(),
            Out::Number(spec.idle_minutes.into()),
        ),
        ("down".to_owned(), Out::Bool(spec.down)),
        ("wait_for".to_owned(), Out::text(wait_for)),
    ])
}
