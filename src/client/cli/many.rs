//! Commands on several clusters: which ones are meant, one request each at the same time, a summary.

use futures_util::future::join_all;
use serde::Serialize;

use super::args::AsyncArgs;
use super::args::ClustersArgs;
use super::submit::{leave, see_through, submit};
use crate::api::bodies::{Refresh, StatusBody};
use crate::api::records::ClusterRecord;
use crate::api::requests::StatusQuery;
use crate::api::status::ClusterStatus;
use crate::base::ids::ClusterName;
use crate::base::{Error, Kind};
use crate::client::exit::{Exit, Outcome, Stop};
use crate::client::session::{Repeat, Session};
use crate::client::ui::{OnEnter, Tone, report};

/// What is done to each of several clusters.
pub(super) struct Verb<'a, B> {
    /// The route.
    pub(super) path: &'static str,
    /// "Stopping".
    pub(super) doing: &'static str,
    /// Behind the names in the question: " cluster".
    pub(super) question: &'a dyn Fn(&[String]) -> String,
    /// Makes the body for a cluster.
    pub(super) body: &'a dyn Fn(&str) -> B,
    /// Says that it is done for a cluster.
    pub(super) done: &'a dyn Fn(&Session, &str),
    /// Names that had no cluster when they were looked up, only requests: it is no failure that none was made.
    pub(super) unmade: &'a [String],
    /// Added to the summary of failures.
    pub(super) hint: Option<&'static str>,
}

impl<B> Verb<'_, B> {
    /// Says how it ended for a cluster, where that was well.
    fn close(&self, session: &Session, name: &str, ended: Outcome<()>) -> Outcome<()> {
        match ended {
            Ok(()) => {
                (self.done)(session, name);
                Ok(())
            }
            Err(Stop::Failed(error))
                if error.kind() == Kind::ClusterNotFound
                    && self.unmade.iter().any(|unmade| unmade == name) =>
            {
                session.ui.out(&format!(
                    "Cluster {name} was not made: what was asked of it is cancelled."
                ));
                Ok(())
            }
            Err(stop) => Err(stop),
        }
    }
}

/// Finds the clusters that are meant. A name or pattern that matches nothing is an error.
pub(super) async fn resolve(
    session: &Session,
    args: &ClustersArgs,
    command: &str,
) -> Outcome<Vec<ClusterRecord>> {
    let found = candidates(session, args, command).await?;
    if !(args.all || args.all_users) {
        demand_all(&args.clusters, &found)?;
        tell_foreign(session, &found);
    }
    Ok(found)
}

/// What a name means that no cluster has, and no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// A mistake.
    IsError,
    /// Perhaps machines that no cluster owns: the server knows.
    MayBeStray,
}

/// What names and patterns mean.
pub(super) struct Meant {
    /// Clusters.
    pub(super) found: Vec<ClusterRecord>,
    /// Names of clusters that are only asked for.
    pub(super) unmade: Vec<String>,
    /// Names that may be those of machines without a cluster.
    pub(super) strays: Vec<String>,
}

/// Finds the clusters that are to go or to rest: also names of which there is no cluster yet, but a launch that has
/// not made it. The server cancels that first; whether a cluster was made by then is seen at the end.
pub(super) async fn resolve_with_unmade(
    session: &Session,
    args: &ClustersArgs,
    command: &str,
    how: Missing,
) -> Outcome<Meant> {
    let mut meant = Meant {
        found: candidates(session, args, command).await?,
        unmade: Vec::new(),
        strays: Vec::new(),
    };
    if args.all || args.all_users {
        return Ok(meant);
    }
    let mut missing = Vec::new();
    for name in &args.clusters {
        if meant.found.iter().any(|record| matches(name, &record.name)) {
            continue;
        }
        let is_name = name.parse::<ClusterName>().is_ok();
        if is_name && is_asked_for(session, name).await? {
            meant.unmade.push(name.clone());
        } else if is_name && how == Missing::MayBeStray {
            meant.strays.push(name.clone());
        } else {
            missing.push(name.clone());
        }
    }
    demand_all(&missing, &meant.found)?;
    tell_foreign(session, &meant.found);
    Ok(meant)
}

