//! Repositories as work directories: over ssh with a key, over https with a token, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::sshd::Hosts;
use crate::world::{Ran, World, free_port, wait_until};

/// A repository that others clone, and a place to commit to it.
struct Upstream {
    bare: PathBuf,
    work: PathBuf,
}

/// Runs git in a directory, with nobody's settings.
fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git runs; scripts/test installs it");
    assert!(output.status.success(), "git {args:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Upstream {
    fn new(world: &World) -> Self {
        let root = world.cwd().join("upstream");
        let (bare, work) = (root.join("repo.git"), root.join("work"));
        for dir in [&bare, &work] {
            fs::create_dir_all(dir).expect("made");
        }
        git(&bare, &["init", "-q", "--bare", "-b", "trunk"]);
        git(&work, &["init", "-q", "-b", "trunk"]);
        git(&work, &["remote", "add", "origin", &bare.to_string_lossy()]);
        let upstream = Self { bare, work };
        upstream.commit("one\n");
        upstream
    }

    /// Commits a file and pushes; returns the commit.
    fn commit(&self, text: &str) -> String {
        fs::write(self.work.join("file.txt"), text).expect("written");
        git(&self.work, &["add", "."]);
        git(&self.work, &["commit", "-q", "-m", "change"]);
        git(&self.work, &["push", "-q", "origin", "HEAD"]);
        git(&self.work, &["rev-parse", "HEAD"])
    }
}

/// All bytes of regular files below a directory that hold a text.
fn holding(dir: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(holding(&path, text));
        } else if path.is_file()
            && fs::read(&path)
                .is_ok_and(|bytes| memchr::memmem::find(&bytes, text.as_bytes()).is_some())
        {
            found.push(path);
        }
    }
    found
}

