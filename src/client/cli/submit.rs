//! Handing in a request and seeing it through: `--async`, following, Ctrl-C.

use serde::Serialize;
use serde_json::Value;

use super::args::AsyncArgs;
use crate::base::ids::RequestId;
use crate::client::exit::{Outcome, Stop};
use crate::client::follow::{What, follow};
use crate::client::session::{Session, result_of};
use crate::client::ui::{Tone, report};

/// Submits a request and follows it to its result; `None` when the user did not want to wait.
pub(super) async fn submit(
    session: &Session,
    path: &str,
    body: &impl Serialize,
    how: AsyncArgs,
) -> Outcome<Option<Value>> {
    let id = session.submit(path, body).await?;
    if how.detach {
        announce(session, path, id);
        return Ok(None);
    }
    see_through(session, id).await.map(Some)
}

/// Follows a request to its result. Ctrl-C leaves it running and says how to come back.
pub(super) async fn see_through(session: &Session, id: RequestId) -> Outcome<Value> {
    let followed = async {
        let what = What::Request {
            id: id.to_string(),
            tail: None,
            follow: true,
        };
        follow(session, &what).await?;
        let payload = session.ended(&id.to_string()).await?;
        Ok(result_of(&payload)?)
    };
    match followed.await {
        Err(Stop::Aborted) => {
            leave(session, id);
            Err(Stop::Detached)
        }
        other => other,
    }
}

/// Says that a request was handed in, and how to find it again.
fn announce(session: &Session, path: &str, id: RequestId) {
    let ui = &session.ui;
    let name = path.trim_start_matches('/').replace('/', ".");
    ui.out(&ui.paint(&format!("Submitted sky.{name} request: {id}"), Tone::Green));
    let short = id.short();
    let facts = [
        format!(
            "View logs: {}",
            ui.paint(&format!("sky api logs {short}"), Tone::Bold)
        ),
        format!(
            "To cancel the request, run: {}",
            ui.paint(&format!("sky api cancel {short}"), Tone::Bold)
        ),
    ];
    ui.out(report::tree(&facts, ui.out_colors()).trim_end());
}

/// Says that a request goes on without this terminal.
pub(super) fn leave(session: &Session, id: RequestId) {
    let ui = &session.ui;
    ui.end_spin();
    let short = id.short();
    let bold = |command: String| crate::client::ui::paint(&command, Tone::Bold, ui.err_colors());
    let facts = [
        format!("View logs: {}", bold(format!("sky api logs {short}"))),
        format!(
            "Or, visit: {}/api/stream?request_id={short}",
            session.target.url
        ),
        format!(
            "To cancel the request, run: {}",
            bold(format!("sky api cancel {short}"))
        ),
    ];
    if ui.is_interactive() {
        ui.err("");
    }
    ui.err("⚙︎ Request will continue running asynchronously.");
    ui.err(report::tree(&facts, ui.err_colors()).trim_end());
}