/// Returns whether an unfinished request concerns a cluster.
async fn is_asked_for(session: &Session, name: &str) -> Outcome<bool> {
    let query = StatusQuery {
        request_ids: Vec::new(),
        all_status: false,
        limit: Some(1),
        fields: vec!["request_id".to_owned()],
        cluster_name: Some(name.to_owned()),
        all_users: true,
    };
    let open = session
        .patiently(Repeat::Always, || session.calls.list(&query))
        .await?;
    Ok(!open.is_empty())
}

/// Says which of the clusters others made.
fn tell_foreign(session: &Session, found: &[ClusterRecord]) {
    let own = session.own_id();
    for record in found.iter().filter(|record| is_foreign(record, own)) {
        let (name, owner) = (&record.name, owner(record));
        let text = format!("Cluster '{name}' was created by another user ({owner}).");
        session.ui.err(&text);
    }
}

/// Refuses arguments that mean no cluster; said before a server is started for nothing.
pub(super) fn some_named(args: &ClustersArgs, command: &str) -> Outcome<()> {
    if args.all || args.all_users || !args.clusters.is_empty() {
        return Ok(());
    }
    Err(
        Error::new(Kind::Usage, "which clusters? Name them, or say --all")
            .hint(format!("sky {command} NAME"))
            .into(),
    )
}

/// Lists what the arguments mean, where it exists.
async fn candidates(
    session: &Session,
    args: &ClustersArgs,
    command: &str,
) -> Outcome<Vec<ClusterRecord>> {
    some_named(args, command)?;
    let everything = args.all || args.all_users;
    if everything && !args.clusters.is_empty() {
        session
            .ui
            .err_markup("[yellow]The names are ignored: --all or --all-users is given.[/]");
    }
    let found = list(
        session,
        (!everything).then(|| args.clusters.clone()),
        !everything || args.all_users,
        Refresh::None,
    )
    .await?;
    if everything && found.is_empty() {
        session.ui.err("There are no clusters.");
    }
    Ok(found)
}

/// Returns whether somebody else made a cluster.
pub(super) fn is_foreign(record: &ClusterRecord, own: &str) -> bool {
    !record.user_hash.is_empty() && record.user_hash != own
}

/// Returns who made a cluster, in words.
pub(super) fn owner(record: &ClusterRecord) -> &str {
    if record.user_name.is_empty() {
        &record.user_hash
    } else {
        &record.user_name
    }
}

/// Lists clusters.
pub(super) async fn list(
    session: &Session,
    names: Option<Vec<String>>,
    all_users: bool,
    refresh: Refresh,
) -> Outcome<Vec<ClusterRecord>> {
    let body = status_body(session, names, all_users, refresh);
    session.ask("/status", &body).await
}

/// Lists clusters after a look at their machines, and shows what the server found on the way.
pub(super) async fn refreshed(
    session: &Session,
    names: Option<Vec<String>>,
    all_users: bool,
) -> Outcome<Vec<ClusterRecord>> {
    let body = status_body(session, names, all_users, Refresh::Force);
    let id = session.submit("/status", &body).await?;
    let found = see_through(session, id).await?;
    serde_json::from_value(found)
        .map_err(|e| Error::internal("read the clusters of the server", &e).into())
}

/// Makes the body that asks for clusters.
fn status_body(
    session: &Session,
    names: Option<Vec<String>>,
    all_users: bool,
    refresh: Refresh,
) -> StatusBody {
    StatusBody {
        common: session.common(),
        cluster_names: names,
        refresh,
        all_users,
        include_credentials: false,
        include_handle: false,
        summary_response: true,
    }
}

/// Fails for the names and patterns that match nothing.
pub(super) fn demand_all(wanted: &[String], found: &[ClusterRecord]) -> crate::base::Result<()> {
    let missing: Vec<&String> = wanted
        .iter()
        .filter(|pattern| !found.iter().any(|record| matches(pattern, &record.name)))
        .collect();
    let quoted: Vec<String> = missing.iter().map(|name| format!("'{name}'")).collect();
    let what = match quoted.as_slice() {
        [] => return Ok(()),
        [one] => format!("Cluster {one} not found."),
        [..] => format!("Clusters {} not found.", quoted.join(", ")),
    };
    Err(Error::new(Kind::ClusterNotFound, what)
        .hint("`sky status -u` lists the clusters that exist"))
}

