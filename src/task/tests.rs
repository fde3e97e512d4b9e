//! What good YAML means, and what overrides make of it.

use serde_json::json;

use super::*;
use crate::api::bodies::WaitFor;
use crate::base::Kind;
use crate::base::secret::Secret;

fn dag(text: &str) -> Dag {
    parse(text, "t.yaml").unwrap_or_else(|error| panic!("{}", error.message()))
}

fn one(text: &str) -> Task {
    dag(text).only_task().expect("one task").clone()
}

fn shapes(text: &str) -> Vec<Shape> {
    one(text).resources.alternatives
}

fn kinds(text: &str) -> Vec<String> {
    let shapes = shapes(text);
    shapes
        .iter()
        .map(|shape| {
            shape
                .accelerators
                .as_ref()
                .map_or("-".to_owned(), ToString::to_string)
        })
        .collect()
}

#[test]
fn the_captured_text_of_a_request_is_understood() {
    let text = "name: demo\n---\n\nname: demo\n\nresources:\n  infra: aws/us-east-1\n  cpus: 2+\n\nnum_nodes: 1\n\nrun: 'echo \"$GREETING world\"\n\n  '\n\nenvs:\n  GREETING: hello\n\nfile_mounts: {}\n\nvolumes: {}\n\n_user_specified_yaml: \"name: demo\\n\\nresources:\\n  infra: aws/us-east-1\\n  cpus: 2+\\n\\\n  \\nnum_nodes: 1\\n\"\n";
    let dag = dag(text);
    assert_eq!(dag.name.as_deref(), Some("demo"));
    assert_eq!(dag.execution, Execution::Single);
    let task = dag.only_task().expect("one task");
    assert_eq!(task.run.as_deref(), Some("echo \"$GREETING world\"\n"));
    assert_eq!(task.resources.first().infra.to_string(), "aws/us-east-1");
    assert_eq!(
        task.resources.first().cpus,
        Some(Amount {
            value: 2.0,
            at_least: true,
            per_cpu: false,
        })
    );
    assert_eq!(task.envs["GREETING"], "hello");
    assert_eq!(
        task.user_yaml.as_deref(),
        Some("name: demo\n\nresources:\n  infra: aws/us-east-1\n  cpus: 2+\n\nnum_nodes: 1\n")
    );
    assert_eq!(parse(&to_wire(&dag), "task").expect("it parses"), dag);
}

#[test]
fn the_text_of_a_request_looks_like_this() {
    let task = Task {
        envs: [("A".to_owned(), "1".to_owned())].into(),
        ..Task::from_command("echo hi")
    };
    assert_eq!(
        to_wire(&Dag::single(task)),
        "name: sky-cmd\n---\n\nname: sky-cmd\n\nresources: {}\n\nnum_nodes: 1\n\nrun: echo hi\n\nenvs:\n  A: '1'\n\nfile_mounts: {}\n\nvolumes: {}\n"
    );
}

#[test]
fn texts_are_sorted_into_tasks_and_commands() {
    assert_eq!(classify("run: x"), Entry::Task);
    assert_eq!(classify("a: 1\n---\nb: 2"), Entry::Task);
    assert_eq!(classify("echo hi\n"), Entry::Command("echo hi".to_owned()));
    for text in ["", "# x", "- a", "a: [", "a: 1\na: 2"] {
        assert!(matches!(classify(text), Entry::Invalid(_)), "{text:?}");
    }
}

#[test]
fn variables_keep_what_was_written() {
    let task = one("envs: {N: 1.10, Z: 007, T: true, Y: yes, Q: 'true', E: '', M: null, B: ~}");
    let value = |name: &str| task.envs[name].as_str();
    assert_eq!(
        [
            value("N"),
            value("Z"),
            value("T"),
            value("Y"),
            value("Q"),
            value("E")
        ],
        ["1.10", "007", "True", "yes", "true", ""]
    );
    assert!(task.missing_envs.contains("M") && task.missing_envs.contains("B"));
    let error = validate(&Dag::single(task)).expect_err("B and M are missing");
    assert_eq!(error.message(), "envs: `B` has no value");
    assert_eq!(error.hints(), ["pass it with --env B=VALUE"]);
}

#[test]
fn secrets_are_a_mapping_or_a_list() {
    let task = one("secrets: {A: x, B: null}");
    assert_eq!(task.secrets["A"].reveal(), "x");
    assert!(task.missing_secrets.contains("B"));
    assert_eq!(one("secrets: ['secrets:HF', {A: x}]").secret_refs, ["HF"]);
}

