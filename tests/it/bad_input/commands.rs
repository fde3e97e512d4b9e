//! Command lines: flags, names, ids.

use super::{Target, refused};
use crate::world::World;

/// A row: the command line, the exit code, what the error names.
type Row<'a> = (&'a [&'a str], i32, &'a str);

/// Mistakes that are seen before a server is needed.
const ALONE: &[Row<'static>] = &[
    (&["--nope"], 2, "--nope"),
    (&["lanch"], 2, "there is no command `lanch`"),
    (&["nonsense"], 2, "there is no command `nonsense`"),
    (&["api", "strat"], 2, "strat"),
    (&["launch", "--cpu", "2", "echo"], 2, "'--cpus'"),
    (&["launch", "--cpus"], 2, "--cpus"),
    (&["launch", "--cpus", "abc", "true"], 2, "--cpus: `abc`"),
    (&["launch", "--cpus", "nan", "true"], 2, "--cpus: `nan`"),
    (&["launch", "--cpus=-1", "true"], 2, "--cpus: `-1`"),
    (&["launch", "--memory", "4XB", "true"], 2, "--memory: `4XB`"),
    (
        &["launch", "--num-nodes", "0", "true"],
        2,
        "'0' for '--num-nodes",
    ),
    (
        &["launch", "--num-nodes", "x", "true"],
        2,
        "'x' for '--num-nodes",
    ),
    (
        &["launch", "--num-nodes", "99999999999999999999", "true"],
        2,
        "--num-nodes",
    ),
    (
        &["launch", "--gpus", "A100:x", "true"],
        2,
        "--gpus: `A100:x`",
    ),
    (
        &["launch", "--gpus", "A100:-1", "true"],
        2,
        "the count of `A100`",
    ),
    (&["launch", "--infra", "mars", "true"], 2, "--infra: `mars`"),
    (
        &["launch", "--disk-size", "big", "true"],
        2,
        "--disk-size: `big`",
    ),
    (
        &["launch", "--ports", "99999", "true"],
        2,
        "--ports: `99999`",
    ),
    (&["launch", "--env", "=x", "true"], 2, "--env: ``"),
    (&["launch", "--env", "1A=b", "true"], 2, "--env: `1A`"),
    (
        &["launch", "--env", "NOT_SET_X", "true"],
        2,
        "--env NOT_SET_X",
    ),
    (
        &["launch", "--env-file", "missing.env", "true"],
        2,
        "--env-file missing.env",
    ),
    (
        &["launch", "-i", "abc", "true"],
        2,
        "'abc' for '--idle-minutes",
    ),
    (&["launch", "-c"], 2, "--cluster"),
    (&["exec"], 2, "which cluster?"),
    (&["exec", "demo"], 2, "what should run?"),
    (&["logs"], 2, "<CLUSTER>"),
    (&["logs", "demo", "abc"], 2, "`abc` is not a job id"),
    (&["logs", "demo", "--", "-1"], 2, "`-1` is not a job id"),
    (
        &["logs", "demo", "99999999999999999999"],
        2,
        "`99999999999999999999` is not a job id",
    ),
    (&["logs", "demo", "--tail", "x"], 2, "'x' for '--tail"),
    (&["cancel", "demo", "abc"], 2, "`abc` is not a job id"),
    (&["stop"], 2, "which clusters?"),
    (&["down"], 2, "which clusters?"),
    (&["status", "-o", "xml"], 2, "'xml' for '--output"),
    (
        &["autostop", "-y", "demo", "-i", "x"],
        2,
        "'x' for '--idle-minutes",
    ),
    (&["cost-report", "--days", "x"], 2, "'x' for '--days"),
    (&["api", "logs"], 2, "<ID>"),
    (&["api", "cancel"], 2, "which requests?"),
    (&["api", "status", "--limit", "x"], 2, "'x' for '--limit"),
    (
        &["api", "login", "-e", "not a url"],
        2,
        "begins with http://",
    ),
    (&["api", "login", "-e", "ftp://x"], 2, "begins with http://"),
    (
        &["api", "login", "-e", "http://127.0.0.1:1"],
        1,
        "http://127.0.0.1:1",
    ),
    (&["jobs", "launch", "true"], 1, "`sky jobs`"),
    (
        &["__serve", "--bind", "nonsense"],
        2,
        "'nonsense' for '--bind",
    ),
    (&["__serve", "--tls-cert", "x"], 2, "--tls-key"),
    (&["--install-shell-completion", "tcsh"], 2, "'tcsh'"),
];

