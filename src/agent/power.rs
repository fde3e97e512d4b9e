//! Switching the machine off when the idle time is over and nobody else does it.
//!
//! A server that listens is asked first: it stops or removes the cluster in order. Where none does, the head tells the
//! other nodes and then switches its own machine off; what becomes of it then is written down at its cloud.

use std::time::Duration;

use super::head::Head;
use super::peer::Peer;
use crate::api::agent::AutostopSetting;
use crate::base::{Error, Result};
use crate::sys::process;

/// How long nobody may listen until the machine is switched off: a server that was started again is back by then.
const ALONE: Duration = Duration::from_secs(15);
/// How long a server that listens may take.
const SERVED: Duration = Duration::from_secs(600);
/// The pause before it is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// Waits for the idle time to be over, for ever. To be run as long as the head is used.
pub(super) async fn watch(head: Head) {
    let mut idle = head.news().idle();
    loop {
        let setting = idle.borrow_and_update().clone();
        let wait = async {
            match &setting {
                None => std::future::pending().await,
                Some(setting) => end(&head, setting).await,
            }
        };
        tokio::select! {
            changed = idle.changed() => if changed.is_err() { return },
            () = wait => {}
        }
    }
}

/// Ends the machines of the cluster, unless a server does.
async fn end(head: &Head, setting: &AutostopSetting) {
    tokio::time::sleep(ALONE).await;
    if head.news().is_heard() {
        tokio::time::sleep(SERVED).await;
    }
    if !head.owns_machine().await {
        return std::future::pending().await;
    }
    tracing::info!(
        ?setting,
        "nobody stops this cluster: it switches itself off"
    );
    if let Err(error) = switch_all_off(head).await {
        tracing::warn!(error = %error.one_line(), "cannot switch the machine off");
    }
    tokio::time::sleep(AGAIN).await;
}

/// Switches the other machines off, then this one.
async fn switch_all_off(head: &Head) -> Result<()> {
    for peer in head.other_nodes().await {
        // One that does not answer is off, or will be found by whoever looks at the cluster.
        let told = match Peer::new(&peer) {
            Ok(peer) => peer.power_off().await,
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            tracing::warn!(node = %peer.rank, error = %error.one_line(), "cannot switch a node off");
        }
    }
    switch_off().await
}

/// Switches this machine off.
pub(super) async fn switch_off() -> Result<()> {
    tokio::task::spawn_blocking(process::power_off)
        .await
        .map_err(|e| Error::internal("switch the machine off", &e))?
}
