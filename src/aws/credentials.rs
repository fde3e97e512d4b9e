//! Credentials, found where the AWS CLI finds them and in its order; kept until they end or the files change.
//!
//! A profile that was chosen; else environment → profile (role, SSO, keys, process) → role of a web identity → role of the container → role of the machine.
#![expect(
    clippy::disallowed_methods,
    reason = "this file is the seam through which `credential_process` is started"
)]

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::files::{Files, Section, Stamps, stamps};
use super::{Aws, metadata, role, sso};
use crate::base::clock::Moment;
use crate::base::secret::Secret;
use crate::base::{Error, Kind, Result};
use crate::sys::env;

/// Credentials are renewed so long before they end.
const MARGIN: Duration = Duration::from_secs(300);
/// How long `credential_process` may take: it may ask its user for something.
const PROCESS_TIME: Duration = Duration::from_secs(60);
/// The longest chain of profiles.
const LONGEST_CHAIN: usize = 8;

/// What calls are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// The public part.
    pub(crate) access_key: String,
    /// The secret part.
    pub(crate) secret: Secret,
    /// Proof of a session, for credentials that end.
    pub(crate) token: Option<Secret>,
    /// When they end.
    pub(crate) expires: Option<Moment>,
}

impl Credentials {
    /// Whether they hold for a while.
    fn hold(&self) -> bool {
        self.expires
            .is_none_or(|end| end > Moment::now().after(MARGIN))
    }
}

/// Credentials that were found.
#[derive(Default)]
pub(super) struct Cache {
    /// With the state of the files at that time.
    found: Mutex<Option<(Stamps, Credentials)>>,
}

impl Cache {
    /// Returns what was found, or looks anew.
    pub(super) async fn get(&self, aws: &Aws) -> Result<Credentials> {
        let now = stamps(&aws.inner.home);
        // Held while somebody looks: one call to SSO or STS is enough for all who wait.
        let mut found = self.found.lock().await;
        if let Some((then, credentials)) = &*found
            && *then == now
            && credentials.hold()
        {
            return Ok(credentials.clone());
        }
        let credentials = find(aws).await?;
        *found = Some((now, credentials.clone()));
        Ok(credentials)
    }

    /// Forgets what was found.
    pub(super) async fn forget(&self) {
        *self.found.lock().await = None;
    }
}

/// Nothing was found.
fn none() -> Error {
    Error::new(Kind::NoCloudAccess, "there are no AWS credentials")
        .hint("store some: aws configure")
        .hint("or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, then start the API server again: sky api stop")
}

/// Looks in all places.
async fn find(aws: &Aws) -> Result<Credentials> {
    let is_chosen = aws.inner.chosen.is_some();
    if !is_chosen && let Some(credentials) = from_environment() {
        return Ok(credentials);
    }
    let files = Files::read(&aws.inner.home)?;
    let name = aws.profile_name();
    match of_profile(aws, &files, &name, 0).await? {
        Some(credentials) => return Ok(credentials),
        None if files.profile(&name).is_none() && (is_chosen || name != "default") => {
            let by = if is_chosen {
                "`aws.profile` in the server's configuration"
            } else {
                "AWS_PROFILE"
            };
            let what = format!("there is no AWS profile `{name}` ({by})");
            return Err(Error::new(Kind::NoCloudAccess, what)
                .hint("see those that exist: aws configure list-profiles"));
        }
        None => {}
    }
    if let Some(credentials) = role::of_web_identity(aws).await? {
        return Ok(credentials);
    }
    match ambient().await? {
        Some(credentials) => Ok(credentials),
        None => Err(none()),
    }
}

/// Looks where the container or machine gets its role.
async fn ambient() -> Result<Option<Credentials>> {
    if let Some(credentials) = metadata::of_container().await? {
        return Ok(Some(credentials));
    }
    metadata::of_machine().await
}

/// Reads the variables.
fn from_environment() -> Option<Credentials> {
    Some(Credentials {
        access_key: env::var("AWS_ACCESS_KEY_ID")?,
        secret: Secret::new(env::var("AWS_SECRET_ACCESS_KEY")?),
        token: env::var("AWS_SESSION_TOKEN").map(Secret::new),
        expires: None,
    })
}

/// Returns what a profile gives; none when it gives nothing.
pub(super) fn of_profile<'a>(
    aws: &'a Aws,
    files: &'a Files,
    name: &'a str,
    depth: usize,
) -> BoxFuture<'a, Result<Option<Credentials>>> {
    Box::pin(async move {
        if depth > LONGEST_CHAIN {
            return Err(Error::new(
                Kind::InvalidConfig,
                format!("the profile `{name}` of ~/.aws/config leads back to itself"),
            ));
        }
        let Some(profile) = files.profile(name) else {
            return Ok(None);
        };
        let own_keys = keys(profile);
        // A profile may be its own source: its keys take its role.
        if let Some(arn) = profile.get("role_arn") {
            let source = source(aws, files, name, profile, own_keys, depth).await?;
            return role::assume(aws, profile, arn, source).await.map(Some);
        }
        if profile.contains_key("sso_account_id") {
            return sso::credentials(aws, files, name, profile).await.map(Some);
        }
        if own_keys.is_some() {
            return Ok(own_keys);
        }
        match profile.get("credential_process") {
            Some(command) => from_process(command).await.map(Some),
            None => Ok(None),
        }
    })
}

