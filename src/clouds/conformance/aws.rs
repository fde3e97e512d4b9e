//! The cases against the testbed's AWS: an API as EC2 has it, whose instances are hosts.

use std::sync::Arc;

use serde_json::json;

use self::bed::{AwsApi, Bed, VARIABLES};
use super::faults::{Fault, Mishaps, NotPossible};
use super::{Subject, conforms, in_a_home};
use crate::clouds::aws::{Aws, Settings};
use crate::clouds::{Catalogs, NodeSet};
use crate::sys::env;
use crate::sys::paths::Paths;
use crate::task::Amount;

#[path = "../../../tests/testbed/bed.rs"]
#[expect(clippy::disallowed_methods, reason = "a test starts the testbed")]
#[expect(dead_code, reason = "the tests of the program use the rest")]
mod bed;

impl Mishaps for AwsApi {
    fn order(&self, fault: Fault, set: &mut NodeSet) -> Result<(), NotPossible> {
        let refuse = |code: &str, count: u32| {
            self.fault(&json!({"action": "RunInstances", "code": code, "count": count}));
        };
        match fault {
            // With each of two machines' calls, the one that repeats it included.
            Fault::LostReply => {
                self.fault(&json!({"action": "RunInstances", "lost": true, "count": 4}));
            }
            Fault::ShownLate => {
                self.fault(&json!({"action": "RunInstances", "lost": true, "unseen": 3}));
                refuse("RequestLimitExceeded", 1);
            }
            Fault::Capacity => refuse("InsufficientInstanceCapacity", 0),
            Fault::Quota => refuse("VcpuLimitExceeded", 0),
            Fault::Throttled => refuse("RequestLimitExceeded", 0),
            Fault::Auth => refuse("UnauthorizedOperation", 0),
            Fault::Partly => refuse("InsufficientInstanceCapacity", 1),
            Fault::Interrupted => set.offer.spot = true,
            Fault::NodeLost => {}
        }
        Ok(())
    }

    fn strike(&self, fault: Fault, set: &NodeSet) {
        let last = (set.count - 1).to_string();
        let mut alive = self.alive();
        alive.retain(|one| one["tags"]["sky-set"] == set.name && one["tags"]["sky-rank"] == last);
        let verb = match fault {
            Fault::Interrupted => "interrupt",
            _ => "remove",
        };
        AwsApi::strike(self, verb, alive[0]["instance"].as_str().expect("an id"));
    }

    fn calm(&self) {
        self.no_faults();
    }

    fn machines(&self, set: &NodeSet) -> usize {
        let alive = self.alive();
        let of_set = alive
            .iter()
            .filter(|one| one["tags"]["sky-set"] == set.name);
        of_set.count()
    }
}

/// The API that the process which started this one holds.
fn of_parent() -> AwsApi {
    let value = |name| (name, env::var(name).expect("a parent with a testbed"));
    let bed = Bed {
        slot: None,
        envs: VARIABLES.map(value).into(),
    };
    let about = bed.json("aws", &["status"]);
    AwsApi::at(bed, &about)
}

#[test]
fn aws() {
    let home = tempfile::tempdir().expect("a home");
    let api = AwsApi::up();
    let mut variables = api.envs();
    variables.extend(api.bed.envs.clone());
    // What a call gives up with is to be seen soon.
    variables.push(("AWS_MAX_ATTEMPTS", "2".to_owned()));
    in_a_home("clouds::conformance::aws::inside", home.path(), &variables);
    assert!(api.alive().is_empty(), "{:?}", api.alive());
}

#[tokio::test]
#[ignore = "`aws` runs it in a home of its own"]
async fn inside() {
    let paths = Paths::of_user(None);
    let cloud = Aws::new(&paths, Settings::default(), Catalogs::new(&paths));
    let mut subject = Subject::new(Arc::new(cloud), Box::new(of_parent()));
    subject.wish.infra.cloud = Some("aws".to_owned());
    subject.wish.infra.region = Some("us-east-1".to_owned());
    subject.wish.cpus = Some(Amount::at_least(2.0));
    subject.takes_back = true;
    assert_eq!(conforms(&subject).await, []);
}
