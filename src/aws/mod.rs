//! AWS's APIs, as far as `sky` calls them: who calls, how a call is signed, what comes back.
//!
//! ```text
//!  env, ~/.aws, SSO, roles ──► credentials ──► sign ──► call ──► HTTPS
//! ```
//!
//! Knows no cluster and no machine. Why not AWS's own SDK: `docs/decisions/001-aws-without-the-sdk.md`.
#![warn(clippy::missing_docs_in_private_items)]

mod call;
mod credentials;
mod fault;
mod files;
mod market;
mod metadata;
mod role;
mod s3;
mod sign;
mod sso;
mod tries;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::Result;
use crate::http::call::{Client, Endpoint};
use crate::sys::env;

pub(crate) use call::{Params, Service, Set};
pub(crate) use credentials::Credentials;
pub(crate) use fault::Fault;
pub(crate) use market::MachineType;
pub(crate) use s3::{Bucket, Object};

use credentials::Cache;
use files::Files;

/// Where calls go that belong to no region of the user's choice.
pub(crate) const DEFAULT_REGION: &str = "us-east-1";

/// A caller of AWS's APIs. Cheap to clone: credentials and connections are shared.
#[derive(Clone)]
pub(crate) struct Aws {
    /// What all clones share.
    inner: Arc<Inner>,
}

/// What all clones share.
struct Inner {
    /// The home directory, in which `.aws` is looked for.
    home: PathBuf,
    /// The profile that somebody has chosen: it wins over what the environment says of profiles and keys.
    chosen: Option<String>,
    /// Credentials that were found.
    cache: Cache,
    /// Clients by endpoint.
    clients: Mutex<HashMap<String, Arc<Client>>>,
}

impl Aws {
    /// Makes a caller; nothing is read or connected yet.
    pub(crate) fn new(home: &Path) -> Self {
        Self::of_profile(home, None)
    }

    /// The same for a profile that somebody has chosen.
    pub(crate) fn of_profile(home: &Path, chosen: Option<String>) -> Self {
        let inner = Inner {
            home: home.to_path_buf(),
            chosen,
            cache: Cache::default(),
            clients: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Returns the name of the profile that is used.
    fn profile_name(&self) -> String {
        self.inner
            .chosen
            .clone()
            .unwrap_or_else(files::profile_name)
    }

    /// Returns the region that environment or profile name, else [`DEFAULT_REGION`].
    pub(crate) fn region(&self) -> Result<String> {
        if let Some(region) = env::var("AWS_REGION").or_else(|| env::var("AWS_DEFAULT_REGION")) {
            return Ok(region);
        }
        let files = Files::read(&self.inner.home)?;
        let profile = files.profile(&self.profile_name());
        let region = profile.and_then(|p| p.get("region").cloned());
        Ok(region.unwrap_or_else(|| DEFAULT_REGION.to_owned()))
    }

    /// Returns the credentials that calls are signed with.
    pub(crate) async fn credentials(&self) -> Result<Credentials> {
        self.inner.cache.get(self).await
    }

    /// Returns the client of an endpoint.
    fn client(&self, endpoint: &str) -> Result<Arc<Client>> {
        let clients = || {
            self.inner
                .clients
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(client) = clients().get(endpoint) {
            return Ok(Arc::clone(client));
        }
        let parsed: Endpoint = endpoint.parse()?;
        let client = Arc::new(Client::new(parsed)?);
        clients().insert(endpoint.to_owned(), Arc::clone(&client));
        Ok(client)
    }

    /// Returns where a service is called: what environment or profile say, else AWS's own address.
    fn endpoint(&self, service: Service, region: &str) -> Result<String> {
        let named = format!("AWS_ENDPOINT_URL_{}", service.name().to_uppercase());
        let ignored = env::flag("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
        let from_env = || env::var(&named).or_else(|| env::var("AWS_ENDPOINT_URL"));
        if let Some(url) = from_env().filter(|_| !ignored) {
            return Ok(url);
        }
        let files = Files::read(&self.inner.home)?;
        let profile = files.profile(&self.profile_name());
        let url = profile.and_then(|p| p.get("endpoint_url").cloned());
        Ok(url
            .filter(|_| !ignored)
            .unwrap_or_else(|| service.address(region)))
    }
}
