//! The server's configuration file: read once at the start, typed, complete.
//!
//! It is `config.yaml` in the state directory; where that is absent, the account's own `~/.sky/config.yaml`, of which
//! the server reads the keys that are its own. Nothing of it is ever taken from a client.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::log::DEFAULT_LIMIT;
use super::uploads::Limits;
use crate::base::ids::clip;
use crate::base::{Error, Kind, Result};
use crate::clouds::{ABSENT, AwsSettings, CloudId, absent};
use crate::requests;
use crate::sys::env;
use crate::sys::fs::read_optional;
use crate::sys::paths::Paths;
use crate::task::config::{nearest, parse};

/// How often clusters are looked at, unless configured.
const CLUSTER_REFRESH: Duration = Duration::from_mins(5);
/// The largest upload, unless configured.
const UPLOAD_LIMIT: u64 = 10 << 30;
/// How much larger an upload may be when it is unpacked.
const UNPACKED_FACTOR: u64 = 4;
/// The variable that sets the largest upload, in bytes; it wins over the file.
const UPLOAD_VARIABLE: &str = "SKY_MAX_UPLOAD_BYTES";
/// Keys that restrict people, and that this release does not obey: whoever wrote them must know.
const NOT_OBEYED: [&str; 5] = [
    "admin_policy",
    "db",
    "rbac",
    "workspace_config",
    "workspaces",
];

/// What the operator has chosen.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// The infra that new work may use; everything when absent.
    pub(super) allowed_clouds: Option<Vec<CloudId>>,
    /// How machines of AWS are made.
    pub(super) aws: AwsSettings,
    /// Lanes and retention.
    pub(super) requests: requests::Options,
    /// How much of an upload is accepted.
    pub(super) uploads: Limits,
    /// The most bytes of the log, and of the one before it.
    pub(super) log_bytes: u64,
    /// How often clusters are looked at that nobody watches; never when absent.
    pub(super) cluster_refresh: Option<Duration>,
    /// What the operator should know.
    pub(super) notes: Vec<String>,
}

impl Settings {
    /// Reads the file, where there is one.
    pub(super) fn load(paths: &Paths) -> Result<Self> {
        let own = paths.server_config();
        let (text, origin) = match read_optional(&own)? {
            Some(text) => (text, own),
            None => (
                read_optional(&paths.config())?.unwrap_or_default(),
                paths.config(),
            ),
        };
        let mut settings = Self::read(&text, &origin)?;
        if let Some(bytes) = upload_variable()? {
            settings.uploads = limits(bytes);
        }
        Ok(settings)
    }

    /// Reads a file's text.
    fn read(text: &str, origin: &Path) -> Result<Self> {
        let file = File {
            map: parse(text, &origin.display().to_string())?,
            origin: origin.to_path_buf(),
        };
        let mut requests = requests::Options::default();
        if let Some(most) = file.count("max_short_requests")? {
            requests.short = most;
        }
        if let Some(most) = file.count("max_long_requests")? {
            requests.long = most;
        }
        if let Some(most) = file.count("max_pending_requests")? {
            requests.max_pending = most;
        }
        if let Some(age) = file.hours("requests_retention_hours")? {
            requests.retention.age = age;
        }
        if let Some(bytes) = file.bytes("requests_retention_bytes")? {
            requests.retention.log_bytes = bytes;
        }
        Ok(Self {
            allowed_clouds: file.allowed_clouds()?,
            aws: AwsSettings::read(file.map.get("aws"), &origin.display().to_string())?,
            requests,
            uploads: limits(file.bytes("max_upload_bytes")?.unwrap_or(UPLOAD_LIMIT)),
            log_bytes: match file.bytes("daemon_log_max_bytes")? {
                // As in SkyPilot: no limit.
                Some(0) => u64::MAX,
                Some(bytes) => bytes,
                None => DEFAULT_LIMIT,
            },
            cluster_refresh: file
                .seconds("cluster_refresh_seconds", CLUSTER_REFRESH)
                .map(|every| Some(every).filter(|every| !every.is_zero()))?,
            notes: file.notes(),
        })
    }
}

/// A file that was read.
struct File {
    /// What it says.
    map: Map<String, Value>,
    /// Where it is.
    origin: PathBuf,
}

