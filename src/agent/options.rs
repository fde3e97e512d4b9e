//! The few arguments of the hidden programs. No command-line library: nobody types them, and each start counts.

use std::ffi::{OsStr, OsString};

use crate::base::{Error, Kind, Result};

/// Returns the value behind `name`, which must be there.
pub(crate) fn value_of<'a>(arguments: &'a [OsString], name: &str) -> Result<&'a OsStr> {
    optional(arguments, name)
        .ok_or_else(|| Error::new(Kind::Usage, format!("argument `{name}` is missing")))
}

/// Returns the value behind `name`.
pub(crate) fn optional<'a>(arguments: &'a [OsString], name: &str) -> Option<&'a OsStr> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1).map(OsString::as_os_str)
}

/// Returns the number behind `name`.
pub(crate) fn number<T: std::str::FromStr>(
    arguments: &[OsString],
    name: &str,
) -> Result<Option<T>> {
    optional(arguments, name)
        .map(|text| {
            text.to_str()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| Error::new(Kind::Usage, format!("`{name}` takes a number")))
        })
        .transpose()
}
