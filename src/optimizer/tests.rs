//! Ranking, tables, fit.

use super::plan::plan as rank;
use super::*;
use crate::base::Kind;
use crate::base::clock::Moment;
use crate::base::units::Dollars;
use crate::catalog::tests::{aws, gpu, local};
use crate::catalog::{Block, Cause, Offer, Supply, Table, Why};
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

/// The clouds that these offers are of, of which some are enabled.
pub(super) fn markets(task: &Task, offers: &[Offer], enabled: &[String]) -> Vec<Market> {
    let mut markets: Vec<Market> = Vec::new();
    for offer in offers {
        if markets.iter().any(|market| market.cloud == offer.cloud) {
            continue;
        }
        let own: Vec<Offer> = offers
            .iter()
            .filter(|other| other.cloud == offer.cloud)
            .cloned()
            .collect();
        let is_other = |cloud: &String| *cloud != offer.cloud;
        let supply = |shape: &crate::task::Shape| match &shape.infra.cloud {
            Some(cloud) if is_other(cloud) => Supply::default(),
            _ => Supply::select(shape, &own),
        };
        let supplies = task.resources.alternatives.iter().map(supply).collect();
        let state = if enabled.contains(&offer.cloud) {
            Standing::Open(supplies)
        } else {
            Standing::Shut {
                reason: "no credentials".to_owned(),
                would: supplies,
            }
        };
        markets.push(Market {
            cloud: offer.cloud.clone(),
            display: offer.display.clone(),
            state,
        });
    }
    markets
}

