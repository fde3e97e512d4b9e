//! A log on its way to the terminal: lines to stdout, control lines to the spinner.

use std::borrow::Cow;

use super::dress;
use super::markup::strip_escapes;
use super::printer::Ui;
use crate::api::frames::Control;

/// How a control line begins.
const CONTROL: &[u8] = b"<sky-payload";
/// A control line longer than this is text.
const LONGEST_CONTROL: usize = 64 * 1024;

/// Whose log it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request's: whole lines, dressed up.
    Request,
    /// A job's: its bytes at once and as they are, but for the prefix.
    Job,
}

/// Where a log's bytes go.
#[derive(Debug)]
pub(crate) struct LogView {
    /// The terminal.
    ui: Ui,
    /// Whose log it is.
    kind: Kind,
    /// The beginning of a line that is not printed yet.
    held: Vec<u8>,
    /// A line was begun on the terminal.
    mid_line: bool,
    /// Whole lines seen; for streams without byte positions.
    lines: u64,
    /// Bytes of the line that was begun on the terminal.
    part: usize,
    /// What a stream that begins again has yet to repeat.
    repeated: Repeated,
    /// The server asked to come back.
    retry: bool,
}

impl LogView {
    /// Makes a view that has seen nothing.
    pub(crate) fn new(ui: &Ui, kind: Kind) -> Self {
        Self {
            ui: ui.clone(),
            kind,
            held: Vec::new(),
            mid_line: false,
            lines: 0,
            part: 0,
            repeated: Repeated::default(),
            retry: false,
        }
    }

    /// Takes bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let bytes = self.repeated.skip(bytes, &mut self.retry);
        let mut bytes = &bytes[..];
        let mut out = Vec::with_capacity(bytes.len() + 32);
        while let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) {
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            self.line(line, &mut out);
        }
        self.held.extend_from_slice(bytes);
        if self.may_begin() {
            let part = std::mem::take(&mut self.held);
            self.begin(&part, &mut out);
        }
        if !out.is_empty() {
            self.ui.out_bytes(&out);
        }
    }

    /// Prints what is held: the stream is over.
    pub(crate) fn finish(&mut self) {
        let mut out = Vec::new();
        let rest = std::mem::take(&mut self.held);
        if !rest.is_empty() {
            self.begin(&rest, &mut out);
        }
        if std::mem::take(&mut self.mid_line) {
            out.push(b'\n');
        }
        if !out.is_empty() {
            self.ui.out_bytes(&out);
        }
        self.ui.end_spin();
    }

    /// The stream begins again: what it shows a second time is left out.
    pub(crate) fn begin_again(&mut self) {
        self.held.clear();
        self.repeated = Repeated {
            lines: self.lines,
            part: self.part,
            held: Vec::new(),
        };
    }

    /// Returns how many whole lines were seen.
    pub(crate) const fn lines(&self) -> u64 {
        self.lines
    }

    /// Returns whether the server asked to come back, once.
    pub(crate) const fn take_retry(&mut self) -> bool {
        std::mem::replace(&mut self.retry, false)
    }

    /// Whether the held beginning of a line may be printed already.
    fn may_begin(&self) -> bool {
        if self.held.is_empty() || self.kind == Kind::Request {
            return false;
        }
        self.mid_line || !may_be_control(&self.held)
    }

    /// Takes the end of a line with its line break.
    fn line(&mut self, end: &[u8], out: &mut Vec<u8>) {
        let mut line = std::mem::take(&mut self.held);
        line.extend_from_slice(end);
        if std::mem::take(&mut self.mid_line) {
            self.lines += 1;
            self.part = 0;
            out.extend_from_slice(&line);
            return;
        }
        if let Some(control) = control(&line) {
            self.obey(control);
            return;
        }
        self.lines += 1;
        out.extend_from_slice(&self.dressed(&line));
    }

    /// Begins a line on the terminal.
    fn begin(&mut self, part: &[u8], out: &mut Vec<u8>) {
        self.part += part.len();
        if self.mid_line {
            out.extend_from_slice(part);
        } else {
            out.extend_from_slice(&self.dressed(part));
            self.mid_line = true;
        }
    }

    /// Returns a line in its looks, or without any.
    fn dressed(&self, line: &[u8]) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(line) else {
            return line.to_vec();
        };
        match (self.kind, self.ui.out_colors()) {
            (Kind::Request, true) => dress::line(text).into_bytes(),
            (Kind::Request, false) => strip_escapes(text).into_bytes(),
            (Kind::Job, true) => dress::job_line(text).into_bytes(),
            (Kind::Job, false) => text
                .strip_prefix("\u{1b}[36m(")
                .and_then(|rest| rest.split_once("\u{1b}[0m"))
                .map_or_else(
                    || line.to_vec(),
                    |(prefix, rest)| format!("({prefix}{rest}").into_bytes(),
                ),
        }
    }

    /// Does what a control line says.
    fn obey(&mut self, control: Control) {
        match control {
            Control::Init(text) | Control::Start(text) | Control::Update(text) => {
                self.ui.spin(&text);
            }
            Control::Stop | Control::Exit => self.ui.end_spin(),
            Control::Heartbeat => {}
            Control::Retry => self.retry = true,
        }
    }
}

