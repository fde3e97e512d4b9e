//! Where a task wants to run: `cloud[/region[/zone]]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::ids::clip;

/// Names of infra that a task may ask for; whether it is enabled is another question.
pub(crate) const CLOUDS: [&str; 24] = [
    "aws",
    "azure",
    "cudo",
    "do",
    "fluidstack",
    "gcp",
    "hyperbolic",
    "ibm",
    "kubernetes",
    "lambda",
    "local",
    "mithril",
    "nebius",
    "oci",
    "paperspace",
    "primeintellect",
    "runpod",
    "scp",
    "seeweb",
    "shadeform",
    "slurm",
    "ssh",
    "vast",
    "vsphere",
];

/// A wish for a place; a part that is absent may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Infra {
    /// One of [`CLOUDS`].
    pub(crate) cloud: Option<String>,
    /// Region; context of Kubernetes, pool of SSH, cluster of Slurm.
    pub(crate) region: Option<String>,
    /// Zone; partition of Slurm.
    pub(crate) zone: Option<String>,
}

impl Infra {
    /// Returns whether nothing is asked for.
    pub(crate) fn is_any(&self) -> bool {
        self.cloud.is_none() && self.region.is_none() && self.zone.is_none()
    }
}

/// Returns the cloud of this name in lower case, `k8s` as `kubernetes`; the error suggests near names.
pub(crate) fn canonical_cloud(name: &str) -> Result<String, String> {
    let lower = name.to_ascii_lowercase();
    let lower = if lower == "k8s" {
        "kubernetes".to_owned()
    } else {
        lower
    };
    if CLOUDS.contains(&lower.as_str()) {
        return Ok(lower);
    }
    let near = super::fields::nearest(&lower, CLOUDS.iter().copied());
    let hint = near.map_or_else(
        || "infra begins with `local`, `ssh`, `kubernetes`, `slurm`, `aws`, …".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    Err(format!("`{}` is not a known infra; {hint}", clip(name)))
}

impl FromStr for Infra {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("the infra is empty; `*` stands for any".to_owned());
        }
        if text.contains(char::is_control) {
            return Err(format!("`{}` is not an infra", clip(text)));
        }
        let part = |part: &str| (part != "*").then(|| part.to_owned());
        let (cloud, rest) = match text.split_once('/') {
            Some((cloud, rest)) => (cloud, Some(rest)),
            None => (text, None),
        };
        let cloud = match part(cloud) {
            Some(cloud) => Some(canonical_cloud(&cloud)?),
            None => None,
        };
        let Some(rest) = rest.map(|rest| rest.trim_end_matches('/')) else {
            return Ok(Self {
                cloud,
                region: None,
                zone: None,
            });
        };
        // SkyPilot's clients drop `local`, but pass this name of the same machine on.
        if cloud.as_deref() == Some("ssh") && rest == "local" {
            return Ok(Self {
                cloud: Some("local".to_owned()),
                region: None,
                zone: None,
            });
        }
        // Names of contexts may contain slashes.
        if matches!(cloud.as_deref(), Some("kubernetes" | "ssh")) {
            return Ok(Self {
                cloud,
                region: part(rest).filter(|rest| !rest.is_empty()),
                zone: None,
            });
        }
        let parts: Vec<&str> = rest.split('/').collect();
        if parts.len() > 2 || parts.iter().any(|part| part.is_empty()) {
            return Err(format!("`{}` is not `cloud[/region[/zone]]`", clip(text)));
        }
        if cloud.as_deref() == Some("local") && parts.iter().any(|part| *part != "*") {
            return Err("`local` is this machine and has no regions".to_owned());
        }
        let zone = parts.get(1).and_then(|zone| part(zone));
        Ok(Self {
            cloud,
            region: part(parts[0]),
            zone,
        })
    }
}

impl fmt::Display for Infra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any = |part: &Option<String>| part.clone().unwrap_or_else(|| "*".to_owned());
        f.write_str(&any(&self.cloud))?;
        if self.region.is_some() || self.zone.is_some() {
            write!(f, "/{}", any(&self.region))?;
        }
        match &self.zone {
            Some(zone) => write!(f, "/{zone}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name_that_clients_of_skypilot_pass_on() {
        assert_eq!("ssh/local".parse::<Infra>(), "local".parse());
        let pool: Infra = "ssh/pool".parse().expect("it is an infra");
        assert_eq!(pool.region.as_deref(), Some("pool"));
    }
}
