//! What goes over the wire comes back as the same tasks.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::api::bodies::WaitFor;
use crate::base::secret::Secret;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(
            &[
                "yes",
                "null",
                "1",
                "a: b",
                "x #y",
                " - z",
                "a\nb\n",
                "a\n  b\n\n",
                "$HOME",
                "é\u{2028}",
                "'\"\\",
                ""
            ][..]
        )
        .prop_map(str::to_owned),
        ".{0,12}",
        any::<String>().prop_map(|text| text.replace('\u{0}', "")),
    ]
}

fn filled() -> impl Strategy<Value = String> {
    text().prop_map(|text| format!("p{text}"))
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(Value::String),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(|n| json!(n)),
        vec(text(), 0..3).prop_map(|items| json!(items)),
        btree_map(text(), text(), 0..3).prop_map(|map| json!(map)),
    ]
}

fn notes() -> impl Strategy<Value = Map<String, Value>> {
    btree_map("_[a-z]{1,8}", value(), 0..2).prop_map(|map| map.into_iter().collect())
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9]{1,6}([._-]{1,2}[a-zA-Z0-9]{1,4}){0,2}"
}

fn variable() -> impl Strategy<Value = String> {
    "[A-Z_][A-Z0-9_]{0,6}"
}

fn amount() -> impl Strategy<Value = Amount> {
    (
        prop_oneof![
            (1u32..2000).prop_map(f64::from),
            (1u32..1_000_000).prop_map(|n| f64::from(n) / 1000.0)
        ],
        any::<bool>(),
    )
        .prop_map(|(value, at_least)| Amount {
            value,
            at_least,
            per_cpu: false,
        })
}

fn infra() -> impl Strategy<Value = Infra> {
    let part = || option::of("[a-z0-9-]{1,9}");
    prop_oneof![
        Just(Infra::default()),
        Just(Infra {
            cloud: Some("local".to_owned()),
            ..Infra::default()
        }),
        part().prop_map(|region| Infra {
            cloud: Some("kubernetes".to_owned()),
            region,
            zone: None
        }),
        (part(), part()).prop_map(|(region, zone)| Infra {
            cloud: Some("aws".to_owned()),
            region,
            zone
        }),
        (part(), part()).prop_map(|(region, zone)| Infra {
            cloud: None,
            region,
            zone
        }),
    ]
}

fn accelerator() -> impl Strategy<Value = Accelerator> {
    let kind = prop::sample::select(&["A100", "H100", "80GB+", "nvidia:80GB+", "Odd One"][..]);
    let count = prop_oneof![Just(0.5), (1u32..16).prop_map(f64::from)];
    (kind, count).prop_map(|(kind, count)| Accelerator::new(kind, count).expect("good"))
}

fn autostop() -> impl Strategy<Value = AutostopSpec> {
    let wait_for = prop::sample::select(&[WaitFor::JobsAndSsh, WaitFor::Jobs, WaitFor::None][..]);
    (-1i64..100_000, any::<bool>(), wait_for).prop_map(|(idle_minutes, down, wait_for)| {
        AutostopSpec {
            idle_minutes,
            down,
            wait_for,
        }
    })
}

