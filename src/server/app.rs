//! What every handler may use.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::accounts::Directory;
use super::login::Logins;
use super::metrics::Metrics;
use super::seal::Sealer;
use super::uploads::{Blobs, Early};
use crate::base::cx::Caller;
use crate::http::tail::Tails;
use crate::ops::Ops;
use crate::requests::Requests;

/// Shared by all connections.
pub(crate) type App = Arc<Parts>;

/// The parts of the server.
pub(crate) struct Parts {
    /// The queue.
    pub(crate) requests: Requests,
    /// The verbs.
    pub(crate) ops: Ops,
    /// Users and tokens.
    pub(crate) directory: Directory,
    /// Log-ins under way.
    pub(crate) logins: Logins,
    /// Uploads.
    pub(crate) blobs: Blobs,
    /// Uploads that older clients do not name again.
    pub(crate) early: Early,
    /// Seals secrets.
    pub(crate) sealer: Arc<Sealer>,
    /// Growing files.
    pub(crate) tails: Tails,
    /// The home directory of the user that runs this server.
    pub(crate) home: PathBuf,
    /// Where users' files are.
    pub(crate) clients: PathBuf,
    /// The log of this server, where it writes one.
    pub(crate) server_log: PathBuf,
    /// The user that runs this server.
    pub(crate) own: Caller,
    /// Counts.
    pub(crate) metrics: Metrics,
    /// Fires when the server begins to stop.
    pub(crate) stopping: CancellationToken,
}