fn plan(task: &Task, offers: &[Offer], enabled: &[String]) -> crate::base::Result<Plan> {
    rank(task, markets(task, offers, enabled), &[])
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
fn what_is_offered_or_asked_for_twice_is_one_candidate() {
    let cheap = aws("m6i.large", 2.0, 8.0, 0.1);
    let offers = [cheap.clone(), aws("m6i.xlarge", 4.0, 16.0, 0.2), cheap];
    let count = |text: &str| {
        let plan = plan(&task(text), &offers, &enabled(&["aws"])).expect("a plan");
        plan.candidates.len()
    };
    assert_eq!(count("resources: {cpus: 2+, memory: 4x}"), 2);
    assert_eq!(
        count("resources: {any_of: [{cpus: 2+}, {cpus: 4+}, {cpus: 2+}]}"),
        3,
        "the larger one meets two wishes"
    );
    assert_eq!(
        count("resources: {ordered: [{cpus: 4}, {cpus: 2}, {cpus: 4}]}"),
        2
    );
}

#[test]
fn what_cannot_be_had_is_explained() {
    let offers = [local(4.0, 15.6), aws("m6i.2xlarge", 8.0, 32.0, 0.4)];
    let says = |text: &str, clouds: &[&str]| {
        let error = plan(&task(text), &offers, &enabled(clouds)).expect_err(text);
        let hints = error.hints().join("\n  ");
        format!(
            "{}: {}\n  {hints}",
            error.kind().exception_class(),
            error.message()
        )
    };
    insta::assert_snapshot!(says("run: x", &[]), @r#"
    NoCloudAccessError: no infra is enabled
      sky check shows what is missing
    "#);
    insta::assert_snapshot!(says("resources: {infra: aws}", &["local"]), @r#"
    ResourcesUnavailableError: the infra `aws` is not enabled
      AWS is not enabled: no credentials (it would give m6i.2xlarge in AWS (us-east-1) for $0.40 an hour)
      sky check aws shows what is missing
      enabled: local
    "#);
    insta::assert_snapshot!(says("resources: {cpus: 64}", &["local"]), @r#"
    ResourcesUnavailableError: no enabled infra offers 1x(cpus=64)
      Local has 4 CPUs
      AWS is not enabled: no credentials
      ask for less, or enable more infra: sky check
    "#);
    insta::assert_snapshot!(says("resources: {accelerators: 'H1000:8'}", &["local", "aws"]), @r#"
    ResourcesUnavailableError: no enabled infra offers 1x(gpus=H1000:8)
      did you mean H100, H100-SXM?
      Local has no such accelerators
      AWS has no such accelerators
      sky gpus list shows which accelerators there are
      ask for less, or enable more infra: sky check
    "#);
    insta::assert_snapshot!(says("resources: {infra: aws, cpus: 3}", &["aws"]), @r#"
    ResourcesUnavailableError: no enabled infra offers 1x(infra=aws, cpus=3)
      AWS has no machine type with these CPUs
      append `+` to cpus or memory to accept larger machines
      ask for less, or enable more infra: sky check
    "#);
    insta::assert_snapshot!(says("resources: {infra: aws, max_hourly_cost: 0.1}", &["aws"]), @r#"
    ResourcesUnavailableError: no enabled infra offers 1x(infra=aws, max_hourly_cost=0.1)
      the cheapest fit of AWS costs $0.40 an hour
      raise max_hourly_cost
      ask for less, or enable more infra: sky check
    "#);
    insta::assert_snapshot!(says("resources: {any_of: [{use_spot: true}, {instance_type: m6i.big}]}", &["local"]), @r#"
    ResourcesUnavailableError: no enabled infra offers any of 1x[spot](any machine), 1x(instance_type=m6i.big)
      Local has no spot capacity of this kind
      Local has no such machine type there
      AWS is not enabled: no credentials
      sky gpus list shows which accelerators there are
      leave out --use-spot to take machines on demand
      ask for less, or enable more infra: sky check
    "#);
}

#[test]
fn what_was_ruled_out_is_listed() {
    let offers = [local(4.0, 15.6), aws("m6i.2xlarge", 8.0, 32.0, 0.4)];
    let task = task("resources: {any_of: [{cpus: 2}, {cpus: 8}, {infra: aws, cpus: 8}]}");
    let plan = plan(&task, &offers, &enabled(&["local"])).expect("a plan");
    insta::assert_snapshot!(ruled_out(&plan), @r#"
    Ruled out:
      Local has 4 CPUs (by what is offered; wanted 1x(cpus=8))
      AWS is not enabled: no credentials (by sky check; wanted 1x(cpus=2))
      AWS is not enabled: no credentials (it would give m6i.2xlarge in AWS (us-east-1) for $0.40 an hour) (by sky check; wanted 1x(cpus=8))
      AWS is not enabled: no credentials (it would give m6i.2xlarge in AWS (us-east-1) for $0.40 an hour) (by sky check; wanted 1x(infra=aws, cpus=8))
    "#);
    let json = serde_json::to_value(&plan.ruled_out).expect("JSON");
    assert_eq!(json[0]["why"], "cpus");
}

#[test]
fn what_was_refused_a_moment_ago_is_left_out_until_then() {
    let mut other = aws("m6i.2xlarge", 8.0, 32.0, 0.4);
    other.region = Some("us-west-2".to_owned());
    let offers = [aws("m6i.2xlarge", 8.0, 32.0, 0.4), other];
    let task = task("resources: {cpus: 8}");
    let block = Block {
        infra: "aws/us-east-1".parse().expect("good"),
        instance_type: Some("m6i.2xlarge".to_owned()),
        family: None,
        spot: None,
        size: None,
        nodes: 1,
        until: Moment::from_micros(1_790_000_000_000_000),
        cause: Cause::Capacity,
        reason: "no capacity".to_owned(),
    };
    let markets = markets(&task, &offers, &enabled(&["aws"]));
    let plan = rank(&task, markets.clone(), std::slice::from_ref(&block)).expect("a plan");
    assert_eq!(plan.chosen().offer.region.as_deref(), Some("us-west-2"));
    assert!(matches!(plan.ruled_out[0].why, Why::Blocked { .. }));
    let everywhere = Block {
        infra: "aws".parse().expect("good"),
        instance_type: None,
        ..block
    };
    let plan = rank(&task, markets, &[everywhere]).expect("a plan all the same");
    assert!(plan.all_blocked, "whoever asks has the last word");
    insta::assert_snapshot!(ruled_out(&plan), @r"
    Ruled out:
      AWS (us-east-1) is blocked by a capacity error until 14:13:20 UTC: no capacity (by an earlier refusal; wanted 1x(cpus=8))
      AWS (us-west-2) is blocked by a capacity error until 14:13:20 UTC: no capacity (by an earlier refusal; wanted 1x(cpus=8))
    ");
}

/// What AWS, as it is built in, has for a task.
fn at_aws(text: &str) -> crate::base::Result<Plan> {
    let task = task(text);
    let table = Table::built_in("aws").expect("built in");
    let supplies = task
        .resources
        .alternatives
        .iter()
        .map(|shape| table.supply(shape))
        .collect();
    let market = Market {
        cloud: "aws".to_owned(),
        display: "AWS".to_owned(),
        state: Standing::Open(supplies),
    };
    rank(&task, vec![market], &[])
}

#[test]
fn aws_is_ranked_by_its_price_list() {
    let shown = |text: &str| table(&at_aws(text).expect(text));
    insta::assert_snapshot!(shown("resources: {infra: aws}"), @r#"
    Considered resources (1 node):
    ------------------------------------------------------------------------------
     INFRA             INSTANCE      vCPUs   Mem(GB)   GPUS   COST ($)   CHOSEN   
    ------------------------------------------------------------------------------
     AWS (us-east-1)   m6i.2xlarge   8       32        -      0.38          ✔     
    ------------------------------------------------------------------------------
    "#);
    insta::assert_snapshot!(
        shown("num_nodes: 2\nresources: {cpus: 4+, accelerators: {A10G: 1, L4: 1, T4: 1}}"), @r#"
    Considered resources (2 nodes):
    --------------------------------------------------------------------------------
     INFRA             INSTANCE      vCPUs   Mem(GB)   GPUS     COST ($)   CHOSEN   
    --------------------------------------------------------------------------------
     AWS (us-east-1)   g4dn.xlarge   4       16        T4:1     1.05          ✔     
     AWS (us-east-1)   g6.xlarge     4       16        L4:1     1.61                
     AWS (us-east-1)   g5.xlarge     4       16        A10G:1   2.01                
    --------------------------------------------------------------------------------
    "#);
    insta::assert_snapshot!(shown("resources: {accelerators: [A10G, L4]}"), @r#"
    Considered resources (1 node):
    ------------------------------------------------------------------------------
     INFRA             INSTANCE    vCPUs   Mem(GB)   GPUS     COST ($)   CHOSEN   
    ------------------------------------------------------------------------------
     AWS (us-east-1)   g5.xlarge   4       16        A10G:1   1.01          ✔     
     AWS (us-east-1)   g6.xlarge   4       16        L4:1     0.80                
    ------------------------------------------------------------------------------
    "#);
    insta::assert_snapshot!(shown("resources: {accelerators: '40GB+:8', max_hourly_cost: 40}"), @r#"
    Considered resources (1 node):
    ---------------------------------------------------------------------------------
     INFRA             INSTANCE       vCPUs   Mem(GB)   GPUS     COST ($)   CHOSEN   
    ---------------------------------------------------------------------------------
     AWS (us-east-1)   p4d.24xlarge   96      1152      A100:8   21.96         ✔     
     AWS (us-east-1)   g6e.48xlarge   192     1536      L40S:8   30.13               
    ---------------------------------------------------------------------------------
    "#);
    insta::assert_snapshot!(
        shown("resources: {any_of: [{cpus: 16, memory: 8x}, {instance_type: t4g.small, infra: aws/us-west-2/us-west-2b}]}"), @r#"
    Considered resources (1 node):
    -----------------------------------------------------------------------------
     INFRA              INSTANCE    vCPUs   Mem(GB)   GPUS   COST ($)   CHOSEN   
    -----------------------------------------------------------------------------
     AWS (us-west-2b)   t4g.small   2       2         -      0.02          ✔     
    -----------------------------------------------------------------------------
    "#);
}

#[test]
fn a_cpu_task_gets_a_general_machine_with_4_gb_for_each_cpu() {
    for (text, instance, cost) in [
        ("run: x", "m6i.2xlarge", 0.384),
        ("resources: {cpus: 2}", "m6i.large", 0.096),
        ("resources: {cpus: 3+}", "m6i.xlarge", 0.192),
        ("resources: {memory: 32}", "r6i.xlarge", 0.252),
        ("resources: {cpus: 4, memory: 8+}", "c6i.xlarge", 0.17),
        ("resources: {cpus: 2+, memory: 8x}", "r6i.large", 0.126),
        ("resources: {accelerators: 'V100:0.5'}", "p3.2xlarge", 3.06),
        (
            "resources: {accelerators: 'nvidia:80GB+:8'}",
            "p5.48xlarge",
            55.04,
        ),
        (
            "resources: {local_disk: 'nvme:400+', cpus: 8}",
            "m6id.2xlarge",
            0.4746,
        ),
    ] {
        let plan = at_aws(text).expect(text);
        let chosen = plan.chosen();
        assert_eq!(
            chosen.offer.instance_type.as_deref(),
            Some(instance),
            "{text}"
        );
        assert_eq!(chosen.cost, Dollars(cost), "{text}");
        assert_eq!(chosen.offer.region.as_deref(), Some("us-east-1"), "{text}");
    }
}

#[test]
fn aws_says_what_it_lacks() {
    let says = |text: &str| at_aws(text).expect_err(text).hints().join("\n");
    insta::assert_snapshot!(says("resources: {infra: aws/eu-west-1}"), @r#"
    the price list of AWS has no prices for eu-west-1; get them: sky catalog update
    ask for less, or enable more infra: sky check
    "#);
    insta::assert_snapshot!(says("resources: {infra: aws/us-esat-1}"), @r#"
    AWS has no such place; did you mean us-east-1, us-west-1, us-east-2, us-west-2?
    ask for less, or enable more infra: sky check
    "#);
    insta::assert_snapshot!(says("resources: {infra: aws/us-east-1/us-west-2a}"), @r#"
    AWS has no such place
    ask for less, or enable more infra: sky check
    "#);
    insta::assert_snapshot!(says("resources: {accelerators: 'A100:4'}"), @r#"
    AWS has no such accelerators, but A100:8, A100-80GB:8
    sky gpus list shows which accelerators there are
    ask for less, or enable more infra: sky check
    "#);
    insta::assert_snapshot!(says("resources: {instance_type: m6i.lagre}"), @r#"
    AWS has no such machine type there; did you mean m6i.large, m6i.xlarge, m6id.large, m6i.2xlarge?
    sky gpus list shows which accelerators there are
    ask for less, or enable more infra: sky check
    "#);
    insta::assert_snapshot!(says("resources: {cpus: 1000+}"), @r#"
    AWS has no machine type with these CPUs
    append `+` to cpus or memory to accept larger machines
    ask for less, or enable more infra: sky check
    "#);
    insta::assert_snapshot!(says("resources: {cpus: 2, memory: 3}"), @r#"
    AWS has no machine type with this memory
    append `+` to cpus or memory to accept larger machines
    ask for less, or enable more infra: sky check
    "#);
    insta::assert_snapshot!(says("resources: {use_spot: true}"), @r#"
    AWS has no spot capacity of this kind
    leave out --use-spot to take machines on demand
    ask for less, or enable more infra: sky check
    "#);
    insta::assert_snapshot!(says("resources: {accelerators: V100, max_hourly_cost: 1}"), @r#"
    the cheapest fit of AWS costs $3.06 an hour
    raise max_hourly_cost
    ask for less, or enable more infra: sky check
    "#);
    insta::assert_snapshot!(says("resources: {accelerators: H200:8}"), @r#"
    the price list of AWS has no price of what fits; get them: sky catalog update
    ask for less, or enable more infra: sky check
    "#);
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
