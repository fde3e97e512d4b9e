//! The role of the container or machine that this process runs on, from the service beside it.

use std::time::Duration;

use super::Credentials;
use super::credentials::Printed;
use crate::base::{Error, Kind, Result};
use crate::http::call::{Call, Client};
use crate::sys::env;
use crate::sys::fs::read_optional;
use std::path::Path;

/// The time of a call: the service is on this machine.
const TIME: Duration = Duration::from_secs(2);
/// The largest answer.
const LARGEST: usize = 64 * 1024;
/// Where containers ask.
const CONTAINER: &str = "http://169.254.170.2";
/// Where machines ask.
const MACHINE: &str = "http://169.254.169.254";

/// Returns the role of the container; none where there is none.
pub(super) async fn of_container() -> Result<Option<Credentials>> {
    let (origin, path) = if let Some(path) = env::var("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        (CONTAINER.to_owned(), path)
    } else if let Some(url) = env::var("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
        let at = url.find("://").map_or(0, |at| at + 3);
        let at = url[at..].find('/').map_or(url.len(), |rest| at + rest);
        (url[..at].to_owned(), url[at..].to_owned())
    } else {
        return Ok(None);
    };
    let token = match env::var("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(file) => read_optional(Path::new(&file))?.map(|text| text.trim().to_owned()),
        None => env::var("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    };
    let client = Client::new(origin.parse()?)?;
    let mut call = Call::get(path);
    if let Some(token) = &token {
        call = call.header("authorization", token);
    }
    let text = ask(&client, call)
        .await?
        .ok_or_else(|| Error::new(Kind::Unauthenticated, "the container has no role to give"))?;
    read(&text).map(Some)
}

/// Returns the role of the machine; none where there is none, or where this is no machine of EC2.
pub(super) async fn of_machine() -> Result<Option<Credentials>> {
    if env::flag("AWS_EC2_METADATA_DISABLED") {
        return Ok(None);
    }
    let named = env::var("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    // Elsewhere nobody answers, and each launch would wait for that.
    if named.is_none() && !is_ec2() {
        return Ok(None);
    }
    let origin = named.unwrap_or_else(|| MACHINE.to_owned());
    let client = Client::new(origin.parse()?)?;
    let call = Call::put("/latest/api/token").header("x-aws-ec2-metadata-token-ttl-seconds", "300");
    let Some(token) = ask(&client, call).await? else {
        return Ok(None);
    };
    let list = "/latest/meta-data/iam/security-credentials/";
    let get = |path: String| Call::get(path).header("x-aws-ec2-metadata-token", &token);
    let Some(roles) = ask(&client, get(list.to_owned())).await? else {
        return Ok(None);
    };
    let Some(role) = roles.lines().next().filter(|role| !role.is_empty()) else {
        return Ok(None);
    };
    match ask(&client, get(format!("{list}{role}"))).await? {
        Some(text) => read(&text).map(Some),
        None => Ok(None),
    }
}

/// Whether this is a machine of EC2.
fn is_ec2() -> bool {
    ["sys_vendor", "board_vendor", "product_uuid"]
        .into_iter()
        .filter_map(|name| std::fs::read_to_string(format!("/sys/class/dmi/id/{name}")).ok())
        .any(|text| text.starts_with("Amazon EC2") || text.to_lowercase().starts_with("ec2"))
}

/// Asks; none when there is no such thing.
async fn ask(client: &Client, call: Call) -> Result<Option<String>> {
    let answer = client.send(call.timeout(TIME)).await?;
    let status = answer.status();
    if status.as_u16() == 404 {
        return Ok(None);
    }
    if !status.is_success() {
        return Err(Error::new(
            Kind::Unauthenticated,
            format!("the metadata service of this machine answered {status}"),
        ));
    }
    let bytes = answer.bytes(LARGEST).await?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Reads credentials.
fn read(text: &str) -> Result<Credentials> {
    let printed: Printed = serde_json::from_str(text).map_err(|_| {
        Error::new(
            Kind::Unauthenticated,
            "the metadata service of this machine gave no credentials",
        )
    })?;
    Ok(printed.into())
}
