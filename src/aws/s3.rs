//! S3: what is in a bucket, and URLs by which others get it for some hours.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::call::Service;
use super::sign::{Presigned, encode, presign};
use super::tries::Tries;
use super::{Aws, Credentials, Fault};
use crate::base::clock::Moment;
use crate::base::{Error, Kind, Result};
use crate::http::call::{Call, Client};

/// How long a URL permits to get an object: longer than a node takes for a batch of them.
const VALID: Duration = Duration::from_hours(6);
/// How long the answer to a listing may take.
const ANSWER: Duration = Duration::from_secs(60);
/// How often a bucket may turn out to be in another region.
const MOVES: u32 = 3;
/// The largest answer: a thousand keys of a kilobyte, and what stands around them.
const LARGEST: usize = 16 * 1024 * 1024;
/// Storage classes whose objects have to be restored first.
const ARCHIVED: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// An object in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its name.
    pub(crate) key: String,
    /// Bytes.
    pub(crate) size: u64,
    /// When it was written.
    pub(crate) modified: Moment,
    /// Names its version, in quotes.
    pub(crate) etag: String,
    /// Whether it has to be restored before it can be read.
    pub(crate) archived: bool,
}

/// A bucket in its region.
pub(crate) struct Bucket {
    /// The caller.
    aws: Aws,
    /// Its name.
    name: String,
    /// Where it is.
    region: String,
    /// Where it is called.
    address: Address,
}

/// Where a bucket is called.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    /// Scheme, host and port.
    base: String,
    /// What stands before keys: `/`, or `/bucket/` where the host is not the bucket's own.
    path: String,
}

/// The right to make URLs, with credentials of one moment.
pub(crate) struct Signer {
    /// Where the bucket is called.
    address: Address,
    /// The value of the `Host` header.
    host: String,
    /// Where it is.
    region: String,
    /// Who permits.
    credentials: Credentials,
}

impl Aws {
    /// Names a bucket; its region is found out by the first call.
    pub(crate) fn bucket(&self, name: &str) -> Result<Bucket> {
        let region = self.region()?;
        Ok(Bucket {
            address: self.address(name, &region)?,
            aws: self.clone(),
            name: name.to_owned(),
            region,
        })
    }

    /// Returns where a bucket is called in a region.
    fn address(&self, bucket: &str, region: &str) -> Result<Address> {
        let endpoint = self.endpoint(Service::S3, region)?;
        let endpoint = endpoint.trim_end_matches('/');
        let own = Service::S3.address(region);
        // A name with dots does not fit the certificate.
        Ok(if endpoint == own && !bucket.contains('.') {
            Address {
                base: own.replacen("://", &format!("://{bucket}."), 1),
                path: "/".to_owned(),
            }
        } else {
            Address {
                base: endpoint.to_owned(),
                path: format!("/{bucket}/"),
            }
        })
    }
}

impl Bucket {
    /// Lists the objects whose names begin with `prefix`; at most `limit`.
    pub(crate) async fn list(&mut self, prefix: &str, limit: Option<usize>) -> Result<Vec<Object>> {
        let mut objects = Vec::new();
        let mut token = None;
        loop {
            let page = self.page(prefix, token.as_deref(), limit).await?;
            for found in page.contents {
                objects.push(found.into_object()?);
            }
            let is_enough = limit.is_some_and(|limit| objects.len() >= limit);
            token = page.next_continuation_token;
            if !page.is_truncated || is_enough || token.is_none() {
                return Ok(objects);
            }
        }
    }

