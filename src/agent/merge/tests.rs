use proptest::prelude::*;

use super::*;

/// The log of one source, computed the simple way.
fn expected(prefix: &str, raw: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    let mut rest = raw;
    while !rest.is_empty() {
        let end = rest
            .iter()
            .position(|b| matches!(b, b'\n' | b'\r'))
            .map(|at| {
                if rest[at] == b'\r' && rest.get(at + 1) == Some(&b'\n') {
                    at + 2
                } else {
                    at + 1
                }
            });
        all.extend_from_slice(prefix.as_bytes());
        all.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        if end.is_none() {
            all.push(b'\n');
        }
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    all
}

fn source(dir: &Path, number: usize) -> Source {
    Source {
        label: format!("rank-{number}"),
        origin: Origin::File(dir.join(format!("{number}.log"))),
        prefix: format!("({number}) "),
    }
}

/// What happens in a test.
#[derive(Debug, Clone)]
enum Act {
    Write(usize, Vec<u8>),
    Pass,
    Look,
    /// The agent dies; so many bytes of the index, then of the log, are not there yet.
    Crash {
        index: u64,
        log: u64,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let bytes = proptest::collection::vec(
        prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a'), Just(b'b')],
        0..12,
    );
    prop_oneof![
        4 => (0..2_usize, bytes).prop_map(|(number, bytes)| Act::Write(number, bytes)),
        3 => Just(Act::Pass),
        1 => Just(Act::Look),
        1 => (0..50_u64, 0..30_u64).prop_map(|(index, log)| Act::Crash { index, log }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn the_log_is_append_only_and_complete_whatever_crashes(acts in proptest::collection::vec(act(), 1..30)) {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("run.log");
        let side = dir.path().join("merge");
        let open = || {
            let mut merger = Merger::open(&side, &log).expect("it opens");
            for number in 0..2 { merger.add(source(dir.path(), number)).expect("it is added"); }
            merger
        };
        let mut merger = open();
        let mut raw = [Vec::new(), Vec::new()];
        // What a follower has read: the log may never say anything else later.
        let mut seen: Vec<u8> = Vec::new();
        for act in acts {
            match act {
                Act::Write(number, mut bytes) => {
                    // With two sources that write carriage returns nobody could say whose a lone line feed is.
                    if number == 1 { bytes.retain(|b| *b != b'\r'); }
                    raw[number].extend_from_slice(&bytes);
                    std::fs::write(dir.path().join(format!("{number}.log")), &raw[number]).expect("it writes");
                }
                Act::Pass => merger.pass().expect("it merges"),
                Act::Look => seen = std::fs::read(&log).expect("it reads"),
                Act::Crash { index, log: cut } => {
                    let before = std::fs::read(&log).expect("it reads");
                    // The process may die between the last index record and its log bytes, or inside either.
                    let entries = merger.index.entries().expect("it reads");
                    drop(merger);
                    let last_at = entries.last().map_or(0, |e| e.at);
                    let kept = (before.len() as u64).saturating_sub(cut).max(last_at).max(seen.len() as u64);
                    File::options().write(true).open(&log).expect("it opens").set_len(kept).expect("it is cut");
                    if kept == last_at {
                        // Nothing of the last record is in the log: its index record may be torn as well.
                        let path = side.join("index");
                        let length = std::fs::metadata(&path).expect("it is there").len();
                        let torn = length.saturating_sub(index.min(40));
                        File::options().write(true).open(&path).expect("it opens").set_len(torn).expect("it is cut");
                    }
                    merger = open();
                }
            }
            let now = std::fs::read(&log).expect("it reads");
            prop_assert!(now.starts_with(&seen), "the log changed what a follower has read");
        }
        for number in 0..2 { merger.end(&format!("rank-{number}")); }
        merger.pass().expect("it merges");
        let whole = std::fs::read(&log).expect("it reads");
        prop_assert!(whole.starts_with(&seen));
        prop_assert_eq!(merger.length(), whole.len() as u64);
        // Taking the two sources apart again gives what each of them alone would give.
        for (number, raw) in raw.iter().enumerate() {
            let prefix = format!("({number}) ");
            prop_assert_eq!(
                String::from_utf8_lossy(&only(&whole, number)).into_owned(),
                String::from_utf8_lossy(&expected(&prefix, raw)).into_owned()
            );
        }
    }
}

/// The lines of one source. A lone line feed belongs to the carriage return that its source wrote last.
fn only(log: &[u8], number: usize) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut rest = log;
    let mut ended_by_return: Vec<usize> = Vec::new();
    while !rest.is_empty() {
        let end = rest
            .iter()
            .position(|b| matches!(b, b'\n' | b'\r'))
            .map_or(rest.len(), |at| at + 1);
        let line = &rest[..end];
        rest = &rest[end..];
        let whose = match line {
            [b'(', digit, b')', ..] => Some(usize::from(digit - b'0')),
            _ => None,
        };
        match whose {
            Some(whose) => {
                ended_by_return.retain(|other| *other != whose);
                if line.ends_with(b"\r") {
                    ended_by_return.push(whose);
                }
                if whose == number {
                    kept.extend_from_slice(line);
                }
            }
            // Only `\n` alone; ambiguous when both sources wait, which `expected` cannot tell apart either.
            None if ended_by_return.contains(&number) => {
                kept.extend_from_slice(line);
                ended_by_return.retain(|other| *other != number);
            }
            None => {}
        }
    }
    kept
}

#[test]
fn texts_are_merged_once_by_label() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("run.log");
    for _ in 0..3 {
        let mut merger = Merger::open(&dir.path().join("merge"), &log).expect("it opens");
        merger
            .add(Source {
                label: "driver".into(),
                origin: Origin::Text("hello\n".into()),
                prefix: String::new(),
            })
            .expect("it is added");
        merger.pass().expect("it merges");
    }
    assert_eq!(std::fs::read_to_string(&log).expect("it reads"), "hello\n");
}
