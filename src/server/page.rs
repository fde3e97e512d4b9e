//! Pages of ours, and the one that a browser gets in the place of a log: it follows the plain text of the same address.

use std::sync::OnceLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};

/// Follows the log. Text is only ever added as text, so nothing in a log can run.
const SCRIPT: &str = r#"
const log = document.getElementById("log"), state = document.getElementById("state");
const url = new URL(location.href);
url.searchParams.set("format", "plain");
const colours = /\u001b\[[0-9;?]*[A-Za-z]/g;
const atEnd = () => innerHeight + scrollY >= document.body.scrollHeight - 40;
(async () => {
  const answer = await fetch(url);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const follow = atEnd();
    log.append(value.replace(colours, ""));
    if (follow) scrollTo(0, document.body.scrollHeight);
  }
  state.textContent = answer.ok ? "end of the log" : "error " + answer.status;
})().catch(() => { state.textContent = "the connection was lost: reload to go on"; });
"#;

/// Looks like a terminal, in the colours that the browser prefers.
const STYLE: &str = ":root{color-scheme:light dark}body{margin:1rem;font:14px/1.4 ui-monospace,monospace}\
pre{margin:0;font:inherit;white-space:pre-wrap;overflow-wrap:anywhere}#state{opacity:.6;margin-top:.5rem}";

/// Returns the page.
pub(crate) fn page() -> Response {
    static PAGE: OnceLock<(String, String)> = OnceLock::new();
    let (html, policy) = PAGE.get_or_init(render);
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, policy.as_str()),
    ];
    (headers, html.clone()).into_response()
}

/// Makes the page and the policy that permits its script and style and nothing else.
fn render() -> (String, String) {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>sky</title>\
         <style>{STYLE}</style><pre id=\"log\"></pre><div id=\"state\" role=\"status\"></div>\
         <script>{SCRIPT}</script></html>\n"
    );
    (html, policy(SCRIPT, STYLE, "'self'"))
}

/// Returns the policy of a page that has one script and one style, calls `peers`, and loads nothing else.
pub(crate) fn policy(script: &str, style: &str, peers: &str) -> String {
    let hash = |text: &str| BASE64.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; connect-src {peers}; base-uri 'none'; frame-ancestors 'none'; \
         script-src 'sha256-{}'; style-src 'sha256-{}'",
        hash(script),
        hash(style)
    )
}

/// Whether a browser asks, by the name that it gives itself.
pub(crate) fn is_browser(user_agent: &str) -> bool {
    let name = user_agent.to_ascii_lowercase();
    ["mozilla", "chrome", "safari", "edge"]
        .iter()
        .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_told_from_tools() {
        assert!(is_browser(
            "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/130.0"
        ));
        assert!(!is_browser("curl/8.5.0"));
        assert!(!is_browser("python-requests/2.34.2"));
    }

    #[test]
    fn the_policy_permits_the_script_only() {
        let (html, policy) = render();
        assert!(html.contains(SCRIPT));
        assert!(policy.contains("script-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
