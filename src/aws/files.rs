//! `~/.aws/config` and `~/.aws/credentials`, as the AWS CLI writes them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::base::Result;
use crate::sys::env;
use crate::sys::fs::read_optional;

/// The keys of a section.
pub(super) type Section = HashMap<String, String>;

/// Both files.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    /// Profiles by name; what the file of credentials says wins.
    profiles: HashMap<String, Section>,
    /// `[sso-session NAME]`.
    sessions: HashMap<String, Section>,
}

/// When the files changed last.
pub(super) type Stamps = [Option<SystemTime>; 2];

/// Returns the name of the profile that is used.
pub(super) fn profile_name() -> String {
    env::var("AWS_PROFILE")
        .or_else(|| env::var("AWS_DEFAULT_PROFILE"))
        .unwrap_or_else(|| "default".to_owned())
}

/// Returns where the files are: configuration, credentials.
fn paths(home: &Path) -> [PathBuf; 2] {
    let path = |variable: &str, name: &str| {
        env::var(variable).map_or_else(|| home.join(".aws").join(name), PathBuf::from)
    };
    [
        path("AWS_CONFIG_FILE", "config"),
        path("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
    ]
}

/// Returns when the files changed last.
pub(super) fn stamps(home: &Path) -> Stamps {
    paths(home).map(|path| std::fs::metadata(path).ok()?.modified().ok())
}

impl Files {
    /// Reads them; files that are not there say nothing.
    pub(super) fn read(home: &Path) -> Result<Self> {
        let [config, credentials] = paths(home);
        let mut files = Self::default();
        if let Some(text) = read_optional(&config)? {
            files.add(&text, true);
        }
        if let Some(text) = read_optional(&credentials)? {
            files.add(&text, false);
        }
        Ok(files)
    }

    /// Returns a profile.
    pub(super) fn profile(&self, name: &str) -> Option<&Section> {
        self.profiles.get(name)
    }

    /// Returns an SSO session.
    pub(super) fn session(&self, name: &str) -> Option<&Section> {
        self.sessions.get(name)
    }

    /// Adds what a file says.
    fn add(&mut self, text: &str, is_config: bool) {
        let mut section: Option<&mut Section> = None;
        for line in text.lines() {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
                continue;
            }
            if let Some(header) = trimmed
                .strip_prefix('[')
                .and_then(|rest| rest.split(']').next())
            {
                section = self.section(header.trim(), is_config);
                continue;
            }
            // Indented lines belong to a key with keys of its own (`s3 =`), which nobody asks for here.
            if line.starts_with(char::is_whitespace) {
                continue;
            }
            if let (Some(section), Some((key, value))) = (&mut section, trimmed.split_once('=')) {
                section.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
            }
        }
    }

    /// Returns the section of a header; none for those of no interest.
    fn section(&mut self, header: &str, is_config: bool) -> Option<&mut Section> {
        let mut words = header.split_whitespace();
        let (first, second) = (words.next()?, words.next());
        match (is_config, first, second) {
            (true, "profile", Some(name)) => {
                let name = name.trim_matches('"').to_owned();
                Some(self.profiles.entry(name).or_default())
            }
            (true, "sso-session", Some(name)) => {
                Some(self.sessions.entry(name.to_owned()).or_default())
            }
            (true, "default", None) => Some(self.profiles.entry("default".to_owned()).or_default()),
            (true, _, _) => None,
            (false, _, _) => Some(self.profiles.entry(header.to_owned()).or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_make_a_profile() {
        let mut files = Files::default();
        files.add(
            "# mine\n[default]\nregion = eu-west-1\ns3 =\n  max_queue_size = 10\n\n[profile dev]\nrole_arn=arn:aws:iam::1:role/x\n\
             source_profile = default\n[sso-session corp]\nsso_region = us-east-2\n[services x]\nregion = no\n",
            true,
        );
        files.add("[default]\naws_access_key_id = AK\n", false);
        let default = files.profile("default").expect("there");
        assert_eq!(default["region"], "eu-west-1");
        assert_eq!(default["aws_access_key_id"], "AK");
        assert!(!default.contains_key("max_queue_size"));
        assert_eq!(
            files.profile("dev").expect("there")["source_profile"],
            "default"
        );
        assert_eq!(
            files.session("corp").expect("there")["sso_region"],
            "us-east-2"
        );
        assert!(files.profile("x").is_none());
    }
}
