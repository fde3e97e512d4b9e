//! The handle of a cluster: plain JSON for our clients, the pickled objects of SkyPilot's for SkyPilot's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::pickle::{Name, Pickle, name};

/// Version of the handle's state that the pickle claims; clients repair only what is older than they are.
const HANDLE_VERSION: u32 = 13;
/// Version of the resources' state.
const RESOURCES_VERSION: u32 = 35;
/// Gigabytes that SkyPilot assumes of a disk that nobody asked for.
const DISK_SIZE: u32 = 256;

/// How to reach a cluster, and what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Handle {
    /// The name users know.
    pub(crate) cluster_name: String,
    /// The name of its machines.
    pub(crate) cluster_name_on_cloud: String,
    /// Always null here: a file of SkyPilot's server.
    #[serde(default)]
    pub(crate) cluster_yaml: Option<String>,
    /// How many nodes.
    pub(crate) launched_nodes: u32,
    /// What a node is.
    pub(crate) launched_resources: NodeResources,
    /// Addresses of each node, the head's first: inside, outside. None while nothing runs.
    #[serde(default)]
    pub(crate) stable_internal_external_ips: Option<Vec<(String, String)>>,
    /// Ports of their SSH servers, where they have any.
    #[serde(default)]
    pub(crate) stable_ssh_ports: Option<Vec<u32>>,
    /// Always null here.
    #[serde(default)]
    pub(crate) docker_user: Option<String>,
    /// Always true here.
    #[serde(default)]
    pub(crate) is_grpc_enabled: bool,
    /// Whom to log in as.
    #[serde(default)]
    pub(crate) ssh_user: Option<String>,
    /// Ids of the machines by rank.
    #[serde(default)]
    pub(crate) instance_ids: Vec<String>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NodeResources {
    /// `cloud[/region[/zone]]`.
    pub(crate) infra: String,
    /// Machine type, where the cloud has any.
    #[serde(default)]
    pub(crate) instance_type: Option<String>,
    /// Name of the cloud in tables.
    #[serde(default)]
    pub(crate) display: String,
    /// Region.
    #[serde(default)]
    pub(crate) region: Option<String>,
    /// Zone.
    #[serde(default)]
    pub(crate) zone: Option<String>,
    /// CPUs.
    #[serde(default)]
    pub(crate) cpus: Option<String>,
    /// Memory in GB.
    #[serde(default)]
    pub(crate) memory: Option<String>,
    /// Accelerators and how many.
    #[serde(default)]
    pub(crate) accelerators: Option<BTreeMap<String, f64>>,
    /// May be taken back at any time.
    #[serde(default)]
    pub(crate) use_spot: bool,
    /// Dollars.
    #[serde(default)]
    pub(crate) hourly_cost: f64,
}

impl Handle {
    /// Returns the object that SkyPilot's clients expect.
    pub(crate) fn pickled(&self) -> Pickle {
        let addresses = self.stable_internal_external_ips.as_ref();
        let ips = addresses.map(|ips| {
            let pair = |(inside, outside): &(String, String)| {
                Pickle::Tuple(vec![inside.into(), outside.into()])
            };
            Pickle::List(ips.iter().map(pair).collect())
        });
        let ports = self.stable_ssh_ports.as_ref();
        let ports = ports.map(|ports| Pickle::List(ports.iter().map(|p| (*p).into()).collect()));
        Pickle::Object(
            name(
                "sky.backends.cloud_vm_ray_backend",
                "CloudVmRayResourceHandle",
            ),
            vec![
                ("_version", HANDLE_VERSION.into()),
                ("cluster_name", (&self.cluster_name).into()),
                (
                    "cluster_name_on_cloud",
                    (&self.cluster_name_on_cloud).into(),
                ),
                ("_cluster_yaml", self.cluster_yaml.as_ref().into()),
                ("stable_internal_external_ips", ips.into()),
                ("stable_ssh_ports", ports.into()),
                ("cached_cluster_info", self.cluster_info().into()),
                ("launched_nodes", self.launched_nodes.into()),
                ("launched_resources", self.launched_resources.pickled()),
                ("docker_user", self.docker_user.as_ref().into()),
                ("is_grpc_enabled", self.is_grpc_enabled.into()),
                ("provision_runtime_metadata", runtime()),
                ("skylet_ssh_tunnel", Pickle::None),
            ],
        )
    }

