//! Where lines end and how they look in the combined log: pure.

/// A line that is longer is cut into several.
pub(super) const LONGEST_LINE: usize = 64 * 1024;

/// Returns how many of `bytes` can be merged now, and whether a line feed must be added.
///
/// Lines end at `\n` or `\r`. A line without an end waits, unless its source is `complete` or it is too long.
pub(super) fn cut(bytes: &[u8], complete: bool) -> Option<(usize, bool)> {
    if let Some(last) = bytes.iter().rposition(|b| matches!(b, b'\n' | b'\r')) {
        return Some((last + 1, false));
    }
    if bytes.len() > LONGEST_LINE {
        return Some((char_boundary(bytes, LONGEST_LINE), true));
    }
    (complete && !bytes.is_empty()).then_some((bytes.len(), true))
}

/// The last place at or before `at` that does not tear a UTF-8 character.
fn char_boundary(bytes: &[u8], at: usize) -> usize {
    (at.saturating_sub(3)..=at)
        .rev()
        .find(|i| bytes.get(*i).is_none_or(|b| b & 0b1100_0000 != 0b1000_0000))
        .unwrap_or(at)
}

/// Puts the prefix in front of each line. `before` is the byte of the source before these.
///
/// A line feed right behind a carriage return belongs to the line that the carriage return has ended.
pub(super) fn render(prefix: &str, before: Option<u8>, bytes: &[u8], close: bool) -> Vec<u8> {
    let mut rendered = Vec::with_capacity(bytes.len() + prefix.len() + 1);
    let mut rest = bytes;
    if before == Some(b'\r') && rest.first() == Some(&b'\n') {
        rendered.push(b'\n');
        rest = &rest[1..];
    }
    while !rest.is_empty() {
        let end = match rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            Some(at) if rest[at] == b'\r' && rest.get(at + 1) == Some(&b'\n') => at + 2,
            Some(at) => at + 1,
            None => rest.len(),
        };
        rendered.extend_from_slice(prefix.as_bytes());
        rendered.extend_from_slice(&rest[..end]);
        rest = &rest[end..];
    }
    if close {
        rendered.push(b'\n');
    }
    rendered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(before: Option<u8>, bytes: &str, close: bool) -> String {
        String::from_utf8(render("> ", before, bytes.as_bytes(), close)).expect("it is text")
    }

    #[test]
    fn every_line_gets_its_prefix_once() {
        assert_eq!(text(None, "a\nb\n", false), "> a\n> b\n");
        assert_eq!(text(None, "1%\r2%\r", false), "> 1%\r> 2%\r");
        assert_eq!(text(None, "a\r\nb\r\n", false), "> a\r\n> b\r\n");
        assert_eq!(text(Some(b'\r'), "\nb\n", false), "\n> b\n");
        assert_eq!(text(None, "half", true), "> half\n");
        assert_eq!(text(Some(b'\n'), "\n\n", false), "> \n> \n");
    }

    #[test]
    fn only_whole_lines_are_cut() {
        assert_eq!(cut(b"a\nb", false), Some((2, false)));
        assert_eq!(cut(b"b", false), None);
        assert_eq!(cut(b"b", true), Some((1, true)));
        assert_eq!(cut(b"", true), None);
        let long = "é".repeat(LONGEST_LINE);
        let (at, close) = cut(&long.as_bytes()[1..], false).expect("it is too long");
        assert!(close && long.is_char_boundary(at + 1));
    }
}
