//! The local server: started when nothing answers, replaced when it is older, stopped on demand.
//!
//! A lock makes sure that of several clients that find nothing one starts the server and the others find it.

use std::ffi::OsString;
use std::time::Duration;

use super::calls::Calls;
use super::target::{Target, local_port};
use super::ui::Ui;
use crate::api::health::Health;
use crate::api::versions::VERSION;
use crate::base::{Error, Kind, Result};
use crate::sys::env;
use crate::sys::fs::ensure_private_dir;
use crate::sys::lock::FileLock;
use crate::sys::paths::Paths;
use crate::sys::process::{Exit, identity, signal};
use crate::sys::ready::{READY_FD, Start, start};

/// How long a server may take to be ready: it may have to repair its store.
const READY_TIME: Duration = Duration::from_secs(60);
/// How often a server that dies without a word is started.
const STARTS: u32 = 5;
/// How long a server may take to end.
const END_TIME: Duration = Duration::from_secs(30);
/// Variables of jobs and of the published server that ours must not inherit.
const NOT_INHERITED: [&str; 2] = ["SKYPILOT_NODE_", "SKYPILOT_NUM_"];

/// What became of the wish for a local server.
#[derive(Debug)]
pub(crate) enum Started {
    /// It was there.
    Running,
    /// It was started now; the notes say what it could not do.
    Now(Vec<String>),
}

/// What to start beyond the usual.
#[derive(Debug, Clone, Default)]
pub(crate) struct How {
    /// Addresses to listen on instead of loopback.
    pub(crate) bind: Vec<String>,
}

/// Makes sure that the local server runs, and that it is not older than this program.
pub(crate) async fn ensure(ui: &Ui, paths: &Paths, target: &Target, how: &How) -> Result<Started> {
    let calls = Calls::to_local(target)?;
    if let Some(health) = probe(&calls).await? {
        if !is_older(&health) {
            return Ok(Started::Running);
        }
        ui.err_markup(&format!(
            "[dim]The local API server is older ({}) than this program ({VERSION}); it is restarted, requests go on.[/]",
            health.sky_version.as_deref().unwrap_or("unknown")
        ));
    }
    if env::flag("SKYPILOT_DISABLE_LOCAL_API_SERVER") {
        return Err(Error::new(
            Kind::Unreachable,
            "no API server runs on this machine, and SKYPILOT_DISABLE_LOCAL_API_SERVER forbids to start one",
        )
        .hint("sky api login -e <endpoint>"));
    }
    ensure_private_dir(paths.state())?;
    let lock = FileLock::acquire_within(&paths.start_lock(), READY_TIME)?;
    if let Some(health) = probe(&calls).await? {
        if !is_older(&health) {
            return Ok(Started::Running);
        }
        end(&health).await?;
    }
    // A server that is killed before it can speak says nothing about the next one.
    let mut started = launch(paths, how, &lock);
    for _ in 1..STARTS {
        match &started {
            Err(error) if error.kind() == Kind::Unreachable => started = launch(paths, how, &lock),
            Err(_) | Ok(_) => break,
        }
    }
    started.map(Started::Now)
}

/// Ends the local server; false when none runs.
pub(crate) async fn stop(target: &Target) -> Result<bool> {
    let calls = Calls::to_local(target)?;
    match probe(&calls).await? {
        None => Ok(false),
        Some(health) => end(&health).await.map(|()| true),
    }
}

/// Asks the local server for its state; `None` when nothing listens.
pub(crate) async fn probe(calls: &Calls) -> Result<Option<Health>> {
    match calls.health().await {
        Ok(health) => Ok(Some(health)),
        Err(error) if error.kind() == Kind::Unreachable => Ok(None),
        Err(error) => Err(error.context("the local API server does not answer as it should")),
    }
}

/// Starts the server and waits until it is ready.
fn launch(paths: &Paths, how: &How, lock: &FileLock) -> Result<Vec<String>> {
    let port = local_port()?;
    let mut args: Vec<OsString> = ["__serve", "--ready-fd", READY_FD, "-m", "sky.server.server"]
        .iter()
        .map(OsString::from)
        .collect();
    // SkyPilot's client finds a local server by these words in its command line.
    args.push("--host=127.0.0.1".into());
    args.push(format!("--port={port}").into());
    for bind in &how.bind {
        args.push(format!("--bind={bind}").into());
    }
    let started = start(&Start {
        args: &args,
        log: &paths.server_log(),
        envs: &[],
        without: &NOT_INHERITED,
        lock,
        deadline: READY_TIME,
    })?;
    let report: serde_json::Value = serde_json::from_str(&started.report).unwrap_or_default();
    let notes = report["notes"].as_array().into_iter().flatten();
    let mut notes: Vec<String> = notes
        .filter_map(|note| note.as_str().map(str::to_owned))
        .collect();
    if let Some(token) = report["admin_token"].as_str() {
        notes.push(format!(
            "its admin token, which is not shown again: {token}"
        ));
    }
    Ok(notes)
}

/// Asks a server to end and waits until it has.
async fn end(health: &Health) -> Result<()> {
    let unknown = || {
        Error::new(
            Kind::NotSupported,
            "the server on this machine does not say which process it is",
        )
        .hint("stop it with the program that started it")
    };
    let process = health.pid.and_then(identity).ok_or_else(unknown)?;
    let exit = Exit::of(process).map_err(|e| Error::io("watch the API server", &e))?;
    signal(process, rustix::process::Signal::TERM);
    let Some(exit) = exit else { return Ok(()) };
    match tokio::time::timeout(END_TIME, exit.wait()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(Error::io("wait for the API server", &e)),
        Err(_) => Err(Error::new(
            Kind::Timeout,
            format!(
                "the API server (process {}) has not ended after {} s",
                process.pid,
                END_TIME.as_secs()
            ),
        )),
    }
}

/// Returns whether a server of ours is older than this program.
fn is_older(health: &Health) -> bool {
    let number = |text: &str| -> Option<Vec<u64>> {
        text.split('-')
            .next()?
            .split('.')
            .map(|n| n.parse().ok())
            .collect()
    };
    match (
        health.sky_version.as_deref().and_then(number),
        number(VERSION),
    ) {
        (Some(theirs), Some(ours)) => theirs < ours,
        (Some(_) | None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_older_servers_of_ours_are_replaced() {
        for (version, older) in [
            (Some("0.0.9"), true),
            (Some(VERSION), false),
            (Some("99.0.0"), false),
            (Some("weird"), false),
            (None, false),
        ] {
            let health = serde_json::json!({
                "status": "healthy", "api_version": "62", "version": "0.14.1", "commit": "x",
                "sky_version": version,
            });
            let health: Health = serde_json::from_value(health).expect("valid");
            assert_eq!(is_older(&health), older, "{version:?}");
        }
    }
}
