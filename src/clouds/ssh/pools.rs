//! `~/.sky/ssh_node_pools.yaml`: the user's hosts, by pool.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::base::{Error, Kind, Result};
use crate::sys::fs::read_optional;
use crate::task::yaml::{self, Data, Node};
use crate::transport::ssh::Host;

/// Pools by name.
pub(super) type Pools = BTreeMap<String, Vec<Host>>;

/// What a pool says for all of its hosts.
#[derive(Debug, Clone, Default)]
struct Common {
    /// User.
    user: Option<String>,
    /// Key.
    identity: Option<PathBuf>,
}

/// Reads the file; no file is no pools.
pub(super) fn read(path: &Path, home: &Path) -> Result<Pools> {
    match read_optional(path)? {
        None => Ok(Pools::new()),
        Some(text) => Reader {
            origin: path.display().to_string(),
            home,
        }
        .pools(&text),
    }
}

/// Reads a text.
struct Reader<'a> {
    /// Where it comes from.
    origin: String,
    /// What `~` stands for.
    home: &'a Path,
}

impl Reader<'_> {
    /// Makes the error about a line.
    fn error(&self, line: usize, what: impl std::fmt::Display) -> Error {
        Error::new(
            Kind::InvalidConfig,
            format!("{}:{line}: {what}", self.origin),
        )
    }

    /// Reads all pools.
    fn pools(&self, text: &str) -> Result<Pools> {
        let documents = yaml::documents(text, &self.origin)
            .map_err(|e| Error::new(Kind::InvalidConfig, e.message().to_owned()))?;
        let root = match documents.as_slice() {
            [] => return Ok(Pools::new()),
            [one] if one.is_null() => return Ok(Pools::new()),
            [one] => one,
            [_, second, ..] => return Err(self.error(second.line, "pools are one document")),
        };
        let Data::Map(entries) = &root.data else {
            return Err(self.error(root.line, "pools are a mapping of names"));
        };
        entries
            .iter()
            .map(|(name, pool)| Ok((name.text.clone(), self.pool(&name.text, pool)?)))
            .collect()
    }

    /// Reads a pool.
    fn pool(&self, name: &str, pool: &Node) -> Result<Vec<Host>> {
        let Data::Map(entries) = &pool.data else {
            return Err(self.error(
                pool.line,
                format!("pool `{name}` is a mapping with `hosts`"),
            ));
        };
        let mut common = Common::default();
        let mut hosts = None;
        for (key, value) in entries {
            match key.text.as_str() {
                "user" => common.user = self.text(value)?,
                "identity_file" => common.identity = self.key_file(value)?,
                // For sudo, which nothing here needs.
                "password" => {}
                "hosts" => hosts = Some(value),
                other => {
                    return Err(self
                        .error(key.line, format!("unknown key `{other}` in pool `{name}`"))
                        .hint("known keys: user, identity_file, password, hosts"));
                }
            }
        }
        let empty = || self.error(pool.line, format!("pool `{name}` has no `hosts`"));
        let list = hosts.ok_or_else(empty)?;
        let Data::List(items) = &list.data else {
            return Err(self.error(list.line, "`hosts` is a list"));
        };
        let hosts = items
            .iter()
            .map(|item| self.host(&common, item))
            .collect::<Result<Vec<_>>>()?;
        if hosts.is_empty() {
            return Err(empty());
        }
        Ok(hosts)
    }

    /// Reads a host: an address, an alias, or a mapping.
    fn host(&self, common: &Common, item: &Node) -> Result<Host> {
        let mut host = Host {
            destination: String::new(),
            user: common.user.clone(),
            port: None,
            identity: common.identity.clone(),
            trust_first: true,
        };
        match &item.data {
            Data::Scalar { text, .. } => host.destination.clone_from(text),
            Data::Map(entries) => {
                for (key, value) in entries {
                    match key.text.as_str() {
                        "ip" => host.destination = self.text(value)?.unwrap_or_default(),
                        "user" => host.user = self.text(value)?,
                        "identity_file" => host.identity = self.key_file(value)?,
                        "port" => host.port = self.port(value)?,
                        "password" => {}
                        other => {
                            return Err(self
                                .error(key.line, format!("unknown key `{other}` of a host"))
                                .hint("known keys: ip, user, port, identity_file, password"));
                        }
                    }
                }
            }
            Data::List(_) => return Err(self.error(item.line, "a host is an address or a mapping")),
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:%@[]".contains(c);
        if host.destination.is_empty()
            || host.destination.starts_with('-')
            || !host.destination.chars().all(plain)
        {
            return Err(self.error(item.line, "a host is an IP address, a name or an SSH alias"));
        }
        Ok(host)
    }

    /// Reads a text.
    fn text(&self, value: &Node) -> Result<Option<String>> {
        match &value.data {
            _ if value.is_null() => Ok(None),
            Data::Scalar { text, .. } => Ok(Some(text.clone())),
            Data::List(_) | Data::Map(_) => Err(self.error(value.line, "this is a single value")),
        }
    }

    /// Reads a port.
    fn port(&self, value: &Node) -> Result<Option<u16>> {
        self.text(value)?
            .map(|text| {
                text.parse()
                    .map_err(|_| self.error(value.line, format!("`{text}` is not a port")))
            })
            .transpose()
    }

    /// Reads the path of a key, which must be there.
    fn key_file(&self, value: &Node) -> Result<Option<PathBuf>> {
        let Some(text) = self.text(value)? else {
            return Ok(None);
        };
        let path = text
            .strip_prefix("~/")
            .map_or_else(|| PathBuf::from(&text), |rest| self.home.join(rest));
        if path.is_file() {
            Ok(Some(path))
        } else {
            Err(self.error(value.line, format!("there is no key file `{text}`")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(text: &str) -> Result<Pools> {
        Reader {
            origin: "pools.yaml".to_owned(),
            home: Path::new("/nowhere"),
        }
        .pools(text)
    }

    #[test]
    fn hosts_inherit_what_their_pool_says() {
        let read = pools(
            "lab:\n  user: ubuntu\n  hosts:\n    - 10.0.0.11\n    - {ip: 10.0.0.13, user: admin, port: 2222}\n",
        )
        .expect("read");
        let [first, second] = read["lab"].as_slice() else {
            panic!("two hosts: {read:?}");
        };
        assert_eq!(first.destination, "10.0.0.11");
        assert_eq!(first.user.as_deref(), Some("ubuntu"));
        assert_eq!(second.user.as_deref(), Some("admin"));
        assert_eq!(second.port, Some(2222));
    }

    #[test]
    fn mistakes_are_named_by_line() {
        for (text, needle) in [
            ("lab: 3\n", "pools.yaml:1: pool `lab` is a mapping"),
            ("lab:\n  user: u\n", "has no `hosts`"),
            ("lab:\n  hosts: []\n", "has no `hosts`"),
            ("lab:\n  host: [a]\n", "pools.yaml:2: unknown key `host`"),
            (
                "lab:\n  hosts: ['-oProxyCommand=x']\n",
                "pools.yaml:2: a host is",
            ),
            (
                "lab:\n  identity_file: ~/x\n  hosts: [a]\n",
                "there is no key file `~/x`",
            ),
            ("lab:\n  hosts: [a]\nlab:\n  hosts: [b]\n", "lab"),
        ] {
            let error = pools(text).expect_err(text);
            assert!(error.message().contains(needle), "{text}: {error}");
        }
    }
}
