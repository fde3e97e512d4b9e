//! Machines reached by SSH: as whom, by which key, known by which key of theirs.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::base::clock::monotonic;
use crate::base::ids::NodeRank;
use crate::base::{Error, Kind, Result};
use crate::clouds::Instance;
use crate::clouds::binary::Binary;
use crate::clouds::host::Host;
use crate::node::protocol::{Ask, Made, NodeName, Share};
use crate::sys::fs;
use crate::transport::ssh::{Host as Address, Ours, Ssh as Way};
use crate::transport::{ByteStream, Transport};

use super::keep::Keep;
use super::settings::Settings;

/// How long a machine that runs may take until it lets us in.
const BOOT: Duration = Duration::from_secs(240);
/// How long it may refuse our key meanwhile: it is put there while the machine starts.
const KEY_COMES: Duration = Duration::from_secs(60);
/// How long it may take to make a node, or to start one's agent.
const NODE: Duration = Duration::from_secs(60);
/// The pause between tries.
const PAUSE: Duration = Duration::from_millis(400);

/// What identifies a machine: the id of an [`Instance`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// Its region.
    pub(super) region: String,
    /// `i-…`
    pub(super) id: String,
    /// The set that it is part of.
    pub(super) set: String,
    /// Who logs in.
    pub(super) user: String,
}

impl Name {
    /// Writes it as text.
    pub(super) fn text(&self) -> String {
        format!("{}/{}/{}/{}", self.region, self.id, self.set, self.user)
    }

    /// Reads it.
    pub(super) fn read(text: &str) -> Self {
        let mut parts = text.split('/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Self {
            region: next(),
            id: next(),
            set: next(),
            user: next(),
        }
    }
}

/// The ways to machines. Cheap to clone.
#[derive(Clone)]
pub(super) struct Reach {
    /// Keys.
    pub(super) keep: Keep,
    /// Where sockets of shared connections are.
    pub(super) control: PathBuf,
    /// What is put on machines.
    pub(super) binary: Binary,
}

impl Reach {
    /// Returns the way to a machine at an address.
    pub(super) fn host(&self, settings: &Settings, name: &Name, address: &str) -> Result<Host> {
        fs::private_dir(&self.control)?;
        let host = Address {
            destination: address.to_owned(),
            user: Some(name.user.clone()),
            port: None,
            identity: Some(self.keep.key_file()),
            trust_first: true,
        };
        let ours = Ours {
            alias: name.id.clone(),
            known_hosts: self.keep.known_hosts(&name.set)?,
            proxy_command: settings.proxy(&name.region).map(str::to_owned),
        };
        Ok(Host {
            ssh: Way::to_ours(host, ours, &self.control),
            binary: self.binary.clone(),
        })
    }

    /// Returns the way to a machine of a cluster.
    pub(super) fn host_of(&self, settings: &Settings, instance: &Instance) -> Result<Host> {
        let address = instance
            .external_ip
            .as_ref()
            .filter(|_| !settings.internal)
            .unwrap_or(&instance.internal_ip);
        self.host(settings, &Name::read(&instance.id), address)
    }
}

/// Returns the node of a machine.
pub(super) fn node(set: &str, rank: NodeRank) -> NodeName {
    NodeName {
        set: set.to_owned(),
        rank,
    }
}

/// Makes the node on a machine that has just been made: as soon as it lets us in.
pub(super) async fn make_node(host: &Host, node: NodeName, networked: bool) -> Result<Made> {
    let ask = Ask::Create {
        node,
        // The machine belongs to the node as a whole.
        share: Share::default(),
        networked,
        whole: true,
    };
    let begun = monotonic();
    loop {
        let error = match host.ask::<Made>(&ask, NODE).await {
            Ok(made) => return Ok(made),
            Err(error) => error,
        };
        let most = match error.kind() {
            Kind::Unreachable => BOOT,
            Kind::Unauthenticated => KEY_COMES,
            _ => return Err(error),
        };
        if begun.elapsed() > most {
            let seconds = most.as_secs();
            return Err(Error::new(
                Kind::Unreachable,
                format!("the machine runs, but SSH to it did not work within {seconds} s"),
            )
            .caused_by(&Error::new(error.kind(), error.one_line()))
            .hint("see whether its security group and network let port 22 through")
            .hint("without a way from here: `aws.use_internal_ips` and `aws.ssh_proxy_command` in the server's configuration"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The agent of a machine.
pub(super) struct Agent {
    /// The way to the machine.
    pub(super) host: Result<Host>,
    /// The node.
    pub(super) node: NodeName,
    /// The machine.
    pub(super) id: String,
}

impl Transport for Agent {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            match &self.host {
                Ok(host) => host.open_agent(&self.node).await,
                Err(error) => Err(error.clone()),
            }
        })
    }

    fn describe(&self) -> String {
        format!("the agent on machine {}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let name = Name {
            region: "us-east-1".to_owned(),
            id: "i-0abc".to_owned(),
            set: "demo-1".to_owned(),
            user: "ubuntu".to_owned(),
        };
        assert_eq!(Name::read(&name.text()), name);
    }
}
