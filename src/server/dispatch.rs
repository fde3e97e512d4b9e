//! Lets the queue run the verbs: adapts `ops` to what `requests` asks for.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::admission::opened;
use super::seal::Sealer;
use crate::base::Result;
use crate::base::cx::Cx;
use crate::ops::{Ops, Order, Outcome};
use crate::requests::{Dispatch, Record, Verdict};

/// Runs the verbs of stored requests.
pub(crate) struct Verbs {
    /// The verbs.
    pub(crate) ops: Ops,
    /// Opens sealed bodies.
    pub(crate) sealer: Arc<Sealer>,
}

impl Verbs {
    /// Reads the order of a request.
    fn order(sealer: &Sealer, request: &Record) -> Result<Order> {
        Order::from_value(opened(sealer, request.body.clone())?)
    }
}

impl Dispatch for Verbs {
    fn run(&self, cx: Cx, request: Arc<Record>) -> BoxFuture<'static, Result<Verdict>> {
        let (ops, sealer) = (self.ops.clone(), Arc::clone(&self.sealer));
        Box::pin(async move {
            let order = Self::order(&sealer, &request)?;
            // The order is all that is needed from here on; the body may be large.
            drop(request);
            Ok(match ops.run(&cx, order).await? {
                Outcome::Done(value) => Verdict::Done(value),
                Outcome::Park { until, reason } => Verdict::Park { until, reason },
            })
        })
    }

    fn on_cancelled(&self, cx: Cx, request: Arc<Record>) -> BoxFuture<'static, Option<String>> {
        let (ops, sealer) = (self.ops.clone(), Arc::clone(&self.sealer));
        Box::pin(async move {
            match Self::order(&sealer, &request) {
                Ok(order) => ops.on_cancelled(&cx, order).await,
                Err(error) => Some(format!("it could not be cleaned up: {}", error.one_line())),
            }
        })
    }
}
