//! Bad input: one clear error each, the right exit code or HTTP status, and a server that is none the worse for it.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::world::World;

/// Files that the rows name.
fn write_files(world: &World) {
    let write =
        |name: &str, bytes: &[u8]| fs::write(world.cwd().join(name), bytes).expect("a file");
    write("dup.yaml", b"run: a\nrun: b\n");
    write("unknown.yaml", b"rnu: echo\n");
    write("type.yaml", b"num_nodes: two\nrun: a\n");
    write("utf.yaml", b"run: \xff\xfe\xe9\n");
    write("nul.yaml", b"run: \"a\0b\"\n");
    write("empty.yaml", b"");
    write("list.yaml", b"- a\n");
    write("deep.yaml", format!("a: {}\n", "[".repeat(5000)).as_bytes());
    write("multi.yaml", b"run: a\n---\nrun: b\n");
    write(
        "huge.yaml",
        format!("run: {}\n", "x".repeat(2_000_000)).as_bytes(),
    );
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..9 {
        let before = format!("*a{},", level - 1).repeat(10);
        writeln!(bomb, "a{level}: &a{level} [{before}]").expect("a string");
    }
    write("bomb.yaml", bomb.as_bytes());
    write("null.yaml", b"envs: {A: null}\nrun: a\n");
    write("mount.yaml", b"file_mounts: {~/x: ./nosuch}\nrun: a\n");
    write("wd.yaml", b"workdir: nosuch\nrun: a\n");
    write("port.yaml", b"resources: {ports: 99999}\nrun: a\n");
    write("cpus.yaml", b"resources: {cpus: many}\nrun: a\n");
    write(
        "acc.yaml",
        b"resources: {accelerators: \"H100:0\"}\nrun: a\n",
    );
    write("tab.yaml", b"run:\n\t- a\n");
    write("name.yaml", b"name: \"-bad-\"\nrun: a\n");
    write(
        "both.yaml",
        b"resources: {any_of: [{cpus: 1}], ordered: [{cpus: 1}]}\nrun: a\n",
    );
}

