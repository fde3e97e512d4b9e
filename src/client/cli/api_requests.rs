//! `sky api status | logs | get | cancel`: requests, by their ids or the beginnings of them.

use clap::Args;
use serde_json::Value;

use super::App;
use super::args::{ConfigArgs, OutputArgs, YesArgs, request_completer};
use super::submit::leave;
use crate::api::bodies::ApiCancelBody;
use crate::api::requests::{RequestPayload, StatusQuery};
use crate::base::clock::Moment;
use crate::base::ids::{ClusterName, IdempotencyKey, clip};
use crate::base::{Error, Kind, Result};
use crate::client::calls::Cancelled;
use crate::client::exit::{Exit, Outcome, Stop};
use crate::client::follow::{What, follow};
use crate::client::session::{Repeat, Session, result_of};
use crate::client::ui::{Cell, Table, style, times};

/// Where the published server keeps its own log.
const SERVER_LOG: &str = "~/.sky/api_server/server.log";

/// List requests
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sky api status\n  sky api status -a -l 200\n  sky api status 1a2b\n  sky api status -a -o json"
)]
pub(super) struct StatusArgs {
    /// Ids or their beginnings [default: all that have not finished]
    #[arg(value_name = "ID", add = request_completer())]
    ids: Vec<String>,
    /// Finished requests too
    #[arg(short, long)]
    all_status: bool,
    /// At most so many; `all` or `none` = no limit
    #[arg(short, long, value_name = "N", default_value = "50", value_parser = limit)]
    limit: Limit,
    /// Only requests about this cluster
    #[arg(short, long, value_name = "NAME")]
    cluster: Option<String>,
    /// Requests of everybody
    #[arg(short = 'u', long)]
    all_users: bool,
    /// Show the cluster and why a request waits
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// How many at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit(Option<usize>);

/// Reads a limit.
fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "all" | "none" => Ok(Limit(None)),
        _ => match text.parse() {
            Ok(n) if n > 0 => Ok(Limit(Some(n))),
            Ok(_) | Err(_) => Err("a number from 1, `all` or `none`".to_owned()),
        },
    }
}

/// Lists requests.
pub(super) async fn status(app: &App, args: StatusArgs) -> Outcome {
    if let Some(name) = &args.cluster {
        name.parse::<ClusterName>()?;
    }
    let session = app.unasked(&args.config)?;
    let mut fields: Vec<String> = ["request_id", "name", "user_id", "status", "created_at"]
        .map(str::to_owned)
        .to_vec();
    if args.verbose || args.cluster.is_some() {
        fields.extend(["cluster_name".to_owned(), "status_msg".to_owned()]);
    }
    if args.output.is_json() {
        fields.clear();
    }
    let query = StatusQuery {
        request_ids: args.ids.clone(),
        all_status: args.all_status,
        limit: args.limit.0,
        fields,
        cluster_name: args.cluster.clone(),
        all_users: args.all_users,
    };
    let found = session
        .patiently(Repeat::Always, || session.calls.list(&query))
        .await?;
    let unknown = |id: &&String| !found.iter().any(|r| r.request_id.starts_with(id.as_str()));
    let unknown = args.ids.iter().find(unknown);
    if !args.output.is_json() {
        show(app, &args, &found);
    }
    if let Some(id) = unknown {
        let what = format!("there is no request whose id begins with `{}`", clip(id));
        return Err(Error::new(Kind::NotFound, what).into());
    }
    if args.output.is_json() {
        let shown: Vec<Value> = found.iter().map(json).collect();
        app.ui.out_json(&shown)?;
    }
    Ok(Exit::Success)
}

/// Prints the table.
fn show(app: &App, args: &StatusArgs, found: &[RequestPayload]) {
    if found.is_empty() {
        if args.ids.is_empty() {
            app.ui.out(if args.all_status {
                "No requests."
            } else {
                "No requests in progress; -a shows finished ones too."
            });
        }
        return;
    }
    app.ui.out(
        table(found, args.verbose, Moment::now())
            .render(app.ui.out_colors())
            .trim_end_matches('\n'),
    );
    if args.limit.0 == Some(found.len()) && args.ids.is_empty() {
        app.ui.out("");
        app.ui.out(&format!(
            "Showing {} requests. Use \"-l none\" or \"-l all\" to show all requests.",
            found.len()
        ));
    }
}