#[test]
fn resources_are_read() {
    let text = "resources: {infra: k8s/my/ctx, cpus: '4+', memory: 512MB, gpus: 'a100-80gb:2', use_spot: yes, disk_size: 1TB, ports: [8080, '90-100', '8080'], image_id: 'docker:ubuntu', labels: {a: 1}, priority: -5}";
    let shape = &shapes(text)[0];
    assert_eq!(shape.infra.to_string(), "kubernetes/my/ctx");
    assert_eq!(
        shape.memory,
        Some(Amount {
            value: 0.5,
            at_least: false,
            per_cpu: false,
        })
    );
    assert_eq!(
        shape
            .accelerators
            .as_ref()
            .map(ToString::to_string)
            .as_deref(),
        Some("A100-80GB:2")
    );
    assert_eq!(
        (shape.use_spot, shape.disk_size, shape.priority),
        (Some(true), Some(1024), Some(-5))
    );
    let ports: Vec<_> = shape.ports.iter().map(ToString::to_string).collect();
    assert_eq!(ports, ["8080", "90-100"]);
    assert_eq!(shape.labels["a"], "1");
    assert_eq!(one("run: x").resources, ResourcesSpec::default());
    assert_eq!(
        shapes("resources: {cloud: AWS, region: r}")[0]
            .infra
            .to_string(),
        "aws/r"
    );
}

#[test]
fn accelerators_expand_to_alternatives() {
    assert_eq!(
        kinds("resources: {accelerators: {A100: 8, h100: 4}}"),
        ["A100:8", "H100:4"]
    );
    assert_eq!(
        kinds("resources: {accelerators: {A100, V100}}"),
        ["A100:1", "V100:1"]
    );
    assert_eq!(
        kinds("resources: {accelerators: ['V100:0.5', 'nvidia:80GB+:2', 80GB+]}"),
        ["V100:0.5", "nvidia:80GB+:2", "80GB+:1"]
    );
    let order = |text: &str| one(text).resources.order;
    assert_eq!(
        order("resources: {accelerators: {A100: 8, h100: 4}}"),
        Order::Cheapest
    );
    assert_eq!(
        order("resources: {accelerators: [A100, H100]}"),
        Order::AsListed
    );
    assert_eq!(order("resources: {accelerators: [A100]}"), Order::Cheapest);
    assert_eq!(
        order("resources: {ordered: [{cpus: 1}, {cpus: 2}]}"),
        Order::AsListed
    );
}

