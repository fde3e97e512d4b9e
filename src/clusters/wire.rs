//! Clusters and jobs as the HTTP API shows them.

use serde_json::{Value, json};

use super::record::{Buried, Cluster};
use super::state::{Event, State};
use crate::api::agent::{AutostopSetting, JobInfo};
use crate::api::handles::{Handle, NodeResources};
use crate::api::records::{ClusterRecord, CostRecord, JobRecord};
use crate::base::clock::Moment;
use crate::clouds::Instance;
use crate::optimizer::resources_text;

/// Returns the record of a cluster.
pub(crate) fn record(cluster: &Cluster, with_handle: bool) -> ClusterRecord {
    let offer = &cluster.set.offer;
    let (autostop, to_down) = match &cluster.autostop {
        Some(AutostopSetting {
            idle_minutes, down, ..
        }) => (i64::try_from(*idle_minutes).unwrap_or(i64::MAX), *down),
        None => (-1, false),
    };
    ClusterRecord {
        name: cluster.name.to_string(),
        launched_at: cluster.launched_at.secs(),
        status: cluster.state.status(),
        autostop,
        to_down,
        cluster_hash: cluster.hash.clone(),
        cluster_ever_up: cluster.ever_up,
        user_hash: cluster.owner.id.to_string(),
        user_name: cluster.owner.name.clone(),
        workspace: "default".to_owned(),
        is_managed: false,
        nodes: cluster.set.count,
        resources_str: Some(resources_text(cluster.set.count, offer, false)),
        resources_str_full: Some(resources_text(cluster.set.count, offer, true)),
        cloud: Some(cluster.cloud.display_name().to_owned()),
        region: offer.region.clone(),
        zone: offer.zone.clone(),
        cpus: Some(number(offer.vcpus)),
        memory: Some(number(offer.memory_gb)),
        accelerators: offer
            .accelerators
            .as_ref()
            .map(|a| format!("{}:{}", a.name, number(a.count))),
        head_ip: cluster.instances.first().map(|i| {
            i.external_ip
                .clone()
                .unwrap_or_else(|| i.internal_ip.clone())
        }),
        last_event: Some(last_event(cluster)),
        last_use: cluster.last_command.clone(),
        status_updated_at: cluster.state.since().secs(),
        handle: with_handle.then(|| handle(cluster)),
        credentials: None,
    }
}

/// Writes a number without a fraction where it has none.
fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        value.to_string()
    }
}

/// Says what happened last, in a sentence.
fn last_event(cluster: &Cluster) -> String {
    if let State::Unhealthy { reason, .. } = &cluster.state {
        return reason.clone();
    }
    if let Some(waits) = &cluster.waits {
        let until = waits.until.timestamp().strftime("%H:%M:%S UTC");
        return format!("{}; next attempt at {until}.", waits.reason);
    }
    if let (State::Terminating { .. }, Some(left)) = (&cluster.state, cluster.remnants.first()) {
        let place = super::refusals::place(left.cloud, &left.set.offer);
        let why = left.why.as_deref().unwrap_or("it was not tried yet");
        return format!("Machines at {place} are not removed yet: {why}");
    }
    if let (State::Terminating { .. }, Some(why)) = (&cluster.state, &cluster.stuck) {
        return format!("Not removed yet: {why}");
    }
    let Some(past) = cluster.events.last() else {
        return String::new();
    };
    match &past.event {
        Event::LaunchIntended => "Launching.".to_owned(),
        Event::PlaceRefused { place, reason } => format!("{place}: {reason}"),
        Event::AllUp => "All nodes up; agents healthy.".to_owned(),
        Event::FoundUnhealthy { reason } => reason.clone(),
        Event::StopIntended { idle: true } => "Autostopping: idle for as long as set.".to_owned(),
        Event::StopIntended { idle: false } => "Stopping.".to_owned(),
        Event::AllStopped => "All nodes stopped.".to_owned(),
        Event::TerminateIntended { idle: true } => "Removing: idle for as long as set.".to_owned(),
        Event::TerminateIntended { idle: false } => "Removing.".to_owned(),
    }
}

/// Returns the handle of a cluster: the plain JSON form.
pub(crate) fn handle(cluster: &Cluster) -> Value {
    // Strings and numbers always serialise.
    serde_json::to_value(typed_handle(cluster)).unwrap_or(Value::Null)
}

