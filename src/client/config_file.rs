//! Changing `api_server` in the user's configuration file: only those lines, the rest stays as it was written.

use std::fmt::Write as _;

use crate::base::Result;
use crate::sys::fs::{private_dir, read_optional, write_atomic};
use crate::sys::paths::Paths;

/// The key whose block is replaced.
const SECTION: &str = "api_server";

/// Keys of the section that a login owns.
const OWNED: [&str; 2] = ["endpoint", "service_account_token"];

/// What `api_server` should say; none removes the key.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerKeys<'a> {
    /// `api_server.endpoint`.
    pub(crate) endpoint: Option<&'a str>,
    /// `api_server.service_account_token`.
    pub(crate) token: Option<&'a str>,
}

/// Writes the keys into the user's file, readable by the user only.
pub(crate) fn save(paths: &Paths, keys: &ServerKeys<'_>) -> Result<()> {
    let path = paths.config();
    private_dir(&paths.sky())?;
    let text = read_optional(&path)?.unwrap_or_default();
    write_atomic(&path, edit(&text, keys).as_bytes(), 0o600)
}

/// Returns the text with other keys in its `api_server` block.
fn edit(text: &str, keys: &ServerKeys<'_>) -> String {
    let mut before = String::new();
    let mut kept = String::new();
    let mut after = String::new();
    let mut place = Place::Before;
    for line in text.lines() {
        let is_top = line
            .chars()
            .next()
            .is_some_and(|c| !c.is_whitespace() && c != '#');
        if is_top {
            place = place.at(line);
        }
        let target = match place {
            Place::Before => &mut before,
            Place::Inside if is_top || owns(line) => continue,
            Place::Inside => &mut kept,
            Place::After => &mut after,
        };
        target.push_str(line);
        target.push('\n');
    }
    let mut block = String::new();
    for (key, value) in OWNED.into_iter().zip([keys.endpoint, keys.token]) {
        if let Some(value) = value {
            let quoted = serde_json::Value::from(value);
            // Writing to a string cannot fail.
            writeln!(block, "  {key}: {quoted}").unwrap_or_default();
        }
    }
    block.push_str(&kept);
    if !block.trim().is_empty() {
        block.insert_str(0, &format!("{SECTION}:\n"));
    }
    before + &block + &after
}

/// Where a line stands.
#[derive(Clone, Copy)]
enum Place {
    /// Before the section.
    Before,
    /// In the section.
    Inside,
    /// Behind the section.
    After,
}

impl Place {
    /// Returns the place of a line that begins at the margin.
    fn at(self, line: &str) -> Self {
        let key = line.split(':').next().unwrap_or_default();
        let is_section = key.trim().trim_matches(['"', '\'']) == SECTION;
        match self {
            _ if is_section => Self::Inside,
            Self::Before => Self::Before,
            Self::Inside | Self::After => Self::After,
        }
    }
}

/// Returns whether a line of the section is one that a login owns.
fn owns(line: &str) -> bool {
    let key = line.trim_start().split(':').next().unwrap_or_default();
    OWNED.contains(&key.trim().trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_keys_change() {
        let login = ServerKeys {
            endpoint: Some("https://sky.example"),
            token: Some("sky_x"),
        };
        let empty = edit("", &login);
        assert_eq!(
            empty,
            "api_server:\n  endpoint: \"https://sky.example\"\n  service_account_token: \"sky_x\"\n"
        );
        assert_eq!(edit(&empty, &ServerKeys::default()), "");
        let text = "# mine\naws:\n  profile: p\napi_server:\n  # note\n  endpoint: http://old\n  requests_retention_hours: 4\n\njobs:\n  bucket: b\n";
        insta::assert_snapshot!(edit(text, &login), @r#"
        # mine
        aws:
          profile: p
        api_server:
          endpoint: "https://sky.example"
          service_account_token: "sky_x"
          # note
          requests_retention_hours: 4

        jobs:
          bucket: b
        "#);
    }
}
