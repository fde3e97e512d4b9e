//! `--retry-until-up`: what everybody refused is asked for again, after a wait that is stored.

use std::time::Duration;

use serde_json::Value;

use super::{Ops, Outcome};
use crate::base::clock::Moment;
use crate::base::cx::Cx;
use crate::base::ids::ClusterName;
use crate::base::{Error, Result};
use crate::clusters::{Patience, may_change};

/// The first wait.
const FIRST: Duration = Duration::from_secs(30);
/// Each is longer than the one before by this.
const GROWTH: f64 = 1.6;
/// The longest.
const LONGEST: Duration = Duration::from_mins(5);

/// Returns what the flag means.
pub(super) const fn patience(retry_until_up: bool) -> Patience {
    if retry_until_up {
        Patience::Wait
    } else {
        Patience::GiveUp
    }
}

/// Returns how a run ends: with its result, or, where trying again may help and is wanted, in a wait.
pub(super) async fn or_wait(
    ops: &Ops,
    cx: &Cx,
    name: &str,
    patience: Patience,
    ended: Result<Value>,
) -> Result<Outcome> {
    match ended {
        Ok(value) => Ok(Outcome::Done(value)),
        Err(error) if patience == Patience::Wait && may_change(&error) => {
            wait(ops, cx, name, &error).await
        }
        Err(error) => Err(error),
    }
}

/// Begins the wait.
async fn wait(ops: &Ops, cx: &Cx, name: &str, error: &Error) -> Result<Outcome> {
    let count = cx.count_wait().await?;
    let pause = pause(count);
    let until = Moment::now().after(pause);
    let at = until.timestamp().strftime("%H:%M:%S UTC");
    cx.line(format!(
        "↺ Retry after {}s (attempt {} at {at}).",
        pause.as_secs(),
        count + 1
    ));
    let reason = format!(
        "no infra has room for cluster `{name}` ({})",
        error.chain().last().map_or("", String::as_str)
    );
    let name: ClusterName = name.parse()?;
    if let Some(cluster) = ops.clusters.find(&name).await? {
        ops.clusters
            .wait_until(&cluster, until, reason.clone())
            .await?;
    }
    Ok(Outcome::Park {
        until,
        reason: format!("{reason}; attempt {} at {at}", count + 1),
    })
}

/// Returns the wait after so many attempts.
fn pause(attempts: u32) -> Duration {
    let grown = FIRST.mul_f64(GROWTH.powi(i32::try_from(attempts.min(16)).unwrap_or(16) - 1));
    grown.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit() {
        let seconds: Vec<u64> = (1..8).map(|n| pause(n).as_secs()).collect();
        assert_eq!(seconds, [30, 48, 76, 122, 196, 300, 300]);
    }
}
