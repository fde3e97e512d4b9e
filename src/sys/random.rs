//! Random bytes of the operating system.

use crate::base::{Error, Kind, Result};

/// Returns bytes that nobody can guess.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(Kind::Internal, format!("failed to get random bytes: {e}")))?;
    Ok(bytes)
}
