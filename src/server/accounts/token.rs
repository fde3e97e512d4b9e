//! Texts of tokens and their hashes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::base::Result;
use crate::base::secret::Secret;
use crate::sys::random;

/// What every token begins with.
pub(crate) const PREFIX: &str = "sky_";

/// SHA-256 of a token or of a credential.
pub(crate) type Hash = [u8; 32];

/// Makes the text of a token: 256 random bits.
pub(crate) fn generate() -> Result<Secret> {
    let bytes: [u8; 32] = random::bytes()?;
    Ok(Secret::new(format!(
        "{PREFIX}{}",
        URL_SAFE_NO_PAD.encode(bytes)
    )))
}

/// Makes a random id of `2 * N` hexadecimal digits.
pub(crate) fn random_hex<const N: usize>() -> Result<String> {
    Ok(hex::encode(random::bytes::<N>()?))
}

/// Hashes a text. Tokens have enough bits of their own: neither salt nor stretching adds anything.
pub(crate) fn hash(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_never_the_same() {
        let (a, b) = (generate().expect("random"), generate().expect("random"));
        assert!(a.reveal().starts_with(PREFIX));
        assert_eq!(a.reveal().len(), 4 + 43);
        assert_ne!(a, b);
        assert_ne!(hash(a.reveal()), hash(b.reveal()));
    }
}
