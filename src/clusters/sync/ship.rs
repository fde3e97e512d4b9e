//! Rounds of comparing and sending until every node has all.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::future::{join_all, try_join_all};
use tokio::sync::mpsc;

use super::list::List;
use super::send::{Load, Pieces, Progress};
use crate::api::manifest::{Lacking, Need};
use crate::base::clock::monotonic;
use crate::base::cx::Cx;
use crate::base::units;
use crate::base::{Error, Kind, Result};
use crate::clouds::Instance;
use crate::clusters::agents::pause;
use crate::clusters::{Cluster, Clusters};
use crate::transport::agent_client::FilesQuery;

/// How long one answer or stream may take.
pub(super) const SHIP_DEADLINE: Duration = Duration::from_hours(6);
/// Pieces of a stream that wait to be sent.
const QUEUE: usize = 16;
/// Rounds in a row that may fail without anything having arrived.
const MOST_STALLS: u32 = 5;
/// How often the spinner says how far it is.
const SHOWN_EVERY: Duration = Duration::from_millis(500);

/// A file or a tree to be put on every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shipment {
    /// Where it is on this machine.
    pub(crate) source: PathBuf,
    /// Where it goes on the node: absolute under `~`, or relative to it.
    pub(crate) dest: String,
    /// What the spinner says meanwhile.
    pub(crate) doing: String,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shipped {
    /// Files that were compared or sent, over all nodes.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Files that changed while they were read.
    pub(crate) torn: u64,
    /// How long it took.
    pub(crate) took: Duration,
}

/// A node that does not have all yet.
pub(super) struct Behind<'a> {
    /// The node.
    instance: &'a Instance,
    /// Bytes that it lacked at the last look.
    lacked: Option<u64>,
    /// Rounds in a row in which that did not become less.
    pub(super) stalls: u32,
}

impl Clusters {
    /// Puts a file or tree on every node of a cluster. May be dropped at any time; the next one goes on from there.
    pub(crate) async fn ship(
        &self,
        cx: &Cx,
        cluster: &Cluster,
        shipment: &Shipment,
    ) -> Result<Shipped> {
        let progress = Arc::new(Progress::default());
        let work = self.rounds(cluster, shipment, &progress);
        shown_while(cx, &shipment.doing, &progress, work).await
    }

    /// Compares and sends until no node lacks anything.
    async fn rounds(
        &self,
        cluster: &Cluster,
        shipment: &Shipment,
        progress: &Arc<Progress>,
    ) -> Result<()> {
        let source = shipment.source.clone();
        let list = tokio::task::spawn_blocking(move || List::of(&source));
        let list = list
            .await
            .map_err(|e| Error::internal("list files", &e))??;
        let list = Arc::new(list);
        let mut behind: Vec<_> = cluster.instances.iter().map(Behind::new).collect();
        loop {
            let looks = behind
                .iter()
                .map(|node| self.compare(cluster, node.instance, &shipment.dest, &list));
            let lacking = try_join_all(looks).await?;
            let mut groups: Vec<(Lacking, Vec<Behind<'_>>)> = Vec::new();
            for (mut node, lacking) in behind.drain(..).zip(lacking) {
                if lacking.files.is_empty() {
                    continue;
                }
                node.look(&list, &lacking);
                match groups.iter_mut().find(|(same, _)| *same == lacking) {
                    Some((_, nodes)) => nodes.push(node),
                    None => groups.push((lacking, vec![node])),
                }
            }
            if groups.is_empty() {
                return Ok(());
            }
            let sends = groups.into_iter().map(|(lacking, nodes)| {
                self.send(cluster, shipment, &list, progress, (lacking, nodes))
            });
            for (node, sent) in try_join_all(sends).await?.into_iter().flatten() {
                if let Err(error) = sent {
                    behind.push(again(node, error)?);
                }
            }
            let Some(stalls) = behind.iter().map(|node| node.stalls).max() else {
                return Ok(());
            };
            tokio::time::sleep(pause(stalls)).await;
        }
    }

    /// Asks a node what it lacks.
    pub(super) async fn compare(
        &self,
        cluster: &Cluster,
        instance: &Instance,
        dest: &str,
        list: &Arc<List>,
    ) -> Result<Lacking> {
        let files = query(dest, list, false);
        let known = self
            .on_node(cluster, instance, |client| async move {
                client
                    .compare_files(files, Bytes::new(), SHIP_DEADLINE)
                    .await
            })
            .await;
        let answer = match known.map_err(|e| named(cluster, instance, e))? {
            Some(answer) => answer,
            None => self
                .on_node(cluster, instance, |client| async move {
                    client
                        .compare_files(files, list.packed.clone(), SHIP_DEADLINE)
                        .await
                })
                .await
                .map_err(|e| named(cluster, instance, e))?
                .ok_or_else(|| Error::new(Kind::Internal, "a node gave no answer about files"))?,
        };
        Lacking::decode(&answer, list.manifest.entries.len())
    }

    /// Sends the same to some nodes; returns how it went for each. Fails when the files cannot be read.
    async fn send<'a>(
        &self,
        cluster: &Cluster,
        shipment: &Shipment,
        list: &Arc<List>,
        progress: &Arc<Progress>,
        (lacking, nodes): (Lacking, Vec<Behind<'a>>),
    ) -> Result<Vec<(Behind<'a>, Result<()>)>> {
        let clients: Vec<_> = nodes
            .iter()
            .map(|node| self.agent(cluster, node.instance))
            .collect();
        let load = Load {
            list: Arc::clone(list),
            source: shipment.source.clone(),
            lacking,
            // Between processes of one machine bytes cost less than their compression.
            packed: clients.iter().any(|client| client.home().is_none()),
            progress: Arc::clone(progress),
        };
        let files = query(&shipment.dest, list, load.packed);
        let mut ends: Vec<Pieces> = Vec::with_capacity(clients.len());
        let calls: Vec<_> = clients
            .iter()
            .map(|client| {
                let (pieces, receiver) = mpsc::channel(QUEUE);
                ends.push(pieces);
                let body = Body::from_stream(stream(receiver));
                client.put_files(files, body, SHIP_DEADLINE)
            })
            .collect();
        let read = tokio::task::spawn_blocking(move || load.send(ends));
        let sent = join_all(calls).await;
        // Its own reason comes first: to the nodes it looks like a broken connection.
        read.await
            .map_err(|e| Error::internal("read files", &e))??;
        let named = sent.into_iter().zip(nodes).map(|(sent, node)| {
            let sent = sent.map_err(|e| named(cluster, node.instance, e));
            (node, sent)
        });
        Ok(named.collect())
    }
}

impl<'a> Behind<'a> {
    /// A node that was not looked at yet.
    pub(super) const fn new(instance: &'a Instance) -> Self {
        Self {
            instance,
            lacked: None,
            stalls: 0,
        }
    }

