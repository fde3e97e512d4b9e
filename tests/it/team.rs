//! A team server: a server on an address that others reach, and people with credentials on machines of their own.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::world::{Ran, World, free_port, kill, sky_binary, wait_until};

mod files;
mod operator;
mod people;
mod tls;

/// A server in a world of its own.
struct Team {
    world: World,
    port: u16,
    server: Option<Child>,
    /// What the server printed, all starts together.
    printed: PathBuf,
    /// The text of the first admin's token.
    admin: String,
}

/// An answer over plain HTTP.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    /// The id of the request that was accepted.
    #[track_caller]
    fn request_id(&self) -> &str {
        let line = self
            .head
            .lines()
            .find_map(|line| line.strip_prefix("x-skypilot-request-id: "));
        line.unwrap_or_else(|| panic!("no id in {self:?}"))
    }

    /// The body as JSON.
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("not JSON: {e}: {self:?}"))
    }
}

/// `Authorization` of a token.
fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// `Authorization` of a name and a password.
fn basic(name: &str, password: &str) -> String {
    let text = format!("{name}:{password}");
    let text = base64::engine::general_purpose::STANDARD.encode(text);
    format!("Basic {text}")
}

impl Team {
    /// Starts a server for the first time.
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more arguments.
    fn start_with(more: &[&str]) -> Self {
        Self::start_in(World::new(), more)
    }

    /// The same in a world that was made before.
    fn start_in(world: World, more: &[&str]) -> Self {
        let mut team = Self {
            port: free_port(),
            server: None,
            printed: world.cwd().join("printed"),
            admin: String::new(),
            world,
        };
        team.serve(more);
        team.admin = wait_until("the admin token is printed", || {
            let text = team.printed();
            let token = text.split_whitespace().find(|w| w.starts_with("sky_"));
            token.map(str::to_owned).ok_or(text.clone())
        });
        team
    }

    /// Starts the server.
    fn serve(&mut self, more: &[&str]) {
        let bind = format!("0.0.0.0:{}", self.port);
        let mut args = vec!["__serve", "--bind", &bind];
        args.extend_from_slice(more);
        let output = File::options()
            .create(true)
            .append(true)
            .open(&self.printed)
            .expect("a file");
        let copy = output.try_clone().expect("a second handle");
        let mut command = self.world.command(&args);
        command.stdout(output).stderr(copy);
        self.server = Some(command.spawn().expect("the server starts"));
        wait_until("the server listens", || {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(_) => Ok(()),
                Err(e) => Err(format!("{e}\n{}", self.printed())),
            }
        });
    }

    /// Stops it as an operator does.
    fn stop(&mut self) {
        let mut server = self.server.take().expect("it runs");
        kill(server.id(), "TERM");
        let status = server.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "{}", self.printed());
    }

    /// Sends a signal to the agents of its clusters: stopped ones keep requests waiting.
    fn agents(&self, signal: &str) {
        let processes = self.world.processes();
        let agents: Vec<_> = processes
            .iter()
            .filter(|(_, line)| line.contains("__agent"))
            .collect();
        assert!(!agents.is_empty(), "{processes:?}");
        for (pid, _) in agents {
            kill(*pid, signal);
        }
    }

    /// What the server printed so far.
    fn printed(&self) -> String {
        fs::read_to_string(&self.printed).unwrap_or_default()
    }

    /// The address.
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A call over plain HTTP.
    fn call(&self, method: &str, path: &str, auth: Option<&str>, body: &str) -> Reply {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a time-out");
        let auth = auth.map_or_else(String::new, |a| format!("Authorization: {a}\r\n"));
        let call = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\nX-Sky-Version: 1\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n{auth}\r\n{body}",
            self.port,
            body.len()
        );
        stream.write_all(call.as_bytes()).expect("it is sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it is answered");
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
        Reply {
            status: status.expect("a status"),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    /// A call of the admin with a JSON body, which must succeed.
    #[track_caller]
    fn admin(&self, path: &str, body: &Value) -> Value {
        let reply = self.call("POST", path, Some(&bearer(&self.admin)), &body.to_string());
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        reply.json()
    }

    /// Makes a user with the password `pw-NAME-pw`; returns the id.
    fn user(&self, name: &str, role: &str) -> String {
        let body = json!({"username": name, "password": format!("pw-{name}-pw"), "role": role});
        let made = self.admin("/users/create", &body);
        made["id"].as_str().expect("an id").to_owned()
    }

    /// The machine of somebody who has the address and the token in the environment.
    fn machine(&self, token: &str) -> World {
        World::new()
            .env("SKYPILOT_API_SERVER_ENDPOINT", &self.url())
            .env("SKYPILOT_SERVICE_ACCOUNT_TOKEN", token)
    }

    /// The machine of a user who has logged in by password.
    fn machine_of(&self, name: &str) -> World {
        let world = World::new();
        let url = self.url().replace("//", &format!("//{name}:pw-{name}-pw@"));
        world.sky(&["api", "login", "-e", &url]).ok();
        world
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            drop(server.kill());
            drop(server.wait());
        }
    }
}

