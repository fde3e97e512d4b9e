//! The section `aws` of the server's configuration.

use std::collections::BTreeMap;

use globset::Glob;
use serde_json::{Map, Value};

use crate::base::ids::clip;
use crate::base::{Error, Kind, Result};

/// Keys that mean something here.
const OBEYED: [&str; 10] = [
    "disk_encrypted",
    "labels",
    "profile",
    "remote_identity",
    "security_group_name",
    "ssh_proxy_command",
    "ssh_user",
    "subnet_names",
    "use_internal_ips",
    "vpc_names",
];
/// Keys that SkyPilot knows, accepted here.
const ACCEPTED: [&str; 8] = [
    "capabilities",
    "enforce_tags",
    "post_provision_runcmd",
    "prioritize_reservations",
    "specific_reservations",
    "use_ssm",
    "vpc_name",
    "disabled",
];

/// What the operator chose for AWS.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Settings {
    /// The profile of `~/.aws/config` that calls are made with; none = as the environment says.
    pub(super) profile: Option<String>,
    /// Names (tag `Name`) of the VPC: the first that a region has; empty = the default VPC.
    pub(super) vpcs: Vec<String>,
    /// Names (tag `Name`) of subnets; empty = any.
    pub(super) subnets: Vec<String>,
    /// Security groups by cluster name, first match; none = our own.
    pub(super) groups: Vec<Rule>,
    /// Machines have no public address: they are reached by their private one.
    pub(super) internal: bool,
    /// How machines are reached: in every region, or by region.
    pub(super) proxy: BTreeMap<String, String>,
    /// Who logs in; none = as the image says.
    pub(super) user: Option<String>,
    /// Whether disks are encrypted.
    pub(super) encrypted: bool,
    /// Tags on what is made.
    pub(super) labels: BTreeMap<String, String>,
    /// Instance profiles by cluster name, first match.
    pub(super) identities: Vec<Rule>,
}

/// A pattern of cluster names, and what holds for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// The pattern.
    pattern: String,
    /// The value.
    value: String,
}

/// The region that stands for all.
const EVERYWHERE: &str = "*";
/// The instance profile that SkyPilot makes and that `SERVICE_ACCOUNT` means.
const SERVICE_PROFILE: &str = "skypilot-v1";

impl Settings {
    /// Reads the section of a file; `origin` names the file in errors.
    pub(crate) fn read(section: Option<&Value>, origin: &str) -> Result<Self> {
        let Some(section) = section.filter(|value| !value.is_null()) else {
            return Ok(Self::default());
        };
        let reader = Reader { origin };
        let Some(map) = section.as_object() else {
            return Err(reader.wrong("aws", "a mapping", section));
        };
        reader.check_keys(map)?;
        let mut settings = Self::default();
        for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
            match key.as_str() {
                "vpc_name" | "vpc_names" => settings.vpcs.extend(reader.names(key, value)?),
                "subnet_names" => settings.subnets = reader.names(key, value)?,
                "security_group_name" => settings.groups = reader.rules(key, value)?,
                "use_internal_ips" => settings.internal = reader.flag(key, value)?,
                "ssh_proxy_command" => settings.proxy = reader.by_region(key, value)?,
                "profile" => settings.profile = Some(reader.text(key, value)?),
                "ssh_user" => settings.user = Some(reader.text(key, value)?),
                "disk_encrypted" => settings.encrypted = reader.flag(key, value)?,
                "labels" => settings.labels = reader.mapping(key, value)?,
                "remote_identity" => settings.identities = reader.rules(key, value)?,
                _ => {}
            }
        }
        Ok(settings)
    }

    /// Returns the command that reaches machines of a region.
    pub(super) fn proxy(&self, region: &str) -> Option<&str> {
        let found = self
            .proxy
            .get(region)
            .or_else(|| self.proxy.get(EVERYWHERE));
        found.map(String::as_str)
    }

    /// Returns the security group of a cluster, where the operator chose one.
    pub(super) fn group(&self, cluster: &str) -> Option<&str> {
        first_match(&self.groups, cluster)
    }

    /// Returns the instance profile of a cluster.
    pub(super) fn identity(&self, cluster: &str) -> Option<&str> {
        match first_match(&self.identities, cluster)? {
            // Credentials of the server never leave it: these two mean that machines have none.
            "LOCAL_CREDENTIALS" | "NO_UPLOAD" => None,
            "SERVICE_ACCOUNT" => Some(SERVICE_PROFILE),
            name => Some(name),
        }
    }
}

/// Returns what the first matching rule says.
fn first_match<'a>(rules: &'a [Rule], cluster: &str) -> Option<&'a str> {
    let matches = |rule: &&Rule| {
        Glob::new(&rule.pattern).is_ok_and(|glob| glob.compile_matcher().is_match(cluster))
    };
    rules.iter().find(matches).map(|rule| rule.value.as_str())
}

/// Reads values.
struct Reader<'a> {
    /// The file.
    origin: &'a str,
}