/// The table.
fn table(found: &[RequestPayload], verbose: bool, now: Moment) -> Table {
    let mut columns = vec!["ID", "User", "Name"];
    if verbose {
        columns.push("Cluster");
    }
    columns.extend(["Created", "Status"]);
    if verbose {
        columns.push("Reason");
    }
    let mut table = Table::new(columns);
    for record in found {
        let user = record.user_name.as_ref().unwrap_or(&record.user_id);
        let mut row: Vec<Cell> = vec![
            record.request_id.as_str().into(),
            user.as_str().into(),
            record.name.as_str().into(),
        ];
        if verbose {
            row.push(record.cluster_name.as_deref().unwrap_or(times::NONE).into());
        }
        row.push(times::ago_secs(Some(record.created_at), now).into());
        row.push(Cell::toned(
            record.status.as_str(),
            style::of_request(record.status),
        ));
        if verbose {
            row.push(record.status_msg.as_deref().unwrap_or(times::NONE).into());
        }
        table.row(row);
    }
    table
}

/// A request as JSON, without what only the published client needs.
fn json(record: &RequestPayload) -> Value {
    serde_json::json!({
        "request_id": record.request_id,
        "name": record.name,
        "user_id": record.user_id,
        "user_name": record.user_name,
        "cluster_name": record.cluster_name,
        "status": record.status,
        "status_msg": record.status_msg,
        "created_at": record.created_at,
        "finished_at": record.finished_at,
    })
}

