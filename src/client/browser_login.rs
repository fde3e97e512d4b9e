//! The log-in with a browser: this side keeps a secret, shows its hash to the page, and waits until somebody has vouched for it.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::calls::Calls;
use super::cookies;
use super::exit::{Outcome, Stop};
use super::identity::Identity;
use super::session::{Repeat, until_signal};
use super::target::Target;
use crate::base::secret::Secret;
use crate::base::{Error, Kind, Result};
use crate::sys::paths::Paths;
use crate::sys::random;

/// How long somebody may take; servers forget after the same time.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often the server is asked, as its protocol has it.
const PERIOD: Duration = Duration::from_secs(1);

/// A log-in under way.
pub(crate) struct BrowserLogin {
    /// The secret.
    verifier: Secret,
    /// Where the page is.
    page: String,
    /// The server, without credentials.
    calls: Calls,
}

/// What the server gives, in base64.
#[derive(Deserialize)]
struct Session {
    /// Cookies to send from now on.
    cookies: BTreeMap<String, String>,
}

impl BrowserLogin {
    /// Begins one; nothing is called yet.
    pub(crate) fn new(target: &Target, identity: &Identity) -> Result<Self> {
        let verifier = URL_SAFE_NO_PAD.encode(random::bytes::<32>()?);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        Ok(Self {
            page: format!("{}/auth/authorize?code_challenge={challenge}", target.url),
            verifier: Secret::new(verifier),
            calls: Calls::new(target, identity)?,
        })
    }

    /// Returns the address to open.
    pub(crate) fn page(&self) -> String {
        self.page.clone()
    }

    /// Waits until somebody has vouched, and keeps the cookies.
    pub(crate) async fn finish(&self, paths: &Paths, target: &Target) -> Outcome<Secret> {
        let waiting = tokio::time::timeout(PATIENCE, until_signal(self.wait()));
        let Ok(session) = waiting.await else {
            let what = format!(
                "nobody logged in within {} minutes",
                PATIENCE.as_secs() / 60
            );
            let error = Error::new(Kind::Unauthenticated, what)
                .hint(format!("try again: sky api login -e {}", target.url))
                .hint(format!(
                    "or with a token: sky api login -e {} --token TOKEN",
                    target.url
                ));
            return Err(error.into());
        };
        let session = session??;
        cookies::keep(paths, &target.endpoint, &session.cookies)?;
        let kept = cookies::header_for(paths, &target.endpoint)?;
        kept.ok_or_else(|| {
            Stop::from(Error::new(
                Kind::Unauthenticated,
                "the log-in gave no cookies",
            ))
        })
    }

    /// Asks until there is a session.
    async fn wait(&self) -> Result<Session> {
        loop {
            match self.calls.session_of(self.verifier.reveal()).await {
                Ok(Some(token)) => return read(&token),
                Ok(None) => {}
                // The server may be back before the time is over.
                Err(error) if Repeat::Always.covers(error.kind()) => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(PERIOD).await;
        }
    }
}

/// Reads what the server gave.
fn read(token: &str) -> Result<Session> {
    let invalid = || {
        Error::new(
            Kind::Unauthenticated,
            "the server gave a log-in that this program does not understand",
        )
        .hint("log in with a token: sky api login --token TOKEN")
    };
    let text = BASE64.decode(token.trim()).map_err(|_| invalid())?;
    let mut session: Session = serde_json::from_slice(&text).map_err(|_| invalid())?;
    let is_clean = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b';');
    session
        .cookies
        .retain(|name, value| is_clean(name) && is_clean(value));
    if session.cookies.is_empty() {
        return Err(invalid());
    }
    Ok(session)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_read_and_what_could_break_a_header_is_left_out() {
        let token = BASE64.encode(r#"{"v":1,"user":null,"cookies":{"a":"1","b":"x\r\ny"}}"#);
        let session = read(&token).expect("it is one");
        assert_eq!(session.cookies, [("a".to_owned(), "1".to_owned())].into());
        assert!(read("%%%").is_err());
        assert!(read(&BASE64.encode("[]")).is_err());
        assert!(read(&BASE64.encode(r#"{"cookies":{}}"#)).is_err());
    }
}
