//! What the agent itself writes into a job's log, and what stands in front of the job's own lines: pure.

use crate::agent::environment::ip_of;
use crate::agent::runner::RankKey;
use crate::agent::state::STOPPED_CODE;
use crate::api::agent::{JobSpec, NodeConfig, Phase};
use crate::base::ids::{JobId, NodeRank};

/// Label of the first line in the combined log.
pub(crate) const WAITING: &str = "waiting";
/// Said when the job has its resources.
pub(super) const STARTED: &str =
    "└── Job started. Streaming logs... (Ctrl-C to exit log streaming; job will not be killed)";
/// Exit code of a segmentation fault.
const SEGMENTATION_FAULT: i32 = 139;

/// Said when the job is accepted.
pub(crate) fn waiting_line(nodes: u32) -> String {
    let s = if nodes == 1 { "" } else { "s" };
    format!("├── Waiting for task resources on {nodes} node{s}.")
}

/// What stands in front of a process's lines.
pub(super) fn prefix(
    config: &NodeConfig,
    spec: &JobSpec,
    key: RankKey,
    node: NodeRank,
    pid: u32,
) -> String {
    let ip = ip_of(config, node).unwrap_or("unknown");
    match key.phase {
        Phase::Setup if node == NodeRank::HEAD => format!("(setup pid={pid}) "),
        Phase::Setup => format!("(setup pid={pid}, ip={ip}) "),
        Phase::Run if config.nodes.len() == 1 => {
            format!("({}, pid={pid}) ", spec.name.as_deref().unwrap_or("task"))
        }
        Phase::Run if node == NodeRank::HEAD => {
            format!("(head, rank={}, pid={pid}) ", key.rank)
        }
        Phase::Run => format!("({}, rank={}, pid={pid}, ip={ip}) ", node.label(), key.rank),
    }
}

/// Said when a rank of `run` failed.
pub(super) fn failed_line(job: JobId, codes: &[Option<i32>]) -> String {
    let list: Vec<String> = codes
        .iter()
        .map(|code| code.map_or_else(|| "unknown".to_owned(), |code| code.to_string()))
        .collect();
    let own = |code: &i32| *code != 0 && *code != STOPPED_CODE;
    let first = codes.iter().flatten().copied().find(own);
    let mut line = format!(
        "ERROR: Job {job} failed with return code list: [{}]",
        list.join(", ")
    );
    if codes.contains(&Some(SEGMENTATION_FAULT)) {
        line.push_str(" (likely due to Segmentation Fault)");
    }
    if let Some(code) = first
        && codes.len() > 1
        && codes.contains(&Some(STOPPED_CODE))
    {
        let reason = format!(
            " (a worker failed with return code {code}; the processes on the other nodes were stopped with return code {STOPPED_CODE})"
        );
        line.push_str(&reason);
    }
    line
}

/// Said when a rank of `setup` failed.
pub(super) fn setup_failed_line(
    job: JobId,
    config: &NodeConfig,
    ranks: impl Iterator<Item = (NodeRank, Option<(u32, i32)>)>,
) -> String {
    let failed: Vec<String> = ranks
        .filter_map(|(node, end)| {
            let (pid, code) = end.filter(|(_, code)| *code != 0)?;
            let ip = match ip_of(config, node).filter(|_| node != NodeRank::HEAD) {
                Some(ip) => format!(", ip={ip}"),
                None => String::new(),
            };
            Some(format!("(pid={pid}{ip}, returncode={code})"))
        })
        .collect();
    format!(
        "ERROR: Job {job}'s setup failed. Failed workers: {}",
        failed.join(", ")
    )
}

/// Said when the job could not be run to its end.
pub(super) fn lost_line(job: JobId, reason: &str) -> String {
    let reason = reason.replace(['\n', '\r'], " ");
    format!("ERROR: Job {job} was cut off: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::environment::testing::{config, spec};

    fn key(phase: Phase, rank: u32) -> RankKey {
        RankKey {
            job: JobId(8),
            rank: NodeRank(rank),
            phase,
        }
    }

    #[test]
    fn prefixes_name_task_or_node() {
        let (one, two) = (config(1), config(2));
        let run =
            |config, rank, node| prefix(config, &spec(), key(Phase::Run, rank), NodeRank(node), 7);
        assert_eq!(run(&one, 0, 0), "(hello, pid=7) ");
        assert_eq!(run(&two, 0, 0), "(head, rank=0, pid=7) ");
        assert_eq!(run(&two, 1, 1), "(worker1, rank=1, pid=7, ip=127.0.0.2) ");
        assert_eq!(run(&two, 0, 1), "(worker1, rank=0, pid=7, ip=127.0.0.2) ");
        let setup = |node| prefix(&two, &spec(), key(Phase::Setup, node), NodeRank(node), 7);
        assert_eq!(setup(0), "(setup pid=7) ");
        assert_eq!(setup(1), "(setup pid=7, ip=127.0.0.2) ");
    }

    #[test]
    fn failures_name_every_code() {
        assert_eq!(
            failed_line(JobId(8), &[Some(7)]),
            "ERROR: Job 8 failed with return code list: [7]"
        );
        assert!(
            failed_line(JobId(8), &[Some(137), Some(3)])
                .contains("[137, 3] (a worker failed with return code 3;")
        );
        assert!(failed_line(JobId(8), &[Some(139)]).ends_with("Segmentation Fault)"));
        let ranks = [(NodeRank(0), Some((5, 0))), (NodeRank(1), Some((6, 2)))];
        assert_eq!(
            setup_failed_line(JobId(3), &config(2), ranks.into_iter()),
            "ERROR: Job 3's setup failed. Failed workers: (pid=6, ip=127.0.0.2, returncode=2)"
        );
    }
}
