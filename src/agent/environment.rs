//! What a job finds in its environment, and what stands around its script: pure.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;

use super::queue::{Placement, Slot};
use crate::api::agent::{JobSpec, NodeConfig, Phase};
use crate::base::ids::{JobId, NodeRank};
use crate::base::{Error, Kind, Result};

/// The kernel's limit for one `NAME=value`, with its terminating zero.
const LONGEST_VARIABLE: usize = 128 * 1024;
/// All variables together; the kernel's limit is a quarter of the stack limit, usually 2 MiB.
const LONGEST_ENVIRONMENT: usize = 1536 * 1024;
/// Variables of the agent's own environment that jobs inherit. Everything else stays outside.
const INHERITED: [&str; 8] = [
    "PATH", "LANG", "LANGUAGE", "USER", "LOGNAME", "SHELL", "TZ", "TERM",
];
/// Where programs are looked for when the agent has no path itself.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Refuses what no process could be started with.
pub(crate) fn check(envs: &BTreeMap<String, String>) -> Result<()> {
    let mut total = 0;
    for (name, value) in envs {
        let refuse = |why: &str| {
            Err(Error::new(
                Kind::InvalidTask,
                format!(
                    "environment variable `{}`: {why}",
                    crate::base::ids::clip(name)
                ),
            ))
        };
        if name.is_empty() || name.contains(['=', '\0']) {
            return refuse("a name must not be empty or hold `=`");
        }
        if value.contains('\0') {
            return refuse("the value holds a zero byte");
        }
        let length = name.len() + value.len() + 2;
        if length > LONGEST_VARIABLE {
            return refuse("it is longer than the system permits (128 KiB); use a file");
        }
        total += length;
    }
    if total > LONGEST_ENVIRONMENT {
        return Err(Error::new(
            Kind::InvalidTask,
            "the environment is larger than the system permits (1.5 MiB); use files",
        ));
    }
    Ok(())
}

/// Returns the part of the agent's environment that jobs see, with the node's home.
pub(crate) fn base(
    own: impl Iterator<Item = (OsString, OsString)>,
    home: &Path,
) -> Vec<(OsString, OsString)> {
    let mut base: Vec<(OsString, OsString)> = own
        .filter(|(name, _)| {
            name.to_str()
                .is_some_and(|name| INHERITED.contains(&name) || name.starts_with("LC_"))
        })
        .collect();
    if !base.iter().any(|(name, _)| name == "PATH") {
        base.push(("PATH".into(), DEFAULT_PATH.into()));
    }
    base.push(("HOME".into(), home.into()));
    base
}

/// Returns the documented variables of one process of a job, over the task's own.
///
/// `index` is the rank within the job (`run`) or the node's rank (`setup`).
pub(crate) fn of_rank(
    job: JobId,
    spec: &JobSpec,
    config: &NodeConfig,
    held: &Placement,
    (phase, index): (Phase, NodeRank),
) -> BTreeMap<String, String> {
    let mut envs = BTreeMap::from([("PYTHONUNBUFFERED".to_owned(), "1".to_owned())]);
    envs.extend(spec.envs.clone());
    let mut set = |name: &str, value: String| envs.insert(name.to_owned(), value);
    // Not `sum`: that of nothing is minus zero, and prints so.
    let gpus = spec.accelerators.values().fold(0.0, |all, one| all + one);
    let gpus = gpus.ceil().to_string();
    let ips = |nodes: &mut dyn Iterator<Item = NodeRank>| -> String {
        let all: Vec<&str> = nodes.filter_map(|node| ip_of(config, node)).collect();
        all.join("\n")
    };
    set("SKYPILOT_NUM_NODES", spec.num_nodes.to_string());
    set("SKYPILOT_TASK_ID", format!("{}{job}", spec.task_id_prefix));
    set("SKYPILOT_CLUSTER_INFO", config.cluster_info.clone());
    match phase {
        Phase::Setup => {
            let mut nodes: Vec<NodeRank> = config.nodes.iter().map(|peer| peer.rank).collect();
            nodes.sort_unstable();
            set("SKYPILOT_SETUP_NODE_IPS", ips(&mut nodes.into_iter()));
            set("SKYPILOT_SETUP_NODE_RANK", index.to_string());
            set("SKYPILOT_SETUP_NUM_GPUS_PER_NODE", gpus);
        }
        Phase::Run => {
            let mut nodes = held.slots.iter().map(|slot| slot.node);
            set("SKYPILOT_NODE_IPS", ips(&mut nodes));
            set("SKYPILOT_NODE_RANK", index.to_string());
            set("SKYPILOT_NUM_GPUS_PER_NODE", gpus);
            set("SKYPILOT_USER", spec.user_name.clone());
            set("SKYPILOT_INTERNAL_JOB_ID", job.to_string());
        }
    }
    let slot = match phase {
        Phase::Run => held.slots.get(index.0 as usize),
        Phase::Setup => held.slots.iter().find(|slot| slot.node == index),
    };
    if let Some(devices) = slot.and_then(devices) {
        set("CUDA_VISIBLE_DEVICES", devices);
    }
    envs
}

