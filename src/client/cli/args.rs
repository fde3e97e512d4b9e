//! Options that several commands share.

use clap::{Args, ValueEnum};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter};

use crate::client::completion;

/// `-o`: how a listing is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: nothing else goes to stdout.
    Json,
}

/// The output format of a listing.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct OutputArgs {
    /// Print a table, or JSON and nothing else
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    pub(crate) output: Format,
}

impl OutputArgs {
    /// Returns whether JSON is wanted.
    pub(crate) fn is_json(self) -> bool {
        self.output == Format::Json
    }
}

/// `--config`, on every command that talks to a server.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ConfigArgs {
    /// A configuration file, or one `key.sub=value`; may be repeated for values
    #[arg(long, value_name = "FILE|K=V")]
    pub(crate) config: Vec<String>,
}

/// `-y`.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct YesArgs {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// `--async`.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct AsyncArgs {
    /// Submit the request, print its id and return
    #[arg(long = "async", overrides_with = "wait")]
    pub(crate) detach: bool,
    /// Follow the request (the default)
    #[arg(long = "no-async", overrides_with = "detach", hide = true)]
    pub(crate) wait: bool,
}

/// Clusters by name or pattern, or all.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ClustersArgs {
    /// Names or patterns (`dev-*`)
    #[arg(value_name = "CLUSTER", add = ArgValueCandidates::new(completion::clusters))]
    pub(crate) clusters: Vec<String>,
    /// All clusters of yours
    #[arg(short, long)]
    pub(crate) all: bool,
    /// All clusters of everybody
    #[arg(short = 'u', long)]
    pub(crate) all_users: bool,
}

/// One request id or the beginning of one.
pub(crate) fn request_completer() -> ArgValueCompleter {
    ArgValueCompleter::new(completion::requests)
}

/// What keeps the idle timer of autostop from running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitFor {
    /// Jobs and open SSH sessions.
    #[value(name = "jobs_and_ssh")]
    JobsAndSsh,
    /// Jobs.
    Jobs,
    /// Nothing: the timer runs from when it was set.
    None,
}

impl From<WaitFor> for crate::api::bodies::WaitFor {
    fn from(given: WaitFor) -> Self {
        match given {
            WaitFor::JobsAndSsh => Self::JobsAndSsh,
            WaitFor::Jobs => Self::Jobs,
            WaitFor::None => Self::None,
        }
    }
}
