//! The architecture as a test: which module may name which, and that no test file is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The allowed edges: a module may name those on its right. `base` is named by all.
const ALLOWED: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("sys", &[]),
    ("api", &[]),
    ("http", &["api", "sys"]),
    ("aws", &["http", "sys"]),
    ("task", &["api"]),
    ("catalog", &["task", "api"]),
    ("optimizer", &["catalog", "task", "api"]),
    ("store", &["sys"]),
    ("requests", &["store", "http", "api", "sys"]),
    ("transport", &["http", "api", "sys"]),
    ("node", &["transport", "api", "sys"]),
    (
        "clouds",
        &["aws", "node", "transport", "catalog", "task", "api", "sys"],
    ),
    (
        "clusters",
        &[
            "clouds",
            "transport",
            "optimizer",
            "catalog",
            "task",
            "store",
            "http",
            "api",
            "sys",
        ],
    ),
    (
        "ops",
        &[
            "aws",
            "clusters",
            "clouds",
            "optimizer",
            "catalog",
            "task",
            "transport",
            "http",
            "api",
            "sys",
        ],
    ),
    (
        "server",
        &[
            "ops",
            "requests",
            "clusters",
            "clouds",
            "optimizer",
            "catalog",
            "task",
            "transport",
            "store",
            "http",
            "api",
            "sys",
        ],
    ),
    ("agent", &["store", "transport", "http", "api", "sys"]),
    ("client", &["aws", "catalog", "task", "http", "api", "sys"]),
    ("lib", &["agent", "client", "node", "server"]),
];

/// All Rust files under a directory.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

/// The top-level module that a file under `src/` belongs to.
fn module_of(src: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(src).expect("under src");
    let first = relative
        .components()
        .next()
        .expect("a component")
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The top-level modules that a text names through `crate::`.
fn named(text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        // `pub(crate)` is no path, `crate::{a, b::c}` names several.
        let list = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default(),
            None => rest
                .split([':', ';', ' ', ',', ')', '<', '>', '(', '\n'])
                .next()
                .unwrap_or_default(),
        };
        for name in list.split(',') {
            let name = name.trim().split("::").next().unwrap_or_default();
            if !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                found.insert(name.to_owned());
            }
        }
    }
    found
}

#[test]
fn modules_name_only_what_their_layer_permits() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in rust_files(&src) {
        let module = module_of(&src, &file);
        if module == "main" {
            continue;
        }
        seen.insert(module.clone());
        let Some(permitted) = allowed.get(module.as_str()) else {
            wrong.push(format!("module `{module}` is not in the table of layers"));
            continue;
        };
        for name in named(&fs::read_to_string(&file).expect("readable")) {
            if name != module
                && name != "base"
                && !permitted.contains(&name.as_str())
                && allowed.contains_key(name.as_str())
            {
                wrong.push(format!("{} names `crate::{name}`", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        seen.len(),
        ALLOWED.len(),
        "the table and the modules agree: {seen:?}"
    );
}

#[test]
fn the_engine_and_the_bars_are_named_in_one_place_each() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let only_in = |word: &str, permitted: &dyn Fn(&str) -> bool| {
        for file in rust_files(&src) {
            let text = fs::read_to_string(&file).expect("readable");
            let path = file
                .strip_prefix(&src)
                .expect("under src")
                .to_string_lossy()
                .into_owned();
            let names = text
                .lines()
                .any(|l| !l.trim_start().starts_with("//") && l.contains(word));
            assert!(!names || permitted(&path), "{path} names `{word}`");
        }
    };
    only_in("redb::", &|path| path.starts_with("store/"));
    only_in("indicatif::", &|path| path == "client/ui/progress.rs");
    only_in("println!", &|path| {
        path.starts_with("client/ui/") || path.contains("tests")
    });
}

#[test]
fn every_test_file_is_part_of_the_program() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let it = dir.join("it");
    is_whole(&it.join("main.rs"), &it);
    let others = fs::read_dir(&dir).expect("a directory").flatten();
    for entry in others.map(|entry| entry.path()) {
        let program =
            entry.extension().is_some_and(|e| e == "rs") || entry.join("main.rs").exists();
        assert!(
            !program || entry == it,
            "{}: one test program is linked, `tests/it`",
            entry.display()
        );
    }
}

/// Panics unless the module at `file` names every file in `dir`, and so on for those that have a folder.
fn is_whole(file: &Path, dir: &Path) {
    let text = fs::read_to_string(file).expect("readable");
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".rs").filter(|name| *name != "main") else {
            continue;
        };
        assert!(
            text.contains(&format!("mod {name};")),
            "{} is forgotten",
            entry.path().display()
        );
        let folder = dir.join(name);
        if folder.is_dir() {
            is_whole(&entry.path(), &folder);
        }
    }
}
