//! Passwords: argon2id with its default cost (19 MiB, two passes).

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};

use super::token;
use crate::base::secret::Secret;
use crate::base::{Error, Kind, Result};

/// The shortest password that is accepted.
const SHORTEST: usize = 8;
/// The longest one; hashing more is work for nothing.
const LONGEST: usize = 1024;

/// A hash that no password has; verifying against it takes as long as against a real one.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2t5LW5vYm9keS1zYWx0$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes a password. Blocks for tens of milliseconds.
pub(crate) fn hash(password: &Secret) -> Result<String> {
    let text = password.reveal();
    if text.chars().count() < SHORTEST || text.len() > LONGEST {
        return Err(Error::new(
            Kind::Invalid,
            format!("a password must have {SHORTEST} to {LONGEST} characters"),
        ));
    }
    let failed =
        |why: &dyn std::fmt::Display| Error::new(Kind::Internal, format!("failed to hash: {why}"));
    let salt = hex::decode(token::random_hex::<16>()?).unwrap_or_default();
    let salt = SaltString::encode_b64(&salt).map_err(|e| failed(&e))?;
    let hash = Argon2::default()
        .hash_password(text.as_bytes(), &salt)
        .map_err(|e| failed(&e))?;
    Ok(hash.to_string())
}

/// Compares a password with a hash; without a hash works as long and says no. Blocks.
pub(crate) fn verify(password: &Secret, hash: Option<&str>) -> bool {
    if password.reveal().len() > LONGEST {
        return false;
    }
    let Ok(parsed) = PasswordHash::new(hash.unwrap_or(NOBODY)) else {
        return false;
    };
    Argon2::default()
        .verify_password(password.reveal().as_bytes(), &parsed)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_verifies() {
        let hashed = hash(&Secret::new("correct horse")).expect("it hashes");
        assert!(hashed.starts_with("$argon2id$"));
        assert!(verify(&Secret::new("correct horse"), Some(&hashed)));
        assert!(!verify(&Secret::new("battery staple"), Some(&hashed)));
        assert!(!verify(&Secret::new("correct horse"), None));
        assert!(!verify(&Secret::new("correct horse"), Some("nonsense")));
    }

    #[test]
    fn the_hash_of_nobody_parses() {
        assert!(PasswordHash::new(NOBODY).is_ok());
    }

    #[test]
    fn short_and_endless_passwords_are_refused() {
        assert!(hash(&Secret::new("short")).is_err());
        assert!(hash(&Secret::new("x".repeat(2000))).is_err());
        assert!(!verify(&Secret::new("x".repeat(2000)), None));
    }
}
