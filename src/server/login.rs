//! Log-ins with a browser: a client waits for somebody to vouch for its challenge.
//!
//! The client keeps a secret and shows its hash to the browser's page; whoever authorises the hash with credentials makes
//! the secret good for one session. Nothing is stored: a log-in under way ends with the server.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_FRAME_OPTIONS};
use axum::response::{IntoResponse, Response};

use super::accounts::challenge_of;
use super::page::policy;
use crate::base::clock::monotonic;
use crate::base::ids::UserId;
use crate::base::{Error, Kind, Result};

/// The cookie that holds a session.
pub(crate) const COOKIE: &str = "sky_session";
/// How long a client waits.
const PATIENCE: Duration = Duration::from_secs(300);
/// Log-ins that may be under way.
const MOST_PENDING: usize = 1000;
/// Length of a challenge: 32 bytes in base64.
const CHALLENGE_LENGTH: usize = 43;

/// Challenges that somebody has vouched for.
#[derive(Default)]
pub(crate) struct Logins {
    /// Who, and when.
    authorized: Mutex<HashMap<String, (UserId, Instant)>>,
}

impl Logins {
    /// Vouches for a challenge.
    pub(crate) fn authorize(&self, challenge: String, user: UserId) -> Result<()> {
        let is_text = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if challenge.len() != CHALLENGE_LENGTH || !challenge.bytes().all(is_text) {
            return Err(
                Error::new(Kind::Invalid, "the code of the log-in is not complete")
                    .hint("open the address that `sky api login` printed"),
            );
        }
        let mut pending = self
            .authorized
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        pending.retain(|_, (_, since)| since.elapsed() <= PATIENCE);
        if pending.len() >= MOST_PENDING {
            return Err(
                Error::new(Kind::TooBusy, "too many log-ins at the same time")
                    .retry_after(Duration::from_secs(1)),
            );
        }
        pending.insert(challenge, (user, monotonic()));
        Ok(())
    }

    /// Returns who vouched for the owner of a secret, once.
    pub(crate) fn take(&self, verifier: &str) -> Option<UserId> {
        let mut pending = self
            .authorized
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (user, since) = pending.remove(&challenge_of(verifier))?;
        (since.elapsed() <= PATIENCE).then_some(user)
    }
}

/// Sends name and password, or a token: they go to this server only. A terminal that waits at the server (`code_challenge`)
/// is let in there; one that listens on the browser's machine (`local_port`) is told; any other is served by hand.
const SCRIPT: &str = r#"
const form = document.getElementById("form"), state = document.getElementById("state");
const query = new URLSearchParams(location.search);
const challenge = query.get("code_challenge"), port = query.get("local_port");
const done = "Logged in. Go back to the terminal; this page can be closed.";
async function hand(token) {
  if (/^\d{1,5}$/.test(port || "")) {
    const heard = await fetch("http://localhost:" + port, { method: "POST", body: token }).catch(() => null);
    if (heard && heard.ok) { state.textContent = done; return; }
  }
  const field = document.getElementById("token");
  field.value = token;
  field.hidden = false;
  field.select();
  state.textContent = "Paste this into the terminal.";
}
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const pair = form.elements.name.value + ":" + form.elements.secret.value;
  const basic = btoa(String.fromCharCode(...new TextEncoder().encode(pair)));
  state.textContent = "…";
  const answer = await fetch(challenge ? "../api/v1/auth/authorize" : "api/v1/auth/session", {
    method: "POST", credentials: "omit",
    headers: { "Authorization": "Basic " + basic, "Content-Type": "application/json" },
    body: challenge ? JSON.stringify({ code_challenge: challenge }) : null,
  }).catch(() => null);
  if (answer && answer.ok) {
    form.remove();
    if (challenge) state.textContent = done; else await hand((await answer.json()).token);
  } else if (answer && answer.status === 401) {
    state.textContent = "These credentials are not valid.";
  } else {
    state.textContent = answer ? (await answer.json()).detail || "error " + answer.status : "the server does not answer";
  }
});
"#;

/// Plain, in the colours that the browser prefers.
const STYLE: &str = ":root{color-scheme:light dark}body{margin:10vh auto;max-width:26rem;padding:0 1rem;\
font:16px/1.5 system-ui,sans-serif}label{display:block;margin:.75rem 0}input,textarea{display:block;width:100%;\
box-sizing:border-box;font:inherit;padding:.4rem}button{font:inherit;padding:.4rem 1rem}";

/// What the page asks for.
const FORM: &str = "<h1>Log in</h1>\
<p>A terminal asks to act in your name on this server. Go on only if you have just typed <code>sky api login</code>.</p>\
<form id=\"form\"><label>User name (empty with a token)<input name=\"name\" autocomplete=\"username\"></label>\
<label>Password or token<input name=\"secret\" type=\"password\" required autocomplete=\"current-password\"></label>\
<button>Authorize</button></form><p id=\"state\" role=\"status\"></p>\
<textarea id=\"token\" rows=\"6\" readonly hidden aria-label=\"Token\"></textarea>";

/// The page calls this server, and the terminal that waits on the browser's machine.
const PEERS: &str = "'self' http://localhost:*";

/// Returns the page on which somebody vouches for a terminal.
pub(crate) fn page() -> Response {
    static PAGE: OnceLock<(String, String)> = OnceLock::new();
    let (html, policy) = PAGE.get_or_init(|| {
        let html = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>sky: log in</title>\
             <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style>{FORM}\
             <script>{SCRIPT}</script></html>\n"
        );
        (html, policy(SCRIPT, STYLE, PEERS))
    });
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (X_FRAME_OPTIONS, "DENY"),
        (CONTENT_SECURITY_POLICY, policy.as_str()),
    ];
    (headers, html.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_good_once_and_only_when_somebody_vouched_for_it() {
        let logins = Logins::default();
        let user: UserId = "0123abcd".parse().expect("a valid id");
        let secret = "r4nd0m";
        assert_eq!(logins.take(secret), None);
        assert!(logins.authorize("short".into(), user.clone()).is_err());
        let challenge = challenge_of(secret);
        logins
            .authorize(challenge, user.clone())
            .expect("it is complete");
        assert_eq!(logins.take("other"), None);
        assert_eq!(logins.take(secret), Some(user));
        assert_eq!(logins.take(secret), None);
    }

    #[test]
    fn challenges_are_hashes_as_the_standard_says() {
        // The example of RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(
            challenge_of(verifier),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
