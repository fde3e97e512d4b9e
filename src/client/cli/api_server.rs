//! `sky api start | stop | info`: the server itself.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::App;
use super::args::{ConfigArgs, OutputArgs};
use crate::api::health::Health;
use crate::api::versions::VERSION;
use crate::base::{Error, Kind, Result};
use crate::client::autostart::{self, How, Started};
use crate::client::calls::Calls;
use crate::client::exit::{Exit, Outcome};
use crate::client::identity::Identity;
use crate::client::session::{check, refused};
use crate::client::target::{ENDPOINT_VARIABLE, Source, Target, local_port};
use crate::client::ui::{Tone, report};

/// Start the API server of this machine
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sky api start\n  sky api start --deploy       for a team, on all addresses\n  sky __serve --bind 0.0.0.0:30050     the same in the foreground"
)]
pub(super) struct StartArgs {
    /// Listen on all addresses, for a team
    #[arg(long)]
    deploy: bool,
    /// Listen on this address
    #[arg(
        long,
        value_enum,
        value_name = "HOST",
        default_value = "127.0.0.1",
        hide_possible_values = true
    )]
    host: Host,
    /// Listen on this port [default: 46580]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Do not go to the background
    #[arg(long)]
    foreground: bool,
    /// Accepted for scripts: addresses that others reach always demand credentials
    #[arg(long, hide = true)]
    enable_basic_auth: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Addresses to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Host {
    /// Loopback.
    #[value(name = "127.0.0.1", alias = "localhost")]
    Loopback,
    /// All of IPv4.
    #[value(name = "0.0.0.0")]
    All,
    /// Loopback of IPv6.
    #[value(name = "::1")]
    Loopback6,
    /// All.
    #[value(name = "::")]
    All6,
}

impl StartArgs {
    /// Returns the address to listen on, when it is not the usual one.
    fn bind(&self) -> Result<Option<String>> {
        let port = match self.port {
            Some(port) => port,
            None => local_port()?,
        };
        let host = match (self.deploy, self.host) {
            (true, Host::Loopback) | (_, Host::All) => "0.0.0.0",
            (_, Host::All6) => "[::]",
            (_, Host::Loopback6) => "[::1]",
            (false, Host::Loopback) if self.port.is_none() => return Ok(None),
            (false, Host::Loopback) => "127.0.0.1",
        };
        Ok(Some(format!("{host}:{port}")))
    }
}

/// Starts the local server.
pub(super) async fn start(app: &App, args: StartArgs) -> Outcome {
    let config = app.config(&args.config)?;
    let target = Target::resolve(&app.paths, &config)?;
    demand_local(&target, "start")?;
    let local = Target::local(&app.paths)?;
    let bind = args.bind()?;
    if args.foreground {
        let bind = bind.map_or_else(String::new, |bind| format!(" --bind {bind}"));
        let command = format!("sky __serve{bind}");
        return Err(Error::new(
            Kind::NotSupported,
            "the server in the foreground is a program of its own",
        )
        .hint(command)
        .into());
    }
    let how = How {
        bind: bind.into_iter().collect(),
    };
    let url = how
        .bind
        .first()
        .map_or_else(|| local.url.clone(), |bind| format!("http://{bind}"));
    let ui = &app.ui;
    match autostart::ensure(ui, &app.paths, &local, &how).await? {
        Started::Running => {
            ui.out("SkyPilot API server is already running.");
        }
        Started::Now(notes) => {
            ui.out(&format!(
                "{} SkyPilot API server started. ",
                ui.paint("✓", Tone::Green)
            ));
            for note in notes {
                ui.err_markup(&format!("[yellow]Note:[/] {note}"));
            }
        }
    }
    let facts = [
        format!("SkyPilot API server: {url}"),
        format!(
            "View API server logs at: {}",
            app.paths.server_log().display()
        ),
    ];
    ui.out(report::tree(&facts, ui.out_colors()).trim_end());
    Ok(Exit::Success)
}