/// The address of a node.
pub(crate) fn ip_of(config: &NodeConfig, node: NodeRank) -> Option<&str> {
    config
        .nodes
        .iter()
        .find(|peer| peer.rank == node)
        .map(|peer| peer.ip.as_str())
}

/// The indices of assigned accelerators; `None` without any: then the variable is not set at all.
fn devices(slot: &Slot) -> Option<String> {
    let indices: Vec<String> = slot
        .accelerators
        .values()
        .flat_map(|grant| &grant.indices)
        .map(u32::to_string)
        .collect();
    (!indices.is_empty()).then(|| indices.join(","))
}

/// Returns what bash reads before the script: the user's `.bashrc`, over which the task's variables win.
///
/// It comes through `BASH_ENV`, so that line numbers in messages are those of the user's script.
pub(crate) fn prologue(envs: &BTreeMap<String, String>) -> String {
    let mut text = String::from("unset BASH_ENV\n");
    let names: Vec<&str> = envs
        .keys()
        .map(String::as_str)
        .filter(|name| is_shell_name(name) && *name != "BASH_ENV")
        .collect();
    text.push_str("if [ -f ~/.bashrc ]; then\n");
    if !names.is_empty() {
        let names = names.join(" ");
        // A failed write to a string cannot happen.
        let _written = writeln!(text, "  __sky_envs=$(declare -p {names} 2>/dev/null)");
    }
    text.push_str("  . ~/.bashrc\n");
    text.push_str("  eval \"${__sky_envs-}\"\n  unset __sky_envs\nfi\n");
    // The script starts as if nothing had gone before it.
    text.push_str("[ -d ~/sky_workdir ] && cd ~/sky_workdir\n(exit 0)\n");
    text
}

/// Returns whether a shell can name this variable.
fn is_shell_name(name: &str) -> bool {
    name.bytes()
        .enumerate()
        .all(|(i, b)| b == b'_' || b.is_ascii_alphabetic() || (i > 0 && b.is_ascii_digit()))
}

#[cfg(test)]
pub(crate) mod testing {
    //! A job and a cluster for tests.

    use super::*;
    use crate::api::agent::{Peer, PeerAddress};

    /// A cluster of so many nodes with two CPUs.
    pub(crate) fn config(nodes: u32) -> NodeConfig {
        NodeConfig {
            cluster: "demo".into(),
            rank: NodeRank::HEAD,
            nodes: (0..nodes)
                .map(|rank| Peer {
                    rank: NodeRank(rank),
                    ip: format!("127.0.0.{}", rank + 1),
                    address: PeerAddress::Unix {
                        path: format!("/nowhere/{rank}"),
                    },
                })
                .collect(),
            cluster_info: r#"{"cluster_name": "demo"}"#.into(),
            cpus: 2.0,
            accelerators: BTreeMap::new(),
            kill_grace_secs: 1.0,
            owns_machine: false,
        }
    }

