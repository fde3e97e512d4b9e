//! `sky ssh`: the user's hosts, beside the clusters on them.

use serde_json::Value;

use super::Ops;
use crate::api::bodies::SshPoolsBody;
use crate::base::cx::Cx;
use crate::base::{Error, Kind, Result};
use crate::clouds::HostReport;

/// Gets hosts ready, so that the first launch on them copies nothing.
pub(super) async fn up(ops: &Ops, cx: &Cx, body: SshPoolsBody) -> Result<Value> {
    cx.spinner("[bold cyan]Preparing hosts[/]");
    let hosts = ops.clusters.clouds().hosts();
    let reports = cx
        .unless_cancelled(hosts.prepare(body.infra.as_deref()))
        .await?;
    cx.end_spinner();
    show(cx, &reports, |_| "ready".to_owned());
    let usable = reports
        .iter()
        .filter(|report| report.error.is_none())
        .count();
    if usable == 0 {
        return Err(Error::new(
            Kind::Unreachable,
            "no host of the pool can be used",
        ));
    }
    cx.line(format!(
        "✓ {usable} of {} can be used.",
        hosts_in_words(reports.len())
    ));
    to_json(&reports)
}

/// Removes what is ours from hosts that no cluster uses.
pub(super) async fn down(ops: &Ops, cx: &Cx, body: SshPoolsBody) -> Result<Value> {
    cx.spinner("[bold cyan]Cleaning hosts[/]");
    let hosts = ops.clusters.clouds().hosts();
    let reports = hosts.clean(body.infra.as_deref()).await?;
    cx.end_spinner();
    show(cx, &reports, |_| "nothing of sky is left".to_owned());
    let failed = reports
        .iter()
        .filter(|report| report.error.is_some())
        .count();
    if failed > 0 {
        let what = format!("{} could not be cleaned", hosts_in_words(failed));
        return Err(Error::new(Kind::Unreachable, what)
            .hint("run it again when they can be reached: sky ssh down"));
    }
    to_json(&reports)
}

/// Lists pools, their hosts, and what of them is free.
pub(super) async fn list(ops: &Ops, body: SshPoolsBody) -> Result<Value> {
    let hosts = ops.clusters.clouds().hosts();
    to_json(&hosts.inventory(body.infra.as_deref()).await?)
}

/// Shows a tree for each pool.
fn show(cx: &Cx, reports: &[HostReport], done: impl Fn(&HostReport) -> String) {
    let width = reports.iter().map(|report| report.host.len()).max();
    for (i, report) in reports.iter().enumerate() {
        if i == 0 || reports[i - 1].pool != report.pool {
            cx.line(&report.pool);
        }
        let is_last = reports
            .get(i + 1)
            .is_none_or(|next| next.pool != report.pool);
        let branch = if is_last { "└──" } else { "├──" };
        let about = match (&report.error, &report.stock) {
            (Some(error), _) => error.clone(),
            (None, Some(stock)) => {
                let gpus = stock.gpus.iter();
                let gpus: Vec<String> = gpus
                    .map(|(model, count)| format!(", {count} {model}"))
                    .collect();
                let gpus = gpus.concat();
                let (cpus, memory) = (stock.cpus, stock.memory_gb);
                format!("{}  {cpus} CPUs, {memory} GB{gpus}", done(report))
            }
            (None, None) => done(report),
        };
        cx.line(format!(
            "{branch} {:width$}  {about}",
            report.host,
            width = width.unwrap_or(0)
        ));
    }
}

/// So many hosts, in words.
fn hosts_in_words(count: usize) -> String {
    match count {
        1 => "1 host".to_owned(),
        n => format!("{n} hosts"),
    }
}

/// The result of a request.
fn to_json(reports: &[HostReport]) -> Result<Value> {
    serde_json::to_value(reports).map_err(|e| Error::internal("write what hosts have", &e))
}
