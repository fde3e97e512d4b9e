//! Infra that nodes come from: one small trait, one folder per cloud.
//!
//! A cloud makes, stops, starts and removes sets of machines by a name that we choose before the call, and
//! says what it has. It knows nothing of clusters, jobs or requests.
#![warn(clippy::missing_docs_in_private_items)]

mod absent;
mod aws;
mod binary;
mod catalogs;
#[cfg(test)]
mod conformance;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod host;
mod local;
mod ssh;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::api::agent::PeerAddress;
use crate::aws::Aws as Caller;
use crate::base::ids::NodeRank;
use crate::base::{Error, Kind};
use crate::catalog::{Offer, Supply};
use crate::sys::paths::Paths;
use crate::task::Shape;
use crate::transport::Transport;

pub(crate) use crate::node::Standing;
pub(crate) use crate::node::machine::quantities_of;
pub(crate) use absent::{ABSENT, Absent, absent};
pub(crate) use aws::Settings as AwsSettings;
pub(crate) use catalogs::Catalogs;
pub(crate) use error::{Category, CloudError};
pub(crate) use ssh::{HostReport, Ssh, Stock};

/// The clouds of this release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CloudId {
    /// This machine.
    Local,
    /// Hosts of the user's, reached by SSH.
    Ssh,
    /// Machines of Amazon's.
    Aws,
}

impl CloudId {
    /// All of them, in the order of tables.
    pub(crate) const ALL: &'static [Self] = &[Self::Local, Self::Ssh, Self::Aws];

    /// Returns the name that users write.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Ssh => "ssh",
            Self::Aws => "aws",
        }
    }

    /// Returns the name that tables show.
    pub(crate) const fn display_name(self) -> &'static str {
        match self {
            Self::Local => "Local",
            Self::Ssh => "SSH",
            Self::Aws => "AWS",
        }
    }
}

impl fmt::Display for CloudId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CloudId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let name = text
            .split('/')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        match Self::ALL.iter().find(|id| id.as_str() == name) {
            Some(id) => Ok(*id),
            None if absent(&name).is_some() => Err(Error::new(
                Kind::NoCloudAccess,
                format!("infra `{name}` is not available in this release"),
            )
            .hint("see what is enabled: sky check")),
            None => Err(Error::new(
                Kind::Invalid,
                format!("there is no infra named `{}`", crate::base::ids::clip(text)),
            )
            .hint("see what is enabled: sky check")),
        }
    }
}

/// What a cloud can do with machines that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Machines can be stopped and started again with their disks.
    pub(crate) stop: bool,
    /// A machine is its cluster's alone, and may switch itself off when that has been idle for long enough.
    pub(crate) own_machines: bool,
}

/// A set of machines to be made (or found): the same name always means the same set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NodeSet {
    /// The name on the cloud, chosen and stored before the first call.
    pub(crate) name: String,
    /// How many.
    pub(crate) count: u32,
    /// Of which shape, where.
    pub(crate) offer: Offer,
    /// What was asked for around the machines: disk, image, ports.
    #[serde(default)]
    pub(crate) wish: Shape,
    /// Labels to attach.
    pub(crate) labels: BTreeMap<String, String>,
    /// Another one for each life of the name and each place that is tried: for clouds that tell a repeated call by it.
    #[serde(default)]
    pub(crate) token: String,
}

/// A machine as its cloud sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observed {
    /// How it stands.
    pub(crate) standing: Standing,
    /// Why, where the cloud says it: "its spot capacity was taken back".
    pub(crate) why: Option<String>,
}

impl From<Standing> for Observed {
    fn from(standing: Standing) -> Self {
        Self {
            standing,
            why: None,
        }
    }
}

/// A machine that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// Its place in the set.
    pub(crate) rank: NodeRank,
    /// The cloud's id.
    pub(crate) id: String,
    /// The address that other nodes and jobs use.
    pub(crate) internal_ip: String,
    /// The address that users use, where it differs.
    pub(crate) external_ip: Option<String>,
    /// Where its agent listens, seen from the other nodes of the set.
    pub(crate) agent: PeerAddress,
}

/// The result of a call to a cloud.
pub(crate) type CloudResult<T> = Result<T, CloudError>;

/// Infra that nodes come from. Every call is idempotent and keyed by the name in the set.
pub(crate) trait Cloud: Send + Sync {
    /// Returns which cloud this is.
    fn id(&self) -> CloudId;

    /// Returns what it can do with machines of an offer.
    fn capabilities(&self, offer: &Offer) -> Capabilities;

    /// Returns, when the cloud can be used, as whom (nothing where there are no accounts); else why not and what to do.
    fn check(&self) -> BoxFuture<'_, CloudResult<Option<String>>>;

    /// Returns the nodes that meet a wish, the cheapest for each place, or why there is none.
    fn offers<'a>(&'a self, wish: &'a Shape) -> BoxFuture<'a, CloudResult<Supply>>;