/// Returns the handle of a cluster. Machines that do not run have no addresses.
fn typed_handle(cluster: &Cluster) -> Handle {
    let running = !matches!(cluster.state, State::Stopped { .. });
    let machines = Some(&cluster.instances).filter(|all| running && !all.is_empty());
    Handle {
        cluster_name: cluster.name.to_string(),
        cluster_name_on_cloud: cluster.set.name.clone(),
        cluster_yaml: None,
        launched_nodes: cluster.set.count,
        launched_resources: node_resources(cluster),
        stable_internal_external_ips: machines.map(|all| all.iter().map(addresses).collect()),
        stable_ssh_ports: None,
        docker_user: None,
        is_grpc_enabled: true,
        ssh_user: None,
        instance_ids: cluster.instances.iter().map(|i| i.id.clone()).collect(),
    }
}

/// Returns the addresses of a machine, inside and outside.
fn addresses(instance: &Instance) -> (String, String) {
    let inside = instance.internal_ip.clone();
    let outside = instance.external_ip.clone();
    (inside.clone(), outside.unwrap_or(inside))
}

/// Returns what a node of a cluster is.
fn node_resources(cluster: &Cluster) -> NodeResources {
    let offer = &cluster.set.offer;
    let place = [offer.region.as_deref(), offer.zone.as_deref()];
    let infra: Vec<&str> = std::iter::once(offer.cloud.as_str())
        .chain(place.into_iter().flatten())
        .collect();
    NodeResources {
        infra: infra.join("/"),
        instance_type: offer.instance_type.clone(),
        display: offer.display.clone(),
        region: offer.region.clone(),
        zone: offer.zone.clone(),
        cpus: Some(number(offer.vcpus)),
        memory: Some(number(offer.memory_gb)),
        accelerators: offer
            .accelerators
            .as_ref()
            .map(|a| [(a.name.clone(), a.count)].into()),
        use_spot: offer.spot,
        hourly_cost: offer.hourly.0,
    }
}

/// Returns the record of a job.
pub(crate) fn job_record(job: &JobInfo) -> JobRecord {
    JobRecord {
        job_id: job.job_id.0,
        job_name: job.name.clone().unwrap_or_else(|| "-".to_owned()),
        username: job.user_name.clone(),
        user_hash: job.user.to_string(),
        submitted_at: job.submitted.as_secs_f64(),
        start_at: job.started.map(Moment::as_secs_f64),
        end_at: job.ended.map(Moment::as_secs_f64),
        resources: job.resources_text.clone(),
        status: job.status,
        log_path: job.log_dir.clone(),
        exit_codes: job.exit_codes.clone(),
        reason: job.reason.clone(),
        metadata: json!({}),
    }
}

/// Returns what a cluster that exists has cost so far.
pub(crate) fn cluster_cost(cluster: &Cluster, now: Moment) -> CostRecord {
    cost(cluster, now, true)
}

/// Returns what a cluster that is no more has cost.
pub(crate) fn buried_cost(buried: &Buried) -> CostRecord {
    cost(&buried.cluster, buried.removed_at, false)
}

/// Returns what a cluster has cost up to a moment.
fn cost(cluster: &Cluster, until: Moment, exists: bool) -> CostRecord {
    let used = cluster.used_for(until);
    let hourly = cluster.set.offer.hourly.0 * f64::from(cluster.set.count);
    CostRecord {
        name: cluster.name.to_string(),
        launched_at: cluster.launched_at.secs(),
        duration: i64::try_from(used.as_secs()).unwrap_or(i64::MAX),
        num_nodes: cluster.set.count,
        resources: serde_json::to_value(node_resources(cluster)).unwrap_or(Value::Null),
        cluster_hash: cluster.hash.clone(),
        usage_intervals: cluster
            .usage
            .iter()
            .map(|u| (u.from.secs(), u.to.map(Moment::secs)))
            .collect(),
        status: exists.then(|| cluster.state.status()),
        user_hash: cluster.owner.id.to_string(),
        user_name: cluster.owner.name.clone(),
        total_cost: hourly * used.as_secs_f64() / 3600.0,
        hourly_cost: Some(hourly),
        cloud: Some(cluster.cloud.display_name().to_owned()),
        resources_str: Some(resources_text(cluster.set.count, &cluster.set.offer, false)),
    }
}
