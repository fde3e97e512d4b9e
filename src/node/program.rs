//! `sky __node`: does on this machine what an API server elsewhere asks for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::machine::describe;
use super::protocol::{Answer, Ask, NodeName};
use super::{Node, remove_set, share};
use crate::base::{Error, Kind, Result};
use crate::sys::env;

/// Runs `sky __node JSON` and prints the answer as one line.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    let answer = match read(arguments).and_then(|ask| enter(answer(&root(), ask))) {
        Ok(value) => Answer::Ok(value),
        Err(error) => Answer::Error(error),
    };
    let Ok(line) = serde_json::to_string(&answer) else {
        return ExitCode::FAILURE;
    };
    match rustix::io::write(rustix::stdio::stdout(), format!("{line}\n").as_bytes()) {
        Ok(_) => ExitCode::SUCCESS,
        // Whoever asked is gone.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Where nodes lie on a machine that is not the server's own.
fn root() -> PathBuf {
    env::home().join(".sky/nodes")
}

/// Reads the question.
fn read(arguments: &[OsString]) -> Result<Ask> {
    let text = arguments.first().and_then(|text| text.to_str());
    let text = text.ok_or_else(|| Error::new(Kind::Usage, "`sky __node` takes a question"))?;
    serde_json::from_str(text).map_err(|e| {
        Error::new(
            Kind::VersionMismatch,
            "this release of sky does not understand what it was asked",
        )
        .caused_by(&e)
    })
}

/// Runs a future on a runtime of one thread.
fn enter<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::io("start the runtime", &e))?
        .block_on(work)
}

/// Does it.
async fn answer(root: &Path, ask: Ask) -> Result<Value> {
    // The agents that are started here outlive this process and are the system's to reap.
    let reapers = TaskTracker::new();
    match ask {
        Ask::Facts => to_json(&share::facts(root, describe().await)?),
        Ask::Create {
            node,
            share,
            networked,
            whole,
        } => {
            let wanted = share::Wanted {
                share,
                networked,
                home: whole.then(env::home),
            };
            let machine = describe().await;
            to_json(&share::create(root, machine, checked(&node)?, wanted)?)
        }
        Ask::Start { node } => {
            place(root, &node)?.ensure_agent(&reapers).await?;
            Ok(json!(null))
        }
        Ask::Stop { node } => {
            place(root, &node)?.stop(&reapers).await?;
            Ok(json!(null))
        }
        Ask::Remove { set } => {
            checked_set(&set)?;
            let dir = root.join(&set);
            for rank in share::ranks(&dir) {
                Node::new(&dir, rank).stop(&reapers).await?;
            }
            remove_set(root.to_path_buf(), set).await?;
            Ok(json!(null))
        }
        Ask::Leave => {
            share::leave(root)?;
            Ok(json!(null))
        }
    }
}

/// The node of a name.
fn place(root: &Path, name: &NodeName) -> Result<Node> {
    let name = checked(name)?;
    Ok(Node::new(&root.join(&name.set), name.rank))
}

/// Refuses names that lead elsewhere.
fn checked(name: &NodeName) -> Result<&NodeName> {
    checked_set(&name.set)?;
    Ok(name)
}

/// Refuses names that lead elsewhere.
fn checked_set(set: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if set.is_empty() || !set.bytes().all(plain) {
        return Err(Error::new(
            Kind::Invalid,
            "this is no name of a set of nodes",
        ));
    }
    Ok(())
}

/// The value of an answer.
fn to_json(value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::internal("answer", &e))
}