    /// Returns the machines, while there are any.
    fn cluster_info(&self) -> Option<Pickle> {
        let addresses = self.stable_internal_external_ips.as_ref()?;
        let head = self.instance_ids.first()?;
        let cloud = self.launched_resources.cloud_word();
        let instance = |(rank, id): (usize, &String)| {
            let (inside, outside) = addresses.get(rank)?;
            let port = self.stable_ssh_ports.as_ref().and_then(|p| p.get(rank));
            let state = vec![
                ("instance_id", id.into()),
                ("internal_ip", inside.into()),
                ("external_ip", outside.into()),
                ("tags", Pickle::Dict(Vec::new())),
                ("ssh_port", port.map_or(22, |port| *port).into()),
                ("internal_svc", Pickle::None),
                ("node_name", Pickle::None),
            ];
            let info = Pickle::Object(name("sky.provision.common", "InstanceInfo"), state);
            Some((id.into(), Pickle::List(vec![info])))
        };
        let instances = self.instance_ids.iter().enumerate();
        Some(Pickle::Object(
            name("sky.provision.common", "ClusterInfo"),
            vec![
                (
                    "instances",
                    Pickle::Dict(instances.filter_map(instance).collect()),
                ),
                ("head_instance_id", head.into()),
                ("provider_name", cloud.into()),
                ("provider_config", Pickle::None),
                ("docker_user", self.docker_user.as_ref().into()),
                ("ssh_user", self.ssh_user.as_ref().into()),
                ("custom_ray_options", Pickle::None),
                ("actual_cpus", Pickle::None),
                ("actual_memory_gb", Pickle::None),
            ],
        ))
    }
}

/// Returns what is ready on the nodes of a cluster with a handle.
fn runtime() -> Pickle {
    const READY: [(&str, bool); 9] = [
        ("has_ray", true),
        ("has_skylet", true),
        ("has_job_queue", true),
        ("ssh_available", true),
        ("runtime_setup_done", false),
        ("workdir_synced", false),
        ("file_mounts_synced", false),
        ("setup_done", false),
        ("run_started", false),
    ];
    let entries = READY.iter().map(|(key, is)| ((*key).into(), (*is).into()));
    Pickle::Dict(entries.collect())
}

impl NodeResources {
    /// Returns the object that SkyPilot's clients expect; it brings its own text and price, so that no catalog is needed.
    pub(crate) fn pickled(&self) -> Pickle {
        let cached = self.text();
        let accelerators = self.accelerators.as_ref().map(|all| {
            let entries = all
                .iter()
                .map(|(kind, count)| (kind.into(), count_of(*count)));
            Pickle::Dict(entries.collect())
        });
        let nothing = |key: &'static str| (key, Pickle::None);
        Pickle::Object(
            name("sky.resources", "Resources"),
            vec![
                ("_version", RESOURCES_VERSION.into()),
                ("_cloud", self.cloud()),
                ("_region", self.region.as_ref().into()),
                ("_zone", self.zone.as_ref().into()),
                ("_instance_type", self.instance_type.as_ref().into()),
                ("_use_spot_specified", self.use_spot.into()),
                ("_use_spot", self.use_spot.into()),
                nothing("_job_recovery"),
                ("_disk_size", DISK_SIZE.into()),
                nothing("_image_id"),
                nothing("_docker_image"),
                nothing("_is_image_managed"),
                nothing("_disk_tier"),
                nothing("_network_tier"),
                nothing("_ports"),
                nothing("_labels"),
                nothing("_docker_login_config"),
                nothing("_docker_username_for_runpod"),
                nothing("_requires_fuse"),
                nothing("_cluster_config_overrides"),
                ("_cached_repr", cached.as_str().into()),
                nothing("_no_missing_accel_warnings"),
                nothing("_priority"),
                nothing("_priority_class"),
                ("_cpus", self.cpus.as_ref().into()),
                ("_memory", self.memory.as_ref().into()),
                ("_accelerators", accelerators.into()),
                nothing("_accelerator_args"),
                nothing("_hooks"),
                nothing("_autostop_config"),
                nothing("_volumes"),
                nothing("_local_disk"),
                nothing("_max_hourly_cost"),
                ("_disk_size_specified", false.into()),
                nothing("_ephemeral_storage"),
                // Shadows the method, which would look the price up in a catalog: seconds times the price of one.
                (
                    "get_cost",
                    partial(
                        name("operator", "mul"),
                        Pickle::Float(self.hourly_cost / 3600.0),
                    ),
                ),
            ],
        )
    }

