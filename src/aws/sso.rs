//! IAM Identity Center: what `aws sso login` left in its cache, exchanged for credentials.

use std::time::Duration;

use bytes::Bytes;
use ring::digest;
use serde::Deserialize;

use super::call::domain;
use super::files::{Files, Section};
use super::tries::Tries;
use super::{Aws, Credentials, Fault};
use crate::base::clock::Moment;
use crate::base::secret::Secret;
use crate::base::{Error, Kind, Result};
use crate::http::call::Call;
use crate::sys::env;
use crate::sys::fs::read_optional;

/// The time of a call.
const TIME: Duration = Duration::from_secs(20);
/// The largest answer.
const LARGEST: usize = 256 * 1024;

/// A token in the cache.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    /// The token.
    access_token: String,
    /// Its end.
    expires_at: jiff::Timestamp,
}

/// What the portal answers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    /// The credentials.
    role_credentials: Given,
}

/// Credentials as the portal writes them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    /// Public part.
    access_key_id: String,
    /// Secret part.
    secret_access_key: String,
    /// Session.
    session_token: String,
    /// End, in milliseconds since 1970.
    expiration: i64,
}

/// Returns the credentials of a profile that signs in by SSO.
pub(super) async fn credentials(
    aws: &Aws,
    files: &Files,
    name: &str,
    profile: &Section,
) -> Result<Credentials> {
    let session = profile.get("sso_session");
    let described = match session {
        Some(session) => files.session(session).ok_or_else(|| {
            let what = format!("the AWS profile `{name}` names the SSO session `{session}`, which ~/.aws/config does not have");
            Error::new(Kind::InvalidConfig, what)
        })?,
        None => profile,
    };
    let need = |section: &Section, key: &str| {
        section.get(key).cloned().ok_or_else(|| {
            let what = format!("the AWS profile `{name}` signs in by SSO, but lacks `{key}`");
            Error::new(Kind::InvalidConfig, what)
        })
    };
    let start_url = need(described, "sso_start_url")?;
    let region = need(described, "sso_region")?;
    let (account, role) = (
        need(profile, "sso_account_id")?,
        need(profile, "sso_role_name")?,
    );
    let token = token(aws, name, session.unwrap_or(&start_url))?;
    let endpoint = env::var("AWS_ENDPOINT_URL_SSO")
        .unwrap_or_else(|| format!("https://portal.sso.{region}.{}", domain(&region)));
    let mut tries = Tries::short("GetRoleCredentials");
    let bytes = loop {
        match ask(aws, &endpoint, (&account, &role), &token).await {
            Ok(bytes) => break bytes,
            Err(Fault::Refused { status: 401, .. }) => return Err(over(name)),
            Err(fault) if tries.again(&fault).await => {}
            Err(fault) => {
                let what = format!("cannot take the role `{role}` in account {account}");
                return Err(Error::from(fault).context(what));
            }
        }
    };
    let read: Answer = serde_json::from_slice(&bytes).map_err(|e| {
        Error::new(
            Kind::Internal,
            format!(
                "the answer of SSO is not the one expected here (column {})",
                e.column()
            ),
        )
    })?;
    let given = read.role_credentials;
    Ok(Credentials {
        access_key: given.access_key_id,
        secret: Secret::new(given.secret_access_key),
        token: Some(Secret::new(given.session_token)),
        expires: Some(Moment::from_micros(given.expiration.saturating_mul(1000))),
    })
}

/// Asks the portal for the credentials of a role in an account.
async fn ask(
    aws: &Aws,
    endpoint: &str,
    (account, role): (&String, &String),
    token: &str,
) -> Result<Bytes, Fault> {
    let call = Call::get("/federation/credentials")
        .query(&[("role_name", role), ("account_id", account)])
        .header("x-amz-sso_bearer_token", token)
        .timeout(TIME);
    let answer = aws.client(endpoint)?.send(call).await?;
    let status = answer.status().as_u16();
    let bytes = answer.bytes(LARGEST).await?;
    if status == 200 {
        return Ok(bytes);
    }
    Err(Fault::read("GetRoleCredentials", status, &bytes))
}

/// The login is over, or there never was one.
fn over(name: &str) -> Error {
    Error::new(
        Kind::Unauthenticated,
        format!("nobody is logged in for the AWS profile `{name}`"),
    )
    .hint(format!("log in: aws sso login --profile {name}"))
}

/// Reads the token of a login from the cache.
fn token(aws: &Aws, name: &str, key: &str) -> Result<String> {
    let file = hex::encode(digest::digest(
        &digest::SHA1_FOR_LEGACY_USE_ONLY,
        key.as_bytes(),
    ));
    let path = aws
        .inner
        .home
        .join(".aws/sso/cache")
        .join(format!("{file}.json"));
    let text = read_optional(&path)?.ok_or_else(|| over(name))?;
    let token: Token = serde_json::from_str(&text).map_err(|_| over(name))?;
    if Moment::from_micros(token.expires_at.as_microsecond()) <= Moment::now() {
        return Err(over(name));
    }
    Ok(token.access_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_not_logged_in_is_told_how() {
        let dir = tempfile::tempdir().expect("a directory");
        let aws = Aws::new(dir.path());
        let profile: Section = [
            ("sso_start_url", "https://x.awsapps.com/start"),
            ("sso_region", "us-east-1"),
            ("sso_account_id", "1"),
            ("sso_role_name", "r"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
        let error = credentials(&aws, &Files::default(), "corp", &profile)
            .await
            .expect_err("no login");
        assert_eq!(error.hints(), ["log in: aws sso login --profile corp"]);
    }
}
