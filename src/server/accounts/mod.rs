//! Who may use a team server: users, passwords, tokens, roles.
//!
//! Everything is held in memory and written through to the store; an authenticated call reads no disk.
//! Passwords are kept as argon2 hashes, tokens as their SHA-256: neither can be shown again.

pub(crate) mod directory;
pub(crate) mod model;
pub(crate) mod password;
mod session;
pub(crate) mod store;
#[cfg(test)]
mod tests;
pub(crate) mod token;

pub(crate) use directory::{Credential, Directory};
pub(crate) use session::challenge_of;