impl File {
    /// Returns a value under `api_server`; nothing when it is absent or empty.
    fn value(&self, key: &str) -> Option<&Value> {
        let section = self.map.get("api_server")?;
        section.get(key).filter(|value| !value.is_null())
    }

    /// Makes the error for a value of another type.
    fn wrong(&self, key: &str, wanted: &str, found: &Value) -> Error {
        let found = clip(&found.to_string());
        Error::new(
            Kind::InvalidConfig,
            format!(
                "{}: `{key}` is {wanted}, not `{found}`",
                self.origin.display()
            ),
        )
        .hint("correct the file and start the server again")
    }

    /// Returns a number from 1.
    fn count(&self, key: &str) -> Result<Option<usize>> {
        let read = |value: &Value| {
            let number = value.as_u64().filter(|n| *n > 0)?;
            usize::try_from(number).ok()
        };
        let wrong =
            |value| self.wrong(&format!("api_server.{key}"), "a whole number from 1", value);
        let value = self.value(key);
        value.map(|v| read(v).ok_or_else(|| wrong(v))).transpose()
    }

    /// Returns a number of bytes.
    fn bytes(&self, key: &str) -> Result<Option<u64>> {
        let wrong = |value| self.wrong(&format!("api_server.{key}"), "a number of bytes", value);
        let value = self.value(key);
        value
            .map(|v| v.as_u64().ok_or_else(|| wrong(v)))
            .transpose()
    }

    /// Returns a number of seconds.
    fn seconds(&self, key: &str, default: Duration) -> Result<Duration> {
        let Some(value) = self.value(key) else {
            return Ok(default);
        };
        let wanted = "a whole number of seconds (0: never)";
        let wrong = || self.wrong(&format!("api_server.{key}"), wanted, value);
        value.as_u64().map(Duration::from_secs).ok_or_else(wrong)
    }

    /// Returns a number of hours; a negative one means for ever.
    fn hours(&self, key: &str) -> Result<Option<Duration>> {
        let read = |value: &Value| {
            let hours = value.as_f64()?;
            if hours < 0.0 {
                return Some(Duration::MAX);
            }
            Duration::try_from_secs_f64(hours * 3600.0).ok()
        };
        let wrong = |value| {
            let wanted = "a number of hours (a negative one: for ever)";
            self.wrong(&format!("api_server.{key}"), wanted, value)
        };
        let value = self.value(key);
        value.map(|v| read(v).ok_or_else(|| wrong(v))).transpose()
    }

    /// Returns the infra that may be used.
    fn allowed_clouds(&self) -> Result<Option<Vec<CloudId>>> {
        let Some(value) = self.map.get("allowed_clouds").filter(|v| !v.is_null()) else {
            return Ok(None);
        };
        let wrong = |found| self.wrong("allowed_clouds", "a list of infra", found);
        let names = value.as_array().ok_or_else(|| wrong(value))?;
        let mut allowed = Vec::new();
        for name in names {
            let name = name.as_str().ok_or_else(|| wrong(name))?;
            allowed.extend(self.cloud(name)?);
        }
        Ok(Some(allowed))
    }

    /// Returns the infra of a name; none for one that users know and this release cannot reach.
    fn cloud(&self, name: &str) -> Result<Option<CloudId>> {
        let lower = name.to_ascii_lowercase();
        if absent(&lower).is_some() {
            return Ok(None);
        }
        if let Some(id) = CloudId::ALL.iter().find(|id| id.as_str() == lower) {
            return Ok(Some(*id));
        }
        let ours = CloudId::ALL.iter().map(|id| id.as_str());
        let known: Vec<&str> = ours.chain(ABSENT.iter().map(|one| one.name)).collect();
        let origin = self.origin.display();
        let what = format!(
            "{origin}: `allowed_clouds` names `{}`, which is no infra",
            clip(name)
        );
        let error = Error::new(Kind::InvalidConfig, what);
        Err(match nearest(&lower, &known) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!("known: {}", known.join(", "))),
        })
    }

    /// Names what is written here in vain.
    fn notes(&self) -> Vec<String> {
        let there = NOT_OBEYED.iter().filter(|key| self.map.contains_key(**key));
        let keys: Vec<String> = there.map(|key| format!("`{key}`")).collect();
        if keys.is_empty() {
            return Vec::new();
        }
        let origin = self.origin.display();
        vec![format!(
            "{origin}: this release does not obey {}",
            keys.join(", ")
        )]
    }
}

