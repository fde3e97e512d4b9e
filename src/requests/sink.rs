//! What a running request says, on its way to its log and its status.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use super::engine::Core;
use super::hub::Hub;
use crate::api::frames::Control;
use crate::base::cx::{Event, EventSink};
use crate::base::ids::RequestId;

/// Takes the events of one run of a request.
pub(super) struct Sink {
    /// The request.
    id: RequestId,
    /// Its log.
    hub: Arc<Hub>,
    /// Where its status message stands. Weak: work that outlives its server must not keep it.
    core: Weak<Core>,
    /// Whether the spinner is on: text of the last line about it.
    spinner: Mutex<Option<String>>,
}

impl Sink {
    /// Makes the sink of a run.
    pub(super) fn new(id: RequestId, hub: Arc<Hub>, core: &Arc<Core>) -> Self {
        Self {
            id,
            hub,
            core: Arc::downgrade(core),
            spinner: Mutex::default(),
        }
    }

    /// Writes what changes the spinner to `text`.
    fn spin(&self, text: Option<String>) {
        let mut spinner = self.spinner.lock().unwrap_or_else(PoisonError::into_inner);
        if *spinner == text {
            return;
        }
        let lines = match (&*spinner, &text) {
            (None, Some(text)) => {
                Control::Init(text.clone()).line() + &Control::Start(text.clone()).line()
            }
            (Some(_), Some(text)) => Control::Update(text.clone()).line(),
            (Some(_), None) => Control::Exit.line(),
            (None, None) => return,
        };
        // Under the lock, so that two threads' lines come in the order of their states.
        self.hub.append(lines.into());
        *spinner = text;
    }

    /// Sets why the request waits.
    fn waits(&self, reason: Option<&str>) {
        if let Some(core) = self.core.upgrade() {
            core.set_message(self.id, reason);
        }
    }
}

impl EventSink for Sink {
    fn emit(&self, event: Event) {
        match event {
            Event::Line(text) => self.hub.append(lines(&text)),
            Event::Spinner(text) => self.spin(text),
            Event::Waiting(Some(reason)) => {
                self.waits(Some(&reason));
                self.spin(Some(waiting_text(&reason)));
            }
            Event::Waiting(None) => self.waits(None),
        }
    }
}

/// Returns why something waits as the text of a spinner.
pub(super) fn waiting_text(reason: &str) -> String {
    let mut rest = reason.chars();
    let first = rest.next().map(|c| c.to_ascii_uppercase());
    let text: String = first.into_iter().chain(rest).collect();
    format!("[bold cyan]{text}[/]")
}

/// Returns text as lines of the log: each ended, none that a client would take for a control line.
fn lines(text: &str) -> Bytes {
    let mut out = String::with_capacity(text.len() + 1);
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        // A space in front makes it text: clients recognise control lines only at the beginning of a line.
        if line.starts_with("<sky-payload") || line.starts_with("<sky-interactive") {
            out.push(' ');
        }
        out.push_str(line);
        out.push('\n');
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_text_never_reads_as_a_control_line() {
        let text = lines("a\n<sky-payload>\"<rich_exit></rich_exit>\"</sky-payload>\nb");
        let text = std::str::from_utf8(&text).expect("it is text");
        assert!(text.lines().all(|line| Control::parse(line).is_none()));
        assert_eq!(text.lines().count(), 3);
        assert_eq!(&lines("x\n")[..], b"x\n");
        assert_eq!(&lines("")[..], b"\n");
    }
}
