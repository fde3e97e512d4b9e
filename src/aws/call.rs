//! One call: signed, with a deadline, repeated while what keeps it from succeeding may pass.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::sign::{Unsigned, sign};
use super::tries::Tries;
use super::{Aws, Fault};
use crate::base::clock::Moment;
use crate::base::{Error, Kind};
use crate::http::call::Call;

/// The time of one attempt.
const ATTEMPT: Duration = Duration::from_secs(30);
/// The largest answer: a page of instances or machine types is far smaller.
const LARGEST: usize = 64 * 1024 * 1024;

/// A service of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Machines and their network.
    Ec2,
    /// Who one is.
    Sts,
    /// Parameters, among them the names of images.
    Ssm,
    /// Objects in buckets; it has no query API.
    S3,
}

impl Service {
    /// Returns its name in signatures and addresses.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Sts => "sts",
            Self::Ssm => "ssm",
            Self::S3 => "s3",
        }
    }

    /// Returns the version of its query API.
    const fn version(self) -> &'static str {
        match self {
            Self::Ec2 => "2016-11-15",
            Self::Sts => "2011-06-15",
            Self::Ssm => "2014-11-06",
            Self::S3 => "2006-03-01",
        }
    }

    /// Returns its address in a region.
    pub(super) fn address(self, region: &str) -> String {
        let name = self.name();
        let domain = domain(region);
        format!("https://{name}.{region}.{domain}")
    }
}

/// Returns the domain of a region's services.
pub(super) fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    }
}

/// The parameters of a query call, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params {
    /// Names and values.
    pairs: Vec<(String, String)>,
    /// How many filters there are.
    filters: usize,
}

impl Params {
    /// Makes an empty list.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers, flags and texts read best without a reference at each"
    )]
    pub(crate) fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.pairs.push((name.into(), value.to_string()));
        self
    }

    /// Adds a parameter, where there is a value.
    #[must_use]
    pub(crate) fn maybe(self, name: impl Into<String>, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds `Name.1`, `Name.2` …
    #[must_use]
    pub(crate) fn list(mut self, name: &str, values: impl IntoIterator<Item: ToString>) -> Self {
        for (i, value) in values.into_iter().enumerate() {
            self = self.with(format!("{name}.{}", i + 1), value);
        }
        self
    }

    /// Adds a filter: one of the values.
    #[must_use]
    pub(crate) fn filter(mut self, name: &str, values: impl IntoIterator<Item: ToString>) -> Self {
        self.filters += 1;
        let at = format!("Filter.{}", self.filters);
        self.with(format!("{at}.Name"), name)
            .list(&format!("{at}.Value"), values)
    }

    /// Writes them as the form of an action of a service.
    pub(super) fn form_of(&self, service: Service, action: &str) -> Result<String, Error> {
        self.form(action, service.version())
    }

    /// Writes them as a form.
    fn form(&self, action: &str, version: &str) -> Result<String, Error> {
        let head = [("Action", action), ("Version", version)];
        let pairs = self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let all: Vec<(&str, &str)> = head.into_iter().chain(pairs).collect();
        serde_html_form::to_string(all).map_err(|e| Error::internal("write a call of AWS", &e))
    }
}

/// A list of AWS's: `<xSet><item/>…</xSet>`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Set<T> {
    /// What is in it.
    #[serde(default = "Vec::new")]
    pub(crate) item: Vec<T>,
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self { item: Vec::new() }
    }
}

/// What is sent.
struct Body {
    /// Its bytes.
    bytes: Vec<u8>,
    /// Their type.
    content_type: &'static str,
    /// The header by which JSON services tell actions apart.
    target: Option<String>,
}

