//! Signature Version 4: proves by a key that it comes from its owner, without sending the key.

use std::time::Duration;

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

/// What a signature is valid for: a time, and a service of a region.
struct Scope<'a> {
    /// As `20150830T123600Z`.
    time: String,
    /// The region.
    region: &'a str,
    /// The service.
    service: &'a str,
}

impl<'a> Scope<'a> {
    /// Makes the scope of a call.
    fn new(now: Moment, region: &'a str, service: &'a str) -> Self {
        Self {
            time: now.timestamp().strftime("%Y%m%dT%H%M%SZ").to_string(),
            region,
            service,
        }
    }

    /// Returns the parts of its name.
    fn parts(&self) -> [&str; 4] {
        [&self.time[..8], self.region, self.service, "aws4_request"]
    }

    /// Returns its name.
    fn name(&self) -> String {
        self.parts().join("/")
    }

    /// Signs a call in its canonical form.
    fn signature(&self, credentials: &Credentials, canonical: &str) -> String {
        let (time, name, canonical) = (&self.time, self.name(), hash(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{name}\n{canonical}");
        let secret = format!("AWS4{}", credentials.secret.reveal());
        let key = self.parts().into_iter();
        let key = key.fold(secret.into_bytes(), |key, part| mac(&key, part));
        hex::encode(mac(&key, &to_sign))
    }
}

/// Adds date, token and signature; returns all headers to be sent.
pub(super) fn sign(
    mut call: Unsigned<'_>,
    credentials: &Credentials,
    now: Moment,
) -> Vec<(&'static str, String)> {
    let scope = Scope::new(now, call.region, call.service);
    call.headers.push(("x-amz-date", scope.time.clone()));
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
    let signature = scope.signature(credentials, &canonical);
    let (id, scope) = (&credentials.access_key, scope.name());
    call.headers.push((
        "authorization",
        format!(
            "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
        ),
    ));
    call.headers
}

/// A GET that others may make for a while. The path is encoded.
pub(super) struct Presigned<'a> {
    /// The path, beginning with a slash.
    pub(super) path: &'a str,
    /// The value of the `Host` header.
    pub(super) host: &'a str,
    /// Parameters, not encoded.
    pub(super) query: &'a [(&'static str, String)],
    /// The service.
    pub(super) service: &'a str,
    /// The region.
    pub(super) region: &'a str,
    /// For how long.
    pub(super) valid: Duration,
}

/// Encodes what is no letter, digit or one of `-._~`; slashes too, unless they part a path.
pub(super) fn encode(text: &str, is_path: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if plain || (is_path && byte == b'/') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&hex::encode_upper([byte]));
        }
    }
    out
}

/// Returns the query of a URL that carries its own signature.
pub(super) fn presign(call: &Presigned<'_>, credentials: &Credentials, now: Moment) -> String {
    let scope = Scope::new(now, call.region, call.service);
    let mut pairs: Vec<(&str, String)> = vec![
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
        (
            "X-Amz-Credential",
            format!("{}/{}", credentials.access_key, scope.name()),
        ),
        ("X-Amz-Date", scope.time.clone()),
        ("X-Amz-Expires", call.valid.as_secs().to_string()),
        ("X-Amz-SignedHeaders", "host".to_owned()),
    ];
    pairs.extend(
        call.query
            .iter()
            .map(|(name, value)| (*name, value.clone())),
    );
    if let Some(token) = &credentials.token {
        pairs.push(("X-Amz-Security-Token", token.reveal().to_owned()));
    }
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value, false)))
        .collect();
    let query = pairs.join("&");
    let (path, host) = (call.path, call.host);
    let canonical = format!("GET\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
    let signature = scope.signature(credentials, &canonical);
    format!("{query}&X-Amz-Signature={signature}")
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

    /// The example of AWS's documentation for S3: `GET /test.txt` of `examplebucket`, for a day.
    #[test]
    fn presigns_as_the_published_example() {
        let credentials = Credentials {
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            token: None,
            expires: None,
        };
        let call = Presigned {
            path: "/test.txt",
            host: "examplebucket.s3.amazonaws.com",
            query: &[],
            service: "s3",
            region: "us-east-1",
            valid: Duration::from_secs(86_400),
        };
        // 2013-05-24T00:00:00Z
        let query = presign(
            &call,
            &credentials,
            Moment::from_micros(1_369_353_600_000_000),
        );
        assert!(
            query.ends_with(
                "X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
            ),
            "{query}"
        );
        assert_eq!(encode("a b/ä", true), "a%20b/%C3%A4");
        assert_eq!(encode("a/b", false), "a%2Fb");
    }
}
