//! Seals the secrets of stored requests: the store, its copies and its backups never hold them in clear.
//!
//! `sealed:v1:` and base64 of nonce and ciphertext (AES-256-GCM). The nonce is derived from the text itself, so
//! the same text seals to the same words: a repeated submission with the same idempotency key is
//! recognised. The price is that equal texts are seen to be equal.
//! The key is a file of its own that only the server's user can read.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

use crate::base::{Error, Kind, Result};
use crate::sys::fs::write_atomic;

/// What a sealed text begins with.
pub(crate) const PREFIX: &str = "sealed:v1:";
/// What people see instead of a sealed text.
pub(crate) const REDACTED: &str = "<redacted>";

/// Bytes of the key file: one half encrypts, the other derives nonces.
const KEY_LEN: usize = 64;

/// Seals and opens texts.
pub(crate) struct Sealer {
    /// Encrypts.
    cipher: LessSafeKey,
    /// Derives nonces.
    nonces: hmac::Key,
}

impl Sealer {
    /// Reads the key, or makes it when there is none.
    pub(crate) fn open_or_create(path: &Path) -> Result<Self> {
        match std::fs::read(path) {
            Ok(key) => Self::new(&key),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let key: [u8; KEY_LEN] = crate::sys::random::bytes()?;
                write_atomic(path, &key, 0o600)?;
                Self::new(&key)
            }
            Err(e) => Err(Error::io(format!("read `{}`", path.display()), &e)),
        }
        .map_err(|e| e.hint("secrets of stored requests cannot be read without this key file"))
    }

    /// Takes the bytes of the key file.
    fn new(key: &[u8]) -> Result<Self> {
        let damaged = || Error::new(Kind::Internal, "the key file for secrets is damaged");
        if key.len() != KEY_LEN {
            return Err(damaged());
        }
        let (cipher, nonces) = key.split_at(KEY_LEN / 2);
        let cipher = UnboundKey::new(&AES_256_GCM, cipher).map_err(|_| damaged())?;
        Ok(Self {
            cipher: LessSafeKey::new(cipher),
            nonces: hmac::Key::new(hmac::HMAC_SHA256, nonces),
        })
    }

    /// Seals a text.
    pub(crate) fn seal(&self, text: &str) -> Result<String> {
        let tag = hmac::sign(&self.nonces, text.as_bytes());
        let mut nonce = [0_u8; NONCE_LEN];
        nonce.copy_from_slice(&tag.as_ref()[..NONCE_LEN]);
        let mut bytes = text.as_bytes().to_vec();
        self.cipher
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(PREFIX),
                &mut bytes,
            )
            .map_err(|_| Error::new(Kind::Internal, "failed to seal a text"))?;
        let sealed = [&nonce[..], &bytes].concat();
        Ok(format!("{PREFIX}{}", BASE64.encode(sealed)))
    }

    /// Opens what [`Sealer::seal`] gave; a text that is not sealed is returned as it is.
    pub(crate) fn open(&self, text: &str) -> Result<String> {
        let Some(sealed) = text.strip_prefix(PREFIX) else {
            return Ok(text.to_owned());
        };
        self.open_bytes(sealed).ok_or_else(|| {
            Error::new(
                Kind::Internal,
                "a sealed text of a stored request cannot be opened",
            )
            .hint("the key file in the server's state directory is not the one it was sealed with")
        })
    }

    /// Opens base64 of nonce and ciphertext.
    fn open_bytes(&self, sealed: &str) -> Option<String> {
        let mut bytes = BASE64.decode(sealed).ok()?;
        let (nonce, cipher) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self
            .cipher
            .open_in_place(nonce, Aad::from(PREFIX), cipher)
            .ok()?;
        String::from_utf8(plain.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn sealer() -> Sealer {
        Sealer::new(&[7; KEY_LEN]).expect("the key has the right length")
    }

    #[test]
    fn opens_what_it_sealed_and_shows_nothing() {
        let sealed = sealer().seal("secrets: {A: hunter2}").expect("it seals");
        assert!(sealed.starts_with(PREFIX));
        assert!(!sealed.contains("hunter2"));
        assert_eq!(
            sealer().open(&sealed).expect("it opens"),
            "secrets: {A: hunter2}"
        );
        assert_eq!(sealer().open("plain").expect("it passes"), "plain");
    }

    #[test]
    fn the_same_text_seals_to_the_same_words() {
        let (a, b) = (sealer().seal("x"), sealer().seal("x"));
        assert_eq!(a.expect("it seals"), b.expect("it seals"));
    }

    #[test]
    fn a_changed_text_or_key_does_not_open() {
        let sealed = sealer().seal("abc").expect("it seals");
        let mut changed = sealed.clone();
        changed.insert(PREFIX.len() + 18, 'A');
        assert!(sealer().open(&changed).is_err());
        assert!(sealer().open("sealed:v1:").is_err());
        assert!(sealer().open("sealed:v1:%%%").is_err());
        let other = Sealer::new(&[8; KEY_LEN]).expect("the key has the right length");
        assert!(other.open(&sealed).is_err());
    }

    #[test]
    fn the_key_is_made_once_and_private() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("seal.key");
        let sealed = Sealer::open_or_create(&path)
            .and_then(|s| s.seal("abc"))
            .expect("it seals");
        let again = Sealer::open_or_create(&path).expect("the key is there");
        assert_eq!(again.open(&sealed).expect("it opens"), "abc");
        let mode = std::fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "short").expect("it is ours");
        assert!(Sealer::open_or_create(&path).is_err());
    }
}