    /// Returns the text of tables: `AWS(m6i.large)`, `Local(cpus=2, mem=8)`.
    fn text(&self) -> String {
        let spot = if self.use_spot { "[Spot]" } else { "" };
        let mut parts: Vec<String> = Vec::new();
        if let Some(kind) = &self.instance_type {
            parts.push(format!("{kind}{spot}"));
        } else {
            parts.extend(self.cpus.as_ref().map(|cpus| format!("cpus={cpus}")));
            parts.extend(self.memory.as_ref().map(|memory| format!("mem={memory}")));
        }
        for (kind, count) in self.accelerators.iter().flatten() {
            parts.push(format!("gpus={kind}:{count}"));
        }
        format!("{}({})", self.display, parts.join(", "))
    }

    /// Returns the first part of the infra.
    fn cloud_word(&self) -> &str {
        self.infra.split('/').next().unwrap_or_default()
    }

    /// Returns the object of the cloud.
    ///
    /// What SkyPilot has no class for (this machine; its SSH is a Kubernetes) is an instance of the base class that brings its own name. The base
    /// class takes itself for the same as any other; this instance does not.
    fn cloud(&self) -> Pickle {
        if let Some(class) = cloud_class(self.cloud_word()) {
            return Pickle::Object(class, Vec::new());
        }
        Pickle::Object(
            name("sky.clouds.cloud", "Cloud"),
            vec![
                ("_REPR", self.display.as_str().into()),
                (
                    "is_same_cloud",
                    partial(name("operator", "contains"), Pickle::Tuple(Vec::new())),
                ),
            ],
        )
    }
}

/// Returns `functools.partial(callee, argument)`.
fn partial(callee: Name, argument: Pickle) -> Pickle {
    let arguments = vec![Pickle::Reference(callee), argument];
    Pickle::Call(name("functools", "partial"), arguments)
}

/// Returns a count of accelerators: whole numbers are ints there.
fn count_of(count: f64) -> Pickle {
    if count.fract() == 0.0 && count.abs() < f64::from(u32::MAX) {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
        return Pickle::Int(count as i64);
    }
    Pickle::Float(count)
}

/// Returns SkyPilot's class for a cloud.
fn cloud_class(word: &str) -> Option<Name> {
    Some(match word {
        "aws" => name("sky.clouds.aws", "AWS"),
        "azure" => name("sky.clouds.azure", "Azure"),
        "gcp" => name("sky.clouds.gcp", "GCP"),
        "kubernetes" => name("sky.clouds.kubernetes", "Kubernetes"),
        "lambda" => name("sky.clouds.lambda_cloud", "Lambda"),
        "nebius" => name("sky.clouds.nebius", "Nebius"),
        "oci" => name("sky.clouds.oci", "OCI"),
        "runpod" => name("sky.clouds.runpod", "RunPod"),
        "slurm" => name("sky.clouds.slurm", "Slurm"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
