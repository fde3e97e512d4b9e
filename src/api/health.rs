//! `GET /api/health`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a server says of itself.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Health {
    /// `healthy`, or `needs_auth` when credentials are demanded and missing.
    pub(crate) status: String,
    /// The API number, as text.
    pub(crate) api_version: Option<String>,
    /// The release in SkyPilot's numbering.
    pub(crate) version: Option<String>,
    /// The release on disk; ours is always the one that runs.
    #[serde(default)]
    pub(crate) version_on_disk: Option<String>,
    /// The source revision.
    pub(crate) commit: Option<String>,
    /// Who the server takes the caller for.
    #[serde(default)]
    pub(crate) user: Option<HealthUser>,
    /// Whether user names and passwords are accepted.
    #[serde(default)]
    pub(crate) basic_auth_enabled: bool,
    /// Whether tokens are accepted.
    #[serde(default)]
    pub(crate) service_account_token_enabled: bool,
    /// Our own release; absent on SkyPilot's server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sky_version: Option<String>,
    /// Process id, for the local server's own user only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<u32>,
}

/// The caller as the server knows it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct HealthUser {
    /// User id.
    pub(crate) id: String,
    /// Display name.
    pub(crate) name: Option<String>,
    /// `admin`, `user` or `viewer`; absent on SkyPilot's server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<String>,
}
