//! Task files.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use super::refused;
use crate::world::World;

/// Files that are YAML and no task: the error names the line and the field.
const TASKS: &[(&str, &str)] = &[
    (
        "runn: echo hi\n",
        "t.yaml:1: runn: unknown field; did you mean `run`?",
    ),
    (
        "run: [a, b]\n",
        "t.yaml:1: run: expected text, found a list",
    ),
    ("num_nodes: two\nrun: a\n", "t.yaml:1: num_nodes: `two`"),
    ("num_nodes: -1\nrun: a\n", "t.yaml:1: num_nodes: `-1`"),
    (
        "resources: 5\nrun: a\n",
        "t.yaml:1: resources: expected a mapping",
    ),
    (
        "resources:\n  cpu: 4\nrun: a\n",
        "t.yaml:2: resources.cpu: unknown field; did you mean `cpus`?",
    ),
    (
        "resources:\n  cpus: many\nrun: a\n",
        "t.yaml:2: resources.cpus: `many`",
    ),
    (
        "resources:\n  ports: 70000\nrun: a\n",
        "t.yaml:2: resources.ports: `70000`",
    ),
    ("envs: [a]\nrun: a\n", "t.yaml:1: envs: expected a mapping"),
    ("envs:\n  A:\nrun: a\n", "envs: `A` has no value"),
    ("envs:\n  1BAD: x\nrun: a\n", "t.yaml:2: envs.1BAD"),
    (
        "name: ../../x\nrun: a\n",
        "t.yaml:1: name: the name `../../x`",
    ),
    ("workdir: /no/such\nrun: a\n", "workdir: `/no/such`"),
    ("file_mounts:\n  /x: /no/such\nrun: a\n", "/x: `/no/such`"),
];

/// Files that end like YAML and are none: asked about, and without an answer not run.
const BROKEN: &[(&[u8], &str)] = &[
    (b"run: a\nrun: b\n", "duplicate key `run`"),
    (b"a: [1\n", "not valid YAML"),
    (b"run: \"x\n", "not valid YAML"),
    (b"run: \xff\xfe\n", "UTF-8"),
    (b"\xff\xfer\0u\0n\0", "UTF-16"),
    (b"run: a\0b\n", "is not valid"),
    (b"run: a\x1b[31mb\n", "is not valid"),
    (b"", "there is nothing in it"),
    (b"# nothing\n", "there is nothing in it"),
    (b"[]\n", "a list is not a task"),
    (b"!!python/object:os.system x\n", "is not understood"),
    (b"a: &a [1]\nb: *c\n", "unknown anchor"),
];

#[test]
fn tasks_that_are_wrong_are_refused_by_line_and_field() {
    let world = World::new();
    for (text, needle) in TASKS {
        world.file("t.yaml", text);
        let ran = world.sky(&["launch", "-y", "-c", "demo", "t.yaml"]);
        refused(&format!("{text:?}"), &ran, 1, needle);
    }
    let secret = "secrets:\n  T: hunter2\nrunn: x\n";
    world.file("t.yaml", secret);
    let ran = world.sky(&["launch", "-y", "t.yaml"]);
    refused("a secret beside", &ran, 1, "t.yaml:3: runn");
    assert!(!ran.all().contains("hunter2"), "{}", ran.all());
    world.file("t.yaml", "name: a\n---\nrun: b\n---\nrun: c\n");
    let ran = world.sky(&["launch", "-y", "t.yaml"]);
    refused("a pipeline", &ran, 2, "this YAML has 2");
    ran.shows("sky jobs launch");
}

#[test]
fn files_that_are_no_yaml_are_not_run() {
    let world = World::new();
    let path = world.cwd().join("t.yaml");
    for (bytes, needle) in BROKEN {
        fs::write(&path, bytes).expect("written");
        let ran = world.sky(&["launch", "-c", "demo", "t.yaml"]);
        let row = String::from_utf8_lossy(bytes).into_owned();
        refused(&format!("{row:?}"), &ran, 1, needle);
    }
    fs::remove_file(&path).expect("gone");
    let ran = world.sky(&["launch", "t.yaml"]);
    refused("missing", &ran, 1, "there is no such file");
    fs::create_dir(&path).expect("a directory");
    let ran = world.sky(&["launch", "t.yaml"]);
    refused("a directory", &ran, 1, "it is a directory");
    fs::remove_dir(&path).expect("gone");
    std::os::unix::fs::symlink("t.yaml", &path).expect("a link");
    let ran = world.sky(&["launch", "t.yaml"]);
    refused("a link to itself", &ran, 1, "`t.yaml`");
    assert_eq!(world.server_pid(), None, "no row started a server");
}

#[test]
fn files_that_grow_when_read_cost_nothing() {
    let world = World::new();
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..10 {
        let before = vec![format!("*a{}", level - 1); 10].join(",");
        writeln!(bomb, "a{level}: &a{level} [{before}]").expect("a line");
    }
    let deep = format!("run: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let huge = format!("run: |\n{}", "  echo 0123456789\n".repeat(500_000));
    let mut keys = String::new();
    for key in 0..60_000 {
        writeln!(keys, "k{key}: 1").expect("a line");
    }
    let rows = [
        ("bomb", bomb, "aliases counted each time"),
        ("deep", deep, "recursion limit"),
        ("huge", huge, "more bytes than the 1048576"),
        ("keys", keys, "more than 50000 values"),
    ];
    for (row, text, needle) in rows {
        world.file("t.yaml", &text);
        let began = Instant::now();
        refused(row, &world.sky(&["launch", "t.yaml"]), 1, needle);
        assert!(began.elapsed() < Duration::from_secs(3), "{row} took long");
    }
    // A device that never ends, under a name that looks like a task.
    fs::remove_file(world.cwd().join("t.yaml")).expect("gone");
    std::os::unix::fs::symlink("/dev/zero", world.cwd().join("t.yaml")).expect("a link");
    let ran = world.sky(&["launch", "t.yaml"]);
    refused("/dev/zero", &ran, 1, "more bytes than the 1048576");
}