/// Names and ids that mean nothing, or something they must not.
const SERVED: &[Row<'static>] = &[
    (&["launch", "-y", "-c", "", "true"], 1, "it is empty"),
    (
        &["launch", "-y", "-c", "Bad_Name!", "true"],
        1,
        "`Bad_Name!`",
    ),
    (
        &["launch", "-y", "-c", "../../etc", "true"],
        1,
        "`../../etc`",
    ),
    (&["launch", "-y", "-c", "a/b", "true"], 1, "`a/b`"),
    (
        &["launch", "-y", "-c", "a\nb", "true"],
        1,
        "cluster name `a",
    ),
    (
        &["launch", "-y", "-c", "a\u{1b}[31m", "true"],
        1,
        "cluster name `a",
    ),
    (&["launch", "-y", "-c", "ünï", "true"], 1, "`ünï`"),
    (
        &["launch", "-y", "--infra", "aws", "true"],
        1,
        "`aws` is not enabled",
    ),
    (
        &["launch", "-y", "--workdir", "/no/such", "true"],
        1,
        "`/no/such`",
    ),
    (&["exec", "nosuch", "true"], 1, "`nosuch` does not exist"),
    (&["exec", "../../etc", "true"], 1, "`../../etc`"),
    (&["status", "nosuch"], 1, "'nosuch' not found"),
    (&["status", "../.."], 1, "'../..' not found"),
    (&["queue", "nosuch"], 1, "'nosuch'"),
    (&["logs", "nosuch"], 1, "`nosuch` does not exist"),
    (&["cancel", "-y", "nosuch", "1"], 1, "nosuch"),
    (&["stop", "-y", "nosuch"], 1, "'nosuch' not found"),
    (&["down", "-y", "../*"], 1, "'../*' not found"),
    (&["start", "-y", "nosuch"], 1, "'nosuch' not found"),
    (&["autostop", "-y", "nosuch"], 1, "'nosuch' not found"),
    (&["check", "nocloud"], 1, "`nocloud`"),
    (&["gpus", "list", "Nope"], 1, "`Nope`"),
    (&["api", "logs", "zzz"], 1, "`zzz`"),
    (
        &["api", "logs", "../../etc/passwd"],
        1,
        "`../../etc/passwd`",
    ),
    (&["api", "logs", ""], 1, "``"),
    (&["api", "get", ""], 1, "``"),
    (&["api", "cancel", ""], 1, "``"),
    (&["api", "cancel", "zzzz"], 1, "`zzzz`"),
    (&["api", "status", "zzz"], 1, "`zzz`"),
];

#[test]
fn command_lines_that_are_wrong_are_refused_without_a_server() {
    let world = World::new();
    for (args, code, needle) in ALONE {
        refused(&format!("{args:?}"), &world.sky(args), *code, needle);
        assert_eq!(world.server_pid(), None, "{args:?} started a server");
    }
    world.sky(&["lanch"]).shows("did you mean `sky launch`?");
}

#[test]
fn names_and_ids_that_mean_nothing_are_refused() {
    let target = Target::new();
    for (args, code, needle) in SERVED {
        refused(&format!("{args:?}"), &target.world.sky(args), *code, needle);
    }
    let long = "a".repeat(300);
    let ran = target.world.sky(&["launch", "-y", "-c", &long, "true"]);
    refused("a long name", &ran, 1, "longer than 120 characters");
    assert!(!ran.all().contains(&long), "it is cut: {}", ran.all());
    let all = target.world.sky(&["status", "-o", "json"]).ok().json();
    assert_eq!(all.as_array().map(Vec::len), Some(1), "only demo: {all}");
    target.unharmed();
}

#[test]
fn a_prefix_of_several_requests_names_them() {
    let target = Target::new();
    let listed = || {
        let args = ["api", "status", "-a", "-l", "all", "-o", "json"];
        let rows = target.world.sky(&args).ok().json();
        let rows = rows.as_array().cloned().unwrap_or_default();
        let ids = rows.iter().filter_map(|r| r["request_id"].as_str());
        ids.map(str::to_owned).collect::<Vec<_>>()
    };
    // 17 ids share a first digit.
    let first = (0..17).find_map(|_| {
        let ids = listed();
        let digits = "0123456789abcdef".chars();
        let shared = digits.map(String::from).find(|digit| {
            let like = ids.iter().filter(|id| id.starts_with(digit.as_str()));
            like.count() > 1
        });
        if shared.is_none() {
            target.world.sky(&["queue", "demo"]).ok();
        }
        shared
    });
    let first = first.expect("two ids with the same first digit");
    for verb in ["logs", "get", "cancel"] {
        let ran = target.world.sky(&["api", verb, &first]);
        refused(verb, &ran, 1, &first);
        assert!(
            ran.stderr.matches('-').count() >= 8,
            "the ids: {}",
            ran.stderr
        );
    }
    target.unharmed();
}
