//! A server that finds agents of an older release.

use std::convert::Infallible;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::world::{World, kill, lives, wait_for, wait_until};

/// Where the agent of an older release listens.
const SOCKET: &str = "OLD_AGENT_SOCKET";

/// The only agent of a world: its process and its directory.
fn agent(world: &World) -> Option<(u32, PathBuf)> {
    let all = world.processes().into_iter();
    let mut agents = all.filter_map(|(pid, line)| {
        let dir = line.split_once(" __agent --dir ")?.1.split(' ').next()?;
        Some((pid, PathBuf::from(dir)))
    });
    agents.next()
}

/// Ends a process at once.
fn end(pid: u32) {
    kill(pid, "KILL");
    wait_for("it is gone", || !lives(pid));
}

/// Starts one of an older release in the place of an agent.
fn start_old(dir: &std::path::Path) -> Child {
    let socket = dir.join("agent.sock");
    std::fs::remove_file(&socket).expect("a socket");
    let this = std::env::current_exe().expect("this program");
    let name = "upgrade::an_agent_of_an_older_release";
    let old = Command::new(this)
        .args(["--exact", name, "--ignored"])
        .env(SOCKET, &socket)
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    wait_for("it listens", || UnixStream::connect(&socket).is_ok());
    old
}

#[test]
#[ignore = "another test starts it, as a process of its own"]
fn an_agent_of_an_older_release() {
    let socket = std::env::var(SOCKET).expect("a socket");
    let info = serde_json::json!({
        "protocol": 1, "version": "0.0.1", "pid": std::process::id(), "rank": 0, "started": 0,
        "unfinished": 0, "autostop": null, "config_hash": "",
    });
    let info = info.to_string();
    let serve = async {
        let listener = tokio::net::UnixListener::bind(socket).expect("it listens");
        loop {
            let (stream, _) = listener.accept().await.expect("somebody");
            let info = info.clone();
            let answer = hyper::service::service_fn(move |_| {
                let answer = hyper::Response::new(info.clone());
                async { Ok::<_, Infallible>(answer) }
            });
            tokio::spawn(async move {
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                // Whoever asked may go at any time.
                drop(server.serve_connection(TokioIo::new(stream), answer).await);
            });
        }
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(serve);
}

#[test]
fn an_older_agent_is_replaced_and_its_jobs_go_on() {
    let world = World::new();
    let job = "echo begin; while [ ! -e ~/go ]; do sleep 0.05; done; echo end";
    world.sky(&["launch", "-y", "-d", "-c", "demo", job]).ok();
    wait_until("the job runs", || {
        let said = world.sky(&["logs", "demo", "1", "--no-follow"]);
        if said.stdout.contains(") begin") {
            Ok(())
        } else {
            Err(said.all())
        }
    });
    end(world.server_pid().expect("a server"));
    let (pid, dir) = agent(&world).expect("an agent");
    end(pid);
    let mut old = start_old(&dir);
    // The next server needs nothing of the user.
    world.sky(&["exec", "-d", "demo", "echo other"]).ok();
    let status = old.wait().expect("it ended");
    assert!(!status.success(), "it was ended: {status}");
    std::fs::write(dir.join("home/go"), "").expect("it writes");
    let said = world.sky(&["logs", "demo", "1"]).ok();
    for text in [") begin\n", ") end\n"] {
        assert_eq!(said.stdout.matches(text).count(), 1, "{}", said.all());
    }
    let (new, _) = agent(&world).expect("an agent");
    assert!(new != pid && new != old.id());
}