impl Reader<'_> {
    /// Makes the error for a value of another type.
    fn wrong(&self, key: &str, wanted: &str, found: &Value) -> Error {
        let key = if key == "aws" {
            key.to_owned()
        } else {
            format!("aws.{key}")
        };
        let found = clip(&found.to_string());
        Error::new(
            Kind::InvalidConfig,
            format!("{}: `{key}` is {wanted}, not `{found}`", self.origin),
        )
        .hint("correct the file and start the server again")
    }

    /// Refuses keys that nobody knows.
    fn check_keys(&self, map: &Map<String, Value>) -> Result<()> {
        let known = |key: &str| OBEYED.contains(&key) || ACCEPTED.contains(&key);
        match map.keys().find(|key| !known(key)) {
            None => Ok(()),
            Some(unknown) => Err(Error::new(
                Kind::InvalidConfig,
                format!("{}: unknown key `aws.{}`", self.origin, clip(unknown)),
            )
            .hint(format!("known keys: vpc_name, {}", OBEYED.join(", ")))),
        }
    }

    /// Reads a text.
    fn text(&self, key: &str, value: &Value) -> Result<String> {
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| self.wrong(key, "a text", value))
    }

    /// Reads yes or no.
    fn flag(&self, key: &str, value: &Value) -> Result<bool> {
        value
            .as_bool()
            .ok_or_else(|| self.wrong(key, "true or false", value))
    }

    /// Reads a name, or a list of names.
    fn names(&self, key: &str, value: &Value) -> Result<Vec<String>> {
        match value {
            Value::Array(list) => list.iter().map(|one| self.text(key, one)).collect(),
            one => Ok(vec![self.text(key, one)?]),
        }
    }

    /// Reads a mapping of texts.
    fn mapping(&self, key: &str, value: &Value) -> Result<BTreeMap<String, String>> {
        let wrong = || self.wrong(key, "a mapping of names to texts", value);
        let map = value.as_object().ok_or_else(wrong)?;
        map.iter()
            .map(|(name, one)| Ok((name.clone(), self.text(&format!("{key}.{name}"), one)?)))
            .collect()
    }

    /// Reads a text that holds everywhere, or a mapping by region.
    fn by_region(&self, key: &str, value: &Value) -> Result<BTreeMap<String, String>> {
        match value {
            Value::String(one) => Ok([(EVERYWHERE.to_owned(), one.clone())].into()),
            other => self.mapping(key, other),
        }
    }

    /// Reads a text that holds for all clusters, or a list of mappings from a pattern of names to a text.
    fn rules(&self, key: &str, value: &Value) -> Result<Vec<Rule>> {
        let rule = |pattern: &str, value: &Value| -> Result<Rule> {
            Glob::new(pattern).map_err(|e| {
                let what = format!(
                    "{}: `aws.{key}`: `{}` is no pattern",
                    self.origin,
                    clip(pattern)
                );
                Error::new(Kind::InvalidConfig, what).caused_by(&e)
            })?;
            Ok(Rule {
                pattern: pattern.to_owned(),
                value: self.text(key, value)?,
            })
        };
        let wanted = "a name, or a list of mappings from a pattern of cluster names to a name";
        match value {
            Value::String(_) => Ok(vec![rule("*", value)?]),
            Value::Array(list) => {
                let mut rules = Vec::new();
                for one in list {
                    let map = one
                        .as_object()
                        .ok_or_else(|| self.wrong(key, wanted, value))?;
                    for (pattern, value) in map {
                        rules.push(rule(pattern, value)?);
                    }
                }
                Ok(rules)
            }
            other => Err(self.wrong(key, wanted, other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Result<Settings> {
        Settings::read(Some(value), "c.yaml")
    }

    #[test]
    fn every_key_is_read() {
        let settings = read(&json!({
            "profile": "work", "vpc_name": "v", "subnet_names": ["a", "b"], "use_internal_ips": true, "ssh_user": "admin",
            "security_group_name": [{"train-*": "locked"}, {"*": "open"}],
            "ssh_proxy_command": {"us-east-1": "ssh -W %h:%p jump"}, "disk_encrypted": true,
            "labels": {"team": "x"}, "remote_identity": [{"a": "SERVICE_ACCOUNT"}, {"b": "mine"}, {"*": "NO_UPLOAD"}],
        }))
        .expect("valid");
        assert_eq!(settings.profile.as_deref(), Some("work"));
        assert_eq!(settings.vpcs, ["v"]);
        assert!(settings.internal && settings.encrypted);
        assert_eq!(settings.group("train-1"), Some("locked"));
        assert_eq!(settings.group("serve"), Some("open"));
        assert_eq!(settings.proxy("us-east-1"), Some("ssh -W %h:%p jump"));
        assert_eq!(settings.proxy("us-east-2"), None);
        assert_eq!(settings.identity("a"), Some("skypilot-v1"));
        assert_eq!(settings.identity("b"), Some("mine"));
        assert_eq!(settings.identity("c"), None);
        let everywhere = read(&json!({"ssh_proxy_command": "p", "security_group_name": "g"}));
        let everywhere = everywhere.expect("valid");
        assert_eq!(everywhere.proxy("any"), Some("p"));
        assert_eq!(everywhere.group("any"), Some("g"));
    }

    #[test]
    fn mistakes_name_file_and_key() {
        for (value, expected) in [
            (json!([]), "c.yaml: `aws` is a mapping, not `[]`"),
            (json!({"vpc": "x"}), "c.yaml: unknown key `aws.vpc`"),
            (
                json!({"use_internal_ips": "yes"}),
                "c.yaml: `aws.use_internal_ips` is true or false, not `\"yes\"`",
            ),
            (
                json!({"labels": {"a": 1}}),
                "c.yaml: `aws.labels.a` is a text, not `1`",
            ),
        ] {
            assert_eq!(read(&value).expect_err(expected).message(), expected);
        }
    }
}