/// Returns whether the beginning of a line may become a control line.
fn may_be_control(held: &[u8]) -> bool {
    (CONTROL.starts_with(held) || held.starts_with(CONTROL)) && held.len() < LONGEST_CONTROL
}

/// Reads a control line.
fn control(line: &[u8]) -> Option<Control> {
    if !line.starts_with(CONTROL) {
        return None;
    }
    std::str::from_utf8(line).ok().and_then(Control::parse)
}

/// The beginning of a log that is sent again.
#[derive(Debug, Default)]
struct Repeated {
    /// Lines that were shown whole.
    lines: u64,
    /// Bytes that were shown of the next one.
    part: usize,
    /// The beginning of a line that is being left out.
    held: Vec<u8>,
}

impl Repeated {
    /// Returns what is new in a piece of the log. Control lines were not counted when they were first seen; the one that
    /// asks to come back is obeyed here, too.
    fn skip<'a>(&mut self, mut bytes: &'a [u8], retry: &mut bool) -> Cow<'a, [u8]> {
        while self.lines > 0 || self.part > 0 {
            let end = memchr::memchr2(b'\n', b'\r', bytes);
            let (piece, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            bytes = rest;
            self.held.extend_from_slice(piece);
            let is_whole = end.is_some();
            if let Some(control) = control(&self.held).filter(|_| is_whole) {
                *retry |= control == Control::Retry;
                self.held.clear();
            } else if is_whole && self.lines > 0 {
                self.lines -= 1;
                self.held.clear();
            } else if is_whole || (self.lines == 0 && self.is_enough()) {
                // The line that was begun before.
                let text = self.held.len() - usize::from(is_whole);
                let mut new = self.held.split_off(self.part.min(text));
                new.extend_from_slice(bytes);
                *self = Self::default();
                return new.into();
            } else {
                return Cow::Borrowed(&[]);
            }
        }
        bytes.into()
    }

    /// Returns whether what is held is certainly the line that was begun, and all that was shown of it.
    fn is_enough(&self) -> bool {
        self.held.len() >= self.part && !may_be_control(&self.held)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything that a view would print, for a log that arrives in pieces.
    fn printed(kind: Kind, text: &[u8], step: usize) -> (Vec<u8>, u64) {
        let mut view = LogView::new(&Ui::new(), kind);
        let mut out = Vec::new();
        for chunk in text.chunks(step.max(1)) {
            // The same steps as `push`, without the terminal.
            let mut bytes = chunk;
            while let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) {
                let (line, rest) = bytes.split_at(end + 1);
                bytes = rest;
                view.line(line, &mut out);
            }
            view.held.extend_from_slice(bytes);
            if view.may_begin() {
                let part = std::mem::take(&mut view.held);
                view.begin(&part, &mut out);
            }
        }
        let rest = std::mem::take(&mut view.held);
        if !rest.is_empty() {
            view.begin(&rest, &mut out);
        }
        (out, view.lines())
    }

    proptest! {
        #[test]
        fn what_is_printed_does_not_depend_on_the_cutting(
            lines in proptest::collection::vec(
                prop_oneof![
                    Just("<sky-payload>\"<rich_init>[bold]x[/]</rich_init>\"</sky-payload>\n".to_owned()),
                    Just("<sky-payload>\"<heartbeat></heartbeat>\"</sky-payload>\n".to_owned()),
                    Just("<sky-payment>\n".to_owned()),
                    Just("50 %\r".to_owned()),
                    "[a-zé<( ]{0,12}\n".prop_map(|line| line),
                ],
                0..10,
            ),
            step in 1_usize..30,
        ) {
            let text = lines.concat();
            let expected: String = lines.iter().filter(|l| Control::parse(l).is_none()).cloned().collect();
            let count = lines.iter().filter(|l| Control::parse(l).is_none()).count() as u64;
            for kind in [Kind::Request, Kind::Job] {
                let (out, lines) = printed(kind, text.as_bytes(), step);
                prop_assert_eq!(String::from_utf8(out).expect("text"), expected.clone());
                prop_assert_eq!(lines, count);
            }
        }
    }
}
