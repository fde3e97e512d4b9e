//! Hosts on which a step fails for good: the launch names the step, the host and the reason, and what to type next.

use super::gate::seed;
use crate::testbed::Hosts;
use crate::world::{Ran, World};

/// Launches on a host that was prepared by a command.
fn launch_after(prepare: &str, is_seeded: bool) -> (Hosts, Ran) {
    let hosts = Hosts::up(1);
    let world = World::new();
    hosts.pool(&world);
    if is_seeded {
        seed(&hosts, 0);
    }
    hosts.sh(0, prepare).ok();
    let args = [
        "launch", "-y", "-d", "-c", "demo", "--infra", "ssh/lab", "true",
    ];
    let ran = world
        .sky(&args)
        .expect_code(1)
        .shows("Error: the infra `ssh` cannot be used now")
        .shows(&hosts.machines[0].address);
    assert!(!ran.all().contains("not enabled"), "{}", ran.all());
    let left = world.sky(&["status"]).ok();
    assert!(!left.stdout.contains("demo"), "{}", left.all());
    (hosts, ran)
}

#[test]
fn a_host_whose_disk_is_full_is_named_and_keeps_no_part_of_the_copy() {
    let (hosts, ran) = launch_after(
        "mkdir /home/dev/.sky && mount -t tmpfs -o size=20m,uid=$(id -u dev),mode=700 full /home/dev/.sky",
        false,
    );
    ran.shows("cannot copy sky (")
        .shows("No space left on device")
        .shows("Hint: see what keeps it from being written there: ssh -i ")
        .shows(" 'df -h ~; ls -ld ~/.sky ~/.sky/bin'");
    let left = hosts.sh(0, "ls -A /home/dev/.sky/bin").ok();
    assert_eq!(left.stdout, "");
}

#[test]
fn a_host_whose_home_cannot_be_written_is_named() {
    let (_hosts, ran) = launch_after(
        "mkdir /home/dev/.sky && mount -t tmpfs -o ro,mode=755 still /home/dev/.sky",
        false,
    );
    ran.shows("cannot copy sky (")
        .shows("Read-only file system");
}

#[test]
fn a_host_on_which_no_node_can_be_made_is_named() {
    let (_hosts, ran) = launch_after(
        "mkdir /home/dev/.sky/nodes && chmod 700 /home/dev/.sky/nodes",
        true,
    );
    ran.shows("Permission denied");
}
