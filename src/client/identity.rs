//! Who the user is to servers that do not authenticate, and the fields that every request carries.

use std::collections::BTreeMap;

use md5::{Digest as _, Md5};
use serde_json::{Map, Value};

use crate::api::bodies::Common;
use crate::base::Result;
use crate::base::ids::UserId;
use crate::sys::env;
use crate::sys::fs::{private_dir, read_optional, write_atomic};
use crate::sys::paths::Paths;

/// Variables that stay on this machine although their names begin with `SKYPILOT_`.
const PRIVATE: [&str; 3] = [
    "SKYPILOT_SERVICE_ACCOUNT_TOKEN",
    "SKYPILOT_DB_CONNECTION_URI",
    "SKYPILOT_DOCKER_PASSWORD",
];

/// Options whose value is not to be stored with the request, as typed.
const SECRET_OPTIONS: [&str; 3] = ["--secret", "--token", "--service-account-token"];

/// The user of this machine.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// Eight hexadecimal digits, unless the user chose an id.
    pub(crate) id: UserId,
    /// Display name.
    pub(crate) name: String,
}

impl Identity {
    /// Returns who the user is: the environment, else the file, else a hash of user and host, which is then kept.
    pub(crate) fn of_user(paths: &Paths) -> Result<Self> {
        let name = env::var("SKYPILOT_USER").unwrap_or_else(env::user_name);
        if let Some(id) = env::var("SKYPILOT_USER_ID") {
            return Ok(Self {
                id: id.parse()?,
                name,
            });
        }
        let file = paths.user_hash();
        let kept = read_optional(&file)?.and_then(|text| text.trim().parse().ok());
        if let Some(id) = kept {
            return Ok(Self { id, name });
        }
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        let digest = hex::encode(Md5::digest(format!("{}-{host}", env::user_name())));
        let id: UserId = digest[..8].parse()?;
        private_dir(&paths.sky())?;
        write_atomic(&file, id.as_str().as_bytes(), 0o600)?;
        Ok(Self { id, name })
    }

    /// Returns the header by which our own server knows the user.
    pub(crate) fn header(&self) -> String {
        let name: String = self
            .name
            .chars()
            .filter(|c| c.is_ascii_graphic() && *c != ';')
            .collect();
        format!("{};{name}", self.id)
    }

    /// Returns the fields that every body carries.
    pub(crate) fn common(
        &self,
        command_line: &str,
        remote: bool,
        config: Map<String, Value>,
    ) -> Common {
        let mut env_vars: BTreeMap<String, String> = env::with_prefix("SKYPILOT_")
            .into_iter()
            .filter(|(name, _)| {
                !name.starts_with("SKYPILOT_SERVER_") && !PRIVATE.contains(&name.as_str())
            })
            .collect();
        env_vars.insert("SKYPILOT_USER_ID".into(), self.id.to_string());
        env_vars.insert("SKYPILOT_USER".into(), self.name.clone());
        env_vars.insert(
            "SKYPILOT_USAGE_RUN_ID".into(),
            uuid::Uuid::new_v4().to_string(),
        );
        Common {
            env_vars,
            entrypoint: "sky".to_owned(),
            entrypoint_command: command_line.to_owned(),
            using_remote_api_server: remote,
            override_skypilot_config: Some(config),
            file_mounts_blob_id: None,
        }
    }
}

/// Returns the command line as it may be stored: values of secrets are left out.
pub(crate) fn shown_command_line(arguments: &[String]) -> String {
    let mut words = vec!["sky".to_owned()];
    let mut hide_next = false;
    for argument in arguments {
        if std::mem::take(&mut hide_next) {
            words.push(redacted(argument));
        } else if let Some((option, value)) = argument
            .split_once('=')
            .filter(|(option, _)| SECRET_OPTIONS.contains(option))
        {
            words.push(format!("{option}={}", redacted(value)));
        } else {
            hide_next = SECRET_OPTIONS.contains(&argument.as_str());
            words.push(shell_words::quote(argument).into_owned());
        }
    }
    words.join(" ")
}

/// `K=V` without `V`; anything else not at all.
fn redacted(value: &str) -> String {
    match value.split_once('=') {
        Some((key, _)) => format!("{key}=<redacted>"),
        None => "<redacted>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_in_the_command_line() {
        let given = [
            "launch",
            "--secret",
            "A=1 2",
            "--secret=B=3",
            "echo hi",
            "--env",
            "C=4",
        ];
        let given: Vec<String> = given.iter().map(|&w| w.to_owned()).collect();
        assert_eq!(
            shown_command_line(&given),
            "sky launch --secret A=<redacted> --secret=B=<redacted> 'echo hi' --env 'C=4'"
        );
    }

    #[test]
    fn the_header_is_ascii_without_separator() {
        let identity = Identity {
            id: "a1b2c3d4".parse().expect("valid"),
            name: "Jürgen; x".to_owned(),
        };
        assert_eq!(identity.header(), "a1b2c3d4;Jrgenx");
    }
}