/// Stop the API server of this machine
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sky api stop        jobs go on; requests go on when the server is started again"
)]
pub(super) struct StopArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Stops the local server.
pub(super) async fn stop(app: &App, args: &StopArgs) -> Outcome {
    let config = app.config(&args.config)?;
    demand_local(&Target::resolve(&app.paths, &config)?, "stop")?;
    let stopped = autostart::stop(&Target::local(&app.paths)?).await?;
    if stopped {
        app.ui
            .out(&app.ui.paint("SkyPilot API server stopped.", Tone::Green));
    } else {
        app.ui.out("SkyPilot API server is not running.");
    }
    Ok(Exit::Success)
}

/// Servers of other machines are not ours to start and stop.
fn demand_local(target: &Target, verb: &str) -> Result<()> {
    if target.local {
        return Ok(());
    }
    let what = format!(
        "`sky api {verb}` is for the server of this machine, and {} is in use",
        target.url
    );
    Err(Error::new(Kind::Usage, what)
        .hint("`sky api logout` returns to the server of this machine"))
}

/// Show which server is used, and why
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sky api info\n  sky api info -o json")]
pub(super) struct InfoArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Shows which server is used.
pub(super) async fn info(app: &App, args: InfoArgs) -> Outcome {
    let config = app.config(&args.config)?;
    let target = Target::resolve(&app.paths, &config)?;
    let identity = Identity::of_user(&app.paths)?;
    let health = Calls::new(&target, &identity)?.health().await;
    let ui = &app.ui;
    if args.output.is_json() {
        let health = match health {
            Ok(health) => Some(health),
            Err(error) if error.kind() == Kind::Unreachable && target.local => None,
            Err(error) if error.kind() == Kind::Unauthenticated => {
                return Err(refused(error, &target).into());
            }
            Err(error) => return Err(error.into()),
        };
        ui.out_json(&json!({
            "client_version": VERSION,
            "endpoint": target.url,
            "local": target.local,
            "source": source(&target.source),
            "status": health.as_ref().map(|h| h.status.as_str()),
            "version": health.as_ref().and_then(shown_version),
            "api_version": health.as_ref().and_then(|h| h.api_version.clone()),
            "user": health.as_ref().and_then(|h| h.user.clone()),
        }))?;
        return Ok(Exit::Success);
    }
    if let Ok(health) = &health {
        check(health, &target)?;
    }
    ui.out(&format!("SkyPilot client version: {VERSION}"));
    match health {
        Ok(health) => show(app, &target, &health),
        Err(error) if error.kind() == Kind::Unreachable && target.local => {
            ui.out("No SkyPilot API server is connected: the server of this machine does not run.");
            ui.out("  The next command starts it; or: sky api start, sky api login -e <endpoint>");
        }
        Err(error) if error.kind() == Kind::Unauthenticated => {
            return Err(refused(error, &target).into());
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Exit::Success)
}

/// Prints what a server says of itself.
fn show(app: &App, target: &Target, health: &Health) {
    let ui = &app.ui;
    ui.out(&format!("Using SkyPilot API server: {}", target.url));
    let mut facts = vec![format!(
        "Status: {}, commit: {}, version: {}",
        health.status.to_ascii_uppercase(),
        health.commit.as_deref().unwrap_or("unknown"),
        shown_version(health).unwrap_or_else(|| "unknown".to_owned()),
    )];
    if let Some(user) = &health.user {
        let name = user.name.as_deref().unwrap_or(&user.id);
        let role = user
            .role
            .as_deref()
            .map(|role| format!(", {role}"))
            .unwrap_or_default();
        facts.push(format!("User: {name} ({}{role})", user.id));
    }
    facts.push(source(&target.source));
    ui.out(report::tree(&facts, ui.out_colors()).trim_end());
}

/// A server's release: ours by our own number.
fn shown_version(health: &Health) -> Option<String> {
    match &health.sky_version {
        Some(version) => Some(format!("sky {version}")),
        None => health.version.clone(),
    }
}

/// Says who named the endpoint.
fn source(source: &Source) -> String {
    match source {
        Source::Default => "Endpoint set to default local API server.".to_owned(),
        Source::Environment => {
            format!("Endpoint set by the environment variable {ENDPOINT_VARIABLE}.")
        }
        Source::Config(Some(file)) => format!("Endpoint set by {}.", file.display()),
        Source::Config(None) => "Endpoint set by --config.".to_owned(),
    }
}