fn shape() -> impl Strategy<Value = Shape> {
    let machine = (
        infra(),
        option::of(amount()),
        option::of(amount()),
        option::of(accelerator()),
        option::of(filled()),
        option::of(any::<bool>()),
        option::of(1u64..100_000),
    );
    let range = (1u16..=65_535, 0u16..100).prop_map(|(first, more)| PortRange {
        first,
        last: first.saturating_add(more),
    });
    let image = prop_oneof![
        filled().prop_map(ImageId::One),
        btree_map(text(), filled(), 1..3).prop_map(ImageId::PerRegion),
    ];
    let policy = (
        btree_set(range, 0..3),
        option::of(image),
        btree_map(text(), text(), 0..3),
        option::of(autostop()),
        option::of(-1000i64..=1000),
        option::of((1u32..10_000).prop_map(|n| f64::from(n) / 1000.0)),
        option::of(filled()),
        vec(value(), 0..2),
        notes(),
    );
    (machine, policy).prop_map(|(machine, policy)| {
        let (infra, cpus, memory, accelerators, instance_type, use_spot, disk_size) = machine;
        let (
            ports,
            image_id,
            labels,
            autostop,
            priority,
            max_hourly_cost,
            priority_class,
            volumes,
            internal,
        ) = policy;
        Shape {
            infra,
            cpus,
            memory,
            accelerators,
            instance_type,
            use_spot,
            job_recovery: priority
                .map(|restarts| json!({"max_restarts_on_errors": restarts.unsigned_abs()})),
            disk_size,
            disk_tier: use_spot.map(|_| "best".to_owned()),
            network_tier: use_spot.map(|_| "standard".to_owned()),
            local_disk: disk_size.map(|size| format!("nvme:{size}+")),
            ports: ports.into_iter().collect(),
            image_id,
            labels,
            autostop,
            priority,
            priority_class,
            max_hourly_cost,
            volumes,
            internal,
            ..Shape::default()
        }
    })
}

fn resources() -> impl Strategy<Value = ResourcesSpec> {
    (vec(shape(), 0..4), any::<bool>()).prop_map(|(shapes, listed)| {
        let mut unique: Vec<Shape> = Vec::new();
        for shape in shapes {
            if !unique.contains(&shape) {
                unique.push(shape);
            }
        }
        ResourcesSpec::new(
            unique,
            if listed {
                Order::AsListed
            } else {
                Order::Cheapest
            },
        )
    })
}

fn workdir() -> impl Strategy<Value = Workdir> {
    prop_oneof![
        filled().prop_map(Workdir::Local),
        option::of(filled()).prop_map(|git_ref| Workdir::Git {
            url: "https://example.com/r.git".to_owned(),
            git_ref
        }),
    ]
}

fn source() -> impl Strategy<Value = MountSource> {
    prop_oneof![
        filled().prop_map(|path| MountSource::Local(path.replace("://", ""))),
        "[a-z]{1,9}".prop_map(|bucket| MountSource::Uri(format!("s3://{bucket}"))),
        filled().prop_map(|name| MountSource::Storage(Map::from_iter([
            ("name".to_owned(), json!(name)),
            ("mode".to_owned(), json!("COPY")),
            ("persistent".to_owned(), json!(false)),
        ]))),
    ]
}

type Variables = (
    BTreeMap<String, String>,
    BTreeSet<String>,
    BTreeMap<String, String>,
    BTreeSet<String>,
    Vec<String>,
);

fn variables() -> impl Strategy<Value = Variables> {
    let set = || btree_map(variable(), text(), 0..3);
    (
        set(),
        btree_set(variable(), 0..2),
        set(),
        btree_set(variable(), 0..2),
        vec("[a-z]{1,5}", 0..2),
    )
        .prop_map(|(envs, missing, secrets, missing_secrets, refs)| {
            let prefix = |name: String, prefix: &str| format!("{prefix}{name}");
            (
                envs,
                missing.into_iter().map(|name| prefix(name, "M_")).collect(),
                secrets
                    .into_iter()
                    .map(|(name, value)| (prefix(name, "S_"), value))
                    .collect(),
                missing_secrets
                    .into_iter()
                    .map(|name| prefix(name, "SM_"))
                    .collect(),
                refs,
            )
        })
}