/// Show the log of a request
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sky api logs 1a2b3c4d\n  sky api logs 1a2b3c4d --no-follow --tail 20\n  sky api logs --server-logs"
)]
pub(super) struct LogsArgs {
    /// The id or its beginning
    #[arg(value_name = "ID", add = request_completer(), required_unless_present_any = ["log_path", "server_logs"])]
    id: Option<String>,
    /// A log on the server, as `sky launch` named it
    #[arg(short, long, value_name = "PATH", conflicts_with = "id")]
    log_path: Option<String>,
    /// The log of the server itself
    #[arg(long, conflicts_with_all = ["id", "log_path"])]
    server_logs: bool,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    tail: Option<i64>,
    /// Go on until the request ends (the default)
    #[arg(long, overrides_with = "no_follow")]
    follow: bool,
    /// Show what is there and return
    #[arg(long, overrides_with = "follow")]
    no_follow: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Shows the log of a request; when it was followed to its end, its failure is ours.
pub(super) async fn logs(app: &App, args: LogsArgs) -> Outcome {
    let session = app.unasked(&args.config)?;
    let follows = !args.no_follow;
    let path = if args.server_logs {
        Some(SERVER_LOG.to_owned())
    } else {
        args.log_path
    };
    if let Some(path) = path {
        let what = What::File {
            path,
            tail: args.tail,
            follow: follows,
        };
        follow(&session, &what).await?;
        return Ok(Exit::Success);
    }
    let id = one_id(&session, args.id.as_deref().unwrap_or_default()).await?;
    let what = What::Request {
        id: id.clone(),
        tail: args.tail,
        follow: follows,
    };
    match follow(&session, &what).await {
        Err(Stop::Aborted) => {
            leave(&session, id.parse()?);
            return Err(Stop::Detached);
        }
        other => other?,
    };
    if follows {
        let ended = session.ended(&id).await?;
        result_of(&ended)?;
    }
    Ok(Exit::Success)
}

/// Returns the whole id that a prefix means.
async fn one_id(session: &Session, prefix: &str) -> Outcome<String> {
    if prefix.len() == 36 || prefix.is_empty() {
        return Ok(prefix.to_owned());
    }
    let query = StatusQuery {
        request_ids: vec![prefix.to_owned()],
        all_status: true,
        ..StatusQuery::default()
    };
    let found = session
        .patiently(Repeat::Always, || session.calls.list(&query))
        .await?;
    match found.as_slice() {
        [one] => Ok(one.request_id.clone()),
        [] => {
            let what = format!(
                "there is no request whose id begins with `{}`",
                clip(prefix)
            );
            Err(Error::new(Kind::NotFound, what)
                .hint("sky api status -a")
                .into())
        }
        [..] => {
            let ids: Vec<&str> = found.iter().map(|r| r.request_id.as_str()).collect();
            let what = format!(
                "several requests begin with `{}`: {}",
                clip(prefix),
                ids.join(", ")
            );
            Err(Error::new(Kind::Ambiguous, what).into())
        }
    }
}

/// Wait for a request and print its result as JSON
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sky api get 1a2b3c4d\n  sky api get 1a2b3c4d --no-wait")]
pub(super) struct GetArgs {
    /// The id or its beginning
    #[arg(value_name = "ID", add = request_completer())]
    id: String,
    /// Fail at once when it has not finished
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Prints the result of a request.
pub(super) async fn get(app: &App, args: GetArgs) -> Outcome {
    let session = app.unasked(&args.config)?;
    let id = one_id(&session, &args.id).await?;
    if args.no_wait {
        let query = StatusQuery {
            request_ids: vec![id.clone()],
            all_status: true,
            ..StatusQuery::default()
        };
        let found = session
            .patiently(Repeat::Always, || session.calls.list(&query))
            .await?;
        if let Some(record) = found.first().filter(|record| !record.status.is_final()) {
            let what = format!("request {id} has not finished: it is {}", record.status);
            return Err(Error::new(Kind::Conflict, what)
                .hint(format!("sky api logs {id}"))
                .into());
        }
    }
    let ended = match session.ended(&id).await {
        Err(Stop::Aborted) => {
            leave(&session, id.parse()?);
            return Err(Stop::Detached);
        }
        other => other?,
    };
    app.ui.out_json(&result_of(&ended)?)?;
    Ok(Exit::Success)
}

/// Cancel requests
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sky api cancel 1a2b3c4d\n  sky api cancel -a -y")]
pub(super) struct CancelArgs {
    /// Ids or their beginnings
    #[arg(value_name = "ID", add = request_completer())]
    ids: Vec<String>,
    /// All requests of yours
    #[arg(short, long, conflicts_with = "ids")]
    all: bool,
    /// All requests of everybody
    #[arg(short = 'u', long, conflicts_with = "ids")]
    all_users: bool,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Cancels requests.
pub(super) async fn cancel(app: &App, args: CancelArgs) -> Outcome {
    if args.ids.is_empty() && !args.all && !args.all_users {
        return Err(
            Error::new(Kind::Usage, "which requests? Name them, or say --all")
                .hint("`sky api status` lists those that have not finished")
                .into(),
        );
    }
    let session = app.unasked(&args.config)?;
    if args.ids.is_empty() && !args.yes.yes {
        let whose = if args.all_users { "everybody" } else { "yours" };
        app.ui
            .demand(
                &format!("All requests of {whose} will be cancelled."),
                "cancel",
            )
            .await?;
    }
    let body = ApiCancelBody {
        common: session.common(),
        user_id: (args.all && !args.all_users).then(|| session.identity.id.to_string()),
        request_ids: (!args.ids.is_empty()).then(|| args.ids.clone()),
    };
    let key: IdempotencyKey = uuid::Uuid::new_v4().to_string().parse()?;
    let answer = session
        .patiently(Repeat::Always, || session.calls.cancel(&body, &key))
        .await?;
    let (cancelled, left, unknown) = match answer {
        Cancelled::Receipt(receipt) => {
            (receipt.cancelled, receipt.left, !receipt.unknown.is_empty())
        }
        Cancelled::Request(id) => {
            let cancelled = session.result::<Vec<String>>(id).await?;
            let is_known = |id: &String| cancelled.iter().any(|known| known.starts_with(id));
            let unknown = !args.ids.iter().all(is_known);
            (cancelled, Vec::new(), unknown)
        }
    };
    for id in &cancelled {
        app.ui.out(&format!("Cancelled request: {id}"));
    }
    for (id, why) in &left {
        app.ui
            .err_markup(&format!("[yellow]Not cancelled: {}: {why}[/]", clip(id)));
    }
    if cancelled.is_empty() && left.is_empty() {
        app.ui.out("No requests need to be cancelled.");
    }
    Ok(if unknown {
        Exit::Failure
    } else {
        Exit::Success
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        assert_eq!(limit("all"), Ok(Limit(None)));
        assert_eq!(limit("7"), Ok(Limit(Some(7))));
        assert!(limit("0").is_err());
        assert!(limit("x").is_err());
    }
}