/// Words of the command line, exit code, what the output says.
const COMMANDS: &[(&str, i32, &str)] = &[
    ("frobnicate", 2, "there is no command `frobnicate`"),
    ("launhc", 2, "did you mean `sky launch`?"),
    ("launch --frob", 2, "unexpected argument '--frob'"),
    ("launch -c", 2, "a value is required for '--cluster"),
    ("launch --num-nodes x true", 2, "invalid value 'x'"),
    ("launch --num-nodes 0 true", 2, "invalid value '0'"),
    ("launch -y -c 1bad true", 1, "it must begin with a letter"),
    (
        "launch -y -c ../../etc true",
        1,
        "cluster name `../../etc` is not valid",
    ),
    (
        "launch -y -c a/b true",
        1,
        "cluster name `a/b` is not valid",
    ),
    ("launch -y -c demo --cpus many true", 2, "--cpus: `many`"),
    ("launch -y -c demo --gpus H100: true", 2, "--gpus: `H100:`"),
    (
        "launch -y -c demo --infra aws true",
        1,
        "the infra `aws` is not enabled",
    ),
    (
        "launch -y -c demo --infra nosuchcloud true",
        2,
        "`nosuchcloud` is not a known infra",
    ),
    ("launch -y -c demo --env 1A=2 true", 2, "`1A` is not a name"),
    (
        "launch -y -c demo --env NOT_SET_ANYWHERE true",
        2,
        "is not set in this shell",
    ),
    (
        "launch -y -c demo --env-file nosuch true",
        2,
        "cannot be read",
    ),
    (
        "launch -y -c demo --workdir nosuch true",
        1,
        "`nosuch` cannot be found",
    ),
    ("launch -y -c demo --ports 0 true", 2, "`0` is not a port"),
    (
        "launch -y -c demo --config nosuch.yaml true",
        1,
        "`nosuch.yaml`",
    ),
    (
        "launch -y -c demo --config a.b=c true",
        1,
        "unknown key `a`",
    ),
    ("launch -y -c demo -i x true", 2, "invalid value 'x'"),
    (
        "launch -y -c demo --cpus 4096 true",
        1,
        "no enabled infra offers",
    ),
    (
        "launch -y -c demo --gpus H100 true",
        1,
        "no enabled infra offers",
    ),
    ("launch -y -c demo dup.yaml", 1, "duplicate key `run`"),
    (
        "launch -y -c demo unknown.yaml",
        1,
        "unknown.yaml:1: rnu: unknown field",
    ),
    (
        "launch -y -c demo type.yaml",
        1,
        "type.yaml:1: num_nodes: `two`",
    ),
    ("launch -y -c demo utf.yaml", 1, "the text is not UTF-8"),
    ("launch -y -c demo nul.yaml", 1, "control character"),
    ("launch -y -c demo empty.yaml", 1, "there is nothing in it"),
    ("launch -y -c demo list.yaml", 1, "a list is not a task"),
    ("launch -y -c demo deep.yaml", 1, "recursion limit exceeded"),
    ("launch -y -c demo multi.yaml", 2, "sky jobs launch"),
    (
        "launch -y -c demo huge.yaml",
        1,
        "more than the 1048576 that are read",
    ),
    (
        "launch -y -c demo bomb.yaml",
        1,
        "aliases counted each time",
    ),
    (
        "launch -y -c demo null.yaml",
        1,
        "pass it with --env A=VALUE",
    ),
    (
        "launch -y -c demo mount.yaml",
        1,
        "file_mounts: ~/x: `./nosuch` cannot be found",
    ),
    (
        "launch -y -c demo wd.yaml",
        1,
        "workdir: `nosuch` cannot be found",
    ),
    (
        "launch -y -c demo port.yaml",
        1,
        "port.yaml:1: resources.ports: `99999`",
    ),
    (
        "launch -y -c demo cpus.yaml",
        1,
        "cpus.yaml:1: resources.cpus: `many`",
    ),
    (
        "launch -y -c demo acc.yaml",
        1,
        "the count of `H100` must be a number above 0",
    ),
    ("launch -y -c demo tab.yaml", 1, "tabs disallowed"),
    (
        "launch -y -c demo name.yaml",
        1,
        "the name `-bad-` is not valid",
    ),
    (
        "launch -y -c demo both.yaml",
        1,
        "cannot stand beside `any_of`",
    ),
    ("launch -y -c demo nosuch.yaml", 1, "there is no such file"),
    ("exec", 2, "which cluster?"),
    ("exec nosuch", 2, "what should run?"),
    ("exec nosuch true", 1, "cluster `nosuch` does not exist"),
    ("exec 1bad true", 1, "cluster name `1bad` is not valid"),
    ("queue nosuch", 1, "cluster `nosuch` does not exist"),
    ("logs", 2, "<CLUSTER>"),
    ("logs nosuch", 1, "cluster `nosuch` does not exist"),
    ("logs nosuch x", 2, "`x` is not a job id"),
    ("logs nosuch 1 2", 2, "one job at a time"),
    ("cancel nosuch", 1, "Aborted!"),
    ("cancel -y nosuch 1", 1, "cluster `nosuch` does not exist"),
    ("cancel -y nosuch*", 1, "'nosuch*' not found"),
    ("stop", 2, "which clusters?"),
    ("stop -y nosuch", 1, "'nosuch' not found"),
    ("down", 2, "which clusters?"),
    ("down -y nosuch", 1, "'nosuch' not found"),
    ("down -y [", 1, "`[` is not a name or pattern"),
    ("start -y nosuch", 1, "'nosuch' not found"),
    ("autostop -y nosuch", 1, "'nosuch' not found"),
    (
        "autostop -y -i 5 --cancel nosuch",
        2,
        "cannot be used with '--cancel'",
    ),
    ("status --ip", 2, "exactly one cluster"),
    ("status -o yaml", 2, "invalid value 'yaml'"),
    (
        "api get nosuchid",
        1,
        "no request whose id begins with `nosuchid`",
    ),
    ("api get", 2, "<ID>"),
    ("api logs zzzz", 1, "no request whose id begins with `zzzz`"),
    ("api cancel zzzz", 1, "request `zzzz` not found"),
    ("api status -l x", 2, "invalid value 'x'"),
    ("api login -e ftp://x", 2, "http:// or https://"),
    (
        "api login -e http://127.0.0.1:1 -t sky_x",
        1,
        "cannot reach the server",
    ),
    ("check nosuchcloud", 1, "no infra named `nosuchcloud`"),
    ("gpus list H100:x", 2, "must be a whole number"),
    (
        "jobs launch true",
        1,
        "this release does not have `sky jobs`",
    ),
    (
        "serve up x.yaml",
        1,
        "this release does not have `sky serve`",
    ),
];

