//! What good YAML means.

use super::*;

fn one(text: &str) -> Task {
    let dag = parse(text, "t.yaml").expect("it parses");
    dag.only_task().expect("one task").clone()
}

#[test]
fn the_captured_text_of_a_request_is_understood() {
    let text = "name: demo\n---\n\nname: demo\n\nresources:\n  infra: aws/us-east-1\n  cpus: 2+\n\nnum_nodes: 1\n\nrun: 'echo \"$GREETING world\"\n\n  '\n\nenvs:\n  GREETING: hello\n\nfile_mounts: {}\n\nvolumes: {}\n";
    let dag = parse(text, "task").expect("it parses");
    assert_eq!(dag.name.as_deref(), Some("demo"));
    assert_eq!(dag.execution, Execution::Single);
    let task = dag.only_task().expect("one task");
    assert_eq!(task.run.as_deref(), Some("echo \"$GREETING world\"\n"));
    assert_eq!(
        task.resources.first().infra.region.as_deref(),
        Some("us-east-1")
    );
    assert_eq!(task.envs["GREETING"], "hello");
    assert_eq!(parse(&to_wire(&dag), "task").expect("it parses"), dag);
}
