//! Lines in a stream of chunks: removing control lines, and finding where the last lines of a log begin.

use bytes::Bytes;
use memchr::memmem;

use crate::api::frames::Control;

/// How a control line begins.
const OPEN: &[u8] = b"<sky-payload";
/// The longest line that can be a control line; a longer one is text, so that no line is held without bound.
const MAX_CONTROL: usize = 64 * 1024;

/// Returns whether the byte ends a line for the clients of a log (progress bars end theirs with `\r`).
const fn is_break(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// Returns whether a whole line is a control line.
fn is_control(line: &[u8]) -> bool {
    line.starts_with(OPEN) && std::str::from_utf8(line).is_ok_and(|l| Control::parse(l).is_some())
}

/// Knows where lines begin in a stream of chunks and can leave out control lines.
#[derive(Debug)]
pub(crate) struct LineFilter {
    /// The next byte begins a line.
    at_start: bool,
    /// The beginning of a line that may be a control line.
    held: Vec<u8>,
}

impl Default for LineFilter {
    fn default() -> Self {
        Self {
            at_start: true,
            held: Vec::new(),
        }
    }
}

impl LineFilter {
    /// Takes note of bytes that pass unchanged.
    pub(crate) fn note(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.at_start = is_break(*last);
        }
    }

    /// Returns whether a line may be inserted here.
    pub(crate) const fn at_line_start(&self) -> bool {
        self.at_start && self.held.is_empty()
    }

    /// Returns the bytes without control lines; a line that may still become one is held back.
    pub(crate) fn strip(&mut self, bytes: Bytes) -> Bytes {
        if self.held.is_empty() && !may_hide_control(&bytes) {
            self.note(&bytes);
            return bytes;
        }
        let mut out = Vec::with_capacity(self.held.len() + bytes.len());
        for part in bytes.split_inclusive(|byte| is_break(*byte)) {
            if self.at_start || !self.held.is_empty() {
                self.held.extend_from_slice(part);
                self.decide(&mut out);
            } else {
                out.extend_from_slice(part);
                self.note(part);
            }
        }
        out.into()
    }

    /// Lets the held line go, drops it, or waits for more of it.
    fn decide(&mut self, out: &mut Vec<u8>) {
        let whole = self.held.last().is_some_and(|byte| is_break(*byte));
        if !whole {
            let known = self.held.len().min(OPEN.len());
            if self.held[..known] == OPEN[..known] && self.held.len() <= MAX_CONTROL {
                return;
            }
        }
        if !(whole && is_control(&self.held)) {
            out.extend_from_slice(&self.held);
        }
        self.at_start = whole;
        self.held.clear();
    }

    /// Returns what is still held, with the line feed that the last line lacks.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut last = std::mem::take(&mut self.held);
        if is_control(&last) {
            last.clear();
        } else if !last.is_empty() || !self.at_start {
            last.push(b'\n');
        }
        self.at_start = true;
        last
    }
}

/// Returns whether a chunk has the opening of a control line in it, or the beginning of one at its end.
fn may_hide_control(bytes: &[u8]) -> bool {
    memmem::find(bytes, OPEN).is_some() || (1..OPEN.len()).any(|n| bytes.ends_with(&OPEN[..n]))
}

/// Finds where the last lines of a log begin, fed with its blocks from the last to the first.
#[derive(Debug)]
pub(crate) struct TailScan {
    /// Lines still to be found.
    missing: u64,
    /// The end of a line whose beginning lies before the blocks seen so far.
    carry: Carry,
}

/// The end of a line whose beginning is not known yet.
#[derive(Debug)]
enum Carry {
    /// The end of the log: no line.
    Nothing,
    /// The text so far.
    Text(Vec<u8>),
    /// Too long to be a control line.
    Long,
}

impl TailScan {
    /// Looks for the last `lines` lines.
    pub(crate) const fn new(lines: u64) -> Self {
        Self {
            missing: lines,
            carry: Carry::Nothing,
        }
    }

