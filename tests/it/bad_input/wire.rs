//! Bytes on the port and on the socket.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Target, call, get, no_trace, raw, tcp};
use crate::world::{World, free_port, kill, wait_until};

/// What no answer repeats of what was sent.
const SENT: &str = "hunter2";

/// A row: what it is, the bytes, the status, what the answer names.
type Row = (&'static str, Vec<u8>, u16, &'static str);

/// Mistakes that mean the same on every listener.
#[expect(clippy::too_many_lines, reason = "one table, read from top to bottom")]
fn mistakes(port: u16) -> Vec<Row> {
    let submit = |path: &str, body: &[u8]| call("POST", path, port, "", body);
    let with = |more: &str, body: &[u8]| raw("POST", "/launch", port, more, body);
    let chunked = "Transfer-Encoding: chunked\r\n";
    let mut endless = with(chunked, b"");
    for _ in 0..18 {
        endless.extend_from_slice(b"100000\r\n");
        endless.extend_from_slice(&vec![b'x'; 0x10_0000]);
        endless.extend_from_slice(b"\r\n");
    }
    let header = |more: &str| call("GET", "/api/health", port, more, b"");
    vec![
        ("method", get("/launch", port), 405, "no such method"),
        (
            "method 2",
            call("DELETE", "/launch", port, "", b""),
            405,
            "no such method",
        ),
        (
            "method 3",
            call("FOO", "/status", port, "", b""),
            405,
            "no such method",
        ),
        ("path", get("/nope", port), 404, "does not know this path"),
        (
            "dots",
            get("/../../etc/passwd", port),
            404,
            "does not know this path",
        ),
        (
            "short body",
            with("Content-Length: 500\r\n", b"{\"task\""),
            400,
            "broke off",
        ),
        ("bad chunk", with(chunked, b"zz\r\n"), 400, "broke off"),
        (
            "length below 0",
            with("Content-Length: -1\r\n", b"{}"),
            400,
            "",
        ),
        (
            "length in words",
            with("Content-Length: abc\r\n", b"{}"),
            400,
            "",
        ),
        (
            "two lengths",
            with("Content-Length: 2\r\nContent-Length: 5\r\n", b"{}"),
            400,
            "",
        ),
        (
            "length beyond all",
            with(&format!("Content-Length: 1{}\r\n", "0".repeat(30)), b"{}"),
            400,
            "",
        ),
        (
            "announced huge",
            with("Content-Length: 1000000000000\r\n", b"{}"),
            413,
            "larger than 16",
        ),
        (
            "huge",
            submit("/launch", &vec![b'x'; 17 << 20]),
            413,
            "larger than 16",
        ),
        ("huge in chunks", endless, 413, "larger than 16"),
        (
            "huge header",
            header(&format!("X-A: {}\r\n", "a".repeat(100_000))),
            431,
            "",
        ),
        ("many headers", header(&"X-A: a\r\n".repeat(500)), 431, ""),
        (
            "huge path",
            get(&format!("/{}", "a".repeat(70_000)), port),
            431,
            "",
        ),
        ("NUL in a header", header("X-A: a\0b\r\n"), 400, ""),
        ("no HTTP", b"hello\r\n\r\n".to_vec(), 400, ""),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
            400,
            "",
        ),
        ("cut JSON", submit("/launch", b"{\"hunter2"), 422, "JSON"),
        (
            "not UTF-8",
            submit("/launch", b"{\"task\":\"\xff hunter2\"}"),
            422,
            "UTF-8",
        ),
        (
            "another type",
            submit("/launch", b"{\"task\":42,\"x\":\"hunter2\"}"),
            422,
            "\"task\"",
        ),
        ("a list", submit("/launch", b"[\"hunter2\"]"), 422, "object"),
        ("nothing", submit("/launch", b""), 422, "Field required"),
        (
            "deep",
            submit("/launch", &vec![b'['; 100_000]),
            422,
            "recursion limit",
        ),
        (
            "name",
            submit(
                "/launch",
                b"{\"task\":\"run: x\",\"cluster_name\":\"../../etc\"}",
            ),
            400,
            "`../../etc`",
        ),
        (
            "job id",
            submit("/logs", b"{\"cluster_name\":\"demo\",\"job_id\":-5}"),
            422,
            "job_id",
        ),
        ("no id", get("/api/get", port), 422, "request_id"),
        (
            "empty id",
            get("/api/get?request_id=", port),
            404,
            "not found",
        ),
        (
            "id as a path",
            get("/api/get?request_id=../../etc", port),
            404,
            "not found",
        ),
        (
            "NUL in an id",
            get("/api/get?request_id=%00", port),
            404,
            "not found",
        ),
        (
            "escape",
            get("/api/get?request_id=%ff%zz", port),
            404,
            "not found",
        ),
        (
            "foreign log",
            get("/api/stream?log_path=/etc/passwd", port),
            400,
            "/etc/passwd",
        ),
        (
            "key",
            call(
                "POST",
                "/status",
                port,
                &format!("Idempotency-Key: {}\r\n", "k".repeat(5000)),
                b"{}",
            ),
            400,
            "idempotency key",
        ),
        (
            "download",
            submit("/download", b"{\"folder_paths\":[\"/etc\"]}"),
            400,
            "`/etc`",
        ),
        (
            "download 2",
            submit(
                "/download",
                b"{\"folder_paths\":[\"~/sky_logs/../../../etc\"]}",
            ),
            400,
            "log directory",
        ),
        (
            "blob",
            get("/upload_v2/blob?blob_id=../x", port),
            400,
            "`../x`",
        ),
    ]
}

