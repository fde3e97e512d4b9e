//! The cases against the cloud in memory.

use std::sync::Arc;

use super::faults::{Fault, Mishaps, NotPossible};
use super::{Subject, conforms};
use crate::clouds::fake::{Call, Fake, Fault as Ordered};
use crate::clouds::{Category, CloudId, NodeSet, Observed, Standing};
use crate::task::Amount;

impl Mishaps for Fake {
    fn order(&self, fault: Fault, _: &mut NodeSet) -> Result<(), NotPossible> {
        let ordered = match fault {
            Fault::LostReply => Ordered::LoseReply,
            Fault::Capacity => Ordered::Refuse(Category::Capacity),
            Fault::Quota => Ordered::Refuse(Category::Quota),
            Fault::Throttled => Ordered::Refuse(Category::Throttled),
            Fault::Auth => Ordered::Refuse(Category::Auth),
            Fault::Partly => Ordered::Partly(1, Category::Capacity),
            Fault::ShownLate => return Err(NotPossible::NeverLate),
            Fault::NodeLost | Fault::Interrupted => return Ok(()),
        };
        Fake::order(self, Call::Provision, None, ordered, 1);
        Ok(())
    }

    fn strike(&self, fault: Fault, set: &NodeSet) {
        let why = (fault == Fault::Interrupted).then(|| "it was taken back".to_owned());
        let standing = Standing::Gone;
        Fake::strike(self, &set.name, set.count - 1, Observed { standing, why });
    }

    fn calm(&self) {
        Fake::calm(self);
    }

    fn machines(&self, set: &NodeSet) -> usize {
        let all = Fake::machines(self);
        all.iter().filter(|(_, name, _)| *name == set.name).count()
    }
}

#[tokio::test]
async fn fake() {
    let fake = Fake::new(CloudId::Local, &[("r1", &["a", "b"]), ("r2", &[])]);
    let mut subject = Subject::new(Arc::new(fake.clone()), Box::new(fake));
    subject.has_agents = false;
    subject.wish.cpus = Some(Amount::at_least(2.0));
    assert_eq!(
        conforms(&subject).await,
        [
            ("agents", NotPossible::NoAgents),
            ("shown late", NotPossible::NeverLate),
        ]
    );
}
