//! `sky api`: the server and its requests.

use clap::{Args, Subcommand};

use super::{App, api_requests, api_server, help, login};
use crate::client::exit::Outcome;

/// Control the API server and its requests
#[derive(Debug, Args)]
#[command(after_help = help::API)]
pub(crate) struct ApiArgs {
    /// What to do.
    #[command(subcommand)]
    command: Option<ApiCommand>,
}

/// The commands of `sky api`.
#[derive(Debug, Subcommand)]
enum ApiCommand {
    /// Start the API server of this machine
    Start(api_server::StartArgs),
    /// Stop the API server of this machine
    Stop(api_server::StopArgs),
    /// List requests
    Status(api_requests::StatusArgs),
    /// Show the log of a request
    Logs(api_requests::LogsArgs),
    /// Wait for a request and print its result as JSON
    Get(api_requests::GetArgs),
    /// Cancel requests
    Cancel(api_requests::CancelArgs),
    /// Show which server is used, and why
    Info(api_server::InfoArgs),
    /// Use a server from now on
    Login(login::LoginArgs),
    /// Use the server of this machine again
    Logout(login::LogoutArgs),
}

/// Runs the command.
pub(super) async fn run(app: &App, args: ApiArgs) -> Outcome {
    match args.command {
        None => Ok(super::print_group_help(app, &["api"])),
        Some(ApiCommand::Start(args)) => api_server::start(app, args).await,
        Some(ApiCommand::Stop(args)) => api_server::stop(app, &args).await,
        Some(ApiCommand::Status(args)) => api_requests::status(app, args).await,
        Some(ApiCommand::Logs(args)) => Box::pin(api_requests::logs(app, args)).await,
        Some(ApiCommand::Get(args)) => api_requests::get(app, args).await,
        Some(ApiCommand::Cancel(args)) => Box::pin(api_requests::cancel(app, args)).await,
        Some(ApiCommand::Info(args)) => api_server::info(app, args).await,
        Some(ApiCommand::Login(args)) => Box::pin(login::login(app, args)).await,
        Some(ApiCommand::Logout(args)) => login::logout(app, &args),
    }
}