    /// Lists one page, in the region where the bucket turns out to be.
    async fn page(
        &mut self,
        prefix: &str,
        token: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page> {
        let mut query = vec![
            ("encoding-type", "url".to_owned()),
            ("list-type", "2".to_owned()),
            ("prefix", prefix.to_owned()),
        ];
        query.extend(token.map(|token| ("continuation-token", token.to_owned())));
        query.extend(limit.map(|limit| ("max-keys", limit.min(1000).to_string())));
        let mut tries = Tries::of(format!("listing of bucket `{}`", self.name));
        let mut moves = 0;
        loop {
            match self.ask(&query).await {
                Ok(Asked::Page(page)) => return Ok(page),
                Ok(Asked::Elsewhere(region)) if region != self.region && moves < MOVES => {
                    moves += 1;
                    self.address = self.aws.address(&self.name, &region)?;
                    self.region = region;
                }
                Ok(Asked::Elsewhere(region)) => {
                    let message = format!(
                        "bucket `{}` is in region `{region}`, and is not found there",
                        self.name
                    );
                    return Err(Error::new(Kind::NotFound, message));
                }
                Err(fault) if tries.again_as(&self.aws, &fault).await => {}
                Err(fault) => return Err(self.explain(fault)),
            }
        }
    }

    /// Asks for one page.
    async fn ask(&self, query: &[(&'static str, String)]) -> Result<Asked, Fault> {
        let signer = self.signer().await?;
        let url = signer.sign(&self.address.path, query, Moment::now());
        let client = self.client()?;
        let path = url.strip_prefix(&self.address.base).unwrap_or(&url);
        let answer = client.send(Call::get(path).timeout(ANSWER)).await?;
        let status = answer.status().as_u16();
        let region = answer.header("x-amz-bucket-region").map(str::to_owned);
        let bytes = answer.bytes(LARGEST).await?;
        if status == 200 {
            let text = String::from_utf8_lossy(&bytes);
            let page = quick_xml::de::from_str(&text).map_err(|e| {
                Error::new(Kind::Internal, "the answer of S3 cannot be read").caused_by(&e)
            })?;
            return Ok(Asked::Page(page));
        }
        match region {
            Some(region) if matches!(status, 301 | 307 | 400) && region != self.region => {
                Ok(Asked::Elsewhere(region))
            }
            _ => Err(refused(status, &bytes)),
        }
    }

    /// Returns the client of the bucket's address.
    fn client(&self) -> Result<Arc<Client>> {
        self.aws.client(&self.address.base)
    }

    /// Returns what makes URLs now: credentials are renewed when they are about to end.
    pub(crate) async fn signer(&self) -> Result<Signer> {
        Ok(Signer {
            address: self.address.clone(),
            host: self.client()?.host_header(),
            region: self.region.clone(),
            credentials: self.aws.credentials().await?,
        })
    }

    /// Says what a refusal means.
    fn explain(&self, fault: Fault) -> Error {
        let name = &self.name;
        match fault.code() {
            "NoSuchBucket" => Error::new(Kind::NotFound, format!("there is no bucket `{name}`"))
                .hint("see yours: aws s3 ls"),
            "InvalidBucketName" => Error::new(
                Kind::InvalidTask,
                format!("`{name}` is no name for a bucket"),
            ),
            _ => Error::from(fault).context(format!("cannot list bucket `{name}`")),
        }
    }
}

impl Signer {
    /// Returns the URL by which an object can be got.
    pub(crate) fn url(&self, key: &str) -> String {
        let path = format!("{}{}", self.address.path, encode(key, true));
        self.sign(&path, &[], Moment::now())
    }

    /// Signs a GET; the path is encoded.
    fn sign(&self, path: &str, query: &[(&'static str, String)], now: Moment) -> String {
        let query = presign(
            &Presigned {
                path,
                host: &self.host,
                query,
                service: Service::S3.name(),
                region: &self.region,
                valid: VALID,
            },
            &self.credentials,
            now,
        );
        format!("{}{path}?{query}", self.address.base)
    }
}

/// Reads an error: S3's has no envelope.
fn refused(status: u16, bytes: &[u8]) -> Fault {
    let text = String::from_utf8_lossy(bytes);
    let action = "s3:ListBucket".to_owned();
    match quick_xml::de::from_str::<Refusal>(&text) {
        Ok(refusal) => Fault::Refused {
            code: refusal.code,
            message: refusal.message,
            status,
            action,
            after_silence: false,
        },
        Err(_) => Fault::read(&action, status, bytes),
    }
}

/// An error of S3.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    /// What it is.
    code: String,
    /// Its words.
    #[serde(default)]
    message: String,
}

/// What S3 said.
enum Asked {
    /// A page of the list.
    Page(Page),
    /// Ask in this region.
    Elsewhere(String),
}

/// A page of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    /// Whether there are more.
    #[serde(default)]
    is_truncated: bool,
    /// Where the next page begins.
    #[serde(default)]
    next_continuation_token: Option<String>,
    /// Objects.
    #[serde(default)]
    contents: Vec<Found>,
}

/// An object of a page.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    /// Its name, encoded as in a URL.
    key: String,
    /// `2026-11-24T16:00:00.000Z`
    last_modified: jiff::Timestamp,
    /// Its version.
    #[serde(rename = "ETag")]
    etag: String,
    /// Bytes.
    size: u64,
    /// How it is kept.
    #[serde(default)]
    storage_class: Option<String>,
}

impl Found {
    /// Reads it.
    fn into_object(self) -> Result<Object> {
        // As in a form: a blank is a plus.
        let key = self.key.replace('+', " ");
        let key = percent_encoding::percent_decode_str(&key)
            .decode_utf8()
            .map_err(|e| {
                Error::new(Kind::NotSupported, "the bucket has a key that is not UTF-8")
                    .caused_by(&e)
            })?;
        Ok(Object {
            key: key.into_owned(),
            size: self.size,
            modified: Moment::from_micros(self.last_modified.as_microsecond()),
            etag: self.etag,
            archived: self
                .storage_class
                .is_some_and(|class| ARCHIVED.contains(&class.as_str())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read() {
        let text = b"<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>no</Message><BucketName>b</BucketName></Error>";
        assert_eq!(refused(404, text).code(), "NoSuchBucket");
        assert!(refused(503, b"<html>").is_passing());
    }

    #[test]
    fn a_page_is_read() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>
            <Prefix>p/</Prefix><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>
            <Contents><Key>p/a+b%2Bc%C3%A4</Key><LastModified>2026-11-24T16:00:00.000Z</LastModified><ETag>&quot;abc&quot;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass></Contents>
            <Contents><Key>p/old</Key><LastModified>2020-01-01T00:00:00.000Z</LastModified><ETag>"d-2"</ETag><Size>1</Size><StorageClass>GLACIER</StorageClass></Contents></ListBucketResult>"#;
        let page: Page = quick_xml::de::from_str(text).expect("a page");
        assert!(page.is_truncated && page.next_continuation_token.as_deref() == Some("t"));
        let mut objects = page
            .contents
            .into_iter()
            .map(|o| o.into_object().expect("it reads"));
        let first = objects.next().expect("an object");
        assert_eq!((first.key.as_str(), first.size), ("p/a b+cä", 7));
        assert_eq!((first.etag.as_str(), first.archived), ("\"abc\"", false));
        assert!(objects.next().expect("an object").archived);
        let empty = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
        let page: Page = quick_xml::de::from_str(empty).expect("a page");
        assert!(page.contents.is_empty());
    }
}
