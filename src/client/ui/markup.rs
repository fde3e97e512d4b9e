//! The tags that servers put into spinner texts: `[bold cyan]Launching[/]`.
//!
//! Only known words are tags; everything else in brackets is text, so `[Y/n]` and `a[0]` survive.

use std::fmt::Write as _;

/// Renders tags as escape sequences, or removes them.
pub(crate) fn render(text: &str, colors: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        if rest[..at].ends_with('\\') {
            out.push_str(&rest[..at - 1]);
            out.push('[');
            rest = &rest[at + 1..];
            continue;
        }
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let tag = rest
            .find(']')
            .and_then(|end| Some((Tag::parse(&rest[1..end])?, end)));
        let Some((tag, end)) = tag else {
            out.push('[');
            rest = &rest[1..];
            continue;
        };
        rest = &rest[end + 1..];
        match tag {
            Tag::Open(sgr) => {
                if colors {
                    write_sgr(&mut out, &sgr);
                }
                open.push(sgr);
            }
            Tag::Close => {
                open.pop();
                if colors {
                    write_sgr(&mut out, "0");
                    for sgr in &open {
                        write_sgr(&mut out, sgr);
                    }
                }
            }
        }
    }
    out.push_str(rest);
    if colors && !open.is_empty() {
        write_sgr(&mut out, "0");
    }
    if colors { out } else { strip_escapes(&out) }
}

/// Appends an escape sequence.
fn write_sgr(out: &mut String, sgr: &str) {
    // Writing to a string cannot fail.
    write!(out, "\u{1b}[{sgr}m").unwrap_or_default();
}

/// A tag.
enum Tag {
    /// Begins a look.
    Open(String),
    /// Ends the latest look.
    Close,
}

impl Tag {
    /// Reads what stands between brackets; `None` when it is not a tag.
    fn parse(text: &str) -> Option<Self> {
        if let Some(closed) = text.strip_prefix('/') {
            return (closed.is_empty() || sgr(closed).is_some()).then_some(Self::Close);
        }
        sgr(text).map(Self::Open)
    }
}

/// Returns the parameters of a list of style words; `None` when one is not a style.
fn sgr(words: &str) -> Option<String> {
    let codes: Option<Vec<&str>> = words.split(' ').map(code).collect();
    codes.map(|codes| codes.join(";"))
}

/// Returns the parameter of one style word.
fn code(word: &str) -> Option<&'static str> {
    Some(match word {
        "bold" | "b" => "1",
        "dim" => "2",
        "italic" | "i" => "3",
        "underline" | "u" => "4",
        "black" => "30",
        "red" => "31",
        "green" => "32",
        "yellow" => "33",
        "blue" => "34",
        "magenta" => "35",
        "cyan" => "36",
        "white" => "37",
        "bright_black" | "grey" | "gray" => "90",
        _ => return None,
    })
}

/// Removes escape sequences.
pub(crate) fn strip_escapes(text: &str) -> String {
    console::strip_ansi_codes(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_looks_or_vanish() {
        let cases = [
            ("plain", "plain", "plain"),
            (
                "[bold cyan]Launching[/]",
                "\u{1b}[1;36mLaunching\u{1b}[0m",
                "Launching",
            ),
            ("[dim]a[/dim] b", "\u{1b}[2ma\u{1b}[0m b", "a b"),
            (
                "[bold]a[red]b[/]c[/]",
                "\u{1b}[1ma\u{1b}[31mb\u{1b}[0m\u{1b}[1mc\u{1b}[0m",
                "abc",
            ),
            ("[bold]open", "\u{1b}[1mopen\u{1b}[0m", "open"),
            (
                "proceed? [Y/n] a[0] [",
                "proceed? [Y/n] a[0] [",
                "proceed? [Y/n] a[0] [",
            ),
            ("\\[bold]", "[bold]", "[bold]"),
            (
                "x \u{1b}[2mdim\u{1b}[0m",
                "x \u{1b}[2mdim\u{1b}[0m",
                "x dim",
            ),
        ];
        for (text, colored, plain) in cases {
            assert_eq!(render(text, true), colored, "{text}");
            assert_eq!(render(text, false), plain, "{text}");
        }
    }
}
