//! Files that nodes get from elsewhere: they compare as ever, and are told where the rest is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::try_join_all;

use super::list::List;
use super::send::Progress;
use super::ship::{Behind, SHIP_DEADLINE, Shipped, shown_while};
use crate::api::agent::{FetchFile, FetchFiles};
use crate::api::manifest::{Manifest, Need};
use crate::base::cx::Cx;
use crate::base::{Kind, Result};
use crate::clouds::Instance;
use crate::clusters::agents::pause;
use crate::clusters::{Cluster, Clusters};

/// Files that a node is told of at once.
const BATCH_FILES: usize = 500;
/// Bytes of them, unless one file has more: so that the progress moves, and no permission ends before its use.
const BATCH_BYTES: u64 = 1 << 30;

/// What is to be fetched.
pub(crate) struct Haul {
    /// Where it goes on the node.
    pub(crate) dest: String,
    /// What it is.
    pub(crate) manifest: Manifest,
    /// What the spinner says meanwhile.
    pub(crate) doing: String,
}

/// Where one file is.
pub(crate) struct Spot {
    /// Permits to get it.
    pub(crate) url: String,
    /// Names its version.
    pub(crate) etag: String,
}

impl Clusters {
    /// Lets every node fetch what it lacks; `spots` says where files are, for some hours from when it is asked.
    ///
    /// Fails with `Conflict` when something changed since it was listed.
    pub(crate) async fn fetch<F>(
        &self,
        cx: &Cx,
        cluster: &Cluster,
        haul: Haul,
        spots: impl Fn(Vec<usize>) -> F + Sync,
    ) -> Result<Shipped>
    where
        F: Future<Output = Result<Vec<Spot>>>,
    {
        let list = Arc::new(List::from(haul.manifest)?);
        let progress = Arc::new(Progress::default());
        let nodes = cluster.instances.iter().map(|instance| {
            self.fetch_on(cluster, instance, (&haul.dest, &list), &progress, &spots)
        });
        let work = async { try_join_all(nodes).await.map(drop) };
        shown_while(cx, &haul.doing, &progress, work).await
    }

    /// [`Self::fetch`] for one node.
    async fn fetch_on<F>(
        &self,
        cluster: &Cluster,
        instance: &Instance,
        (dest, list): (&str, &Arc<List>),
        progress: &Progress,
        spots: &(impl Fn(Vec<usize>) -> F + Sync),
    ) -> Result<()>
    where
        F: Future<Output = Result<Vec<Spot>>>,
    {
        let mut node = Behind::new(instance);
        'rounds: loop {
            let lacking = self.compare(cluster, instance, dest, list).await?;
            node.look(list, &lacking);
            for batch in batches(list, &lacking.files) {
                let spots = spots(batch.iter().map(|(index, _)| *index).collect()).await?;
                let bytes = batch.iter().map(|(index, _)| size(list, *index));
                let (files, bytes) = (batch.len() as u64, bytes.sum());
                let ask = FetchFiles {
                    dest: dest.to_owned(),
                    digest: list.digest.clone(),
                    files: batch.iter().zip(spots).map(ask_for).collect(),
                };
                let client = self.agent(cluster, instance);
                if let Err(error) = client.fetch_files(&ask, SHIP_DEADLINE).await {
                    // What changed meanwhile has to be listed anew, by who called.
                    if error.kind() == Kind::Conflict {
                        return Err(error);
                    }
                    node = super::ship::again(node, super::ship::named(cluster, instance, error))?;
                    tokio::time::sleep(pause(node.stalls)).await;
                    continue 'rounds;
                }
                progress.files.fetch_add(files, Ordering::Relaxed);
                progress.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            return Ok(());
        }
    }
}

/// Says where one file is, and from which byte on it is lacking.
fn ask_for(((index, need), spot): (&(usize, Need), Spot)) -> FetchFile {
    FetchFile {
        index: *index,
        have: match need {
            Need::Rest { have, .. } => *have,
            Need::Whole | Need::Doubt(_) => 0,
        },
        url: spot.url,
        etag: spot.etag,
    }
}

/// Returns the bytes of a file.
fn size(list: &List, index: usize) -> u64 {
    list.manifest.entries[index].size()
}

/// Cuts what is lacking into pieces that take a while, not hours.
fn batches<'a>(
    list: &'a List,
    mut left: &'a [(usize, Need)],
) -> impl Iterator<Item = &'a [(usize, Need)]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = left.iter().take(BATCH_FILES).take_while(|(index, _)| {
            let before = bytes;
            bytes += size(list, *index);
            before == 0 || bytes <= BATCH_BYTES
        });
        let (batch, rest) = left.split_at(fits.count());
        left = rest;
        (!batch.is_empty()).then_some(batch)
    })
}
