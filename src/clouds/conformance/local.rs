//! The cases against this machine.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::faults::{Fault, Mishaps, NotPossible};
use super::{Subject, conforms};
use crate::clouds::NodeSet;
use crate::clouds::local::Local;
use crate::sys::paths::Paths;

/// More nodes than this machine gives to a set.
const TOO_MANY: u32 = 65;

/// What can happen to nodes in this directory.
struct Nodes(PathBuf);

impl Mishaps for Nodes {
    fn order(&self, fault: Fault, set: &mut NodeSet) -> Result<(), NotPossible> {
        match fault {
            Fault::Quota => set.count = TOO_MANY,
            Fault::NodeLost => {}
            Fault::LostReply | Fault::Throttled => return Err(NotPossible::NoCalls),
            Fault::ShownLate => return Err(NotPossible::NeverLate),
            Fault::Capacity | Fault::Partly => return Err(NotPossible::AlwaysRoom),
            Fault::Auth => return Err(NotPossible::NoAccount),
            Fault::Interrupted => return Err(NotPossible::NoMarket),
        }
        Ok(())
    }

    fn strike(&self, _: Fault, set: &NodeSet) {
        let node = self.0.join(&set.name).join((set.count - 1).to_string());
        fs::remove_dir_all(node).expect("a node");
    }

    fn calm(&self) {}

    fn machines(&self, set: &NodeSet) -> usize {
        super::entries(&self.0.join(&set.name)).len()
    }
}

#[tokio::test]
async fn local() {
    let dir = tempfile::tempdir().expect("a directory");
    let nodes = Paths::at(dir.path(), &dir.path().join("state")).local_nodes();
    let cloud = Local::new(nodes.clone());
    let subject = Subject::new(Arc::new(cloud), Box::new(Nodes(nodes)));
    assert_eq!(
        conforms(&subject).await,
        [
            ("lost reply", NotPossible::NoCalls),
            ("shown late", NotPossible::NeverLate),
            ("capacity", NotPossible::AlwaysRoom),
            ("throttled", NotPossible::NoCalls),
            ("auth", NotPossible::NoAccount),
            ("partly", NotPossible::AlwaysRoom),
            ("interrupted", NotPossible::NoMarket),
        ]
    );
}
