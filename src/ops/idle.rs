//! What the server asks for when a cluster has been idle for as long as its owner said.

use super::{Op, Order, Origin};
use crate::api::agent::AutostopSetting;
use crate::api::bodies::{Common, StopBody};
use crate::clusters::Cluster;

/// Returns the order to stop or remove an idle cluster.
pub(crate) fn idle_order(cluster: &Cluster, setting: &AutostopSetting) -> Order {
    let body = StopBody {
        common: Common::default(),
        cluster_name: cluster.name.to_string(),
        purge: false,
        graceful: false,
        graceful_timeout: None,
    };
    let op = if setting.down {
        Op::Down(body)
    } else {
        Op::Stop(body)
    };
    Order {
        op,
        origin: Origin::Remote,
    }
}
