//! Text to nodes, with limits.

use std::collections::HashMap;
use std::fmt::Write as _;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::node::{Data, Key, Node};
use crate::base::ids::clip;
use crate::base::{Error, Kind, Result};

/// The longest text that is read.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting of lists and mappings.
const MAX_DEPTH: usize = 50;
/// The most nodes of a text, those that aliases repeat counted each time.
const MAX_NODES: usize = 50_000;

/// Returns the text of bytes that came from a file.
pub(crate) fn text_of_bytes<'a>(bytes: &'a [u8], origin: &str) -> Result<&'a str> {
    let refuse = |what: String| Err(Error::new(Kind::InvalidTask, format!("{origin}: {what}")));
    if bytes.len() > MAX_BYTES {
        return refuse(too_long());
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return refuse("the text is UTF-16: save it as UTF-8".to_owned());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            let good = &bytes[..error.valid_up_to()];
            let line = 1 + String::from_utf8_lossy(good).matches('\n').count();
            Err(Error::new(
                Kind::InvalidTask,
                format!("{origin}:{line}: the text is not UTF-8"),
            ))
        }
    }
}

/// Says that a text is too long.
fn too_long() -> String {
    format!("the text has more bytes than the {MAX_BYTES} that are read")
}

/// Reads all documents of a text; empty ones are left out.
pub(crate) fn documents(text: &str, origin: &str) -> Result<Vec<Node>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_characters(text, origin)?;
    let mut reader = Reader {
        origin,
        stack: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        documents: Vec::new(),
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => reader.event(event, span.start.line())?,
            Err(error) => {
                let what = format!("not valid YAML: {}", clip(error.info()));
                return Err(reader.refuse(error.marker().line(), &what));
            }
        }
    }
    Ok(reader.documents)
}

/// Refuses texts that are too long or hold characters that YAML forbids.
fn check_characters(text: &str, origin: &str) -> Result<()> {
    if text.len() > MAX_BYTES {
        let what = too_long();
        return Err(Error::new(Kind::InvalidTask, format!("{origin}: {what}")));
    }
    let forbidden = |c: char| (c < ' ' && !matches!(c, '\n' | '\r' | '\t')) || c == '\u{7f}';
    if let Some((before, c)) = text.find(forbidden).and_then(|at| {
        let c = text[at..].chars().next()?;
        Some((&text[..at], c))
    }) {
        let line = 1 + before.matches('\n').count();
        return Err(Error::new(
            Kind::InvalidTask,
            format!(
                "{origin}:{line}: not valid YAML: control character U+{:04X}",
                u32::from(c)
            ),
        ));
    }
    Ok(())
}

/// Builds nodes out of events.
struct Reader<'a> {
    /// What the text is called in errors.
    origin: &'a str,
    /// The collections that are open.
    stack: Vec<Frame>,
    /// Anchored nodes with their sizes.
    anchors: HashMap<usize, (Node, usize)>,
    /// Nodes so far, repeated ones counted each time.
    nodes: usize,
    /// Documents so far.
    documents: Vec<Node>,
}

/// A collection that is open.
struct Frame {
    /// Line of its beginning.
    line: usize,
    /// Anchor, 0 = none.
    anchor: usize,
    /// Value of [`Reader::nodes`] at its beginning.
    nodes_before: usize,
    /// What it holds so far.
    open: Open,
}

/// Content of a collection that is open.
enum Open {
    /// Items so far.
    List(Vec<Node>),
    /// Entries so far, the lines of their keys, and the key that waits for its value.
    Map {
        entries: Vec<(Key, Node)>,
        lines: HashMap<String, usize>,
        key: Option<Key>,
    },
}

