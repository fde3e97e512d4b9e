//! News for the server: one stream of JSON lines for each connection.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use tokio::sync::{broadcast, watch};

use super::head::Head;
use crate::api::agent::{AgentEvent, AutostopSetting};
use crate::base::Result;

/// News that a slow listener may fall behind before it is told everything anew.
const KEPT: usize = 256;
/// The silence after which a heartbeat is sent.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// Where news comes from.
pub(crate) struct News {
    /// Changes of jobs.
    jobs: broadcast::Sender<AgentEvent>,
    /// The setting whose time is over.
    idle: watch::Sender<Option<AutostopSetting>>,
}

impl Default for News {
    fn default() -> Self {
        Self {
            jobs: broadcast::channel(KEPT).0,
            idle: watch::channel(None).0,
        }
    }
}

impl News {
    /// Tells everybody who listens now.
    pub(crate) fn send(&self, event: AgentEvent) {
        // Fails only when nobody listens.
        drop(self.jobs.send(event));
    }

    /// Returns the setting whose time is over, and its changes.
    pub(crate) fn idle(&self) -> watch::Receiver<Option<AutostopSetting>> {
        self.idle.subscribe()
    }

    /// Returns whether somebody listens now.
    pub(crate) fn is_heard(&self) -> bool {
        self.jobs.receiver_count() > 0
    }

    /// Says that the idle time is over, or that it is not any more.
    pub(crate) fn set_idle(&self, setting: Option<AutostopSetting>) {
        self.idle.send_if_modified(|now| {
            let changed = *now != setting;
            *now = setting;
            changed
        });
    }
}

/// One listener.
struct Listener {
    /// The job table.
    head: Head,
    /// Changes of jobs.
    jobs: broadcast::Receiver<AgentEvent>,
    /// The idle time.
    idle: watch::Receiver<Option<AutostopSetting>>,
    /// Everything must be told (at the beginning, and after falling behind).
    anew: bool,
}

/// Returns the stream of news: first how everything stands, then each change.
pub(crate) fn body(head: &Head) -> Body {
    let mut idle = head.news().idle.subscribe();
    idle.mark_changed();
    let listener = Listener {
        jobs: head.news().jobs.subscribe(),
        idle,
        head: head.clone(),
        anew: true,
    };
    Body::from_stream(futures_util::stream::unfold(
        listener,
        async |mut listener: Listener| {
            let lines = match listener.next().await {
                Ok(events) => lines(&events),
                Err(error) => {
                    tracing::warn!(error = %error.one_line(), "a stream of news ends");
                    return None;
                }
            };
            Some((Ok::<Bytes, Infallible>(lines), listener))
        },
    ))
}

impl Listener {
    /// Returns the next news.
    async fn next(&mut self) -> Result<Vec<AgentEvent>> {
        loop {
            if std::mem::take(&mut self.anew) {
                let mut all = vec![AgentEvent::Hello {
                    info: self.head.info().await,
                }];
                let jobs = self.head.jobs(true, None).await?;
                all.extend(jobs.into_iter().rev().map(|job| AgentEvent::Job { job }));
                return Ok(all);
            }
            tokio::select! {
                event = self.jobs.recv() => match event {
                    Ok(event) => return Ok(vec![event]),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.anew = true,
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                },
                changed = self.idle.changed() => {
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                    let setting = self.idle.borrow_and_update().clone();
                    if let Some(setting) = setting {
                        return Ok(vec![AgentEvent::Idle { setting }]);
                    }
                }
                () = tokio::time::sleep(HEARTBEAT) => return Ok(vec![AgentEvent::Heartbeat]),
            }
        }
    }
}

/// Returns events as JSON lines.
fn lines(events: &[AgentEvent]) -> Bytes {
    let mut lines = Vec::new();
    for event in events {
        match serde_json::to_writer(&mut lines, event) {
            Ok(()) => lines.push(b'\n'),
            Err(e) => tracing::error!(error = %e, "an event cannot be written as JSON"),
        }
    }
    lines.into()
}