/// Returns the credentials that take the role of a profile; none where a web identity does.
async fn source(
    aws: &Aws,
    files: &Files,
    name: &str,
    profile: &Section,
    own_keys: Option<Credentials>,
    depth: usize,
) -> Result<Option<Credentials>> {
    let wrong = |what: String| Err(Error::new(Kind::InvalidConfig, what));
    if let Some(from) = profile.get("source_profile") {
        let found = if from == name {
            own_keys
        } else {
            of_profile(aws, files, from, depth + 1).await?
        };
        return match found {
            Some(found) => Ok(Some(found)),
            None => wrong(format!(
                "the AWS profile `{from}`, the source of profile `{name}`, has no credentials"
            )),
        };
    }
    match profile.get("credential_source").map(String::as_str) {
        Some("Environment") => match from_environment() {
            Some(found) => Ok(Some(found)),
            None => wrong(format!(
                "the AWS profile `{name}` takes credentials from the environment, which has none"
            )),
        },
        Some("Ec2InstanceMetadata" | "EcsContainer") => match ambient().await? {
            Some(found) => Ok(Some(found)),
            None => wrong(format!(
                "the AWS profile `{name}` takes the role of this machine, which has none"
            )),
        },
        Some(other) => wrong(format!(
            "the AWS profile `{name}` has an unknown `credential_source`: {}",
            crate::base::ids::clip(other)
        )),
        None if profile.contains_key("web_identity_token_file") => Ok(None),
        None => wrong(format!(
            "the AWS profile `{name}` has a `role_arn`, but neither `source_profile` nor `credential_source`"
        )),
    }
}

/// Returns the keys that stand in a profile.
fn keys(profile: &Section) -> Option<Credentials> {
    Some(Credentials {
        access_key: profile.get("aws_access_key_id")?.clone(),
        secret: Secret::new(profile.get("aws_secret_access_key")?),
        token: profile.get("aws_session_token").map(Secret::new),
        expires: None,
    })
}

/// Credentials as programs and metadata services print them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Printed {
    /// Public part.
    access_key_id: String,
    /// Secret part.
    secret_access_key: String,
    /// Session; `Token` at metadata services.
    #[serde(alias = "Token")]
    session_token: Option<String>,
    /// End.
    expiration: Option<jiff::Timestamp>,
}

impl From<Printed> for Credentials {
    fn from(printed: Printed) -> Self {
        Self {
            access_key: printed.access_key_id,
            secret: Secret::new(printed.secret_access_key),
            token: printed.session_token.map(Secret::new),
            expires: printed
                .expiration
                .map(|end| Moment::from_micros(end.as_microsecond())),
        }
    }
}

/// Runs `credential_process`.
async fn from_process(command: &str) -> Result<Credentials> {
    let failed = |why: String| {
        // What it printed may hold secrets: it is not repeated.
        Error::new(
            Kind::Unauthenticated,
            "`credential_process` of the AWS profile failed",
        )
        .caused_by(&Error::new(Kind::Unauthenticated, why))
    };
    let words = shell_words::split(command).map_err(|e| failed(e.to_string()))?;
    let Some((program, arguments)) = words.split_first() else {
        return Err(failed("it is empty".to_owned()));
    };
    let mut child = Command::new(program);
    child
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(PROCESS_TIME, child.output())
        .await
        .map_err(|_| failed(format!("no end in {} s", PROCESS_TIME.as_secs())))?
        .map_err(|e| failed(e.to_string()))?;
    if !output.status.success() {
        return Err(failed(output.status.to_string()));
    }
    let printed: Printed = serde_json::from_slice(&output.stdout)
        .map_err(|e| failed(format!("it printed no credentials (line {})", e.line())))?;
    Ok(printed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(config: &str) -> (tempfile::TempDir, Aws) {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join(".aws")).expect("made");
        std::fs::write(dir.path().join(".aws/config"), config).expect("written");
        let aws = Aws::new(dir.path());
        (dir, aws)
    }

    async fn of(aws: &Aws, name: &str) -> Result<Option<Credentials>> {
        let files = Files::read(&aws.inner.home)?;
        of_profile(aws, &files, name, 0).await
    }

    #[tokio::test]
    async fn profiles_give_keys_or_run_a_program() {
        let (_dir, aws) = home(
            "[profile plain]\naws_access_key_id=AK\naws_secret_access_key=SK\n\
             [profile run]\ncredential_process = echo '{\"Version\":1,\"AccessKeyId\":\"PK\",\"SecretAccessKey\":\"PS\",\
             \"SessionToken\":\"T\",\"Expiration\":\"2030-01-01T00:00:00Z\"}'\n\
             [profile fails]\ncredential_process = false\n\
             [profile loop]\nrole_arn = arn:x\nsource_profile = loop2\n[profile loop2]\nrole_arn = arn:x\nsource_profile = loop\n\
             [profile half]\nrole_arn = arn:x\n",
        );
        let plain = of(&aws, "plain").await.expect("read").expect("there");
        assert_eq!(plain.access_key, "AK");
        let run = of(&aws, "run").await.expect("read").expect("there");
        assert_eq!(run.token.as_ref().map(Secret::reveal), Some("T"));
        assert!(run.hold());
        let end = Moment::now().after(Duration::from_secs(60));
        let short = Credentials {
            expires: Some(end),
            ..run
        };
        assert!(!short.hold());
        assert_eq!(of(&aws, "absent").await.expect("read"), None);
        for (name, needle) in [
            ("fails", "exit status: 1"),
            ("loop", "leads back to itself"),
            ("half", "neither `source_profile`"),
        ] {
            let error = of(&aws, name).await.expect_err(name);
            assert!(error.one_line().contains(needle), "{}", error.one_line());
        }
    }
}
