//! Bad YAML and what is said about it.

use super::*;

/// Text and the error it gets.
const BAD: &[(&str, &str)] = &[
    ("", "t.yaml: there is no task in it: the text is empty"),
    (
        "# nothing\n",
        "t.yaml: there is no task in it: the text is empty",
    ),
    ("~", "t.yaml: there is no task in it: the text is empty"),
    (
        "- a\n- b\n",
        "t.yaml:1: a task is a mapping such as `run: echo hello`",
    ),
    (
        "just words",
        "t.yaml:1: a task is a mapping such as `run: echo hello`",
    ),
    (
        "run: |\n  echo\n bad indent: [",
        "t.yaml:3: not valid YAML: while parsing a block mapping, did not find expected key",
    ),
    (
        "run: [1, 2",
        "t.yaml:2: run[2]: not valid YAML: while parsing a flow sequence, expected ',' or ']'",
    ),
    (
        "run: \"open",
        "t.yaml:1: run: not valid YAML: while scanning a quoted scalar, found unexpected end of stream",
    ),
    (
        "a: b: c",
        "t.yaml:1: not valid YAML: mapping values are not allowed in this context",
    ),
    (
        "run: a\nrun: b",
        "t.yaml:2: duplicate key `run` (first on line 1)",
    ),
    (
        "run: x\nresources:\n  cpus: 1\n  cpus: 2",
        "t.yaml:4: resources: duplicate key `cpus` (first on line 3)",
    ),
    (
        "runn: x",
        "t.yaml:1: runn: unknown field; did you mean `run`?",
    ),
    (
        "nodes: 2",
        "t.yaml:1: nodes: unknown field; did you mean `num_nodes`?",
    ),
    (
        "setpu: x\nrun: y",
        "t.yaml:1: setpu: unknown field; did you mean `setup`?",
    ),
    ("zzzzzz: 1", "t.yaml:1: zzzzzz: unknown field"),
    (
        "accelerators: A100",
        "t.yaml:1: accelerators: unknown field; it belongs under `resources`",
    ),
    (
        "name: -bad",
        "t.yaml:1: name: the name `-bad` is not valid: it must begin and end with a letter or a digit",
    ),
    (
        "name: a---b",
        "t.yaml:1: name: the name `a---b` is not valid: it has more than two separators in a row",
    ),
    (
        "name: 'a b'",
        "t.yaml:1: name: the name `a b` is not valid: it may hold only letters, digits, `.`, `_` and `-`",
    ),
    ("name: [a]", "t.yaml:1: name: expected text, found a list"),
    (
        "num_nodes: 0",
        "t.yaml:1: num_nodes: `0` is not a whole number from 1 to 100000",
    ),
    (
        "num_nodes: two",
        "t.yaml:1: num_nodes: `two` is not a whole number from 1 to 100000",
    ),
    (
        "num_nodes: 1.5",
        "t.yaml:1: num_nodes: `1.5` is not a whole number from 1 to 100000",
    ),
    (
        "num_nodes: 99999999999999999999",
        "t.yaml:1: num_nodes: `99999999999999999999` is not a whole number from 1 to 100000",
    ),
    ("workdir: ''", "t.yaml:1: workdir: it is empty"),
    (
        "workdir: {ref: main}",
        "t.yaml:1: workdir: a repository needs `url`",
    ),
    (
        "workdir: {url: 'file:///etc'}",
        "t.yaml:1: workdir: `file:///etc` is not an https or ssh URL of a repository",
    ),
    (
        "workdir: {url: '--upload-pack=x', ref: a}",
        "t.yaml:1: workdir: `--upload-pack=x` is not an https or ssh URL of a repository",
    ),
    (
        "run: {a: b}",
        "t.yaml:1: run: expected text, found a mapping",
    ),
    (
        "resources: [a]",
        "t.yaml:1: resources: expected a mapping, found a list",
    ),
    (
        "resources:\n  cpu: 4",
        "t.yaml:2: resources.cpu: unknown field; did you mean `cpus`?",
    ),
    (
        "resources:\n  cpus: many",
        "t.yaml:2: resources.cpus: `many` is not a number above 0, such as `4` or `4+`",
    ),
    (
        "resources:\n  cpus: -1",
        "t.yaml:2: resources.cpus: `-1` is not a number above 0, such as `4` or `4+`",
    ),
    (
        "resources:\n  cpus: 0",
        "t.yaml:2: resources.cpus: `0` is not a number above 0, such as `4` or `4+`",
    ),
    (
        "resources:\n  cpus: 4++",
        "t.yaml:2: resources.cpus: `4++` is not a number above 0, such as `4` or `4+`",
    ),
    (
        "resources:\n  cpus: 1e3",
        "t.yaml:2: resources.cpus: `1e3` is not a number above 0, such as `4` or `4+`",
    ),
    (
        "resources:\n  memory: 16XB",
        "t.yaml:2: resources.memory: `16XB` is not an amount in GB above 0, such as `16`, `16GB` or `512MB`",
    ),
    (
        "resources:\n  memory: [1]",
        "t.yaml:2: resources.memory: expected text, found a list",
    ),
    (
        "resources:\n  accelerators: 'A100:0'",
        "t.yaml:2: resources.accelerators: the count of `A100` must be a number above 0",
    ),
    (
        "resources:\n  accelerators: 'A100:1.5'",
        "t.yaml:2: resources.accelerators: the count of `A100` must be whole, or a share below 1",
    ),
    (
        "resources:\n  accelerators: 'A100:x'",
        "t.yaml:2: resources.accelerators: `A100:x` is not `NAME` or `NAME:COUNT`, such as `H100:8`",
    ),
    (
        "resources:\n  accelerators: {}",
        "t.yaml:2: resources.accelerators: it names no accelerator",
    ),
    (
        "resources:\n  accelerators: {A100: many}",
        "t.yaml:2: resources.accelerators.A100: `many` is not a number",
    ),
    (
        "resources:\n  accelerators: A100\n  gpus: A100",
        "t.yaml:3: resources.gpus: cannot stand beside `accelerators`",
    ),
    (
        "resources:\n  infra: awz/us-east-1",
        "t.yaml:2: resources.infra: `awz` is not a known infra; did you mean `aws`?",
    ),
    (
        "resources:\n  infra: aws/a/b/c",
        "t.yaml:2: resources.infra: `aws/a/b/c` is not `cloud[/region[/zone]]`",
    ),
    (
        "resources:\n  infra: local/here",
        "t.yaml:2: resources.infra: `local` is this machine and has no regions",
    ),
    (
        "resources:\n  infra: aws\n  cloud: aws",
        "t.yaml:3: resources.cloud: cannot stand beside `infra`",
    ),
    (
        "resources:\n  use_spot: maybe",
        "t.yaml:2: resources.use_spot: `maybe` is neither true nor false",
    ),
    (
        "resources:\n  disk_size: huge",
        "t.yaml:2: resources.disk_size: `huge` is not an amount in GB above 0, such as `16`, `16GB` or `512MB`",
    ),
    (
        "resources:\n  disk_tier: fast",
        "t.yaml:2: resources.disk_tier: `fast` is not one of low, medium, high, ultra, best, none",
    ),
    (
        "resources:\n  local_disk: floppy",
        "t.yaml:2: resources.local_disk: `floppy` is not a local disk such as `nvme:1000+`",
    ),
    (
        "resources:\n  ports: 70000",
        "t.yaml:2: resources.ports: `70000` is not a port from 1 to 65535 or a range such as `10052-10100`",
    ),
    (
        "resources:\n  ports: [80, 90-80]",
        "t.yaml:2: resources.ports[1]: the range `90-80` runs backwards",
    ),
    (
        "resources:\n  autostop: soon",
        "t.yaml:2: resources.autostop: `soon` is not a time in minutes, such as `30`, `30m`, `2h`, `1d` or `1w`",
    ),
    (
        "resources:\n  autostop: {idle_minutes: 5, wait_for: godot}",
        "t.yaml:2: resources.autostop.wait_for: `godot` is not one of jobs_and_ssh, jobs, none",
    ),
    (
        "resources:\n  priority: 2000",
        "t.yaml:2: resources.priority: `2000` is not a whole number from -1000 to 1000",
    ),
    (
        "resources:\n  max_hourly_cost: -1",
        "t.yaml:2: resources.max_hourly_cost: it must be above 0",
    ),
    (
        "resources:\n  ephemeral_storage: 10",
        "t.yaml:2: resources.ephemeral_storage: it was removed; use `disk_size`",
    ),
    (
        "resources:\n  any_of: []",
        "t.yaml:2: resources.any_of: it names no alternative",
    ),
    (
        "resources:\n  any_of: [{cpus: 1}]\n  ordered: [{cpus: 2}]",
        "t.yaml:3: resources.ordered: cannot stand beside `any_of`",
    ),
    (
        "resources:\n  any_of:\n  - cpus: 1\n  - any_of: [{cpus: 3}]",
        "t.yaml:4: resources.any_of[1].any_of: alternatives cannot be nested",
    ),
    (
        "resources:\n  any_of:\n  - cpus: 1\n  - cpus: x",
        "t.yaml:4: resources.any_of[1].cpus: `x` is not a number above 0, such as `4` or `4+`",
    ),
    (
        "resources:\n  job_recovery: {recover_on_exit_codes: [300]}",
        "t.yaml:2: resources.job_recovery.recover_on_exit_codes[0]: `300` is not a whole number from 0 to 255",
    ),
    (
        "envs: [A]",
        "t.yaml:1: envs: expected a mapping, found a list",
    ),
    (
        "envs: {1A: x}",
        "t.yaml:1: envs.1A: `1A` is not a name for an environment variable: letters, digits and `_`, not beginning with a digit",
    ),
    (
        "envs: {A: [x]}",
        "t.yaml:1: envs.A: expected a single value, found a list",
    ),
    (
        "envs: {A: x}\nsecrets: {A: y}",
        "t.yaml:2: secrets: `A` stands in `envs` as well",
    ),
    (
        "secrets: [TOKEN]",
        "t.yaml:1: secrets[0]: expected `secrets:NAME`, or a mapping name → value",
    ),
    (
        "file_mounts: {/a/: b}",
        "t.yaml:1: file_mounts./a/: the destination must not end with `/`",
    ),
    (
        "file_mounts: {'s3://a': b}",
        "t.yaml:1: file_mounts.s3://a: the destination is a path on the node, not a URL",
    ),
    (
        "file_mounts: {/a: ''}",
        "t.yaml:1: file_mounts./a: it is empty",
    ),
    (
        "file_mounts: {/a: {mode: MOUNT}}",
        "t.yaml:1: file_mounts./a: a storage needs `name` or `source`",
    ),
    (
        "file_mounts: {/a: {name: b, mode: FUSE}}",
        "t.yaml:1: file_mounts./a.mode: `FUSE` is not one of mount, copy, mount_cached",
    ),
    (
        "file_mounts: {/a: {name: b, sorce: x}}",
        "t.yaml:1: file_mounts./a.sorce: unknown field; did you mean `source`?",
    ),
    (
        "volumes: {/a: 3, /b/: x}",
        "t.yaml:1: volumes./b/: the destination must not end with `/`",
    ),
    (
        "config: {dockr: {run_options: x}}",
        "t.yaml:1: config.dockr: unknown field; did you mean `docker`?",
    ),
    (
        "config: {hooks: [{events: [stop]}]}",
        "t.yaml:1: config.hooks[0]: a hook needs `run`",
    ),
    (
        "config: {hooks: [{run: x, events: [sometimes]}]}",
        "t.yaml:1: config.hooks[0].events[0]: `sometimes` is not one of stop, preemption, down",
    ),
    (
        "service: {replicas: 2}",
        "t.yaml:1: service: a service needs `readiness_probe`, such as `readiness_probe: /health`",
    ),
    (
        "service: {readiness_probe: health}",
        "t.yaml:1: service.readiness_probe: the path must begin with `/`",
    ),
    (
        "service: {readiness_probe: /, replicas: 1, replica_policy: {min_replicas: 1}}",
        "t.yaml:1: service.replica_policy: cannot stand beside `replicas`",
    ),
    (
        "service: {readiness_probe: /, replica_policy: {min_replicas: 3, max_replicas: 2}}",
        "t.yaml:1: service.replica_policy.max_replicas: it is below `min_replicas` (3)",
    ),
    (
        "service: {readiness_probe: /}\npool: {workers: 1}",
        "t.yaml:2: pool: cannot stand beside `service`",
    ),
    (
        "pool: {workers: 1, max_workers: 2}",
        "t.yaml:1: pool.max_workers: cannot stand beside `workers`",
    ),
    (
        "inputs: {a: 1, b: 2}",
        "t.yaml:1: inputs: expected one entry: a URI and its size in GB",
    ),
    (
        "run: !python/object x",
        "t.yaml:1: run: the tag `!python/object` is not understood",
    ),
    (
        "run: *nowhere",
        "t.yaml:1: run: not valid YAML: while parsing node, found unknown anchor",
    ),
    ("? [a]\n: b", "t.yaml:1: a key must be a single value"),
    (
        "name: x\nexecution: parallel",
        "t.yaml:1: there is no task after the header",
    ),
    (
        "name: x\nprimary_tasks: [a]\n---\nrun: a",
        "t.yaml:1: `primary_tasks`, `termination_delay` and `inter_connection` need `execution: parallel`",
    ),
    (
        "name: p\nexecution: sideways\n---\nrun: a\n---\nrun: b",
        "t.yaml:2: execution: `sideways` is not one of serial, parallel",
    ),
    (
        "run: a\n---\nrun: b\nfoo: 1",
        "t.yaml:4: foo: unknown field",
    ),
    (
        "run: a\0b",
        "t.yaml:1: not valid YAML: control character U+0000",
    ),
    ("x: .inf\n_y: .nan", "t.yaml:1: x: unknown field"),
    (
        "config: {slurm: {quota: .inf}}",
        "t.yaml:1: config: a number that is not finite",
    ),
];

#[test]
fn every_mistake_is_named_with_its_line_and_field() {
    for (text, expected) in BAD {
        let error = parse(text, "t.yaml").map(|_| ()).expect_err(text);
        assert_eq!(error.message(), *expected, "{text:?}");
        assert_eq!(error.kind(), crate::base::Kind::InvalidTask, "{text:?}");
    }
}
