//! Where everything lies: one struct, made once, passed on.

use std::path::{Path, PathBuf};

use super::env;

/// The places under `~/.sky` (client) and under the state directory (server).
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// The user's home directory.
    home: PathBuf,
    /// The server's state directory.
    state: PathBuf,
}

impl Paths {
    /// Returns the places of this user; `SKY_STATE_DIR` or `state_dir` moves the server's part.
    pub(crate) fn of_user(state_dir: Option<&Path>) -> Self {
        let home = env::home();
        let state = state_dir
            .map(Path::to_path_buf)
            .or_else(|| env::var("SKY_STATE_DIR").map(PathBuf::from))
            .unwrap_or_else(|| home.join(".sky/api_server"));
        Self { home, state }
    }

    /// Returns the places under directories that a test made.
    #[cfg(test)]
    pub(crate) fn at(home: &Path, state: &Path) -> Self {
        Self {
            home: home.to_path_buf(),
            state: state.to_path_buf(),
        }
    }

    /// The user's home directory.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// `~/.sky`
    pub(crate) fn sky(&self) -> PathBuf {
        self.home.join(".sky")
    }

    /// The user's configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.sky().join("config.yaml")
    }

    /// The client's identity.
    pub(crate) fn user_hash(&self) -> PathBuf {
        self.sky().join("user_hash")
    }

    /// The price list of a cloud, where `SkyPilot` keeps it, too: `~/.sky/catalogs/v8/<cloud>/vms.csv`.
    pub(crate) fn catalog(&self, cloud: &str) -> PathBuf {
        self.sky().join("catalogs/v8").join(cloud).join("vms.csv")
    }

    /// The server's state directory, `~/.sky/api_server`.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// The server's configuration file.
    pub(crate) fn server_config(&self) -> PathBuf {
        self.state.join("config.yaml")
    }

    /// The store.
    pub(crate) fn store(&self) -> PathBuf {
        self.state.join("store.redb")
    }

    /// The server's Unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.state.join("api.sock")
    }

    /// The lock that clients hold while they start the server.
    pub(crate) fn start_lock(&self) -> PathBuf {
        self.state.join("start.lock")
    }

    /// The server's log, where it runs detached.
    pub(crate) fn server_log(&self) -> PathBuf {
        self.state.join("server.log")
    }

    /// Logs of requests.
    pub(crate) fn request_logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// Uploads and downloads of users.
    pub(crate) fn clients(&self) -> PathBuf {
        self.state.join("clients")
    }

    /// The key that seals secrets in stored requests.
    pub(crate) fn seal_key(&self) -> PathBuf {
        self.state.join("seal.key")
    }

    /// Nodes of the `local` cloud.
    pub(crate) fn local_nodes(&self) -> PathBuf {
        self.state.join("local")
    }
}
