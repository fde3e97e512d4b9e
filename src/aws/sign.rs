//! Signature Version 4: proves by a key that it comes from its owner, without sending the key.

use ring::{digest, hmac};

use super::Credentials;
use crate::base::clock::Moment;

/// A call before it is signed. Names of headers are in lower case; path and query are encoded as they are sent.
pub(super) struct Unsigned<'a> {
    /// `POST`.
    pub(super) method: &'a str,
    /// The path, beginning with a slash.
    pub(super) path: &'a str,
    /// Headers to be signed, `host` among them.
    pub(super) headers: Vec<(&'static str, String)>,
    /// The body.
    pub(super) body: &'a [u8],
    /// The service.
    pub(super) service: &'a str,
    /// The region.
    pub(super) region: &'a str,
}

/// SHA-256 in hex.
fn hash(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

/// One step of the derivation of a key.
fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

/// Adds date, token and signature; returns all headers to be sent.
pub(super) fn sign(
    mut call: Unsigned<'_>,
    credentials: &Credentials,
    now: Moment,
) -> Vec<(&'static str, String)> {
    let time = now.timestamp().strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = &time[..8];
    call.headers.push(("x-amz-date", time.clone()));
    if let Some(token) = &credentials.token {
        call.headers
            .push(("x-amz-security-token", token.reveal().to_owned()));
    }
    call.headers.sort_unstable();
    let names: Vec<&str> = call.headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let mut lines = String::new();
    for (name, value) in &call.headers {
        lines.extend([*name, ":", value.trim(), "\n"]);
    }
    let (method, path, body) = (call.method, call.path, hash(call.body));
    let canonical = format!("{method}\n{path}\n\n{lines}\n{names}\n{body}");
    let scope = format!("{day}/{}/{}/aws4_request", call.region, call.service);
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        hash(canonical.as_bytes())
    );
    let secret = format!("AWS4{}", credentials.secret.reveal());
    let key = [day, call.region, call.service, "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |key, part| mac(&key, part));
    let signature = hex::encode(mac(&key, &to_sign));
    let id = &credentials.access_key;
    call.headers.push((
        "authorization",
        format!(
            "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
        ),
    ));
    call.headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;

    /// From AWS's published test suite (`post-x-www-form-urlencoded`, `post-vanilla`), with its example key.
    #[test]
    fn signs_as_the_published_examples() {
        let credentials = Credentials {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            token: None,
            expires: None,
        };
        // 2015-08-30T12:36:00Z
        let now = Moment::from_micros(1_440_938_160_000_000);
        let signature = |headers: Vec<(&'static str, String)>, body: &[u8]| {
            let call = Unsigned {
                method: "POST",
                path: "/",
                headers,
                body,
                service: "service",
                region: "us-east-1",
            };
            let signed = sign(call, &credentials, now);
            let (_, value) = signed.last().expect("a signature").clone();
            value
        };
        let host = ("host", "example.amazonaws.com".to_owned());
        assert_eq!(
            signature(vec![host.clone()], b""),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        );
        let form = (
            "content-type",
            "application/x-www-form-urlencoded".to_owned(),
        );
        assert!(signature(vec![form, host], b"Param1=value1").ends_with(
            "Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        ));
    }
}