/// Returns the largest upload that the environment sets.
fn upload_variable() -> Result<Option<u64>> {
    let parse = |text: String| {
        text.parse::<u64>().map_err(|e| {
            let message = format!("`{UPLOAD_VARIABLE}` is not a number of bytes");
            Error::new(Kind::InvalidConfig, message).caused_by(&e)
        })
    };
    env::var(UPLOAD_VARIABLE).map(parse).transpose()
}

/// Returns the limits for uploads of so many bytes, packed.
fn limits(archive: u64) -> Limits {
    Limits {
        archive,
        content: archive.saturating_mul(UNPACKED_FACTOR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings> {
        Settings::read(text, Path::new("/s/config.yaml"))
    }

    #[test]
    fn an_empty_file_changes_nothing() {
        let settings = read("").expect("valid");
        let defaults = requests::Options::default();
        assert_eq!(settings.allowed_clouds, None);
        assert_eq!(settings.requests.short, defaults.short);
        assert_eq!(settings.requests.retention.age, defaults.retention.age);
        assert_eq!(settings.uploads.archive, UPLOAD_LIMIT);
        assert_eq!(settings.log_bytes, DEFAULT_LIMIT);
        assert!(settings.notes.is_empty());
    }

    #[test]
    fn every_key_is_read() {
        let settings = read(
            "allowed_clouds: [AWS, Local]\napi_server:\n  requests_retention_hours: 1.5\n  \
             requests_retention_bytes: 1000\n  max_short_requests: 3\n  max_long_requests: 4\n  \
             max_pending_requests: 5\n  max_upload_bytes: 6\n  daemon_log_max_bytes: 7\n  cluster_refresh_seconds: 8\nrbac: {default_role: user}\n",
        )
        .expect("valid");
        let allowed = Some(vec![CloudId::Aws, CloudId::Local]);
        assert_eq!(settings.allowed_clouds, allowed);
        let requests = settings.requests;
        assert_eq!(requests.retention.age, Duration::from_secs(5400));
        assert_eq!(requests.retention.log_bytes, 1000);
        let lanes = (requests.short, requests.long, requests.max_pending);
        assert_eq!(lanes, (3, 4, 5));
        assert_eq!(settings.uploads.archive, 6);
        assert_eq!(settings.log_bytes, 7);
        assert_eq!(settings.cluster_refresh, Some(Duration::from_secs(8)));
        let never = read("api_server: {cluster_refresh_seconds: 0}").expect("valid");
        assert_eq!(never.cluster_refresh, None);
        assert_eq!(
            settings.notes,
            ["/s/config.yaml: this release does not obey `rbac`"]
        );
        let forever = read("api_server: {requests_retention_hours: -1}").expect("valid");
        assert_eq!(forever.requests.retention.age, Duration::MAX);
    }

    #[test]
    fn mistakes_name_the_file_the_key_and_what_was_meant() {
        for (text, expected) in [
            (
                "api_server: {requests_retention_hour: 1}",
                "/s/config.yaml: unknown key `api_server.requests_retention_hour`; did you mean \
                 `api_server.requests_retention_hours`?",
            ),
            (
                "api_server: {max_long_requests: 0}",
                "/s/config.yaml: `api_server.max_long_requests` is a whole number from 1, not `0`; correct the file \
                 and start the server again",
            ),
            (
                "api_server: {requests_retention_hours: [1]}",
                "/s/config.yaml: `api_server.requests_retention_hours` is a number of hours (a negative one: for \
                 ever), not `[1]`; correct the file and start the server again",
            ),
            (
                "allowed_clouds: local",
                "/s/config.yaml: `allowed_clouds` is a list of infra, not `\"local\"`; correct the file and start \
                 the server again",
            ),
            (
                "allowed_clouds: [lcoal]",
                "/s/config.yaml: `allowed_clouds` names `lcoal`, which is no infra; did you mean `local`?",
            ),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!(error.kind(), Kind::InvalidConfig);
            let told = [&[error.message().to_owned()], error.hints()].concat();
            assert_eq!(told.join("; "), expected);
        }
    }
}