/// Uploads that point out of their place or make no sense.
fn uploads(port: u16) -> Vec<Row> {
    let id = "a".repeat(64);
    let upload = |query: String| call("POST", &format!("/upload_v2?{query}"), port, "", b"x");
    vec![
        (
            "upload dots",
            upload("upload_id=../../etc&chunk_index=0&total_chunks=1".to_owned()),
            400,
            "blob id",
        ),
        (
            "upload escaped",
            upload("upload_id=%2fetc%2fx&chunk_index=0&total_chunks=1".to_owned()),
            400,
            "blob id",
        ),
        (
            "upload below 0",
            upload(format!("upload_id={id}&chunk_index=-1&total_chunks=1")),
            422,
            "query",
        ),
        (
            "upload beyond",
            upload(format!("upload_id={id}&chunk_index=5&total_chunks=1")),
            400,
            "chunk 5 of 1",
        ),
        (
            "upload many",
            upload(format!(
                "upload_id={id}&chunk_index=0&total_chunks=4294967295"
            )),
            400,
            "4294967295",
        ),
        (
            "upload user",
            upload(format!(
                "upload_id={id}&chunk_index=0&total_chunks=1&user_hash=../../x"
            )),
            400,
            "user id",
        ),
        (
            "upload junk",
            upload(format!("upload_id={id}&chunk_index=0&total_chunks=1")),
            400,
            "zip archive",
        ),
    ]
}

/// Pages of other sites, and names that lead here by DNS: the port only, no browser reaches the socket.
fn pages(port: u16) -> Vec<Row> {
    let hosts = |lines: &str| {
        format!("GET /api/health HTTP/1.1\r\n{lines}Connection: close\r\n\r\n").into_bytes()
    };
    let evil = "Origin: https://evil.example\r\n";
    let preflight = format!("{evil}Access-Control-Request-Method: POST\r\n");
    vec![
        (
            "host",
            hosts(&format!("Host: evil.example:{port}\r\n")),
            403,
            "names a host",
        ),
        (
            "another port",
            hosts("Host: 127.0.0.1:1\r\n"),
            403,
            "names a host",
        ),
        ("no host", hosts(""), 403, "names no host"),
        (
            "two hosts",
            hosts(&format!("Host: localhost:{port}\r\nHost: evil\r\n")),
            403,
            "repeats",
        ),
        (
            "absolute",
            get("http://evil.example/api/health", port),
            403,
            "two hosts",
        ),
        (
            "CONNECT",
            call("CONNECT", "evil.example:443", port, "", b""),
            403,
            "two hosts",
        ),
        (
            "origin",
            call("POST", "/launch", port, evil, b"{}"),
            403,
            "another site",
        ),
        (
            "origin null",
            call("POST", "/api/cancel", port, "Origin: null\r\n", b"{}"),
            403,
            "another site",
        ),
        (
            "preflight",
            call("OPTIONS", "/launch", port, &preflight, b""),
            403,
            "another site",
        ),
    ]
}

