//! `sky check`: which infra can be used.

use clap::Args;
use serde_json::Value;

use super::args::{ConfigArgs, OutputArgs};
use super::submit::see_through;
use super::{App, help};
use crate::api::bodies::CheckBody;
use crate::client::exit::{Exit, Outcome};

/// Check which infra can be used
#[derive(Debug, Args)]
#[command(after_help = help::CHECK)]
pub(crate) struct CheckArgs {
    /// What to check: `local`, `aws`, `kubernetes/CONTEXT`, `ssh/POOL` … [default: everything]
    #[arg(value_name = "INFRA")]
    infra: Vec<String>,
    /// Show accounts and optional hints too
    #[arg(short, long)]
    verbose: bool,
    /// Check for this workspace
    #[arg(short, long, value_name = "NAME", hide_short_help = true)]
    workspace: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub(super) async fn run(app: &App, mut args: CheckArgs) -> Outcome {
    if let Some(workspace) = &args.workspace {
        args.config
            .config
            .push(format!("active_workspace={workspace}"));
    }
    let session = app.open(&args.config).await?;
    let body = CheckBody {
        common: session.common(),
        clouds: (!args.infra.is_empty()).then_some(args.infra),
        verbose: args.verbose,
    };
    if args.output.is_json() {
        let found: Value = session.ask("/check", &body).await?;
        // One workspace is the rule: then its name says nothing.
        let only = found.as_object().filter(|map| map.len() == 1);
        let shown = only.and_then(|map| map.values().next()).unwrap_or(&found);
        app.ui.out_json(shown)?;
        return Ok(Exit::Success);
    }
    let id = session.submit("/check", &body).await?;
    see_through(&session, id).await?;
    app.ui.out("");
    app.ui.out(&format!(
        "Using SkyPilot API server: {}",
        session.target.url
    ));
    Ok(Exit::Success)
}
