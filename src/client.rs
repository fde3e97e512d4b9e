//! The command line: everything a user types, and nothing that only a server can know.
//!
//! Talks HTTP to one API server (`calls`), follows logs by byte (`follow`), starts the local server when nothing
//! answers (`autostart`). Knows wire types and tasks; knows no store, no cloud and no cluster. One thread; nothing is
//! set up that the command does not need.

mod autostart;
mod backoff;
mod browser_login;
mod calls;
mod cli;
mod completion;
mod config;
mod config_file;
mod cookies;
mod exit;
mod follow;
mod foreign;
mod identity;
mod session;
mod target;
mod ui;
mod upload;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use self::cli::{App, Cli};
use self::exit::{Exit, Outcome, Stop};
use self::ui::{Ui, report};
use crate::api::versions::VERSION;
use crate::base::{Error, Result};
use crate::sys::paths::Paths;
use crate::sys::signals;

/// Runs the command line to its end.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    let ui = Ui::new();
    match completion::answer_shell() {
        Ok(false) => {}
        Ok(true) => return Exit::Success.into(),
        Err(_) => return Exit::Failure.into(),
    }
    let words = std::iter::once(OsString::from("sky")).chain(arguments.iter().cloned());
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => return usage(&ui, &error).into(),
    };
    let typed: Vec<String> = arguments
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let app = App {
        ui,
        paths: Paths::of_user(None),
        command_line: identity::shown_command_line(&typed),
    };
    let outcome = dispatch(&app, cli);
    app.ui.end_spin();
    settle(&app.ui, outcome).into()
}

/// Runs what was parsed.
fn dispatch(app: &App, cli: Cli) -> Outcome {
    if cli.version {
        app.ui.out(&format!("sky, version {VERSION}"));
        return Ok(Exit::Success);
    }
    if cli.commit {
        app.ui.out(&format!("sky-{VERSION}"));
        return Ok(Exit::Success);
    }
    if let Some(shell) = cli.install_shell_completion {
        completion::install(&app.ui, &app.paths, shell)?;
        return Ok(Exit::Success);
    }
    if let Some(shell) = cli.uninstall_shell_completion {
        completion::uninstall(&app.ui, &app.paths, shell)?;
        return Ok(Exit::Success);
    }
    let Some(command) = cli.command else {
        return Ok(cli::print_group_help(app, &[]));
    };
    let runtime = runtime()?;
    let outcome = runtime.block_on(Box::pin(command.run(app)));
    // A thread that still waits for an answer from the terminal must not hold the program.
    runtime.shutdown_background();
    outcome
}

/// Makes the runtime: this thread, sockets and timers.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::io("start", &e))
}

/// Says why there is no result, where that was not said yet.
fn settle(ui: &Ui, outcome: Outcome) -> Exit {
    match outcome {
        Ok(exit) => exit,
        Err(Stop::Detached) => Exit::Failure,
        Err(Stop::Aborted) => {
            // The terminal shows `^C` where the cursor was.
            if ui.is_interactive() && signals::were_seen() {
                ui.err("");
            }
            ui.err("Aborted!");
            Exit::Failure
        }
        Err(Stop::Failed(error)) => {
            ui.err_text(&report::render(&error, ui.err_colors()));
            if error.kind().exit_code() == Exit::Usage.code() {
                Exit::Usage
            } else {
                Exit::Failure
            }
        }
    }
}

/// Prints help that was asked for, or what is wrong with the command line.
fn usage(ui: &Ui, error: &clap::Error) -> Exit {
    let asked = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    let text = error.render();
    if asked {
        let text = if ui.out_colors() {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        ui.out(text.trim_end());
        Exit::Success
    } else {
        let text = if ui.err_colors() {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        // All errors begin alike.
        ui.err_text(&text.replacen("error:", "Error:", 1));
        Exit::Usage
    }
}