impl Aws {
    /// Calls an action of a query API and reads its XML.
    pub(crate) async fn query<T: DeserializeOwned>(
        &self,
        service: Service,
        region: &str,
        action: &str,
        params: &Params,
    ) -> Result<T, Fault> {
        let body = Body {
            bytes: params.form_of(service, action)?.into_bytes(),
            content_type: "application/x-www-form-urlencoded; charset=utf-8",
            target: None,
        };
        // On the heap, or each caller's future has room for it several times over.
        let answer = Box::pin(self.persist(service, region, action, &body)).await?;
        let text = String::from_utf8_lossy(&answer);
        quick_xml::de::from_str(&text).map_err(|e| unexpected(action, &e))
    }

    /// Calls an action of a JSON API.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        service: Service,
        region: &str,
        target: &str,
        parameters: &Value,
    ) -> Result<T, Fault> {
        let action = target.rsplit('.').next().unwrap_or(target);
        let body = Body {
            bytes: parameters.to_string().into_bytes(),
            content_type: "application/x-amz-json-1.1",
            target: Some(target.to_owned()),
        };
        // On the heap, or each caller's future has room for it several times over.
        let answer = Box::pin(self.persist(service, region, action, &body)).await?;
        serde_json::from_slice(&answer).map_err(|e| unexpected(action, &e))
    }

    /// Calls until it succeeds, is refused for good, or the time is over.
    async fn persist(
        &self,
        service: Service,
        region: &str,
        action: &str,
        body: &Body,
    ) -> Result<Vec<u8>, Fault> {
        let mut tries = Tries::of(format!("{action} in {region}"));
        loop {
            match self.attempt(service, region, action, body).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => {
                    let fault = tries.told(fault);
                    if !tries.again_as(self, &fault).await {
                        return Err(fault);
                    }
                }
            }
        }
    }

    /// One attempt.
    async fn attempt(
        &self,
        service: Service,
        region: &str,
        action: &str,
        body: &Body,
    ) -> Result<Vec<u8>, Fault> {
        let credentials = self.credentials().await?;
        let endpoint = self.endpoint(service, region)?;
        let client = self.client(&endpoint)?;
        let mut headers = vec![
            ("host", client.host_header()),
            ("content-type", body.content_type.to_owned()),
        ];
        headers.extend(body.target.clone().map(|target| ("x-amz-target", target)));
        let signed = sign(
            Unsigned {
                method: "POST",
                path: "/",
                headers,
                body: &body.bytes,
                service: service.name(),
                region,
            },
            &credentials,
            Moment::now(),
        );
        let mut call = Call::post("/").timeout(ATTEMPT).bytes(body.bytes.clone());
        for (name, value) in &signed {
            call = call.header(name, value);
        }
        let sent = async {
            let answer = client.send(call).await?;
            let status = answer.status();
            Ok((status, answer.bytes(LARGEST).await?))
        };
        let (status, bytes) = sent.await.map_err(|error: Error| {
            Fault::from(error.context(format!("cannot call AWS ({action} at {endpoint})")))
        })?;
        if status.is_success() {
            return Ok(bytes.to_vec());
        }
        Err(Fault::read(action, status.as_u16(), &bytes))
    }
}

/// The error of an answer that is not what is expected.
fn unexpected(action: &str, source: &dyn std::error::Error) -> Fault {
    let what = format!("the answer of AWS to `{action}` is not the one expected here");
    Error::new(Kind::Internal, what).caused_by(source).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered() {
        let params = Params::new()
            .filter("tag:a", ["x y"])
            .filter("state", ["1", "2"])
            .maybe("None", None::<String>)
            .list("Id", ["i-1"]);
        assert_eq!(
            params.form("Act", "1").expect("a form"),
            "Action=Act&Version=1&Filter.1.Name=tag%3Aa&Filter.1.Value.1=x+y&Filter.2.Name=state\
             &Filter.2.Value.1=1&Filter.2.Value.2=2&Id.1=i-1"
        );
    }

    #[test]
    fn addresses_are_by_region() {
        assert_eq!(
            Service::Ec2.address("us-west-2"),
            "https://ec2.us-west-2.amazonaws.com"
        );
        assert_eq!(
            Service::Sts.address("cn-north-1"),
            "https://sts.cn-north-1.amazonaws.com.cn"
        );
    }
}
