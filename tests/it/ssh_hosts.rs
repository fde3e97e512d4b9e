//! `sky ssh`: the user's hosts beside the clusters on them.

use crate::testbed::Hosts;
use crate::world::World;

#[test]
fn hosts_are_prepared_listed_and_left_as_they_were() {
    let hosts = Hosts::up(2);
    let world = World::new();
    world
        .sky(&["ssh", "up"])
        .expect_code(1)
        .shows("there are no pools");
    hosts.pool(&world);
    world
        .sky(&["ssh", "list"])
        .ok()
        .shows("NOT PREPARED")
        .shows(&hosts.machines[1].address);
    hosts.act("stop", 1);
    world
        .sky(&["ssh", "up", "--infra", "lab"])
        .ok()
        .shows(&format!("├── {}  ready  ", hosts.machines[0].address))
        .shows("did not answer")
        .shows("✓ 1 of 2 hosts can be used.");
    hosts.act("start", 1);
    let up = world.sky(&["ssh", "up", "-o", "json"]).ok().json();
    assert_eq!(up[1]["error"], serde_json::Value::Null, "{up}");
    world
        .sky(&["ssh", "up", "--infra", "other"])
        .expect_code(1)
        .shows("there is no pool `other`")
        .shows("pools there: `lab`");

    let args = [
        "launch", "-y", "-d", "-c", "demo", "--infra", "ssh/lab", "--cpus", "1", "true",
    ];
    world.sky(&args).ok();
    let listed = world.sky(&["ssh", "list", "-o", "json"]).ok().json();
    let used: Vec<&serde_json::Value> = listed
        .as_array()
        .expect("a list")
        .iter()
        .filter(|host| host["used_by"] != serde_json::json!([]))
        .collect();
    assert_eq!(used.len(), 1, "{listed}");
    let free = |host: &serde_json::Value| host["free"]["cpus"].as_f64().expect("a number");
    let all = used[0]["cpus"].as_f64().expect("a number");
    assert!((all - free(used[0]) - 1.0).abs() < 1e-6, "{listed}");
    world
        .sky(&["ssh", "list"])
        .ok()
        .shows("READY")
        .shows("demo-");
    world
        .sky(&["ssh", "down", "-y"])
        .expect_code(1)
        .shows("clusters use these hosts")
        .shows("has demo-");
    world.sky(&["down", "-y", "demo"]).ok();
    world
        .sky(&["ssh", "down", "-y"])
        .ok()
        .shows("nothing of sky is left");
    for host in 0..2 {
        hosts.sh(host, "ls -d /home/dev/.sky").expect_code(2);
    }
    // Twice is no error, and what is needed again comes again.
    world.sky(&["ssh", "down", "-y"]).ok();
    world.sky(&["check", "ssh"]).ok().shows("SSH: enabled");
}
