//! Ranking, tables, fit.

use super::*;
use crate::base::Kind;
use crate::catalog::Offer;
use crate::catalog::tests::{aws, gpu, local};
use crate::task::{Task, parse};

fn task(text: &str) -> Task {
    parse(text, "t")
        .expect("good")
        .only_task()
        .expect("one")
        .clone()
}

fn enabled(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn chosen(text: &str, offers: &[Offer]) -> String {
    let plan = plan(&task(text), offers, &enabled(&["local", "aws"])).expect("a plan");
    resources_text(plan.num_nodes, &plan.chosen().offer, true)
}

#[test]
fn the_table_is_the_documented_one() {
    let offers = [aws("m6i.large", 2.0, 8.0, 0.096)];
    let plan = plan(&task("resources: {cpus: 2+}"), &offers, &enabled(&["aws"])).expect("a plan");
    let expected = "\
Considered resources (1 node):
----------------------------------------------------------------------------
 INFRA             INSTANCE    vCPUs   Mem(GB)   GPUS   COST ($)   CHOSEN   
----------------------------------------------------------------------------
 AWS (us-east-1)   m6i.large   2       8         -      0.10          ✔     
----------------------------------------------------------------------------";
    assert_eq!(table(&plan), expected);
}

#[test]
fn rows_are_the_best_of_each_place() {
    let mut spot = gpu(aws("p3.2xlarge", 8.0, 61.0, 0.9), "V100:1");
    spot.spot = true;
    let offers = [
        aws("m6i.xlarge", 4.0, 16.0, 0.19),
        aws("m6i.large", 2.0, 8.0, 0.1),
        local(2.0, 7.7),
        gpu(aws("p3.2xlarge", 8.0, 61.0, 3.06), "V100:1"),
        spot,
    ];
    let text = "num_nodes: 2\nresources:\n  any_of:\n  - cpus: 2+\n  - accelerators: V100\n  - {accelerators: V100, use_spot: true}";
    let plan = plan(&task(text), &offers, &enabled(&["local", "aws"])).expect("a plan");
    assert_eq!(
        plan.candidates.len(),
        5,
        "the dearer instance stays for failover"
    );
    let expected = "\
Considered resources (2 nodes):
-----------------------------------------------------------------------------------
 INFRA             INSTANCE           vCPUs   Mem(GB)   GPUS     COST ($)   CHOSEN   
-----------------------------------------------------------------------------------
 Local             -                  2       7.7       -        0.00          ✔     
 AWS (us-east-1)   m6i.large          2       8         -        0.20                
 AWS (us-east-1)   p3.2xlarge[Spot]   8       61        V100:1   1.80                
 AWS (us-east-1)   p3.2xlarge         8       61        V100:1   6.12                
-----------------------------------------------------------------------------------";
    let rule = "-".repeat(expected.lines().nth(2).expect("a header").chars().count());
    let expected: Vec<&str> = expected
        .lines()
        .map(|line| {
            if line.starts_with('-') {
                rule.as_str()
            } else {
                line
            }
        })
        .collect();
    assert_eq!(table(&plan), expected.join("\n"));
}

#[test]
fn order_is_price_or_the_users() {
    let offers = [
        gpu(aws("p3.2xlarge", 8.0, 61.0, 3.06), "V100:1"),
        gpu(aws("g4dn.xlarge", 4.0, 16.0, 0.5), "T4:1"),
    ];
    assert!(chosen("resources: {accelerators: {V100: 1, T4: 1}}", &offers).contains("T4"));
    assert!(chosen("resources: {accelerators: [V100, T4]}", &offers).contains("V100"));
    assert!(chosen("resources: {ordered: [{accelerators: H100}, {accelerators: V100}, {accelerators: T4}]}", &offers).contains("V100"));
    assert_eq!(
        chosen("resources: {cpus: 2}", &[local(4.0, 16.0)]),
        "1x(cpus=2, mem=16)"
    );
}

#[test]
fn what_cannot_be_had_is_explained() {
    let offers = [local(4.0, 15.6), aws("m6i.2xlarge", 8.0, 32.0, 0.4)];
    let says = |text: &str, clouds: &[&str]| {
        let error = plan(&task(text), &offers, &enabled(clouds)).expect_err(text);
        format!(
            "{}: {}; {}",
            error.kind().exception_class(),
            error.message(),
            error.hints().join("; ")
        )
    };
    assert_eq!(
        says("run: x", &[]),
        "NoCloudAccessError: no infra is enabled; sky check shows what is missing"
    );
    assert_eq!(
        says("resources: {infra: aws}", &["local"]),
        "ResourcesUnavailableError: the infra `aws` is not enabled; sky check aws shows what is missing; enabled: local"
    );
    assert_eq!(
        says("resources: {cpus: 64}", &["local"]),
        "ResourcesUnavailableError: no enabled infra offers 1x(cpus=64); Local has 4 CPUs; ask for less, or enable more infra: sky check"
    );
    assert_eq!(
        says("resources: {accelerators: 'H1000:8'}", &["local"]),
        "ResourcesUnavailableError: no enabled infra offers 1x(gpus=H1000:8); did you mean H100, H100-SXM?; sky gpus list shows which accelerators there are; ask for less, or enable more infra: sky check"
    );
    assert_eq!(
        says("resources: {infra: aws, cpus: 3}", &["aws"]),
        "ResourcesUnavailableError: no enabled infra offers 1x(infra=aws, cpus=3); append `+` to cpus or memory to accept larger machines; ask for less, or enable more infra: sky check"
    );
}

#[test]
fn an_existing_cluster_serves_what_is_not_more() {
    let node = local(4.0, 16.0);
    let fit = |text: &str| fits(&node, 2, &task(text));
    for good in [
        "run: x",
        "num_nodes: 2",
        "resources: {cpus: 2}",
        "resources: {cpus: 4+, memory: 16, infra: local}",
        "resources: {any_of: [{cpus: 64}, {cpus: 1}]}",
    ] {
        assert!(fit(good).is_ok(), "{good}");
    }
    let says = |text: &str| {
        let error = fit(text).expect_err(text);
        assert_eq!(error.kind(), Kind::ResourcesMismatch);
        error.message().to_owned()
    };
    assert_eq!(
        says("num_nodes: 3\nresources: {cpus: 8+, accelerators: A100}"),
        "the cluster does not offer what the task asks for: 3 nodes (it has 2), accelerators A100:1, cpus 8+ missing; asked for 3x(cpus=8+, gpus=A100:1), it is Local 2x(cpus=4, mem=16)"
    );
    assert!(says("resources: {infra: aws}").contains("infra aws missing"));
    assert!(says("resources: {use_spot: true}").contains("spot nodes missing"));
    assert!(says("resources: {memory: 32}").contains("memory 32 missing"));
}

#[test]
fn nodes_are_described_short_and_long() {
    let cpu = aws("m6i.large", 2.0, 8.0, 0.1);
    assert_eq!(
        resources_text(1, &cpu, false),
        "1x(cpus=2, mem=8, m6i.large, ...)"
    );
    assert_eq!(
        resources_text(1, &cpu, true),
        "1x(cpus=2, mem=8, m6i.large)"
    );
    let mut gpus = gpu(aws("a-very-long-instance-type", 8.0, 61.0, 3.06), "V100:1");
    gpus.spot = true;
    assert_eq!(
        resources_text(2, &gpus, false),
        "2x[spot](gpus=V100:1, a-very-long-..., ...)"
    );
    assert_eq!(
        resources_text(2, &gpus, true),
        "2x[spot](gpus=V100:1, cpus=8, mem=61, a-very-long-instance-type)"
    );
    assert_eq!(
        resources_text(1, &local(2.0, 8.0), false),
        "1x(cpus=2, mem=8, ...)"
    );
}