    /// Returns the zones in which an offer that leaves the zone open may be had, in the order in which to try them;
    /// none where the cloud has no zones or chooses itself.
    fn zones<'a>(&'a self, offer: &'a Offer) -> BoxFuture<'a, CloudResult<Vec<String>>> {
        let _ = offer;
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Returns the accelerators that it has, with the quantities that can be asked for.
    fn accelerators(&self) -> BoxFuture<'_, CloudResult<BTreeMap<String, Vec<f64>>>>;

    /// Makes the machines, or finds those made before under this name, and runs them. All or an error: what an error
    /// leaves behind is found by the name, and `terminate` removes it.
    fn provision<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<Vec<Instance>>>;

    /// Makes sure that a machine that runs has a running agent of this release.
    fn bootstrap<'a>(
        &'a self,
        set: &'a NodeSet,
        instance: &'a Instance,
    ) -> BoxFuture<'a, CloudResult<()>>;

    /// Says what becomes of machines that switch themselves off: they are removed with their disks, or stopped.
    fn at_power_off<'a>(&'a self, set: &'a NodeSet, down: bool) -> BoxFuture<'a, CloudResult<()>> {
        let _ = (set, down);
        Box::pin(async { Ok(()) })
    }

    /// Stops the machines, keeps their disks.
    fn stop<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<()>>;

    /// Removes the machines and their disks; returns normally when the cloud says that they are gone, also when there
    /// were none.
    fn terminate<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<()>>;

    /// Removes machines of which nothing but the name of their set is known; returns normally when they are gone.
    fn terminate_stray<'a>(&'a self, name: &'a str) -> BoxFuture<'a, CloudResult<()>>;

    /// Returns how each machine stands, by rank.
    fn observe<'a>(&'a self, set: &'a NodeSet) -> BoxFuture<'a, CloudResult<Vec<Observed>>>;

    /// Returns the names of all sets that exist, for finding strays.
    fn owned(&self) -> BoxFuture<'_, CloudResult<Vec<String>>>;

    /// Returns how to reach the agent of a machine from here.
    fn transport(&self, instance: &Instance) -> Arc<dyn Transport>;
}

/// The clouds of this server.
#[derive(Clone)]
pub(crate) struct Clouds {
    /// By id.
    all: Arc<BTreeMap<CloudId, Arc<dyn Cloud>>>,
    /// Those that the server's configuration leaves out.
    barred: Arc<[CloudId]>,
    /// What machines cost.
    catalogs: Catalogs,
    /// What users do with their hosts themselves.
    hosts: Ssh,
    /// AWS beside its machines: buckets.
    caller: Caller,
}

impl Clouds {
    /// Makes them all; new work may use those in `allowed` (everything when absent). What exists goes on.
    pub(crate) fn new(paths: &Paths, allowed: Option<&[CloudId]>, of_aws: &AwsSettings) -> Self {
        let local: Arc<dyn Cloud> = Arc::new(local::Local::new(paths.local_nodes()));
        let hosts = ssh::Ssh::new(paths);
        let ssh: Arc<dyn Cloud> = Arc::new(hosts.clone());
        let catalogs = Catalogs::new(paths);
        let aws = aws::Aws::new(paths, of_aws.clone(), catalogs.clone());
        let caller = aws.caller().clone();
        let aws: Arc<dyn Cloud> = Arc::new(aws);
        let is_barred = |id: &CloudId| allowed.is_some_and(|allowed| !allowed.contains(id));
        Self {
            all: Arc::new(
                [
                    (CloudId::Local, local),
                    (CloudId::Ssh, ssh),
                    (CloudId::Aws, aws),
                ]
                .into(),
            ),
            barred: CloudId::ALL.iter().copied().filter(is_barred).collect(),
            catalogs,
            hosts,
            caller,
        }
    }

    /// Makes a choice of them for a test.
    #[cfg(test)]
    pub(crate) fn of(paths: &Paths, clouds: Vec<Arc<dyn Cloud>>) -> Self {
        Self {
            all: Arc::new(clouds.into_iter().map(|c| (c.id(), c)).collect()),
            barred: Arc::default(),
            catalogs: Catalogs::new(paths),
            hosts: Ssh::new(paths),
            caller: Caller::new(paths.home()),
        }
    }

    /// Returns one.
    pub(crate) fn get(&self, id: CloudId) -> Arc<dyn Cloud> {
        match self.all.get(&id) {
            Some(cloud) => Arc::clone(cloud),
            None => unreachable!("every cloud is made at start"),
        }
    }

    /// Returns the user's hosts, for what is done with them beside clusters.
    pub(crate) fn hosts(&self) -> &Ssh {
        &self.hosts
    }

    /// Returns who calls AWS, for what is there beside machines.
    pub(crate) fn aws(&self) -> &Caller {
        &self.caller
    }

    /// Returns those that the server's configuration leaves out.
    pub(crate) fn barred(&self) -> &[CloudId] {
        &self.barred
    }

    /// Checks whether new work may use one, and whether it can; returns as whom.
    pub(crate) async fn check(&self, cloud: &dyn Cloud) -> CloudResult<Option<String>> {
        let id = cloud.id();
        if self.barred.contains(&id) {
            let error = Error::new(
                Kind::NoCloudAccess,
                "`allowed_clouds` in the server's configuration leaves it out",
            )
            .hint(format!(
                "whoever runs the server can add `{id}` there and start the server again"
            ));
            return Err(CloudError::new(Category::Auth, error));
        }
        cloud.check().await
    }

    /// Returns the price lists, those of clouds that cannot be used included.
    pub(crate) fn catalogs(&self) -> &Catalogs {
        &self.catalogs
    }

    /// Returns all.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn Cloud>> {
        self.all.values()
    }
}