/// Runs a command that reads `input`.
fn typed(world: &World, args: &[&str], input: &str) -> Ran {
    let mut command = world.command(args);
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("an input");
    // Whoever asks nothing may be gone already.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    world.finish(child)
}

/// Paths of all files below a directory that contain a text.
fn files_with(dir: &Path, needle: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            found.extend(files_with(&path, needle));
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap_or_default();
            let hit = bytes
                .windows(needle.len())
                .any(|window| window == needle.as_bytes());
            if hit {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn the_admin_token_is_printed_once_and_stored_only_hashed() {
    let mut team = Team::start();
    let machine = team.machine(&team.admin);
    machine.sky(&["api", "info"]).ok().shows("admin");
    team.stop();
    assert_eq!(
        team.printed().matches("sky_").count(),
        1,
        "{}",
        team.printed()
    );
    assert!(team.printed().contains("is not encrypted"));
    team.serve(&[]);
    machine.sky(&["status"]).ok();
    assert_eq!(
        team.printed().matches("sky_").count(),
        1,
        "the second start shows no token: {}",
        team.printed()
    );
    let mode = fs::metadata(team.world.state()).expect("a directory");
    let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
    assert_eq!(mode & 0o077, 0, "nobody else reads the state directory");
    let kept = files_with(&team.world.home(), &team.admin);
    assert!(kept.is_empty(), "the token stands in {kept:?}");
    let kept = files_with(&machine.home(), &team.admin);
    assert!(kept.is_empty(), "the token stands in {kept:?}");
}

#[test]
fn without_credentials_only_health_is_answered() {
    let team = Team::start();
    let health = team.call("GET", "/api/health", None, "");
    assert_eq!(health.status, 200, "{health:?}");
    assert_eq!(health.json()["status"], "needs_auth");
    assert!(health.json()["user"].is_null() && health.json()["pid"].is_null());
    let forged = bearer("sky_00000000000000000000000000000000");
    let wrong = [
        None,
        Some(forged.as_str()),
        Some("Bearer"),
        Some("Basic Zm9v"),
        Some("Basic YWRtaW46"),
        Some("Negotiate abc"),
    ];
    let calls = [
        ("GET", "/api/status"),
        ("GET", "/api/get?request_id=a"),
        ("GET", "/api/stream?request_id=a"),
        ("POST", "/api/cancel"),
        ("GET", "/metrics"),
        ("POST", "/launch"),
        ("POST", "/status"),
        ("POST", "/logs"),
        ("GET", "/users"),
        ("POST", "/users/create"),
        ("GET", "/upload_v2/blob?blob_id=a"),
        (
            "POST",
            "/upload_v2?upload_id=a&chunk_index=0&total_chunks=1",
        ),
        ("GET", "/nothing/here"),
        ("GET", "/"),
    ];
    for auth in wrong {
        for (method, path) in calls {
            let reply = team.call(method, path, auth, "{}");
            assert_eq!(reply.status, 401, "{method} {path} {auth:?}: {reply:?}");
            assert!(reply.head.contains("www-authenticate: basic"), "{reply:?}");
        }
    }
    // Who says that they are the user of this machine is not believed.
    let body = json!({"env_vars": {"SKYPILOT_USER_ID": "0123abcd"}}).to_string();
    assert_eq!(team.call("POST", "/status", None, &body).status, 401);
    // What comes after is served: nothing of the above harmed it.
    let reply = team.call("GET", "/api/status", Some(&bearer(&team.admin)), "");
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[test]
fn a_client_without_credentials_is_told_to_log_in() {
    let team = Team::start();
    let world = World::new().env("SKYPILOT_API_SERVER_ENDPOINT", &team.url());
    for args in [
        &["status"][..],
        &["launch", "-y", "echo hi"],
        &["api", "status"],
    ] {
        let ran = world.sky(args).expect_code(1).shows("sky api login");
        assert!(!ran.all().contains("panicked"), "{}", ran.all());
    }
    let ran = world.sky(&["api", "info"]);
    assert!(
        ran.code == 1 && ran.all().contains("sky api login"),
        "{ran:?}"
    );
    assert!(world.server_pid().is_none(), "no local server is started");
}

#[test]
fn login_by_token_is_kept_until_logout() {
    let team = Team::start();
    let world = World::new();
    world
        .sky(&["api", "login", "-e", &team.url(), "-t", "sky_wrong"])
        .expect_code(1)
        .shows("refuses your credentials");
    assert!(
        !world.home().join(".sky/config.yaml").exists(),
        "what was refused is not kept"
    );
    world
        .sky(&["api", "login", "-e", &team.url(), "-t", &team.admin])
        .ok()
        .shows(&format!(
            "Logged into SkyPilot API server at: {}",
            team.url()
        ));
    let mode = fs::metadata(world.home().join(".sky/config.yaml")).expect("a file");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
        0o600
    );
    world
        .sky(&["api", "info"])
        .ok()
        .shows(&team.url())
        .shows("admin")
        .shows("config.yaml");
    let info = world.sky(&["api", "info", "-o", "json"]).ok().json();
    assert_eq!(info["endpoint"], team.url());
    assert_eq!(info["local"], false);
    assert_eq!(info["user"]["role"], "admin");
    world.sky(&["status"]).ok().shows("No existing clusters.");
    for verb in ["stop", "start"] {
        world
            .sky(&["api", verb])
            .expect_code(2)
            .shows(&team.url())
            .shows("sky api logout");
    }
    world.sky(&["status"]).ok();
    world.sky(&["api", "logout"]).ok().shows(&team.url());
    assert!(files_with(&world.home(), &team.admin).is_empty());
    world.sky(&["api", "logout"]).expect_code(1);
    let info = world.sky(&["api", "info", "-o", "json"]).ok().json();
    assert_eq!(info["local"], true);
}

#[test]
fn login_asks_for_what_it_was_not_told() {
    let team = Team::start();
    let world = World::new();
    let ran = typed(
        &world,
        &["api", "login"],
        &format!("{}\n{}\n", team.url(), team.admin),
    )
    .ok()
    .shows("Address of the API server")
    .shows("Token");
    assert!(!ran.all().contains(&team.admin), "{}", ran.all());
    world.sky(&["api", "info"]).ok().shows("admin");
    // Nobody answers.
    let other = World::new();
    other.sky(&["api", "login"]).expect_code(1);
    other
        .sky(&["api", "login", "-e", &team.url()])
        .expect_code(1)
        .shows("--token");
    other
        .sky(&["api", "login", "-e", "nonsense"])
        .expect_code(2)
        .shows("http://");
}

#[test]
fn a_token_is_not_shown_while_it_is_typed() {
    let team = Team::start();
    let world = World::new();
    let line = format!("{} api login -e {}", sky_binary().display(), team.url());
    let mut command = world.command(&[]);
    let mut terminal = std::process::Command::new("script");
    terminal.args(["-qec", &line, "/dev/null"]);
    terminal.env_clear().envs(
        command
            .env("TERM", "xterm")
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))),
    );
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = terminal.spawn().expect("script runs");
    let mut stdin = child.stdin.take().expect("an input");
    let mut stdout = child.stdout.take().expect("an output");
    let mut seen = String::new();
    let mut piece = [0; 1024];
    while !seen.contains("Token: ") {
        let n = stdout.read(&mut piece).expect("it can be read");
        assert!(n > 0, "it ends after {seen}");
        seen.push_str(&String::from_utf8_lossy(&piece[..n]));
    }
    stdin
        .write_all(format!("{}\n", team.admin).as_bytes())
        .expect("it is typed");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("text");
    assert!(child.wait().expect("it ends").success(), "{seen}{rest}");
    assert!(rest.contains("Logged into"), "{rest}");
    assert!(!rest.contains(&team.admin), "{rest}");
    world.sky(&["api", "info"]).ok().shows("admin");
}