    /// Takes the block that begins at `start` and ends where the last one began; returns the offset when found.
    pub(crate) fn push_front(&mut self, block: &[u8], start: u64) -> Option<u64> {
        if self.missing == 0 {
            return Some(start + block.len() as u64);
        }
        let mut end = block.len();
        while end > 0 {
            let Some(feed) = memchr::memrchr(b'\n', &block[..end]) else {
                break;
            };
            if self.line_begins(&block[feed + 1..end]) {
                return Some(start + feed as u64 + 1);
            }
            self.carry = Carry::Text(Vec::new());
            end = feed;
        }
        self.keep(&block[..end]);
        (start == 0 && self.line_begins(b"")).then_some(0)
    }

    /// Counts the line that begins with `head` and goes on with what is carried; true when it is the last one missing.
    fn line_begins(&mut self, head: &[u8]) -> bool {
        let counts = match &self.carry {
            Carry::Nothing => !head.is_empty() && !is_control(head),
            Carry::Long => true,
            Carry::Text(tail) => !is_control(&[head, tail].concat()),
        };
        self.missing -= u64::from(counts);
        self.missing == 0
    }

    /// Carries the beginning of a block, whose line begins earlier.
    fn keep(&mut self, head: &[u8]) {
        self.carry = match std::mem::replace(&mut self.carry, Carry::Nothing) {
            Carry::Nothing if head.is_empty() => Carry::Nothing,
            Carry::Nothing if head.len() <= MAX_CONTROL => Carry::Text(head.to_vec()),
            Carry::Text(tail) if head.len() + tail.len() <= MAX_CONTROL => {
                Carry::Text([head, &tail].concat())
            }
            Carry::Nothing | Carry::Text(_) | Carry::Long => Carry::Long,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The obvious way: whole text at once.
    fn strip_whole(text: &str) -> String {
        text.split_inclusive(['\n', '\r'])
            .filter(|line| Control::parse(line).is_none())
            .collect()
    }

    /// The obvious way: whole text at once.
    fn tail_whole(text: &str, lines: u64) -> u64 {
        let mut starts = Vec::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            if Control::parse(line).is_none() {
                starts.push(at);
            }
            at += line.len();
        }
        let lines = usize::try_from(lines).expect("small");
        match (lines, starts.len()) {
            (0, _) => at as u64,
            (n, have) if n > have => 0,
            (n, have) => starts[have - n] as u64,
        }
    }

    fn any_line() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(Control::Update("[bold]x[/]".into()).line()),
            Just(Control::Heartbeat.line()),
            Just("<sky-payload>no json</sky-payload>\n".to_owned()),
            Just("<sky-pay\n".to_owned()),
            Just("a <sky-payload>\"x\"</sky-payload>\n".to_owned()),
            Just("50 %\r".to_owned()),
            "[a-z<]{0,9}\n".prop_map(|line| line),
            Just("\n".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn stripping_does_not_depend_on_the_cutting(
            lines in proptest::collection::vec(any_line(), 0..12),
            tail in "(<sky-pay|abc|)",
            step in 1_usize..40,
        ) {
            let text = lines.concat() + &tail;
            let mut filter = LineFilter::default();
            let mut out = Vec::new();
            for chunk in text.as_bytes().chunks(step) {
                out.extend_from_slice(&filter.strip(Bytes::copy_from_slice(chunk)));
            }
            out.extend_from_slice(&filter.finish());
            let mut expected = strip_whole(&text);
            if !tail.is_empty() {
                expected.push('\n');
            }
            prop_assert_eq!(String::from_utf8(out).expect("text"), expected);
        }

        #[test]
        fn the_tail_does_not_depend_on_the_blocks(
            lines in proptest::collection::vec(any_line().prop_map(|l| l.replace('\r', "x\n")), 0..12),
            tail in "(abc|)",
            wanted in 0_u64..14,
            step in 1_usize..40,
        ) {
            let text = lines.concat() + &tail;
            let mut scan = TailScan::new(wanted);
            let mut end = text.len();
            let mut found = None;
            while found.is_none() && end > 0 {
                let start = end.saturating_sub(step);
                found = scan.push_front(&text.as_bytes()[start..end], start as u64);
                end = start;
            }
            prop_assert_eq!(found.unwrap_or(0), tail_whole(&text, wanted));
        }
    }
}