#[test]
fn wrong_commands_end_with_one_clear_error() {
    let world = World::new();
    write_files(&world);
    world
        .sky(&["launch", "-y", "-d", "-c", "witness", "sleep 300"])
        .ok();
    let server = world.server_pid();
    let mut wrong = Vec::new();
    for (line, code, text) in COMMANDS {
        let words: Vec<&str> = line.split(' ').collect();
        let ran = world.sky(&words);
        let all = ran.all();
        let one_error = all
            .lines()
            .filter(|l| l.to_lowercase().starts_with("error:"))
            .count()
            <= 1;
        let no_trace = !all.contains("panicked") && !all.contains("stack backtrace");
        if ran.code != *code || !all.contains(text) || !one_error || !no_trace {
            wrong.push(format!(
                "sky {line}: exit {} (not {code}), says\n{all}",
                ran.code
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    unharmed(&world, server);
}

/// The server is the same, answers, and the job goes on.
fn unharmed(world: &World, server: Option<u32>) {
    assert_eq!(world.server_pid(), server, "the same server");
    world.sky(&["queue", "witness"]).ok().shows("RUNNING");
}

/// Sends bytes to the server's port and returns all that comes back.
fn send(world: &World, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", world.port())).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(45)))
        .expect("a limit");
    // A server that refuses early closes early.
    let sent = stream.write_all(bytes);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    assert!(
        sent.is_err() || read.is_ok() || !answer.is_empty(),
        "it answers or closes: {read:?}"
    );
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table, read from top to bottom")]
fn wrong_http_gets_its_status_and_an_explanation() {
    let world = World::new();
    world
        .sky(&["launch", "-y", "-d", "-c", "witness", "sleep 300"])
        .ok();
    let server = world.server_pid();
    let host = format!("Host: 127.0.0.1:{}\r\nConnection: close\r\n", world.port());
    let call = |method: &str, path: &str, headers: &str, body: &str| {
        let length = if method == "POST" {
            format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            )
        } else {
            String::new()
        };
        format!("{method} {path} HTTP/1.1\r\n{headers}{length}\r\n{body}")
    };
    let close = "Connection: close\r\n";
    let with = |more: &str| format!("{host}{more}");
    let rows: Vec<(String, u16, &str)> = vec![
        (call("GET", "/nope", &host, ""), 404, "Not Found"),
        (
            call("DELETE", "/launch", &host, ""),
            405,
            "Method Not Allowed",
        ),
        (call("GET", "/launch", &host, ""), 405, "Method Not Allowed"),
        (
            call("POST", "/launch", &host, "{nope"),
            422,
            "JSON decode error",
        ),
        (call("POST", "/launch", &host, "{}"), 422, "Field required"),
        (
            call("POST", "/launch", &host, r#"{"task":1,"cluster_name":"a"}"#),
            422,
            "expected a string",
        ),
        (
            call("POST", "/down", &host, r#"{"cluster_name":"../x"}"#),
            400,
            "is not valid",
        ),
        (call("GET", "/api/health", close, ""), 403, "names no host"),
        (
            call(
                "GET",
                "/api/status",
                &format!("Host: evil.example\r\n{close}"),
                "",
            ),
            403,
            "not this server's address",
        ),
        (
            call(
                "GET",
                "/api/status",
                &format!("Host: 127.0.0.1.evil.example:{}\r\n{close}", world.port()),
                "",
            ),
            403,
            "not this server's address",
        ),
        (
            call(
                "POST",
                "/down",
                &with("Origin: http://evil.example\r\n"),
                r#"{"cluster_name":"a"}"#,
            ),
            403,
            "another site",
        ),
        (
            call("GET", "/api/status", &with("Origin: null\r\n"), ""),
            403,
            "another site",
        ),
        ("\u{16}\u{3}\u{1}garbage\r\n\r\n".to_owned(), 400, ""),
        ("GET /api/health HTTP/9.9\r\n\r\n".to_owned(), 400, ""),
        (
            call(
                "GET",
                "/api/health",
                &with(&format!("X: {}\r\n", "a".repeat(200_000))),
                "",
            ),
            431,
            "",
        ),
        (
            call("GET", "/api/health", &with(&"X: a\r\n".repeat(500)), ""),
            431,
            "",
        ),
        (
            format!("POST /launch HTTP/1.1\r\n{host}Content-Length: 99999999999\r\n\r\n"),
            413,
            "larger than",
        ),
        (
            format!("POST /launch HTTP/1.1\r\n{host}Content-Length: -1\r\n\r\n"),
            400,
            "",
        ),
        (
            call(
                "GET",
                "/upload_v2/blob?user_hash=..%2f..&blob_id=../../etc/passwd&size_bytes=1",
                &host,
                "",
            ),
            400,
            "is not valid",
        ),
        (
            call("GET", "/api/stream?log_path=/etc/passwd", &host, ""),
            400,
            "is not a log that this server shows",
        ),
        (
            call("GET", "/api/stream?request_id=../../x", &host, ""),
            404,
            "not found",
        ),
        (call("GET", "/api/get", &host, ""), 422, "Field required"),
        (
            call("GET", "/api/stream?request_id=zz&tail=x", &host, ""),
            422,
            "",
        ),
        (
            call("POST", "/download", &host, r#"{"folder_paths":["/etc"]}"#),
            400,
            "not in your log directory",
        ),
        (
            call(
                "POST",
                "/status",
                &with(&format!("Idempotency-Key: {}\r\n", "k".repeat(300))),
                "{}",
            ),
            400,
            "1 to 255",
        ),
        (
            call("GET", "/api/status", &with("X-Sky-User: ../../x;y\r\n"), ""),
            400,
            "is not valid",
        ),
        (
            call(
                "GET",
                "/api/status",
                &with("X-SkyPilot-API-Version: 3\r\nX-SkyPilot-Version: 0.1\r\n"),
                "",
            ),
            400,
            "version_mismatch",
        ),
    ];
    for (request, status, text) in rows {
        let answer = send(&world, request.as_bytes());
        let line: String = request.chars().take(100).collect();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{line}: {answer}"
        );
        assert!(answer.contains(text), "{line}: {answer}");
        assert!(!answer.contains("panicked"), "{line}: {answer}");
    }
    unharmed(&world, server);
}

#[test]
fn whoever_sends_a_request_drop_by_drop_is_cut_off() {
    let world = World::new();
    world
        .sky(&["launch", "-y", "-d", "-c", "witness", "sleep 300"])
        .ok();
    let server = world.server_pid();
    // Never finishes its head: the server closes after its deadline of 30 s.
    send(&world, b"GET /api/health HTTP/1.1\r\nHost: 1");
    unharmed(&world, server);
}

/// Runs a program as nobody.
fn as_nobody(program: &str, args: &[&str]) -> (bool, String) {
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", program])
        .args(args)
        .output()
        .expect("setpriv runs (these tests run as root)");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn another_user_of_this_machine_reaches_neither_socket_nor_port() {
    let world = World::new();
    world
        .sky(&["launch", "-y", "-d", "-c", "witness", "sleep 300"])
        .ok();
    let server = world.server_pid();

    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{0}; printf 'GET /api/health HTTP/1.1\\r\\nHost: 127.0.0.1:{0}\\r\\nConnection: close\\r\\n\\r\\n' >&3; cat <&3",
        world.port()
    );
    let (_, answer) = as_nobody("bash", &["-c", &script]);
    assert!(!answer.contains("healthy"), "{answer}");
    assert!(answer.contains("403"), "{answer}");

    let socket = world.state().join("api.sock");
    let perl = format!(
        "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => '{}') or die \"refused: $!\"; print 'connected'",
        socket.display()
    );
    let (connected, text) = as_nobody("perl", &["-e", &perl]);
    assert!(
        !connected && text.contains("refused: Permission denied"),
        "{text}"
    );
    unharmed(&world, server);
}
