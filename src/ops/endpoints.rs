//! `sky status --endpoints`: addresses of opened ports.

use serde_json::{Map, Value};

use super::{Ops, queue};
use crate::api::bodies::EndpointsBody;
use crate::base::cx::Cx;
use crate::base::ids::NodeRank;
use crate::base::{Error, Kind, Result};

/// Runs the verb. On a machine of one's own every port is open: the address of the port that is asked for.
pub(super) async fn run(ops: &Ops, _cx: &Cx, body: EndpointsBody) -> Result<Value> {
    let cluster = queue::reachable(ops, &body.cluster).await?;
    let head = cluster.instance(NodeRank::HEAD)?;
    // Users are elsewhere: the address that leads there from the world, where there is one.
    let ip = head.external_ip.as_ref().unwrap_or(&head.internal_ip);
    let port = match &body.port {
        None | Some(Value::Null) => return Ok(Value::Object(Map::new())),
        Some(Value::Number(port)) => port.to_string(),
        Some(Value::String(port)) => port.clone(),
        Some(other) => {
            return Err(Error::new(
                Kind::Invalid,
                format!("`{other}` is not a port"),
            ));
        }
    };
    let number: u16 = port.parse().map_err(|_| {
        Error::new(
            Kind::Invalid,
            format!("`{}` is not a port", crate::base::ids::clip(&port)),
        )
    })?;
    Ok(Value::Object(
        [(number.to_string(), Value::String(format!("{ip}:{number}")))]
            .into_iter()
            .collect(),
    ))
}
