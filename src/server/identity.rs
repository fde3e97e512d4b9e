//! Who runs this server, in the eyes of `SkyPilot`'s clients: for calls that do not say who asks.

use md5::{Digest as _, Md5};

use super::visitor::local_caller;
use crate::base::cx::Caller;
use crate::base::ids::UserId;
use crate::base::{Error, Result};
use crate::sys::env;
use crate::sys::fs::{private_dir, read_optional, write_atomic};
use crate::sys::paths::Paths;

/// Returns the user of this account: the id that its clients use, made and kept when there is none.
pub(crate) fn own(paths: &Paths) -> Result<Caller> {
    let name = env::user_name();
    if let Some(id) = env::var("SKYPILOT_USER_ID").and_then(|id| id.parse().ok()) {
        return Ok(local_caller(id, name));
    }
    let file = paths.user_hash();
    let kept = read_optional(&file)?.and_then(|text| text.trim().parse::<UserId>().ok());
    if let Some(id) = kept {
        return Ok(local_caller(id, name));
    }
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let digest = hex::encode(Md5::digest(format!("{name}-{host}").as_bytes()));
    let id: UserId = digest[..8].parse()?;
    private_dir(&paths.sky())
        .and_then(|()| write_atomic(&file, id.as_str().as_bytes(), 0o600))
        .map_err(|e: Error| e.context("the id of this user cannot be kept"))?;
    Ok(local_caller(id, name))
}
