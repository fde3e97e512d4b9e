//! Limits of the reader, and that what is written reads back as the same.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Number, Value};

use super::*;

fn refusal(text: &str) -> String {
    documents(text, "t")
        .expect_err("it is refused")
        .message()
        .to_owned()
}

fn value(text: &str) -> Value {
    documents(text, "t").expect("it parses")[0]
        .to_value()
        .expect("finite")
}

#[test]
fn text_that_is_too_long_is_refused() {
    let text = format!("run: '{}'", "x".repeat(MAX_BYTES));
    assert!(refusal(&text).contains("more bytes than the 1048576 that are read"));
    assert!(text_of_bytes(text.as_bytes(), "t").is_err());
}

#[test]
fn aliases_repeat_but_do_not_blow_up() {
    assert_eq!(
        value("a: &x [1, 2]\nb: *x"),
        serde_json::json!({"a": [1, 2], "b": [1, 2]})
    );
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..30 {
        let before = format!("*a{},", level - 1).repeat(10);
        writeln!(bomb, "a{level}: &a{level} [{before}]").expect("a string");
    }
    assert!(
        refusal(&bomb).contains("aliases counted each time"),
        "{}",
        refusal(&bomb)
    );
    assert!(
        refusal("a: &x [*x]").contains("alias"),
        "{}",
        refusal("a: &x [*x]")
    );
}

#[test]
fn merge_keys_do_not_override() {
    let text = "d: &d {a: 1, b: 2}\ne:\n  <<: *d\n  a: 3\n";
    assert_eq!(value(text)["e"], serde_json::json!({"a": 3, "b": 2}));
    assert!(refusal("a:\n  <<: 3").contains("merges mappings only"));
}

#[test]
fn deep_nesting_is_refused_in_every_style() {
    for text in [
        "- ".repeat(10_000),
        "[".repeat(10_000),
        "{a: ".repeat(10_000),
        "? ".repeat(10_000),
    ] {
        let message = refusal(&text);
        assert!(
            message.contains("deeper")
                || message.contains("recursion limit")
                || message.contains("key must be"),
            "{message}"
        );
    }
}

#[test]
fn encodings_are_named() {
    let says = |bytes: &[u8]| {
        text_of_bytes(bytes, "t")
            .expect_err("refused")
            .message()
            .to_owned()
    };
    assert_eq!(
        says(b"\xff\xfer\0u\0"),
        "t: the text is UTF-16: save it as UTF-8"
    );
    assert_eq!(says(b"a: 1\nb: \xe9\n"), "t:2: the text is not UTF-8");
    assert_eq!(value("\u{feff}a: 1"), serde_json::json!({"a": 1}));
    assert_eq!(
        value("a: x\r\nb: |\r\n  1\r\n  2\r\n"),
        serde_json::json!({"a": "x", "b": "1\n2\n"})
    );
    assert!(refusal("a: \"x\u{7}\"").contains("control character U+0007"));
}

#[test]
fn plain_words_mean_what_yaml_says() {
    let text = "[1, -2, 0x10, 0o17, 1.5, 1e3, true, False, null, ~, yes, 1.2.3, 12:30, '1', 1_000, +5, -, .5]";
    let expected = serde_json::json!([
        1, -2, 16, 15, 1.5, 1000.0, true, false, null, null, "yes", "1.2.3", "12:30", "1", "1_000",
        5, "-", 0.5
    ]);
    assert_eq!(value(text.replace("-, ", "'-', ").as_str()), expected);
}

/// Strings that YAML writers get wrong.
const NASTY: &[&str] = &[
    "",
    " ",
    "  x",
    "x ",
    "-",
    "- a",
    "-a",
    "? x",
    ": x",
    "x: y",
    "x:",
    "a #b",
    "#b",
    "yes",
    "No",
    "y",
    "null",
    "~",
    "true",
    "1",
    "1.0",
    "0x1F",
    "1e3",
    ".5",
    ".inf",
    "1_000",
    "12:30:00",
    "2024-01-01",
    "=",
    "<<",
    "---",
    "...",
    "--- a",
    "a\nb",
    "a\nb\n",
    "a\nb\n\n",
    "\na",
    "\n",
    "\n\n",
    "  a\nb",
    "a\n  b\n",
    "a\n\n\nb",
    "a\n \nb",
    "a\n\t\nb",
    "\ta\nb",
    "a\tb",
    "a\r\nb",
    "a\rb",
    "é\nü",
    "日本語",
    "🎉",
    "\u{85}",
    "\u{2028}x",
    "\u{feff}x",
    "\u{0}",
    "\u{7f}",
    "'",
    "''",
    "\"",
    "\\",
    "\\n",
    "a'b\"c",
    "!tag",
    "&a",
    "*a",
    "@x",
    "`x`",
    "%a",
    "|",
    ">",
    "[a",
    "{a",
    "a]",
    "a,b",
    "#!/bin/bash\nset -e\necho \"$X: y\" # c\ncat <<EOF\n  indented\nEOF\n",
    "a\n---\nb",
    "a\n...\nb\n",
    "a \nb\n",
    "x\n# not a comment\n",
    "key: |\n  block\n",
    "a\u{a0}b",
    "\u{fffd}",
    "a: b\nc: d",
    "- a\n- b\n",
];

fn round_trip(key: &str, string: &str) {
    let out = [
        (key.to_owned(), Out::text(string)),
        ("list".to_owned(), Out::List(vec![Out::text(string)])),
    ];
    let text = document(&out);
    let read = documents(&text, "t").unwrap_or_else(|error| panic!("{}\n{text}", error.message()));
    let expected = serde_json::json!({ key: string, "list": [string] });
    assert_eq!(read[0].to_value().expect("finite"), expected, "{text}");
}

#[test]
fn nasty_strings_read_back_as_values_and_keys() {
    for string in NASTY {
        round_trip("k", string);
        round_trip(string, "v");
        round_trip(&format!("{string}{}", "k".repeat(2000)), string);
    }
}

#[test]
fn scripts_stand_as_blocks() {
    let out = [
        ("run".to_owned(), Out::text("set -e\necho hi\n")),
        ("x".to_owned(), Out::text("a\nb")),
    ];
    assert_eq!(
        document(&out),
        "run: |\n  set -e\n  echo hi\n\nx: |-\n  a\n  b\n"
    );
}

/// Values that JSON can hold, without null at the top of a mapping's entry.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|n| Value::Number(n.into())),
        any::<u64>().prop_map(|n| Value::Number(n.into())),
        any::<f64>().prop_filter_map("finite", |n| Number::from_f64(n).map(Value::Number)),
        any_string().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(any_string(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Strings made of what breaks writers.
fn any_string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(NASTY).prop_map(str::to_owned),
        prop::sample::select(
            &[
                " ", "\n", ":", "#", "-", "\t", "'", "\"", "\\", "é", "a", "1", "  "
            ][..]
        )
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_string_reads_back(key in any_string(), string in any_string()) {
        prop_assume!(key != "list");
        round_trip(&key, &string);
    }

    #[test]
    fn every_value_reads_back(value in any_value()) {
        let text = document(&[("v".to_owned(), Out::from(&value))]);
        let read = documents(&text, "t").map_err(|error| TestCaseError::fail(format!("{}\n{text}", error.message())))?;
        prop_assert_eq!(read[0].to_value().expect("finite"), serde_json::json!({"v": value}), "{}", text);
    }

    #[test]
    fn garbage_is_answered(text in any_string()) {
        // What matters is that it returns.
        let _outcome = documents(&text, "t").map(|_| ());
    }
}