impl Reader<'_> {
    /// Makes an error that names the line and the field that is open there.
    fn refuse(&self, line: usize, what: &str) -> Error {
        let mut path = String::new();
        for frame in &self.stack {
            match &frame.open {
                Open::List(items) => {
                    // Writing to a string cannot fail.
                    let _ok = write!(path, "[{}]", items.len());
                }
                Open::Map { key: Some(key), .. } => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&clip(&key.text));
                }
                Open::Map { key: None, .. } => {}
            }
        }
        let separator = if path.is_empty() { "" } else { ": " };
        Error::new(
            Kind::InvalidTask,
            format!("{}:{line}: {path}{separator}{what}", self.origin),
        )
    }

    /// Takes the next event.
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<()> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain
                    && self
                        .check_tag(tag.as_deref(), line)?
                        .is_none_or(|tag| tag != "str");
                let data = Data::Scalar {
                    text: text.into_owned(),
                    plain,
                };
                self.count(1, line)?;
                self.complete(Node { line, data }, anchor, 1)
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), line)?;
                self.open(line, anchor, Open::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), line)?;
                let open = Open::Map {
                    entries: Vec::new(),
                    lines: HashMap::new(),
                    key: None,
                };
                self.open(line, anchor, open)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(line),
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.refuse(line, "an alias inside of what it repeats"));
                };
                self.count(size, line)?;
                self.complete(Node { line, ..node }, 0, size)
            }
        }
    }

    /// Counts nodes against the limit.
    fn count(&mut self, more: usize, line: usize) -> Result<()> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > MAX_NODES {
            let what = format!("more than {MAX_NODES} values, aliases counted each time");
            return Err(self.refuse(line, &what));
        }
        Ok(())
    }

    /// Returns the word of a tag of YAML itself; refuses others.
    fn check_tag<'t>(&self, tag: Option<&'t Tag>, line: usize) -> Result<Option<&'t str>> {
        const KNOWN: [&str; 9] = [
            "str", "int", "float", "bool", "null", "seq", "map", "set", "omap",
        ];
        match tag {
            None => Ok(None),
            Some(tag) if tag.is_yaml_core_schema() && KNOWN.contains(&tag.suffix.as_str()) => {
                Ok(Some(&tag.suffix))
            }
            // A bare `!` asks for text.
            Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => Ok(Some("str")),
            Some(tag) => {
                let what = format!("the tag `{}` is not understood", clip(&tag.to_string()));
                Err(self.refuse(line, &what))
            }
        }
    }

    /// Opens a collection.
    fn open(&mut self, line: usize, anchor: usize, open: Open) -> Result<()> {
        if let Some(Frame {
            open: Open::Map { key: None, .. },
            ..
        }) = self.stack.last()
        {
            return Err(self.refuse(line, "a key must be a single value"));
        }
        if self.stack.len() >= MAX_DEPTH {
            let what = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(Error::new(
                Kind::InvalidTask,
                format!("{}:{line}: {what}", self.origin),
            ));
        }
        let nodes_before = self.nodes;
        self.count(1, line)?;
        self.stack.push(Frame {
            line,
            anchor,
            nodes_before,
            open,
        });
        Ok(())
    }

    /// Closes the innermost collection.
    fn close(&mut self, line: usize) -> Result<()> {
        let Some(frame) = self.stack.pop() else {
            return Err(self.refuse(line, "not valid YAML"));
        };
        let data = match frame.open {
            Open::List(items) => Data::List(items),
            Open::Map { entries, .. } => Data::Map(self.merge(entries)?),
        };
        let size = self.nodes - frame.nodes_before;
        self.complete(
            Node {
                line: frame.line,
                data,
            },
            frame.anchor,
            size,
        )
    }

    /// Carries out `<<: *defaults`: keys of the mapping itself win, then the first one merged.
    fn merge(&mut self, entries: Vec<(Key, Node)>) -> Result<Vec<(Key, Node)>> {
        let is_merge = |key: &Key| key.plain && key.text == "<<";
        if !entries.iter().any(|(key, _)| is_merge(key)) {
            return Ok(entries);
        }
        let (merges, mut own): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|(key, _)| is_merge(key));
        let mut seen: std::collections::HashSet<String> =
            own.iter().map(|(key, _)| key.text.clone()).collect();
        for (key, node) in merges {
            let sources = match node.data {
                Data::List(items) => items,
                data @ (Data::Map(_) | Data::Scalar { .. }) => vec![Node {
                    line: node.line,
                    data,
                }],
            };
            for source in sources {
                let Data::Map(more) = source.data else {
                    return Err(self.refuse(key.line, "`<<` merges mappings only"));
                };
                own.extend(
                    more.into_iter()
                        .filter(|(key, _)| seen.insert(key.text.clone())),
                );
            }
        }
        Ok(own)
    }

    /// Puts a finished node where it belongs.
    fn complete(&mut self, node: Node, anchor: usize, size: usize) -> Result<()> {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let refusal = match self.stack.last_mut().map(|frame| &mut frame.open) {
            None => {
                if !node.is_null() {
                    self.documents.push(node);
                }
                None
            }
            Some(Open::List(items)) => {
                items.push(node);
                None
            }
            Some(Open::Map {
                entries,
                key: waiting @ Some(_),
                ..
            }) => {
                entries.extend(waiting.take().map(|key| (key, node)));
                None
            }
            Some(Open::Map { lines, key, .. }) => match node.data {
                Data::List(_) | Data::Map(_) => {
                    Some((node.line, "a key must be a single value".to_owned()))
                }
                Data::Scalar { text, plain } => {
                    if let Some(first) = lines.insert(text.clone(), node.line) {
                        Some((
                            node.line,
                            format!("duplicate key `{}` (first on line {first})", clip(&text)),
                        ))
                    } else {
                        *key = Some(Key {
                            line: node.line,
                            text,
                            plain,
                        });
                        None
                    }
                }
            },
        };
        match refusal {
            None => Ok(()),
            Some((line, what)) => Err(self.refuse(line, &what)),
        }
    }
}
