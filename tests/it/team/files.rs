//! Files of a user's machine on their way to a team server.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::json;

use super::{Team, bearer, files_with};
use crate::world::{World, wait_until};

/// Stands between a client and the server; counts what the client sends, and cuts or stalls it.
struct Between {
    port: u16,
    facts: Arc<Facts>,
}

/// What the two sides of a connection share.
#[derive(Default)]
struct Facts {
    /// Bytes from clients.
    sent: AtomicU64,
    /// Cut the connection when so many have passed; 0 = never.
    cut_at: AtomicU64,
    /// Let nothing more pass when so many have; 0 = never.
    stall_at: AtomicU64,
    /// Whether one of the two has happened.
    done: AtomicBool,
}

impl Between {
    fn new(team: &Team) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let facts = Arc::new(Facts::default());
        let (shared, server) = (Arc::clone(&facts), team.port);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                    continue;
                };
                let facts = Arc::clone(&shared);
                let (back, forth) = ((server.try_clone(), client.try_clone()), (client, server));
                if let (Ok(from), Ok(mut to)) = back {
                    thread::spawn(move || {
                        let mut from = from;
                        drop(std::io::copy(&mut from, &mut to));
                        drop(to.shutdown(Shutdown::Both));
                    });
                }
                thread::spawn(move || forward(forth.0, forth.1, &facts));
            }
        });
        Self { port, facts }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn sent(&self) -> u64 {
        self.facts.sent.load(Ordering::SeqCst)
    }
}

/// Passes on what a client sends.
fn forward(mut client: TcpStream, mut server: TcpStream, facts: &Facts) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(n) = client.read(&mut buffer) {
        if n == 0 || server.write_all(&buffer[..n]).is_err() {
            break;
        }
        let sent = facts.sent.fetch_add(n as u64, Ordering::SeqCst) + n as u64;
        let reached = |at: &AtomicU64| {
            let at = at.load(Ordering::SeqCst);
            at > 0 && sent >= at
        };
        let due = reached(&facts.cut_at) || reached(&facts.stall_at);
        if due && !facts.done.swap(true, Ordering::SeqCst) {
            if reached(&facts.cut_at) {
                break;
            }
            // Until the client gives up.
            while !matches!(client.read(&mut buffer), Ok(0) | Err(_)) {}
            break;
        }
    }
    drop(server.shutdown(Shutdown::Both));
    drop(client.shutdown(Shutdown::Both));
}

/// Bytes that no archive makes smaller.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(&mut next)
        .take(len.div_ceil(8))
        .flatten()
        .collect();
    bytes.truncate(len);
    bytes
}

/// A machine that reaches the server through something in between.
fn machine(team: &Team, between: &Between) -> World {
    World::new()
        .env("SKYPILOT_API_SERVER_ENDPOINT", &between.url())
        .env("SKYPILOT_SERVICE_ACCOUNT_TOKEN", &team.admin)
}

/// A task with a work directory and mounts; `len` bytes of noise are in it.
fn task(world: &World, len: usize) -> String {
    world.file("wd/.skyignore", "*.big\n");
    world.file("wd/a.txt", "work\n");
    world.file("wd/data.big", "ignored-content\n");
    world.file("inputs/one.txt", "mounted\n");
    fs::write(world.cwd().join("wd/noise"), noise(7, len)).expect("a file");
    let path = world.file(
        "task.yaml",
        "workdir: wd\nfile_mounts:\n  ~/in: inputs\n  ~/single.txt: inputs/one.txt\n\
         run: |\n  cat a.txt ~/in/one.txt ~/single.txt; ls; wc -c < noise\n",
    );
    path.to_string_lossy().into_owned()
}

#[test]
fn files_are_uploaded_once_for_the_same_content() {
    let team = Team::start();
    let between = Between::new(&team);
    let world = machine(&team, &between);
    let len = 1 << 20;
    let task = task(&world, len);
    let launch = || {
        let before = between.sent();
        let ran = world.sky(&["launch", "-y", "-c", "demo", &task]).ok();
        (ran.all(), between.sent() - before)
    };
    let (text, sent) = launch();
    assert!(sent > len as u64, "{sent} bytes");
    assert!(
        text.contains(") work") && !text.contains("data.big"),
        "{text}"
    );
    assert_eq!(text.matches(") mounted").count(), 2, "{text}");
    assert!(text.contains(&format!(") {len}")), "{text}");
    let kept = files_with(&team.world.state(), "ignored-content");
    assert!(kept.is_empty(), "what is ignored stays at home: {kept:?}");
    let (text, sent) = launch();
    assert!(sent < 100_000, "{sent} bytes for content that is there");
    assert!(text.contains(") work"), "{text}");
    // Other content is another upload, and exec brings it along.
    world.file("wd/a.txt", "changed\n");
    let before = between.sent();
    world.sky(&["exec", "demo", &task]).ok().shows(") changed");
    assert!(between.sent() - before > len as u64);
    // Nothing is left at the user's, and the logs come back.
    let left = fs::read_dir(world.home().join(".sky/uploads"));
    assert_eq!(left.map_or(0, Iterator::count), 0);
    world
        .sky(&["logs", "demo", "1", "--sync-down"])
        .ok()
        .shows("~/sky_logs/");
    assert!(!files_with(&world.home().join("sky_logs"), "mounted").is_empty());
}

#[test]
fn an_upload_that_is_cut_off_goes_on() {
    let team = Team::start();
    let between = Between::new(&team);
    let world = machine(&team, &between);
    let task = task(&world, 1 << 20);
    between.facts.cut_at.store(500_000, Ordering::SeqCst);
    world
        .sky(&["launch", "-y", "-c", "demo", &task])
        .ok()
        .shows(") work");
    assert!(between.facts.done.load(Ordering::SeqCst));
}