#[expect(clippy::too_many_lines, reason = "every field of a task")]
fn task() -> impl Strategy<Value = Task> {
    let paths = "[a-z/]{1,9}[a-z]";
    let first = (
        option::of(name()),
        option::of(workdir()),
        1u32..100,
        resources(),
        variables(),
    );
    let second = (
        btree_map(paths, source(), 0..3),
        btree_map(text(), text(), 0..3),
        btree_map(paths, filled().prop_map(Value::String), 0..2),
        option::of(text()),
        option::of(text()),
        prop::sample::select(vec![
            json!({}),
            json!({"docker": {"run_options": ["a"]}}),
            json!({"hooks": [{"run": "x"}]}),
        ]),
        0..4u8,
        notes(),
        option::of(text()),
    );
    (first, second).prop_map(|(first, second)| {
        let (name, workdir, num_nodes, resources, variables) = first;
        let (envs, missing_envs, secrets, missing_secrets, secret_refs) = variables;
        let (file_mounts, mapping, volumes, setup, run, config, kind, mut internal, user_yaml) =
            second;
        // M_X might be drawn as a plain variable as well.
        let envs: BTreeMap<_, _> = envs
            .into_iter()
            .filter(|(name, _)| {
                !["M_", "S_", "SM_"]
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
            })
            .collect();
        if kind == 3 {
            internal.insert("managed_secrets".to_owned(), json!({"a": "b"}));
        }
        let secrets: BTreeMap<_, _> = secrets
            .into_iter()
            .map(|(name, value)| (name, Secret::new(value)))
            .collect();
        Task {
            name,
            workdir,
            num_nodes,
            resources,
            envs,
            missing_envs,
            missing_secrets: missing_secrets
                .into_iter()
                .filter(|name| !secrets.contains_key(name))
                .collect(),
            secrets,
            secret_refs,
            file_mounts,
            file_mounts_mapping: mapping,
            volumes: volumes.into_iter().collect(),
            setup,
            event_callback: run.clone(),
            run,
            config: config.as_object().cloned().unwrap_or_default(),
            service: (kind == 1).then(|| json!({"readiness_probe": "/", "replicas": 2})),
            pool: (kind == 2).then(|| json!({"workers": 2})),
            inputs: if kind == 0 {
                Map::from_iter([("s3://a".to_owned(), json!(5))])
            } else {
                Map::new()
            },
            outputs: Map::new(),
            api_server_access: (kind == 3).then_some(false),
            internal,
            user_yaml,
        }
    })
}

fn dag() -> impl Strategy<Value = Dag> {
    (option::of(name()), vec(task(), 1..4), 0..3u8).prop_map(|(name, tasks, kind)| {
        let execution = match (kind, tasks.len()) {
            (0, 1) => Execution::Single,
            (0 | 1, _) => Execution::Serial,
            _ => Execution::Parallel(Group {
                primary_tasks: name.clone().into_iter().collect(),
                termination_delay: Some(json!("30s")),
                inter_connection: Some(false),
            }),
        };
        let of_task = if tasks.len() == 1 {
            tasks[0].name.clone()
        } else {
            None
        };
        Dag {
            name: name.or(of_task),
            tasks,
            execution,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_dag_comes_back(dag in dag()) {
        let text = to_wire(&dag);
        let back = parse(&text, "wire")
            .map_err(|error| TestCaseError::fail(format!("{}\n{text}", error.message())))?;
        prop_assert_eq!(back, dag, "{}", text);
    }

    #[test]
    fn shapes_survive_storage(shape in shape()) {
        let text = serde_json::to_string(&shape).expect("it serialises");
        prop_assert_eq!(serde_json::from_str::<Shape>(&text).expect("it parses"), shape);
    }

    #[test]
    fn display_shows_no_secret(mut task in task()) {
        task.secrets.insert("TOKEN".to_owned(), Secret::new("hunter2-and-more"));
        task.user_yaml = Some("secrets: {TOKEN: hunter2-and-more}".to_owned());
        let display = to_display(&task);
        let debug = format!("{:?}", task.secrets);
        prop_assert!(!display.contains("hunter2") && !debug.contains("hunter2"), "{}", display);
        prop_assert!(display.contains("TOKEN: '<redacted>'"), "{}", display);
    }
}
