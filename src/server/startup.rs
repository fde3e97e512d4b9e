//! The start of a server, in order, and its end in the opposite order.
//!
//! The lock on the store comes first: it is what makes a server the only one on its state, so whatever follows may assume
//! to be alone (a socket that is there was left behind).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accounts::Directory;
use super::app::{App, Parts};
use super::args::Args;
use super::background::{self, Idle};
use super::dispatch::Verbs;
use super::endpoints::{self, Endpoints};
use super::login::Logins;
use super::metrics::Metrics;
use super::seal::Sealer;
use super::settings::Settings;
use super::uploads::{Blobs, Early};
use super::{identity, log, routes, single};
use crate::api::versions::VERSION;
use crate::base::Result;
use crate::base::cx::Caller;
use crate::base::secret::Secret;
use crate::clouds::Clouds;
use crate::clusters::Clusters;
use crate::http::serve::{self, Server};
use crate::http::tail::Tails;
use crate::ops::Ops;
use crate::requests::Requests;
use crate::store::{self, Db};
use crate::sys::fs::ensure_private_dir;
use crate::sys::paths::Paths;
use crate::sys::ready::Reporter;
use crate::sys::signals;

/// How long running requests may take to reach their next step: they are resumed by the next start.
const DRAIN_REQUESTS: Duration = Duration::from_secs(2);
/// How long connections may take to end after the first signal.
const DRAIN_CONNECTIONS: Duration = Duration::from_secs(5);
/// How long blocking work may take after everything else has ended.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(2);
/// A server that listens.
pub(crate) struct Running {
    /// What handlers use.
    app: App,
    /// The connections.
    server: Server,
    /// The clusters.
    clusters: Clusters,
    /// Its background work.
    tasks: TaskTracker,
    /// The store: announces where the server listens.
    db: Db,
    /// Where it listens.
    urls: Vec<String>,
    /// The Unix socket.
    socket: PathBuf,
    /// The state directory.
    state: PathBuf,
    /// What the user should know.
    notes: Vec<String>,
    /// The text of the first admin's token, at the first start of a team server.
    admin_token: Option<Secret>,
    /// Fires the end of background work.
    stop: CancellationToken,
}

/// Opens everything, takes up what the last run left, and listens.
pub(crate) async fn start(args: &Args) -> Result<Running> {
    let signals = signals::watch()?;
    let paths = Paths::of_user(args.state_dir.as_deref());
    ensure_private_dir(paths.state())?;
    single::become_the_only_one(paths.state())?;
    let settings = Settings::load(&paths)?;
    log::limit(settings.log_bytes);
    let db = Db::open(&paths.store(), store::Options::default())?;
    let stop = CancellationToken::new();
    let socket = args.socket.clone().unwrap_or_else(|| paths.socket());
    let Endpoints {
        listeners,
        urls,
        socket,
        mut notes,
    } = endpoints::open(args, &socket).await?;
    notes.extend(settings.notes.iter().cloned());
    let clouds = Clouds::new(&paths, settings.allowed_clouds.as_deref(), &settings.aws);
    let clusters = Clusters::new(db.clone(), clouds, stop.clone());
    let parts = Opening {
        paths: &paths,
        settings: &settings,
        db: &db,
        clusters: &clusters,
        // By hand it logs to the terminal, and a file that is there is an old one.
        server_log: args.log_file().unwrap_or_default(),
        own: identity::own(&paths)?,
    };
    let app = parts.open(signals.asked().child_token()).await?;
    let team = args
        .binds()
        .iter()
        .any(|bind| endpoints::is_team(bind.addr));
    let admin_token = if team {
        app.directory.ensure_admin().await?
    } else {
        None
    };
    let idle = Idle {
        requests: app.requests.clone(),
    };
    clusters
        .start(Arc::new(idle), settings.cluster_refresh)
        .await?;
    let tasks = TaskTracker::new();
    background::start(&app, &tasks);
    let mut options = serve::Options::default();
    options.limits.header_timeout = Duration::from_secs(args.header_timeout);
    let server = Server::new(routes::router(Arc::clone(&app)), options);
    for (listener, policy) in listeners {
        server.listen(listener, policy);
    }
    Ok(Running {
        app,
        server,
        clusters,
        tasks,
        db,
        urls,
        socket,
        state: paths.state().to_path_buf(),
        notes,
        admin_token,
        stop,
    })
}

/// What the parts of a server are made of.
struct Opening<'a> {
    /// Where everything lies.
    paths: &'a Paths,
    /// What the operator has chosen.
    settings: &'a Settings,
    /// The store.
    db: &'a Db,
    /// The clusters.
    clusters: &'a Clusters,
    /// The log of the server, where it writes one.
    server_log: PathBuf,
    /// Who runs it.
    own: Caller,
}