#[test]
fn login_by_password_in_the_address_never_shows_it() {
    let team = Team::start();
    let id = team.user("ann", "user");
    let world = World::new();
    let wrong = team.url().replace("//", "//ann:wrong@");
    let ran = world
        .sky(&["api", "login", "-e", &wrong])
        .expect_code(1)
        .shows("refuses the user name or password");
    assert!(!ran.all().contains("wrong"), "{}", ran.all());
    let url = team.url().replace("//", "//ann:pw-ann-pw@");
    let login = world.sky(&["api", "login", "-e", &url]).ok().shows("ann");
    let info = world.sky(&["api", "info"]).ok().shows(&id).shows("user");
    let status = world.sky(&["status"]).ok();
    for ran in [login, info, status] {
        assert!(!ran.all().contains("pw-ann-pw"), "{}", ran.all());
    }
    let kept = files_with(&team.world.home(), "pw-ann-pw");
    assert!(kept.is_empty(), "the password stands in {kept:?}");
    // The same by the environment alone.
    let other = World::new().env("SKYPILOT_API_SERVER_ENDPOINT", &url);
    let info = other.sky(&["api", "info"]).ok().shows("ann");
    assert!(
        info.all().contains("SKYPILOT_API_SERVER_ENDPOINT") && !info.all().contains("pw-ann-pw"),
        "{}",
        info.all()
    );
    other.sky(&["status"]).ok();
    other
        .sky(&["api", "logout"])
        .expect_code(1)
        .shows("unset SKYPILOT_API_SERVER_ENDPOINT");
}
