//! Roles: credentials that end, in exchange for others (STS).

use serde::Deserialize;

use super::call::{Params, Service};
use super::files::Section;
use super::sign::{Unsigned, sign};
use super::tries::Tries;
use super::{Aws, Credentials, DEFAULT_REGION, Fault};
use crate::base::clock::Moment;
use crate::base::secret::Secret;
use crate::base::{Error, Kind, Result};
use crate::http::call::Call;
use crate::sys::env;
use std::time::Duration;

/// The time of a call.
const TIME: Duration = Duration::from_secs(20);
/// The largest answer.
const LARGEST: usize = 256 * 1024;

/// Both answers: the result differs in its name only.
#[derive(Deserialize)]
struct Answer {
    /// The result.
    #[serde(rename = "AssumeRoleResult", alias = "AssumeRoleWithWebIdentityResult")]
    result: Assumed,
}

/// The result.
#[derive(Deserialize)]
struct Assumed {
    /// The credentials.
    #[serde(rename = "Credentials")]
    credentials: Given,
}

/// Credentials in XML.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    /// Public part.
    access_key_id: String,
    /// Secret part.
    secret_access_key: String,
    /// Session.
    session_token: String,
    /// End.
    expiration: jiff::Timestamp,
}

impl From<Given> for Credentials {
    fn from(given: Given) -> Self {
        Self {
            access_key: given.access_key_id,
            secret: Secret::new(given.secret_access_key),
            token: Some(Secret::new(given.session_token)),
            expires: Some(Moment::from_micros(given.expiration.as_microsecond())),
        }
    }
}

/// The name of sessions, unless configured.
fn session_name() -> String {
    format!("sky-{}", Moment::now().secs())
}

/// Takes the role of a profile.
pub(super) async fn assume(
    aws: &Aws,
    profile: &Section,
    arn: &str,
    source: Option<Credentials>,
) -> Result<Credentials> {
    if profile.contains_key("mfa_serial") {
        let what = format!(
            "the role `{arn}` of the AWS profile asks for a code (mfa_serial), which nobody can type here"
        );
        return Err(Error::new(Kind::NotSupported, what).hint(
            "use a profile whose credentials come from `aws sso login` or a `credential_process`",
        ));
    }
    let session = profile
        .get("role_session_name")
        .cloned()
        .unwrap_or_else(session_name);
    let region = profile.get("region").map_or(DEFAULT_REGION, String::as_str);
    let params = Params::new()
        .with("RoleArn", arn)
        .with("RoleSessionName", session)
        .maybe("ExternalId", profile.get("external_id"))
        .maybe("DurationSeconds", profile.get("duration_seconds"));
    let (action, params) = match (&source, profile.get("web_identity_token_file")) {
        (None, Some(file)) => (
            "AssumeRoleWithWebIdentity",
            params.with("WebIdentityToken", read_token(file)?),
        ),
        _ => ("AssumeRole", params),
    };
    exchange(aws, region, action, &params, source.as_ref())
        .await
        .map_err(|fault| {
            Error::from(fault).context(format!("cannot take the role `{arn}` of the AWS profile"))
        })
}

/// Takes the role that the environment names with a token in a file (as Kubernetes gives it to pods).
pub(super) async fn of_web_identity(aws: &Aws) -> Result<Option<Credentials>> {
    let (Some(file), Some(arn)) = (
        env::var("AWS_WEB_IDENTITY_TOKEN_FILE"),
        env::var("AWS_ROLE_ARN"),
    ) else {
        return Ok(None);
    };
    let params = Params::new()
        .with("RoleArn", &arn)
        .with(
            "RoleSessionName",
            env::var("AWS_ROLE_SESSION_NAME").unwrap_or_else(session_name),
        )
        .with("WebIdentityToken", read_token(&file)?);
    let region = aws.region()?;
    exchange(aws, &region, "AssumeRoleWithWebIdentity", &params, None)
        .await
        .map(Some)
        .map_err(|fault| Error::from(fault).context(format!("cannot take the role `{arn}`")))
}

/// Reads a token.
fn read_token(file: &str) -> Result<String> {
    std::fs::read_to_string(file)
        .map(|text| text.trim().to_owned())
        .map_err(|e| Error::io(format!("read `{file}`"), &e))
}

/// Calls STS with the source's credentials, or with none; again where what went wrong may pass. Not through
/// [`Aws::query`], whose credentials these become.
async fn exchange(
    aws: &Aws,
    region: &str,
    action: &str,
    params: &Params,
    source: Option<&Credentials>,
) -> Result<Credentials, Fault> {
    let mut tries = Tries::short(action);
    loop {
        match exchange_once(aws, region, action, params, source).await {
            Err(fault) if tries.again(&fault).await => {}
            ended => return ended,
        }
    }
}

/// One attempt.
async fn exchange_once(
    aws: &Aws,
    region: &str,
    action: &str,
    params: &Params,
    source: Option<&Credentials>,
) -> Result<Credentials, Fault> {
    let endpoint = aws.endpoint(Service::Sts, region)?;
    let client = aws.client(&endpoint)?;
    let form = params.form_of(Service::Sts, action)?;
    let headers = vec![
        ("host", client.host_header()),
        (
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8".to_owned(),
        ),
    ];
    let headers = match source {
        None => headers,
        Some(source) => {
            let call = Unsigned {
                method: "POST",
                path: "/",
                headers,
                body: form.as_bytes(),
                service: Service::Sts.name(),
                region,
            };
            sign(call, source, Moment::now())
        }
    };
    let mut call = Call::post("/").timeout(TIME).bytes(form);
    for (name, value) in &headers {
        call = call.header(name, value);
    }
    let answer = client.send(call).await?;
    let status = answer.status();
    let bytes = answer.bytes(LARGEST).await?;
    if !status.is_success() {
        return Err(Fault::read(action, status.as_u16(), &bytes));
    }
    let text = String::from_utf8_lossy(&bytes);
    let read: Answer = quick_xml::de::from_str(&text).map_err(|e| {
        Error::new(
            Kind::Internal,
            "the answer of STS is not the one expected here",
        )
        .caused_by(&e)
    })?;
    Ok(read.result.credentials.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_both_actions_are_read() {
        for action in ["AssumeRole", "AssumeRoleWithWebIdentity"] {
            let text = format!(
                "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><AssumedRoleUser><Arn>a</Arn></AssumedRoleUser>\
                 <Credentials><AccessKeyId>AK</AccessKeyId><SecretAccessKey>SK</SecretAccessKey><SessionToken>T</SessionToken>\
                 <Expiration>2030-01-01T00:00:00Z</Expiration></Credentials></{action}Result></{action}Response>"
            );
            let read: Answer = quick_xml::de::from_str(&text).expect("read");
            let credentials = Credentials::from(read.result.credentials);
            assert_eq!(credentials.access_key, "AK");
            assert_eq!(credentials.expires.map(Moment::secs), Some(1_893_456_000));
        }
    }
}