/// The node's directory of the only cluster.
fn node_home(dir: &Path) -> PathBuf {
    let mut found = Vec::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.path().join("home/sky_workdir").is_dir() {
                found.push(entry.path());
            } else if entry.path().is_dir() {
                left.push(entry.path());
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// A repository on a host that only a key opens.
struct Locked {
    world: World,
    hosts: Hosts,
    upstream: Upstream,
    url: String,
}

impl Locked {
    fn new() -> Self {
        let world = World::new();
        let hosts = Hosts::start(&world, 1);
        let upstream = Upstream::new(&world);
        let host = &hosts.hosts[0];
        let url = format!(
            "ssh://{}:{}{}",
            host.address,
            host.port,
            upstream.bare.display()
        );
        Self {
            world,
            hosts,
            upstream,
            url,
        }
    }

    /// Runs a command whose shell names this file as the key.
    fn sky(&self, args: &[&str], key: &Path) -> Ran {
        let mut command = self.world.command(args);
        let output = command.env("GIT_SSH_KEY_PATH", key).output();
        Ran::from(&output.expect("sky runs"))
    }

    /// Launches with the right key.
    fn launch(&self, extra: &[&str], run: &str) -> Ran {
        let mut args = vec!["launch", "-y", "-c", "demo", "--git-url", &self.url];
        args.extend(extra);
        args.push(run);
        self.sky(&args, &self.hosts.key)
    }
}

#[test]
fn a_repository_behind_a_key_is_cloned_updated_and_set_right() {
    let locked = Locked::new();
    let upstream = &locked.upstream;
    let first = git(&upstream.work, &["rev-parse", "HEAD"]);
    git(&upstream.work, &["tag", "v1"]);
    git(&upstream.work, &["push", "-q", "origin", "v1"]);
    locked
        .launch(&[], "cat file.txt; git branch --show-current")
        .ok()
        .shows(") one")
        .shows(") trunk")
        .shows(&format!("at commit {}", &first[..12]))
        .shows("✓ Synced workdir.");

    // A job changes a file of the repository and makes another; the branch moves on.
    locked
        .launch(&[], "echo spoilt > file.txt; echo mine > mine.txt")
        .ok();
    upstream.commit("two\n");
    locked
        .launch(&[], "cat file.txt mine.txt")
        .ok()
        .shows(") two")
        .shows(") mine")
        .shows("before: ")
        .shows("1 files that were changed on the node are as in the commit again");
    let third = upstream.commit("three\n");
    for (name, text) in [
        ("v1", "one"),
        (&first[..], "one"),
        (&third[..], "three"),
        (&first[..10], "one"),
        ("trunk", "three"),
    ] {
        locked
            .launch(&["--git-ref", name], "cat file.txt")
            .ok()
            .shows(&format!(") {text}"));
    }
    for name in ["nope", "0123456789"] {
        locked
            .launch(&["--git-ref", name], "true")
            .expect_code(1)
            .shows(&format!("has no branch, tag or commit `{name}`"));
    }
    locked.world.sky(&["down", "-y", "demo"]).ok();
}

#[test]
fn a_key_stays_nowhere_and_what_is_in_the_way_is_named() {
    let locked = Locked::new();
    let world = &locked.world;
    let url = &locked.url;
    world
        .sky(&["launch", "-y", "-c", "demo", "--git-url", url, "true"])
        .expect_code(1)
        .shows("Permission denied")
        .shows("Set GIT_SSH_KEY_PATH");
    locked.launch(&[], "true").ok();
    let node = node_home(&world.state());
    // What a killed git has left is in nobody's way.
    fs::write(node.join("home/sky_workdir/.git/index.lock"), "").expect("written");
    locked.launch(&[], "cat file.txt").ok().shows(") one");

    let text = fs::read_to_string(&locked.hosts.key).expect("the key");
    let middle = text.lines().nth(2).expect("a line");
    for place in [
        node.join("home"),
        node.join("agent/files"),
        world.state().join("requests"),
    ] {
        assert_eq!(holding(&place, middle), Vec::<PathBuf>::new());
    }

    // Another repository in the same place, a directory that is none, and a key that is none.
    let other = url.replace("repo.git", "other.git");
    locked
        .sky(
            &["exec", "demo", "--git-url", &other, "true"],
            &locked.hosts.key,
        )
        .expect_code(1)
        .shows("is a clone of another repository");
    world
        .sky(&["exec", "demo", "rm -rf ~/sky_workdir/.git"])
        .ok();
    locked
        .launch(&[], "true")
        .expect_code(1)
        .shows("holds files that are no git repository");
    let public = locked.hosts.key.with_extension("pub");
    locked
        .sky(&["exec", "demo", "--git-url", url, "true"], &public)
        .expect_code(1)
        .shows("is no private key");
    world.sky(&["down", "-y", "demo"]).ok();
}

/// Serves repositories over https to who knows the password.
const SERVER: &str = r#"
import base64, http.server, os, ssl, subprocess, sys
root, cert, key, port = sys.argv[1:]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def answer(self):
        given = self.headers.get("Authorization", "")
        if base64.b64decode(given[6:]) != b"x-access-token:t0p-s3cret":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        env = dict(os.environ, GIT_PROJECT_ROOT=root, GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path,
            QUERY_STRING=query, REQUEST_METHOD=self.command, CONTENT_LENGTH=str(len(body)),
            CONTENT_TYPE=self.headers.get("Content-Type", ""), GIT_PROTOCOL=self.headers.get("Git-Protocol", ""),
            HTTP_CONTENT_ENCODING=self.headers.get("Content-Encoding", ""), GIT_CONFIG_COUNT="1",
            GIT_CONFIG_KEY_0="safe.directory", GIT_CONFIG_VALUE_0="*")
        out = subprocess.run(["git", "http-backend"], input=body, env=env, stdout=subprocess.PIPE).stdout
        head, _, rest = out.partition(b"\r\n\r\n")
        lines = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = next((v for k, v in lines if k == "Status"), "200 OK")
        self.send_response(int(status.split()[0]))
        for k, v in lines:
            if k not in ("Status", "Content-Length"): self.send_header(k, v)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest)
    do_GET = do_POST = answer
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

/// The server; it ends with this.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_token_opens_an_https_repository_and_stays_nowhere() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let world = World::new();
    let cert = world.file("tls/cert.pem", &made.cert.pem());
    let key = world.file("tls/key.pem", &made.signing_key.serialize_pem());
    let world = world.env("GIT_SSL_CAINFO", &cert.to_string_lossy());
    let upstream = Upstream::new(&world);
    let script = world.file("tls/server.py", SERVER);
    let port = free_port();
    let server = Command::new("python3")
        .args([
            &script,
            upstream.bare.parent().expect("a parent"),
            &cert,
            &key,
        ])
        .arg(port.to_string())
        .stderr(Stdio::null())
        .spawn();
    let _server = Served(server.expect("python runs"));
    wait_until("it serves", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())
    });
    let url = format!("https://localhost:{port}/repo.git");
    let task = world.file(
        "task.yaml",
        &format!("workdir:\n  url: {url}\nnum_nodes: 2\nrun: cat file.txt; git config --get-all remote.origin.url\n"),
    );
    let task = task.to_string_lossy().into_owned();
    let args = ["launch", "-y", "-c", "demo", &task];
    world.sky(&args).expect_code(1).shows("Set GIT_TOKEN");
    let launched = |token: &str| {
        let mut command = world.command(&args);
        let output = command.env("GIT_TOKEN", token).output().expect("sky runs");
        Ran::from(&output)
    };
    launched("wrong")
        .expect_code(1)
        .shows("Authentication failed");
    let ran = launched("t0p-s3cret").ok();
    assert_eq!(ran.all().matches(") one").count(), 2, "{}", ran.all());
    assert!(ran.all().contains(&format!(") {url}")), "{}", ran.all());
    assert!(!ran.all().contains("t0p-s3cret"), "{}", ran.all());
    // The record of the job holds the task's secrets, as always; nothing else does.
    let held = holding(&world.state(), "t0p-s3cret");
    let held: Vec<_> = held
        .iter()
        .filter(|path| {
            let name = path.to_string_lossy();
            name.contains("/home/sky_") || name.contains("/agent/files") || name.ends_with(".log")
        })
        .collect();
    assert_eq!(held, Vec::<&PathBuf>::new());
    // Over http it is not sent.
    let plain = format!("http://localhost:{port}/repo.git");
    let mut command = world.command(&["exec", "demo", "--git-url", &plain, "true"]);
    let output = command.env("GIT_TOKEN", "t0p-s3cret").output();
    Ran::from(&output.expect("sky runs"))
        .expect_code(1)
        .shows("a token is not sent over http");
    world.sky(&["down", "-y", "demo"]).ok();
}

#[test]
fn a_node_without_git_says_so() {
    let world = World::new();
    let bin = world.cwd().join("bin");
    fs::create_dir(&bin).expect("made");
    for program in ["bash", "sh", "env", "true"] {
        let place = ["/bin", "/usr/bin"].map(|dir| Path::new(dir).join(program));
        let place = place
            .iter()
            .find(|path| path.exists())
            .expect("it is there");
        std::os::unix::fs::symlink(place, bin.join(program)).expect("made");
    }
    let world = world.env("PATH", &bin.to_string_lossy());
    world
        .sky(&[
            "launch",
            "-y",
            "-c",
            "demo",
            "--git-url",
            "https://localhost:1/o/r",
            "true",
        ])
        .expect_code(1)
        .shows("git is not installed on the node");
    world.sky(&["down", "-y", "demo"]).ok();
}
