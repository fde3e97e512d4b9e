//! The commands, one file each, in the order in which help lists them.

mod api;
mod api_requests;
mod api_server;
mod args;
mod autostop;
mod cancel;
mod catalog;
mod catalog_aws;
mod check;
mod cost_report;
mod down;
mod entry;
mod exec;
mod gpus;
mod help;
mod launch;
mod login;
mod logs;
mod many;
mod overrides;
mod queue;
mod ssh;
mod start;
mod status;
mod stop;
mod submit;
mod sync_down;
mod task_file;

#[cfg(test)]
mod tests;

use clap::{CommandFactory as _, Parser, Subcommand};

use self::args::ConfigArgs;
use super::completion::Shell;
use super::config::Config;
use super::exit::{Exit, Outcome};
use super::session::{Opening, Session};
use super::ui::Ui;
use crate::base::{Error, Kind, Result};
use crate::sys::paths::Paths;

/// Run AI and batch work on any infrastructure: this machine, SSH hosts, Slurm, Kubernetes, AWS
#[derive(Debug, Parser)]
#[command(
    name = "sky",
    disable_version_flag = true,
    disable_help_subcommand = true,
    help_template = help::ROOT_TEMPLATE,
    after_help = help::ROOT_EXAMPLES,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// Print the version and exit
    #[arg(short = 'v', long)]
    pub(crate) version: bool,
    /// Print the source revision and exit
    #[arg(short = 'c', long)]
    pub(crate) commit: bool,
    /// Complete commands, clusters and request ids in this shell
    #[arg(long, value_name = "SHELL", value_enum)]
    pub(crate) install_shell_completion: Option<Shell>,
    /// Take the completion out again
    #[arg(long, value_name = "SHELL", value_enum)]
    pub(crate) uninstall_shell_completion: Option<Shell>,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Launch a cluster and run a task on it
    Launch(Box<launch::LaunchArgs>),
    /// Run a task or command on an existing cluster
    Exec(Box<exec::ExecArgs>),
    /// Show clusters
    Status(status::StatusArgs),
    /// Show what clusters cost
    CostReport(cost_report::CostReportArgs),
    /// Show the job queues of clusters
    Queue(queue::QueueArgs),
    /// Follow the log of a job
    Logs(logs::LogsArgs),
    /// Cancel jobs
    Cancel(cancel::CancelArgs),
    /// Stop clusters: disks stay, machines go
    Stop(stop::StopArgs),
    /// Stop or tear down clusters when they are idle
    Autostop(autostop::AutostopArgs),
    /// Start stopped clusters again
    Start(start::StartArgs),
    /// Tear down clusters: machines and disks go
    Down(down::DownArgs),
    /// Check which infra can be used
    Check(check::CheckArgs),
    /// Show accelerators and where they are offered
    Gpus(gpus::GpusArgs),
    /// Show and update what machines of clouds cost
    Catalog(catalog::CatalogArgs),
    /// Prepare, list and clean your own SSH hosts
    Ssh(ssh::SshArgs),
    /// Control the API server and its requests
    Api(api::ApiArgs),
    /// Commands of later releases.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// What every command works with.
pub(crate) struct App {
    /// The terminal.
    pub(crate) ui: Ui,
    /// Places of files.
    pub(crate) paths: Paths,
    /// What was typed, without secrets.
    pub(crate) command_line: String,
}

impl App {
    /// Reads the configuration.
    pub(crate) fn config(&self, args: &ConfigArgs) -> Result<Config> {
        Config::load(&self.paths, &args.config)
    }

    /// Connects to the server, which is started when it is this machine's own.
    pub(crate) async fn open(&self, args: &ConfigArgs) -> Result<Session> {
        let config = self.config(args)?;
        Session::open(&self.opening(&config)).await
    }

    /// Prepares to connect, without asking the server anything.
    pub(crate) fn unasked(&self, args: &ConfigArgs) -> Result<Session> {
        let config = self.config(args)?;
        Session::unasked(&self.opening(&config))
    }

    /// What a session begins with.
    pub(crate) const fn opening<'a>(&'a self, config: &'a Config) -> Opening<'a> {
        Opening {
            ui: &self.ui,
            paths: &self.paths,
            config,
            command_line: self.command_line.as_str(),
        }
    }
}

impl Command {
    /// Runs the command to its end.
    pub(crate) async fn run(self, app: &App) -> Outcome {
        match self {
            Self::Launch(args) => Box::pin(launch::run(app, *args)).await,
            Self::Exec(args) => Box::pin(exec::run(app, *args)).await,
            Self::Status(args) => Box::pin(status::run(app, args)).await,
            Self::CostReport(args) => cost_report::run(app, args).await,
            Self::Queue(args) => Box::pin(queue::run(app, args)).await,
            Self::Logs(args) => Box::pin(logs::run(app, args)).await,
            Self::Cancel(args) => Box::pin(cancel::run(app, args)).await,
            Self::Stop(args) => Box::pin(stop::run(app, args)).await,
            Self::Autostop(args) => Box::pin(autostop::run(app, args)).await,
            Self::Start(args) => Box::pin(start::run(app, args)).await,
            Self::Down(args) => Box::pin(down::run(app, args)).await,
            Self::Check(args) => Box::pin(check::run(app, args)).await,
            Self::Gpus(args) => Box::pin(gpus::run(app, args)).await,
            Self::Catalog(args) => Box::pin(catalog::run(app, args)).await,
            Self::Ssh(args) => Box::pin(ssh::run(app, args)).await,
            Self::Api(args) => Box::pin(api::run(app, args)).await,
            Self::Other(words) => Err(absent(&words).into()),
        }
    }
}

/// Commands that users know and this release does not have.
const ABSENT: [&str; 12] = [
    "jobs",
    "serve",
    "storage",
    "volumes",
    "volume",
    "dashboard",
    "ui",
    "workspace",
    "local",
    "debug-dump",
    "status-kubernetes",
    "recipes",
];

/// The error of a command that is not there: not yet, or not at all.
fn absent(words: &[String]) -> Error {
    let name = words.first().map_or("", String::as_str);
    if name == "show-gpus" {
        return Error::new(Kind::Usage, "`sky show-gpus` is called `sky gpus list`");
    }
    if ABSENT.contains(&name) {
        return Error::new(
            Kind::NotSupported,
            format!("this release does not have `sky {name}` yet"),
        )
        .hint("`sky -h` lists the commands that it has");
    }
    let error = Error::new(
        Kind::Usage,
        format!("there is no command `{}`", crate::base::ids::clip(name)),
    );
    let commands = Cli::command();
    let near = commands
        .get_subcommands()
        .map(|command| {
            (
                strsim::damerau_levenshtein(command.get_name(), name),
                command.get_name(),
            )
        })
        .filter(|(distance, _)| *distance <= 2)
        .min();
    match near {
        Some((_, near)) => error.hint(format!("did you mean `sky {near}`?")),
        None => error.hint("`sky -h` lists the commands"),
    }
}

/// Prints the help of a group that was called without a command.
pub(crate) fn print_group_help(app: &App, path: &[&str]) -> Exit {
    let mut command = Cli::command();
    command.build();
    let mut found = &mut command;
    for name in path {
        match found.find_subcommand_mut(name) {
            Some(inner) => found = inner,
            None => return Exit::Usage,
        }
    }
    let help = found.render_help();
    let text = if app.ui.out_colors() {
        help.ansi().to_string()
    } else {
        help.to_string()
    };
    app.ui.out(text.trim_end());
    Exit::Success
}