#[test]
fn alternatives_are_merged_over_the_outer_keys_and_do_not_leak() {
    let text = "resources:\n  cpus: 4\n  labels: {all: x}\n  accelerators: [A100, V100]\n  any_of:\n  - infra: aws\n    labels: {one: y}\n  - infra: gcp\n    cpus: 8\n  - accelerators: T4\n";
    let spec = one(text).resources;
    let seen: Vec<_> = spec
        .alternatives
        .iter()
        .map(|shape| {
            let labels: Vec<_> = shape.labels.keys().map(String::as_str).collect();
            let kind = shape
                .accelerators
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            format!(
                "{} {} {kind} {}",
                shape.infra,
                shape.cpus.expect("set"),
                labels.join("+")
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            "aws 4 A100:1 all+one",
            "aws 4 V100:1 all+one",
            "gcp 8 A100:1 all",
            "gcp 8 V100:1 all",
            "* 4 T4:1 all"
        ]
    );
    assert_eq!(spec.order, Order::Cheapest);
    let many = format!(
        "resources:\n  any_of:\n{}",
        "  - {accelerators: [A100, V100, T4]}\n  - {cpus: 1}\n".repeat(40)
    );
    assert_eq!(shapes(&many).len(), 4, "equal alternatives are one");
    let entries: Vec<String> = (1..=101).map(|n| format!("  - cpus: {n}")).collect();
    let entries = entries.join("\n");
    let error = parse(&format!("resources:\n  any_of:\n{entries}"), "t").expect_err("too many");
    assert_eq!(
        error.message(),
        "t:103: resources.any_of[100]: more than 100 alternatives, lists of accelerators multiplied"
    );
}

#[test]
fn autostop_has_many_spellings() {
    let autostop = |text: &str| {
        let shape = &shapes(&format!("resources: {{autostop: {text}}}"))[0];
        shape
            .autostop
            .map(|spec| (spec.idle_minutes, spec.down, spec.wait_for))
    };
    let idle = |minutes| Some((minutes, false, WaitFor::JobsAndSsh));
    for (text, expected) in [
        ("false", idle(-1)),
        ("true", idle(0)),
        ("10", idle(10)),
        ("30m", idle(30)),
        ("2h", idle(120)),
        ("1d", idle(1440)),
        ("'1w'", idle(10080)),
        ("-1", idle(-1)),
        ("null", None),
        (
            "{idle_minutes: 2h, down: true, wait_for: none}",
            Some((120, true, WaitFor::None)),
        ),
        ("{down: true}", Some((5, true, WaitFor::JobsAndSsh))),
    ] {
        assert_eq!(autostop(text), expected, "{text}");
    }
    let task = one(
        "resources: {autostop: {hook: echo bye, hook_timeout: 9}}\nconfig: {hooks: [{run: a, events: down}]}",
    );
    let hooks = serde_json::json!([
        { "run": "a", "events": "down" },
        { "run": "echo bye", "events": ["stop", "down"], "timeout": 9 },
    ]);
    assert_eq!(task.config["hooks"], hooks);
}

#[test]
fn mounts_are_sorted_by_source() {
    let task = one(
        "file_mounts: {~/a: ./b, /d: 's3://x/y', /e: {name: bucket, source: [a, b], mode: MOUNT}, rel: /abs}",
    );
    assert_eq!(
        task.file_mounts["~/a"],
        MountSource::Local("./b".to_owned())
    );
    assert_eq!(
        task.file_mounts["/d"],
        MountSource::Uri("s3://x/y".to_owned())
    );
    assert!(matches!(task.file_mounts["/e"], MountSource::Storage(_)));
    assert_eq!(
        one("workdir: {url: 'git@github.com:o/r.git', ref: main}").workdir,
        Some(Workdir::Git {
            url: "git@github.com:o/r.git".to_owned(),
            git_ref: Some("main".to_owned())
        })
    );
}

#[test]
fn several_documents_are_pipelines_and_groups() {
    let pipeline = dag("name: p\n---\nname: a\nrun: x\n---\nrun: y\n---\n");
    assert_eq!(
        (pipeline.name.as_deref(), pipeline.tasks.len()),
        (Some("p"), 2)
    );
    assert_eq!(pipeline.execution, Execution::Serial);
    let group = dag(
        "name: g\nexecution: parallel\nprimary_tasks: [a]\ntermination_delay: {b: 30s}\n---\nname: a\nrun: x\n---\nname: b\nrun: y\n",
    );
    let Execution::Parallel(settings) = &group.execution else {
        panic!("{:?}", group.execution)
    };
    assert_eq!(settings.primary_tasks, ["a"]);
    assert_eq!(settings.termination_delay, Some(json!({"b": "30s"})));
    validate(&group).expect("a good group");
    let says = |text: &str| validate(&dag(text)).expect_err(text).one_line();
    let head = "execution: parallel\nprimary_tasks: [z]\n---\n";
    assert_eq!(
        says(&format!("{head}name: a\n---\nrun: x")),
        "every task of a job group needs a name"
    );
    assert_eq!(
        says(&format!("{head}name: a\n---\nname: a")),
        "the job group has several tasks named `a`"
    );
    assert_eq!(
        says(&format!("{head}name: a\n---\nname: b")),
        "primary_tasks: there is no task `z` in the group"
    );
    assert_eq!(
        says("name: a\n---\nname: b\nrun: x\n---\nenvs: {Q: null}"),
        "task 2 is not valid: envs: `Q` has no value"
    );
}

#[test]
fn services_and_pools_are_kept() {
    let task =
        one("service:\n  readiness_probe: /health\n  replicas: 2\nresources: {ports: 80}\nrun: x");
    assert_eq!(
        task.service,
        Some(json!({"readiness_probe": "/health", "replicas": 2}))
    );
    validate(&Dag::single(task)).expect("good");
    let no_port = one("service: {readiness_probe: /}\nrun: x");
    assert_eq!(
        validate(&Dag::single(no_port))
            .expect_err("no port")
            .message(),
        "resources.ports: a service needs a port"
    );
    assert_eq!(
        one("service: {pool: {workers: 1}}").pool,
        Some(json!({"workers": 1}))
    );
    let task = one("envs: {SKYPILOT_DOCKER_USERNAME: u}");
    assert!(
        validate(&Dag::single(task))
            .expect_err("half a login")
            .message()
            .starts_with("a private registry needs all of")
    );
}

#[test]
fn variables_are_replaced_where_no_shell_does_it() {
    let mut task = one(
        "envs: {D: data, B: 's3://bucket'}\nsecrets: {K: key}\nworkdir: ~/$D\nfile_mounts: {'/m/${D}': '$B/x', /n: {name: '${D}-$K'}}\nvolumes: {/v: $D}\nrun: echo $D\nsetup: $D",
    );
    task.substitute();
    assert_eq!(task.workdir, Some(Workdir::Local("~/data".to_owned())));
    assert_eq!(
        task.file_mounts["/m/data"],
        MountSource::Uri("s3://bucket/x".to_owned())
    );
    assert_eq!(
        task.file_mounts["/n"],
        MountSource::Storage(
            json!({"name": "data-key"})
                .as_object()
                .expect("map")
                .clone()
        )
    );
    assert_eq!(task.volumes["/v"], json!("data"));
    assert_eq!(
        (task.run.as_deref(), task.setup.as_deref()),
        (Some("echo $D"), Some("$D"))
    );
    let mut task = one("envs: {A: x}\nworkdir: '$AB/${A/$$A/${A}$'");
    task.substitute();
    assert_eq!(
        task.workdir,
        Some(Workdir::Local("$AB/${A/$x/x$".to_owned()))
    );
}

#[test]
fn overrides_win() {
    let mut task = one(
        "name: a\nnum_nodes: 2\nresources: {cpus: 4, memory: 8, accelerators: [A100, V100], ports: 80, infra: aws/r}\nenvs: {A: y, B: null, C: y}\nsecrets: {S: null}",
    );
    let text = |text: &str| Some(text.to_owned());
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let overrides = Overrides {
        name: text("b"),
        workdir: text("/w"),
        infra: text("local"),
        num_nodes: Some(3),
        cpus: text("2+"),
        memory: text("none"),
        gpus: text("none"),
        ports: vec!["90,91".to_owned(), "92-93".to_owned()],
        use_spot: Some(true),
        priority: text("high"),
        env: vec![pair("A", "flag")],
        env_file: vec![pair("A", "file"), pair("B", "file"), pair("S", "s")],
        secret: vec![("C".to_owned(), Secret::new("c"))],
        ..Overrides::default()
    };
    overrides.apply(&mut task).expect("good");
    assert_eq!((task.name.as_deref(), task.num_nodes), (Some("b"), 3));
    assert_eq!(
        task.resources.alternatives.len(),
        1,
        "alternatives that became equal are one"
    );
    let shape = task.resources.first();
    assert_eq!(
        (shape.infra.to_string(), shape.memory, &shape.accelerators),
        ("local".to_owned(), None, &None)
    );
    assert_eq!(
        shape.cpus,
        Some(Amount {
            value: 2.0,
            at_least: true,
            per_cpu: false,
        })
    );
    assert_eq!(shape.ports.len(), 3);
    assert_eq!(shape.priority_class.as_deref(), Some("high"));
    assert_eq!(task.envs, [pair("A", "flag"), pair("B", "file")].into());
    assert_eq!(task.secrets.keys().collect::<Vec<_>>(), ["C", "S"]);
    validate(&Dag::single(task)).expect("everything is supplied");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn bad_overrides_name_the_flag() {
    let text = |text: &str| Some(text.to_owned());
    let says = |overrides: Overrides| {
        let error = overrides.apply(&mut one("run: x")).expect_err("bad");
        assert_eq!(error.kind(), Kind::Usage);
        error.message().to_owned()
    };
    let base = Overrides::default;
    assert_eq!(
        says(Overrides {
            cpus: text("x"),
            ..base()
        }),
        "--cpus: `x` is not a number above 0, such as `4` or `4+`"
    );
    assert_eq!(
        says(Overrides {
            gpus: text(""),
            ..base()
        }),
        "--gpus: it is empty"
    );
    assert_eq!(
        says(Overrides {
            infra: text("awss"),
            ..base()
        }),
        "--infra: `awss` is not a known infra; did you mean `aws`?"
    );
    assert_eq!(
        says(Overrides {
            infra: text("aws"),
            region: text("r"),
            ..base()
        }),
        "--region: cannot stand beside --infra"
    );
    assert_eq!(
        says(Overrides {
            git_ref: text("x"),
            ..base()
        }),
        "--git-ref: needs --git-url or a task whose workdir is a repository"
    );
    assert_eq!(
        says(Overrides {
            workdir: text("a"),
            git_url: text("https://x"),
            ..base()
        }),
        "--git-url: cannot stand beside --workdir"
    );
    assert_eq!(
        says(Overrides {
            num_nodes: Some(0),
            ..base()
        }),
        "--num-nodes: it must be at least 1"
    );
    assert_eq!(
        says(Overrides {
            priority: text("5000"),
            ..base()
        }),
        "--priority: it must be from -1000 to 1000"
    );
    assert!(
        says(Overrides {
            env: vec![("1".to_owned(), String::new())],
            ..base()
        })
        .starts_with("--env: `1` is not a name")
    );
    assert!(
        says(Overrides {
            ports: vec!["0".to_owned()],
            ..base()
        })
        .starts_with("--ports: `0` is not a port")
    );
}

#[test]
fn the_source_is_kept_without_secrets() {
    let mut task = one("run: x # comment");
    task.keep_source("run: x # comment");
    assert_eq!(task.user_yaml.as_deref(), Some("run: x # comment"));
    let mut task = one("secrets: {A: hunter2}");
    task.keep_source("secrets: {A: hunter2}");
    assert!(!task.user_yaml.expect("kept").contains("hunter2"));
}
