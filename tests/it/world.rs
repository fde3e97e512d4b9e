//! A world of its own for each test: home, port, server, agents. Everything in it dies with it.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// An isolated home with its own server port.
pub(crate) struct World {
    /// Removed at the end.
    dir: tempfile::TempDir,
    /// The port of its local server.
    port: u16,
    /// Variables beyond the fixed ones.
    envs: BTreeMap<String, String>,
}

/// What a command printed and how it ended.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
    /// Exit code; -1 when killed.
    pub(crate) code: i32,
}

impl Ran {
    pub(crate) fn from(output: &Output) -> Self {
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code().unwrap_or(-1),
        }
    }

    /// Panics with everything it printed unless the exit code is as expected.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// Panics unless it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.expect_code(0)
    }

    /// Both streams, one after the other.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Panics unless one of the streams contains the text.
    #[track_caller]
    pub(crate) fn shows(self, text: &str) -> Self {
        assert!(
            self.all().contains(text),
            "`{text}` is not in\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("not JSON: {e}\n{}\n{}", self.stdout, self.stderr))
    }
}

/// Finds a port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a free port")
        .port()
}

/// The binary under test.
pub(crate) fn sky_binary() -> PathBuf {
    env!("CARGO_BIN_EXE_sky").into()
}

impl World {
    /// Makes a world. Nothing runs in it yet.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("sky-")
            .tempdir()
            .expect("a temporary directory");
        fs::create_dir(dir.path().join("home")).expect("a home");
        fs::create_dir(dir.path().join("cwd")).expect("a directory to work in");
        Self {
            dir,
            port: free_port(),
            envs: BTreeMap::new(),
        }
    }

    /// Sets a variable for all commands.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.envs.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The home directory.
    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// The server's state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.home().join(".sky/api_server")
    }

    /// The directory in which commands run.
    pub(crate) fn cwd(&self) -> PathBuf {
        self.dir.path().join("cwd")
    }

    /// The URL of the local server.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port of the local server.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Writes a file into the working directory and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.cwd().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("a directory");
        }
        fs::write(&path, text).expect("a file");
        path
    }

    /// Prepares a command of the binary under test.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(sky_binary());
        command
            .args(args)
            .env_clear()
            .env("HOME", self.home())
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("LANG", "C.UTF-8")
            // Where the tests run on a machine of EC2, its role is none of their business.
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("SKYPILOT_API_SERVER_LOCAL_PORT", self.port.to_string())
            .envs(&self.envs)
            .current_dir(self.cwd())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn sky(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().expect("sky runs");
        Ran::from(&output)
    }

    /// Starts a command whose output is collected.
    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sky starts")
    }

    /// Waits for a started command.
    #[expect(
        clippy::unused_self,
        reason = "it reads like the other things that are done in a world"
    )]
    pub(crate) fn finish(&self, child: Child) -> Ran {
        Ran::from(&child.wait_with_output().expect("it ends"))
    }

    /// The processes of this world: those that name its directory in their arguments or environment.
    pub(crate) fn processes(&self) -> Vec<(u32, String)> {
        processes_of(self.dir.path())
    }

    /// The process id of the local server, if one runs.
    pub(crate) fn server_pid(&self) -> Option<u32> {
        self.processes()
            .into_iter()
            .find(|(_, line)| line.contains("__serve"))
            .map(|(pid, _)| pid)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Killing may race with a start: until nothing is left.
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for (pid, _) in left {
                kill(pid, "KILL");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Sends a signal.
pub(crate) fn kill(pid: u32, signal: &str) {
    let status = Command::new("kill")
        .args([&format!("-{signal}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status();
    assert!(status.is_ok(), "kill cannot be run");
}

/// Whether a process lives (and is not a zombie).
pub(crate) fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").expect("a name").1.starts_with('Z'))
}

/// Processes that name a directory in their arguments or environment, zombies left out.
pub(crate) fn processes_of(dir: &Path) -> Vec<(u32, String)> {
    processes_with(&dir.to_string_lossy())
}

/// Processes with a text in their arguments or environment, zombies left out.
pub(crate) fn processes_with(needle: &str) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let read = |name: &str| {
            fs::read(entry.path().join(name))
                .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
                .unwrap_or_default()
        };
        let line = read("cmdline");
        if line.is_empty() || pid == std::process::id() {
            continue;
        }
        if line.contains(needle) || read("environ").contains(needle) {
            found.push((pid, line));
        }
    }
    found
}

/// Waits until a condition holds; panics with `what` and the last state when it does not in time.
#[track_caller]
pub(crate) fn wait_until<T>(what: &str, mut check: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match check() {
            Ok(value) => return value,
            Err(state) if Instant::now() > deadline => {
                panic!("{what}: not after 60 s; last: {state}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    wait_until(what, || {
        if condition() {
            Ok(())
        } else {
            Err("not so".to_owned())
        }
    });
}

/// A number from the environment: how long a random test runs, or its seed.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A small generator, so that a printed seed repeats the decisions.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Makes one from the seed in `name`, else from a new one, and prints it.
    #[expect(clippy::print_stdout, reason = "a failure is repeated with the seed")]
    pub(crate) fn seeded(name: &str) -> Self {
        let seed = setting(name, u64::from(std::process::id()));
        println!("{name}={seed}");
        Self(seed)
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}