/// Returns whether a text is a pattern and not a name.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Finds the clusters that are up among those that names and patterns mean. One named outright is taken as it is.
pub(super) async fn up(session: &Session, wanted: &[String]) -> Outcome<Vec<String>> {
    let found = list(session, Some(wanted.to_vec()), true, Refresh::None).await?;
    demand_all(wanted, &found)?;
    let is_named = |name: &String| wanted.contains(name);
    let names: Vec<String> = found
        .into_iter()
        .filter(|record| record.status == ClusterStatus::Up || is_named(&record.name))
        .map(|record| record.name)
        .collect();
    if names.is_empty() {
        let what = format!("no cluster that matches `{}` is up", wanted.join("`, `"));
        return Err(Error::new(Kind::ClusterNotUp, what)
            .hint(format!("sky status '{}'", wanted.join("' '")))
            .into());
    }
    Ok(names)
}

/// Returns whether a name or pattern means a cluster.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    pattern == name
        || globset::Glob::new(pattern).is_ok_and(|glob| glob.compile_matcher().is_match(name))
}

/// Does it to all of them.
pub(super) async fn run<B: Serialize>(
    session: &Session,
    names: &[String],
    yes: bool,
    how: AsyncArgs,
    verb: &Verb<'_, B>,
) -> Outcome {
    if names.is_empty() {
        return Ok(Exit::Success);
    }
    if !yes {
        session
            .ui
            .confirm(&(verb.question)(names), OnEnter::Yes)
            .await?;
    }
    if how.detach {
        for name in names {
            submit(session, verb.path, &(verb.body)(name), how).await?;
        }
        return Ok(Exit::Success);
    }
    if let [name] = names {
        let ended = submit(session, verb.path, &(verb.body)(name), how).await;
        verb.close(session, name, ended.map(drop))?;
        return Ok(Exit::Success);
    }
    several(session, names, verb).await
}

/// Does it to several at the same time: their logs would mix, so only the ends are shown.
async fn several<B: Serialize>(session: &Session, names: &[String], verb: &Verb<'_, B>) -> Outcome {
    let ui = &session.ui;
    ui.spin(&format!(
        "[bold cyan]{} {} clusters[/]",
        verb.doing,
        names.len()
    ));
    let each = names.iter().map(|name| async move {
        let body = (verb.body)(name);
        let id = session.submit(verb.path, &body).await?;
        let ended = session.result::<serde_json::Value>(id).await;
        if let Err(Stop::Aborted) = &ended {
            leave(session, id);
        }
        verb.close(session, name, ended.map(drop))
    });
    let ends = join_all(each).await;
    ui.end_spin();
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for (name, end) in names.iter().zip(ends) {
        match end {
            Ok(()) => good.push(name.clone()),
            Err(Stop::Failed(error)) => bad.push((name, error)),
            Err(Stop::Aborted | Stop::Detached) => return Err(Stop::Detached),
        }
    }
    ui.out("Summary:");
    if !good.is_empty() {
        ui.out(&format!(
            "  {} Succeeded: {}",
            ui.paint("✓", Tone::Green),
            good.join(", ")
        ));
    }
    if bad.is_empty() {
        return Ok(Exit::Success);
    }
    if let Some(hint) = verb.hint {
        ui.err(hint);
    }
    for (name, error) in &bad {
        ui.out(&format!(
            "  {} Failed: {name} ({})",
            ui.paint("✗", Tone::Red),
            error.message()
        ));
        ui.err_text(&report::render(error, ui.err_colors()));
    }
    Ok(Exit::Failure)
}

/// "2 clusters: a, b"
pub(super) fn counted(names: &[String]) -> String {
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("{} cluster{plural}: {}", names.len(), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_shells() {
        for (pattern, name, hit) in [
            ("demo", "demo", true),
            ("dev-*", "dev-1", true),
            ("dev-?", "dev-12", false),
            ("[ab]x", "bx", true),
            ("demo", "demo2", false),
            ("[", "[", true),
        ] {
            assert_eq!(matches(pattern, name), hit, "{pattern} {name}");
        }
    }

    #[test]
    fn names_are_counted() {
        assert_eq!(counted(&["a".into()]), "1 cluster: a");
        assert_eq!(counted(&["a".into(), "b".into()]), "2 clusters: a, b");
    }
}
