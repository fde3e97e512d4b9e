//! Agents on the machines of a cloud: started once, reached, given a job that runs on all nodes.

use std::time::Duration;

use super::Subject;
use crate::api::agent::{JobInfo, JobSpec, NodeConfig, Peer, SubmitJob};
use crate::api::status::JobStatus;
use crate::base::ids::JobId;
use crate::clouds::Instance;
use crate::transport::agent_client::AgentClient;

/// How long a job of a moment may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// The pause between two looks whether an agent answers.
const PAUSE: Duration = Duration::from_millis(50);

/// Makes a set, starts its agents twice, and runs a job on all of them, submitted twice.
pub(super) async fn run_jobs_on_all_nodes(subject: &Subject) {
    let set = subject.set("jobs", 2).await;
    let made = subject.make(&set).await;
    let mut clients = Vec::new();
    for instance in &made {
        for _ in 0..2 {
            let started = subject.cloud.bootstrap(&set, instance).await;
            started.expect("an agent");
        }
        let client = AgentClient::new(subject.cloud.transport(instance));
        let configured = client.configure(&config(instance, &made)).await;
        configured.expect("it knows its cluster");
        clients.push(client);
    }
    let count = u32::try_from(made.len()).expect("few");
    let mut ids: Vec<JobId> = Vec::new();
    for _ in 0..2 {
        let job = SubmitJob {
            key: "the-key".to_owned(),
            spec: spec(count),
        };
        ids.push(clients[0].submit(&job).await.expect("submitted").job_id);
    }
    assert_eq!(ids[0], ids[1], "the same job");
    let ended = tokio::time::timeout(DEADLINE, end(&clients[0], ids[0])).await;
    let job = ended.expect("it ends");
    assert_eq!(job.status, JobStatus::Succeeded, "{job:?}");
    subject.cloud.terminate(&set).await.expect("removed");
    let all_end = futures_util::future::join_all(clients.iter().map(silence));
    let ended = tokio::time::timeout(DEADLINE, all_end).await;
    ended.expect("no agent is left");
}

/// Waits until an agent does not answer any more: a machine that its cloud calls gone may be on its way down still.
async fn silence(client: &AgentClient) {
    while client.info().await.is_ok() {
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits for the end of a job.
async fn end(client: &AgentClient, id: JobId) -> JobInfo {
    let mut events = client.events(None).await.expect("events");
    loop {
        let job = client.job(Some(id)).await.expect("an answer");
        let job = job.expect("the job");
        if job.status.is_final() {
            return job;
        }
        events.next().await.expect("what happens");
    }
}

/// What a node must know.
fn config(of: &Instance, all: &[Instance]) -> NodeConfig {
    let peer = |instance: &Instance| Peer {
        rank: instance.rank,
        ip: instance.internal_ip.clone(),
        address: instance.agent.clone(),
    };
    NodeConfig {
        cluster: "conformance".to_owned(),
        rank: of.rank,
        nodes: all.iter().map(peer).collect(),
        cluster_info: "{}".to_owned(),
        cpus: 1.0,
        accelerators: [].into(),
        kill_grace_secs: 5.0,
        owns_machine: false,
    }
}

/// A job that succeeds when each node has its own rank and knows them all.
fn spec(nodes: u32) -> JobSpec {
    let script = format!(
        "test \"$SKYPILOT_NUM_NODES\" = {nodes} && test \"$SKYPILOT_NODE_RANK\" -lt {nodes} && \
         test \"$(echo \"$SKYPILOT_NODE_IPS\" | wc -l)\" = {nodes}"
    );
    JobSpec {
        name: Some("conformance".to_owned()),
        user: "a1b2c3d4".parse().expect("an id"),
        user_name: "me".to_owned(),
        setup: None,
        run: Some(script),
        num_nodes: nodes,
        envs: [].into(),
        secret_names: Vec::new(),
        cpus: 0.5,
        accelerators: [].into(),
        resources_text: "1x[CPU:1+]".to_owned(),
        task_id_prefix: "sky-conformance_".to_owned(),
    }
}