#[test]
fn wrong_bytes_get_one_clear_answer_on_port_and_socket() {
    let target = Target::new();
    let port = target.world.port();
    for (over_unix, rows) in [
        (false, mistakes(port)),
        (false, uploads(port)),
        (false, pages(port)),
        (true, mistakes(port)),
        (true, uploads(port)),
    ] {
        for (row, bytes, status, needle) in rows {
            let answer = if over_unix {
                target.unix(&bytes)
            } else {
                target.tcp(&bytes)
            };
            assert_eq!(answer.status, status, "{row} unix={over_unix}: {answer:?}");
            assert!(answer.body.contains(needle), "{row}: {answer:?}");
            assert!(!answer.body.contains(SENT), "{row} repeats it: {answer:?}");
            assert!(answer.body.lines().count() <= 1, "{row}: {answer:?}");
            no_trace(row, &answer.body);
        }
    }
    target.unharmed();
}

#[test]
fn who_sends_a_header_slowly_holds_nobody_up() {
    let target = Target::new();
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(("127.0.0.1", target.world.port())).expect("open");
        stream
            .write_all(b"GET /api/health HTTP/1.1\r\nX-")
            .expect("sent");
        slow.push(stream);
    }
    // Others are served meanwhile.
    target.unharmed();
    drop(slow);
    // Whoever hangs up in the middle leaves nothing behind.
    target.unharmed();
}

#[test]
fn who_sends_a_header_drop_by_drop_is_cut_off_at_the_deadline() {
    let world = World::new();
    let mut command = world.command(&["__serve", "--header-timeout", "1"]);
    command.stdout(std::process::Stdio::null());
    command.stderr(std::process::Stdio::null());
    let mut server = command.spawn().expect("it starts");
    let mut stream = wait_until("it listens", || {
        TcpStream::connect(("127.0.0.1", world.port())).map_err(|e| e.to_string())
    });
    let limit = Some(Duration::from_millis(50));
    stream.set_read_timeout(limit).expect("a time-out");
    let began = Instant::now();
    let head = b"GET /api/health HTTP/1.1\r\nX-".iter().chain(&[b'x'; 64]);
    for byte in head {
        let sent = stream.write_all(&[*byte]);
        // Silence until the next drop; an end or a reset is the server's last word.
        let silent = stream.read(&mut [0; 256]).is_err_and(|e| {
            matches!(
                e.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            )
        });
        if sent.is_err() || !silent {
            break;
        }
    }
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(900) && took < Duration::from_secs(4),
        "cut off after {took:?}"
    );
    let port = world.port();
    assert_eq!(tcp(port, &get("/api/health", port)).status, 200);
    kill(server.id(), "KILL");
    server.wait().expect("it ends");
}

#[test]
fn a_team_listener_refuses_wrong_tokens_whatever_the_path() {
    let world = World::new();
    let port = free_port();
    let mut command = world.command(&["__serve", "--bind", &format!("0.0.0.0:{port}")]);
    command.stdout(std::process::Stdio::null());
    let child = command
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    wait_until("it listens", || {
        TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())
    });
    let credentials = [
        "",
        "Authorization: Bearer sky_00000000000000000000000000000000\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Basic !!!!\r\n",
        "Authorization: Basic YWRtaW46\r\n",
        "Authorization: Digest x\r\n",
    ];
    for more in credentials {
        for path in [
            "/launch",
            "/status",
            "/api/cancel",
            "/users/create",
            "/nope",
        ] {
            let answer = tcp(port, &call("POST", path, port, more, b"{}"));
            assert_eq!(answer.status, 401, "{path} {more}: {answer:?}");
            assert!(!answer.body.contains("sky_0"), "{answer:?}");
        }
    }
    let evil = "Origin: https://evil.example\r\n";
    let answer = tcp(port, &call("POST", "/launch", port, evil, b"{}"));
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(tcp(port, &get("/api/health", port)).status, 200);
    kill(child.id(), "KILL");
    drop(child.wait_with_output());
}

#[test]
fn a_body_that_stops_holds_nobody_up() {
    let target = Target::new();
    let port = target.world.port();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("open");
    let more = "Content-Length: 1000\r\n";
    let bytes = raw("POST", "/launch", port, more, b"{\"task\"");
    stream.write_all(&bytes).expect("sent");
    let began = Instant::now();
    target.unharmed();
    assert!(began.elapsed() < Duration::from_secs(10), "held up");
    let limit = Some(Duration::from_millis(50));
    stream.set_read_timeout(limit).expect("a time-out");
    assert!(
        stream.read(&mut [0; 16]).is_err(),
        "no answer before the end"
    );
}