    /// A job that says hello.
    pub(crate) fn spec() -> JobSpec {
        JobSpec {
            name: Some("hello".into()),
            user: "abcd1234".parse().expect("a valid id"),
            user_name: "me".into(),
            setup: None,
            run: Some("echo hello".into()),
            num_nodes: 1,
            envs: BTreeMap::new(),
            secret_names: Vec::new(),
            cpus: 0.5,
            accelerators: BTreeMap::new(),
            resources_text: "1x[CPU:1+]".into(),
            task_id_prefix: "sky-2026-01-01-00-00-00-000000_demo_".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{config, spec};
    use super::*;
    use crate::agent::queue::{self, Grant};

    #[test]
    fn run_and_setup_have_their_own_variables() {
        let config = config(2);
        let mut job = spec();
        job.num_nodes = 2;
        job.envs.insert("A".into(), "b c".into());
        let held = queue::place(&job, &config, std::iter::empty()).expect("there is room");
        let run = of_rank(JobId(3), &job, &config, &held, (Phase::Run, NodeRank(1)));
        let expected = [
            ("A", "b c"),
            ("PYTHONUNBUFFERED", "1"),
            ("SKYPILOT_CLUSTER_INFO", r#"{"cluster_name": "demo"}"#),
            ("SKYPILOT_INTERNAL_JOB_ID", "3"),
            ("SKYPILOT_NODE_IPS", "127.0.0.1\n127.0.0.2"),
            ("SKYPILOT_NODE_RANK", "1"),
            ("SKYPILOT_NUM_GPUS_PER_NODE", "0"),
            ("SKYPILOT_NUM_NODES", "2"),
            ("SKYPILOT_TASK_ID", "sky-2026-01-01-00-00-00-000000_demo_3"),
            ("SKYPILOT_USER", "me"),
        ];
        let got: Vec<(&str, &str)> = run.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(got, expected);

        let setup = of_rank(JobId(3), &job, &config, &held, (Phase::Setup, NodeRank(0)));
        let expected = [
            ("A", "b c"),
            ("PYTHONUNBUFFERED", "1"),
            ("SKYPILOT_CLUSTER_INFO", r#"{"cluster_name": "demo"}"#),
            ("SKYPILOT_NUM_NODES", "2"),
            ("SKYPILOT_SETUP_NODE_IPS", "127.0.0.1\n127.0.0.2"),
            ("SKYPILOT_SETUP_NODE_RANK", "0"),
            ("SKYPILOT_SETUP_NUM_GPUS_PER_NODE", "0"),
            ("SKYPILOT_TASK_ID", "sky-2026-01-01-00-00-00-000000_demo_3"),
        ];
        let got: Vec<(&str, &str)> = setup
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn assigned_accelerators_are_visible_and_fractions_count_up() {
        let config = config(1);
        let mut job = spec();
        job.accelerators.insert("L4".into(), 0.5);
        let mut held = queue::place(&spec(), &config, std::iter::empty()).expect("there is room");
        held.slots[0].accelerators.insert(
            "L4".into(),
            Grant {
                indices: vec![2],
                share: 500,
            },
        );
        let run = of_rank(JobId(1), &job, &config, &held, (Phase::Run, NodeRank(0)));
        assert_eq!(run["CUDA_VISIBLE_DEVICES"], "2");
        assert_eq!(run["SKYPILOT_NUM_GPUS_PER_NODE"], "1");
    }

    #[test]
    fn jobs_do_not_inherit_what_is_ours() {
        let own = [
            "PATH",
            "SKYPILOT_X",
            "SKY_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "LC_ALL",
            "HOME",
            "OMP_NUM_THREADS",
        ]
        .map(|name| (OsString::from(name), OsString::from("x")));
        let base = base(own.into_iter(), Path::new("/node/home"));
        let names: Vec<&str> = base.iter().filter_map(|(k, _)| k.to_str()).collect();
        assert_eq!(names, ["PATH", "LC_ALL", "HOME"]);
        assert_eq!(base[2].1, "/node/home");
    }

    #[test]
    fn impossible_variables_are_refused() {
        for (name, value) in [
            ("", "x".to_owned()),
            ("A=B", "x".to_owned()),
            ("A", "\0".to_owned()),
            ("A", "x".repeat(LONGEST_VARIABLE)),
        ] {
            let envs = BTreeMap::from([(name.to_owned(), value)]);
            assert!(check(&envs).is_err(), "{name}");
        }
    }
}