impl Opening<'_> {
    /// Opens what handlers use, and takes up the requests that the last run left.
    async fn open(self, stopping: CancellationToken) -> Result<App> {
        let paths = self.paths;
        let ops = Ops {
            clusters: self.clusters.clone(),
            clients: paths.clients(),
        };
        let sealer = Arc::new(Sealer::open_or_create(&paths.seal_key())?);
        ensure_private_dir(&paths.clients())?;
        ensure_private_dir(&paths.request_logs())?;
        let verbs = Verbs {
            ops: ops.clone(),
            sealer: Arc::clone(&sealer),
        };
        let (db, logs) = (self.db.clone(), paths.request_logs());
        let options = self.settings.requests;
        Ok(Arc::new(Parts {
            requests: Requests::start(db, logs, Arc::new(verbs), options).await?,
            ops,
            directory: Directory::load(self.db.clone())?,
            logins: Logins::default(),
            blobs: Blobs::new(paths.clients(), self.settings.uploads),
            early: Early::default(),
            sealer,
            tails: Tails::start()?,
            home: paths.home().to_path_buf(),
            clients: paths.clients(),
            server_log: self.server_log,
            own: self.own,
            metrics: Metrics::new(),
            stopping,
        }))
    }
}

/// Makes a server without listeners and signals.
#[cfg(test)]
pub(super) async fn testing_app(state: &std::path::Path, own: Caller) -> Result<App> {
    let paths = Paths::of_user(Some(state));
    let db = Db::open(&paths.store(), store::Options::default())?;
    let settings = Settings::load(&paths)?;
    let clouds = Clouds::new(&paths, settings.allowed_clouds.as_deref(), &settings.aws);
    let clusters = Clusters::new(db.clone(), clouds, CancellationToken::new());
    let parts = Opening {
        paths: &paths,
        settings: &settings,
        db: &db,
        clusters: &clusters,
        server_log: PathBuf::new(),
        own,
    };
    parts.open(CancellationToken::new()).await
}

impl Running {
    /// Tells the starter, the log, and whoever tries to start a second server.
    pub(crate) fn announce(&self, reporter: Reporter) {
        if let Err(error) = self.db.announce(&self.urls) {
            tracing::warn!(
                error = error.one_line(),
                "the store does not say who holds it"
            );
        }
        tracing::info!(version = VERSION, pid = std::process::id(), endpoints = ?self.urls, "the server is ready");
        for note in &self.notes {
            tracing::warn!("{note}");
        }
        let token = self.admin_token.as_ref().map(Secret::reveal);
        if let Some(token) = token.filter(|_| !reporter.is_listened()) {
            print_token(token);
        }
        let report = json!({
            "version": VERSION,
            "pid": std::process::id(),
            "endpoints": self.urls,
            "notes": self.notes,
            "admin_token": token,
        });
        reporter.ready(&report.to_string());
    }

    /// Serves until a signal asks for the end, then ends in order.
    pub(crate) async fn until_stopped(self) -> Result<()> {
        let signals = signals::watch()?;
        signals.asked().cancelled().await;
        tracing::info!("the server stops; a second signal ends it at once");
        if let Err(error) = single::mark_stopping(&self.state) {
            tracing::warn!(
                error = error.one_line(),
                "a successor will not wait for this server"
            );
        }
        tokio::select! {
            () = self.drain() => tracing::info!("the server has stopped"),
            () = signals.insisted().cancelled() => tracing::warn!("the server is ended at once"),
        }
        Ok(())
    }

    /// Refuses new work, lets go of what runs, ends connections.
    async fn drain(&self) {
        // Both at once: followers of logs end when the requests are told to, and hold connections until then.
        let requests = self.app.requests.drain(DRAIN_REQUESTS);
        let (drained, ()) = tokio::join!(self.server.drain(DRAIN_CONNECTIONS), requests);
        if drained.cut > 0 {
            tracing::warn!(connections = drained.cut, "some connections were cut off");
        }
        self.stop.cancel();
        self.clusters.stopped().await;
        self.tasks.close();
        self.tasks.wait().await;
        if let Err(error) = std::fs::remove_file(&self.socket) {
            tracing::debug!(%error, "the socket is gone already");
        }
    }
}

/// Shows the first admin's token. Not through the log: a log is kept, and this is seen once.
fn print_token(token: &str) {
    use std::io::Write as _;
    let text = format!(
        "\nThis server refuses anonymous use. Its admin token, which is not shown again:\n\n    {token}\n\n\
         Log in with it: sky api login -e <endpoint> --token <token>\n\n"
    );
    // Nobody reads standard error: then nobody wants the token either.
    drop(std::io::stderr().write_all(text.as_bytes()));
}
