//! Offers against shapes.

use super::query::{Miss, tailor};
use super::*;
use crate::base::units::Dollars;
use crate::task::{Accelerator, Amount, Infra, Shape};

pub(crate) fn local(vcpus: f64, memory_gb: f64) -> Offer {
    Offer {
        cloud: "local".to_owned(),
        display: "Local".to_owned(),
        region: None,
        zone: None,
        instance_type: None,
        vcpus,
        memory_gb,
        accelerators: None,
        hourly: Dollars(0.0),
        spot: false,
        arch: None,
    }
}

pub(crate) fn aws(instance: &str, vcpus: f64, memory_gb: f64, hourly: f64) -> Offer {
    Offer {
        cloud: "aws".to_owned(),
        display: "AWS".to_owned(),
        region: Some("us-east-1".to_owned()),
        instance_type: Some(instance.to_owned()),
        hourly: Dollars(hourly),
        ..local(vcpus, memory_gb)
    }
}

pub(crate) fn gpu(mut offer: Offer, kind: &str) -> Offer {
    offer.accelerators = Some(kind.parse().expect("good"));
    offer
}

#[expect(clippy::unnecessary_wraps, reason = "it fills an optional field")]
fn exactly(value: f64) -> Option<Amount> {
    Some(Amount::exactly(value))
}

#[expect(clippy::unnecessary_wraps, reason = "it fills an optional field")]
fn at_least(value: f64) -> Option<Amount> {
    Some(Amount::at_least(value))
}

#[expect(clippy::unnecessary_wraps, reason = "it fills an optional field")]
fn kind(text: &str) -> Option<Accelerator> {
    Some(text.parse().expect("good"))
}

#[test]
fn a_machine_is_cut_to_an_exact_size_or_given_whole() {
    let machine = local(4.0, 15.6);
    let size = |shape: Shape| tailor(&shape, &machine).map(|node| (node.vcpus, node.memory_gb));
    assert_eq!(size(Shape::default()), Ok((4.0, 15.6)));
    assert_eq!(
        size(Shape {
            cpus: exactly(2.0),
            memory: exactly(8.0),
            ..Shape::default()
        }),
        Ok((2.0, 8.0))
    );
    assert_eq!(
        size(Shape {
            cpus: exactly(0.5),
            ..Shape::default()
        }),
        Ok((0.5, 15.6))
    );
    assert_eq!(
        size(Shape {
            cpus: at_least(2.0),
            ..Shape::default()
        }),
        Ok((4.0, 15.6))
    );
    assert_eq!(
        size(Shape {
            cpus: exactly(8.0),
            ..Shape::default()
        }),
        Err(Miss::Cpus)
    );
    assert_eq!(
        size(Shape {
            memory: at_least(32.0),
            ..Shape::default()
        }),
        Err(Miss::Memory)
    );
    assert_eq!(
        size(Shape {
            accelerators: kind("A100"),
            ..Shape::default()
        }),
        Err(Miss::Accelerators)
    );
    assert_eq!(
        size(Shape {
            use_spot: Some(true),
            ..Shape::default()
        }),
        Err(Miss::Spot)
    );
    assert_eq!(
        size(Shape {
            instance_type: Some("m6i".to_owned()),
            ..Shape::default()
        }),
        Err(Miss::InstanceType)
    );
}

#[test]
fn accelerators_of_a_machine_go_to_those_who_ask() {
    let machine = gpu(local(8.0, 64.0), "A100:4");
    let given = |shape: Shape| tailor(&shape, &machine).map(|node| node.accelerators);
    assert_eq!(given(Shape::default()), Ok(None));
    assert_eq!(
        given(Shape {
            accelerators: kind("a100:2"),
            ..Shape::default()
        }),
        Ok(kind("A100:2"))
    );
    assert_eq!(
        given(Shape {
            accelerators: kind("A100:8"),
            ..Shape::default()
        }),
        Err(Miss::Accelerators)
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn machine_types_are_taken_as_they_are() {
    let fits = |shape: &Shape, offer: &Offer| tailor(shape, offer).map(|_| ());
    let exact = Shape {
        cpus: exactly(2.0),
        ..Shape::default()
    };
    assert_eq!(fits(&exact, &aws("m6i.large", 2.0, 8.0, 0.1)), Ok(()));
    assert_eq!(
        fits(&exact, &aws("m6i.xlarge", 4.0, 16.0, 0.2)),
        Err(Miss::Cpus)
    );
    let ratio = Shape {
        cpus: at_least(2.0),
        memory: Some(Amount::per_cpu(8.0)),
        ..Shape::default()
    };
    assert_eq!(fits(&ratio, &aws("r6i.large", 2.0, 16.0, 0.126)), Ok(()));
    assert_eq!(
        fits(&ratio, &aws("m6i.large", 2.0, 8.0, 0.096)),
        Err(Miss::Memory)
    );
    assert_eq!(
        fits(&exact, &aws("c6i.large", 2.0, 4.0, 0.085)),
        Err(Miss::Memory),
        "4 GB for each CPU unless another amount is asked for"
    );
    let more = Shape {
        cpus: at_least(2.0),
        memory: at_least(10.0),
        ..Shape::default()
    };
    assert_eq!(
        fits(&more, &aws("m6i.large", 2.0, 8.0, 0.1)),
        Err(Miss::Memory)
    );
    assert_eq!(fits(&more, &aws("m6i.xlarge", 4.0, 16.0, 0.2)), Ok(()));
    let v100 = gpu(aws("p3.2xlarge", 8.0, 61.0, 3.06), "V100:1");
    assert_eq!(
        fits(
            &Shape {
                accelerators: kind("V100"),
                ..Shape::default()
            },
            &v100
        ),
        Ok(())
    );
    assert_eq!(
        fits(
            &Shape {
                accelerators: kind("V100:0.5"),
                ..Shape::default()
            },
            &v100
        ),
        Ok(())
    );
    assert_eq!(
        fits(
            &Shape {
                accelerators: kind("V100:2"),
                ..Shape::default()
            },
            &v100
        ),
        Err(Miss::Accelerators)
    );
    assert_eq!(
        fits(&more, &v100),
        Err(Miss::Family),
        "a CPU task does not get a GPU machine"
    );
    assert_eq!(
        fits(
            &Shape {
                instance_type: Some("p3.2xlarge".to_owned()),
                ..Shape::default()
            },
            &v100
        ),
        Ok(())
    );
    assert_eq!(
        fits(&Shape::default(), &aws("m6i.large", 2.0, 8.0, 0.1)),
        Err(Miss::Cpus),
        "the default is 8 CPUs"
    );
    assert_eq!(
        fits(&Shape::default(), &aws("m6i.2xlarge", 8.0, 32.0, 0.4)),
        Ok(())
    );
    let cheap = Shape {
        max_hourly_cost: Some(1.0),
        accelerators: kind("V100"),
        ..Shape::default()
    };
    assert_eq!(fits(&cheap, &v100), Err(Miss::Cost));
}

#[test]
fn places_are_compared_part_by_part() {
    let offer = aws("m6i.2xlarge", 8.0, 32.0, 0.4);
    let at = |infra: &str| {
        let infra: Infra = infra.parse().expect("good");
        tailor(
            &Shape {
                infra,
                ..Shape::default()
            },
            &offer,
        )
        .is_ok()
    };
    assert!(
        at("*")
            && at("aws")
            && at("aws/us-east-1")
            && at("*/us-east-1")
            && at("aws/us-east-1/us-east-1b")
    );
    assert!(!at("gcp") && !at("aws/us-west-2") && !at("local"));
}