    /// Notes what is lacking now, and whether anything has arrived since the last look.
    pub(super) fn look(&mut self, list: &List, lacking: &Lacking) {
        let bytes = lacking.files.iter().map(|(index, need)| {
            let size = list.manifest.entries[*index].size();
            match need {
                Need::Rest { have, .. } => size.saturating_sub(*have),
                // One more, or files without content would not count.
                Need::Whole | Need::Doubt(_) => size + 1,
            }
        });
        let bytes = bytes.sum();
        self.stalls = match self.lacked {
            Some(before) if bytes >= before => self.stalls + 1,
            _ => 0,
        };
        self.lacked = Some(bytes);
    }
}

/// Shows how far it is while `work` goes on; returns what was done.
pub(super) async fn shown_while(
    cx: &Cx,
    doing: &str,
    progress: &Progress,
    work: impl Future<Output = Result<()>>,
) -> Result<Shipped> {
    let begun = monotonic();
    tokio::pin!(work);
    let mut tick = tokio::time::interval(SHOWN_EVERY);
    tick.tick().await;
    loop {
        tokio::select! {
            done = &mut work => break done?,
            _ = tick.tick() => show(cx, doing, progress),
        }
    }
    Ok(Shipped {
        files: progress.files.load(Ordering::Relaxed),
        bytes: progress.bytes.load(Ordering::Relaxed),
        torn: progress.torn.load(Ordering::Relaxed),
        took: begun.elapsed(),
    })
}

/// Decides whether a node gets another round after an error.
pub(super) fn again(node: Behind<'_>, error: Error) -> Result<Behind<'_>> {
    let passing = matches!(
        error.kind(),
        Kind::Unreachable | Kind::Timeout | Kind::Conflict
    );
    if !passing || node.stalls >= MOST_STALLS {
        return Err(error);
    }
    tracing::info!(error = %error.one_line(), "sending files again");
    Ok(node)
}

/// Names the files to a node.
fn query<'a>(dest: &'a str, list: &'a List, packed: bool) -> FilesQuery<'a> {
    FilesQuery {
        dest,
        digest: &list.digest,
        packed,
    }
}

/// Says which node an error is about, where there are several.
pub(super) fn named(cluster: &Cluster, instance: &Instance, error: Error) -> Error {
    let error = match error.kind() {
        // An agent of before these routes existed.
        Kind::NotFound if error.message() == "there is no such route" => error
            .context("the agent of the node is older than this server")
            .hint(format!(
                "start it anew: sky stop {0}; sky start {0}",
                cluster.name
            )),
        _ => error,
    };
    if cluster.instances.len() == 1 {
        return error;
    }
    error.context(format!("cannot sync files to node {}", instance.rank))
}

/// The pieces as a stream.
fn stream(receiver: mpsc::Receiver<io::Result<Bytes>>) -> impl Stream<Item = io::Result<Bytes>> {
    futures_util::stream::unfold(receiver, async |mut receiver| {
        Some((receiver.recv().await?, receiver))
    })
}

/// Says how far it is.
fn show(cx: &Cx, doing: &str, progress: &Progress) {
    let files = progress.files.load(Ordering::Relaxed);
    let bytes = progress.bytes.load(Ordering::Relaxed);
    if files + bytes > 0 {
        let bytes = units::Bytes(bytes);
        cx.spinner(format!("[bold cyan]{doing}[/] ({files} files, {bytes})"));
    }
}