#[test]
fn a_second_try_sends_only_what_is_missing() {
    let team = Team::start();
    let between = Between::new(&team);
    let world = machine(&team, &between).env("SKY_UPLOAD_CHUNK_BYTES", "100000");
    let len = 2_000_000;
    let task = task(&world, len);
    between.facts.stall_at.store(1_200_000, Ordering::SeqCst);
    let args = ["launch", "-y", "-c", "demo", task.as_str()];
    let mut child = world.spawn(&args);
    wait_until("the upload stands still", || {
        if between.facts.done.load(Ordering::SeqCst) {
            Ok(())
        } else if let Ok(Some(status)) = child.try_wait() {
            Err(format!("the client has ended: {status}"))
        } else {
            Err(format!("{} bytes", between.sent()))
        }
    });
    child.kill().expect("it lives");
    world.finish(child);
    let before = between.sent();
    world.sky(&args).ok().shows(") work");
    let again = between.sent() - before;
    assert!(
        again > 700_000 && again < 1_300_000,
        "{again} of {len} bytes"
    );
}

#[test]
fn an_upload_that_is_too_large_is_refused_before_it_is_sent() {
    let team = Team::start_in(World::new().env("SKY_MAX_UPLOAD_BYTES", "500000"), &[]);
    let between = Between::new(&team);
    let world = machine(&team, &between);
    let task = task(&world, 1 << 20);
    world
        .sky(&["launch", "-y", "-c", "demo", &task])
        .expect_code(1)
        .shows("larger than")
        .shows(".skyignore");
    assert!(between.sent() < 100_000, "{} bytes", between.sent());
}

#[test]
fn files_of_the_server_cannot_be_named() {
    let team = Team::start();
    team.user("ann", "user");
    let secret = team.world.file("secret.txt", "of the server\n");
    let secret = secret.display();
    let auth = super::basic("ann", "pw-ann-pw");
    let launch = |task: String, blob: Option<&str>| {
        let body = json!({"task": task, "cluster_name": "demo", "file_mounts_blob_id": blob});
        team.call("POST", "/launch", Some(&auth), &body.to_string())
    };
    let ended = |reply: &super::Reply| {
        let path = format!("/api/get?request_id={}", reply.request_id());
        team.call("GET", &path, Some(&auth), "")
    };
    // Without an upload, and with the upload of somebody else or none at all.
    let text = format!("file_mounts: {{~/x: {secret}}}\nrun: cat ~/x\n");
    let reply = launch(text.clone(), None);
    let outcome = if reply.status == 200 {
        ended(&reply)
    } else {
        reply
    };
    assert!(outcome.body.contains("nothing was uploaded"), "{outcome:?}");
    let other = "0".repeat(64);
    for blob in [other.as_str(), "../../../..", "..", "a/../../b"] {
        let reply = launch(text.clone(), Some(blob));
        assert!((400..500).contains(&reply.status), "{blob}: {reply:?}");
    }
    // The upload of another user is not there for this one.
    let boss = team.machine(&team.admin);
    let task = task(&boss, 10);
    boss.sky(&["launch", "-y", "-c", "boss", &task]).ok();
    let blobs = files_with(&team.world.state().join("clients"), "mounted");
    let blob = blobs[0].components().find_map(|part| {
        let part = part.as_os_str().to_str()?;
        (part.len() == 64).then(|| part.to_owned())
    });
    let blob = blob.expect("a blob");
    let reply = launch("run: echo\n".to_owned(), Some(&blob));
    assert_eq!(reply.status, 404, "{reply:?}");
    // Their own upload does not lead out of itself.
    let query = format!("/upload_v2?upload_id={blob}&chunk_index=0&total_chunks=1");
    let reply = team.call("POST", &query, Some(&auth), "not an archive");
    assert!((400..500).contains(&reply.status), "{reply:?}");
    let admin = bearer(&team.admin);
    for path in [format!("{secret}"), format!("../../../../{secret}")] {
        let text = format!("file_mounts: {{~/x: \"{path}\"}}\nrun: cat ~/x\n");
        let body = json!({"task": text, "cluster_name": "out", "file_mounts_blob_id": blob});
        let reply = team.call("POST", "/launch", Some(&admin), &body.to_string());
        if reply.status == 200 {
            let path = format!("/api/get?request_id={}", reply.request_id());
            let outcome = team.call("GET", &path, Some(&admin), "");
            assert!(outcome.body.contains("FAILED"), "{outcome:?}");
        }
    }
    // Downloads come from one's own log tree only.
    for path in [format!("{secret}"), "/etc".to_owned(), "~/.sky".to_owned()] {
        let body = json!({"folder_paths": [path]}).to_string();
        let reply = team.call("POST", "/download", Some(&auth), &body);
        assert!((400..500).contains(&reply.status), "{path}: {reply:?}");
        assert!(!reply.body.contains("of the server"));
    }
    // Nor is the stream of logs a way to any file: not for users, and for admins only to logs.
    let encoded = format!("{secret}").replace('/', "%2F");
    for auth in [&auth, &admin] {
        for path in [
            encoded.as_str(),
            "%2Fetc%2Fpasswd",
            "..%2F..%2Fstore.redb",
            "~%2F.sky%2Fuser_hash",
        ] {
            let call = format!("/api/stream?log_path={path}&follow=false");
            let reply = team.call("GET", &call, Some(auth), "");
            assert!((400..500).contains(&reply.status), "{path}: {reply:?}");
        }
    }
}
