use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Extension;
use axum::body::Body;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::api::frames::{Frame, Outcome};
use crate::http::call::{Call, Client, Endpoint};
use crate::http::listen::{bind_tcp, tls_acceptor};
use crate::http::tail::{Standing, Tails};
use crate::http::{frames, stream, tls, unix};

/// Waits for what must happen soon.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work)
        .await
        .expect("it happens soon")
}

fn router() -> Router {
    Router::new()
        .route(
            "/peer",
            get(async |Extension(peer): Extension<Arc<Peer>>| format!("{peer:?}")),
        )
        .route("/echo", post(async |body: Body| body))
        .route(
            "/busy",
            get(async || Error::new(Kind::TooBusy, "later").retry_after(Duration::from_secs(3))),
        )
}

/// A server at a free port of the loopback address.
async fn tcp_server(options: Options, policy: Policy) -> (Server, SocketAddr) {
    let server = Server::new(router(), options);
    let listener = bind_tcp((Ipv4Addr::LOCALHOST, 0).into())
        .await
        .expect("free");
    let address = listener.local_addr().expect("bound");
    server.listen(Listener::Tcp(listener), policy);
    (server, address)
}

fn client(endpoint: &str) -> Client {
    let endpoint: Endpoint = endpoint.parse().expect("valid");
    Client::new(endpoint).expect("valid")
}

/// Sends bytes and reads until the server closes.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(bytes).await.expect("sent");
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    drop(soon(stream.read_to_end(&mut answer)).await);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn calls_reuse_one_connection() {
    let (server, address) = tcp_server(Options::default(), Policy::SameUser).await;
    let client = client(&format!("http://{address}"));
    for n in 0..20 {
        let sent = vec![b'x'; n * 10_000];
        let answer = client
            .fetch(Call::post("/echo").bytes(sent.clone()))
            .await
            .expect("answers");
        assert!(answer.bytes(1_000_000).await.expect("whole") == sent);
    }
    assert_eq!(server.connections(), 1);
    let peer = client.fetch(Call::get("/peer")).await.expect("answers");
    let peer = peer.bytes(1000).await.expect("whole");
    let me = format!("uid: Some({})", rustix::process::getuid().as_raw());
    assert!(String::from_utf8_lossy(&peer).contains(&me), "{peer:?}");
}

#[tokio::test]
async fn errors_and_absent_servers_are_told_apart() {
    let (server, address) = tcp_server(Options::default(), Policy::Open).await;
    let client = client(&format!("http://{address}"));
    let error = client
        .fetch(Call::get("/busy"))
        .await
        .err()
        .expect("refused");
    assert_eq!(
        (error.kind(), error.delay()),
        (Kind::TooBusy, Some(Duration::from_secs(3)))
    );
    let error = client
        .fetch(Call::get("/absent"))
        .await
        .err()
        .expect("no such route");
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(
        server.drain(Duration::from_secs(5)).await,
        Drained { cut: 0 }
    );
    drop(server);
    let error = client.fetch(Call::get("/peer")).await.err().expect("gone");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.one_line().contains("refused"), "{}", error.one_line());
}

#[tokio::test]
async fn slow_senders_are_closed() {
    let options = Options {
        limits: Limits {
            header_timeout: Duration::from_millis(150),
            ..Limits::default()
        },
        ..Options::default()
    };
    let (server, address) = tcp_server(options, Policy::Open).await;
    for start in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n",
        "GET /peer HTTP/1.1\r\nhost: a\r\n",
    ] {
        let answer = raw(address, start.as_bytes()).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{start:?}: {answer}"
        );
    }
    // After an answered request the time runs again.
    let answer = raw(address, b"GET /peer HTTP/1.1\r\nhost: a\r\n\r\nGET /pe").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    soon(async {
        while server.connections() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let (_server, address) = tcp_server(Options::default(), Policy::Open).await;
    let head = format!(
        "GET /peer HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "y".repeat(70_000)
    );
    let answer = raw(address, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn beyond_the_limit_connections_hear_503() {
    let options = Options {
        max_connections: 2,
        ..Options::default()
    };
    let (server, address) = tcp_server(options, Policy::SameUser).await;
    let ask = b"GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let first = TcpStream::connect(address).await.expect("it listens");
    let _second = TcpStream::connect(address).await.expect("it listens");
    soon(async {
        while server.connections() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let refused = raw(address, ask).await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(
        refused.contains("retry-after: 1") && refused.contains("too many connections"),
        "{refused}"
    );
    drop(first);
    soon(async {
        while server.connections() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let answer = raw(address, ask).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn only_this_user_and_root_are_let_in() {
    let me = rustix::process::geteuid().as_raw();
    let address: SocketAddr = "127.0.0.1:1".parse().expect("valid");
    let peer = |uid, policy| Peer {
        kind: PeerKind::Tcp {
            address,
            local: address,
            uid,
        },
        policy,
        tls: false,
    };
    for (uid, admitted) in [
        (Some(me), true),
        (Some(0), true),
        (Some(me + 1), false),
        (None, false),
    ] {
        assert_eq!(
            peer(uid, Policy::SameUser).admit().is_ok(),
            admitted,
            "{uid:?}"
        );
        assert!(peer(uid, Policy::Open).admit().is_ok());
    }
}

/// A certificate for 127.0.0.1 and its key in a directory.
fn certificate(directory: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("made");
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    (certificate, key)
}

#[tokio::test]
async fn https_works_with_a_private_authority_and_not_without() {
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = certificate(directory.path());
    let server = Server::new(router(), Options::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("free");
    let endpoint = format!("https://{}", listener.local_addr().expect("bound"));
    let acceptor = tls_acceptor(&certificate, &key).expect("they fit");
    server.listen(Listener::Tls(listener, acceptor), Policy::Open);

    let connector = tls::connector_with(Some(&certificate)).expect("readable");
    let trusting = client(&endpoint).with_tls(connector);
    let answer = trusting.fetch(Call::get("/peer")).await.expect("answers");
    let text = answer.bytes(1000).await.expect("whole");
    assert!(String::from_utf8_lossy(&text).contains("tls: true"));

    let error = client(&endpoint)
        .fetch(Call::get("/peer"))
        .await
        .err()
        .expect("unknown authority");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(
        tls_acceptor(&key, &certificate).is_err(),
        "the wrong way round"
    );
}

#[tokio::test]
async fn a_drain_lets_requests_finish_until_its_deadline() {
    let home = tempfile::tempdir().expect("a directory");
    let socket = home.path().join("s");
    let release = CancellationToken::new();
    let entered = CancellationToken::new();
    let (r, e) = (release.clone(), entered.clone());
    let slow = async move || {
        e.cancel();
        r.cancelled().await;
        "done"
    };
    let router = Router::new().route("/slow", get(slow));
    let server = Server::new(router, Options::default());
    server.listen(
        Listener::Unix(unix::bind(&socket).await.expect("free")),
        Policy::SameUser,
    );
    let client = client(&format!("unix://{}", socket.display()));

    let drain = async {
        entered.cancelled().await;
        let drained = server.drain(Duration::from_secs(20));
        let released = async {
            release.cancel();
        };
        tokio::join!(drained, released).0
    };
    let (answer, drained) = tokio::join!(client.fetch(Call::get("/slow")), drain);
    assert_eq!(
        answer.expect("finished").bytes(10).await.expect("whole"),
        "done"
    );
    assert_eq!(drained, Drained { cut: 0 });

    let entered = CancellationToken::new();
    let e = entered.clone();
    let never = async move || {
        e.cancel();
        std::future::pending::<&str>().await
    };
    let server = Server::new(
        Router::new().route("/never", get(never)),
        Options::default(),
    );
    let (mut ours, theirs) = tokio::io::duplex(1000);
    server.serve_stream(Box::new(theirs), Peer::this_process());
    ours.write_all(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .expect("sent");
    soon(entered.cancelled()).await;
    let drained = soon(server.drain(Duration::from_millis(50))).await;
    assert_eq!(drained, Drained { cut: 1 });
}

#[tokio::test]
async fn two_thousand_followers_see_a_line_and_the_end() {
    const FOLLOWERS: usize = 2000;
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("run.log");
    std::fs::write(&path, "old\n").expect("written");
    let tails = Tails::start().expect("inotify");
    let finished = Arc::new(AtomicBool::new(false));
    let (t, p, f) = (tails.clone(), path.clone(), Arc::clone(&finished));
    let follow = async move || -> Body {
        let finished = Arc::clone(&f);
        let standing = Arc::new(move || {
            if finished.load(Ordering::SeqCst) {
                Standing::Finished(Outcome::File)
            } else {
                Standing::Open(Outcome::File)
            }
        });
        let tail = t.follow(&p, standing);
        stream::framed(Box::new(tail), 0, true, Duration::from_secs(30))
    };
    let server = Server::new(Router::new().route("/log", get(follow)), Options::default());
    let started = Arc::new(Semaphore::new(0));
    let followers = (0..FOLLOWERS).map(|_| {
        let (mut ours, theirs) = tokio::io::duplex(4096);
        server.serve_stream(Box::new(theirs), Peer::this_process());
        let started = Arc::clone(&started);
        async move {
            ours.write_all(b"GET /log HTTP/1.0\r\n\r\n")
                .await
                .expect("sent");
            let mut answer = Vec::new();
            while !answer.ends_with(b"old\n") {
                ours.read_buf(&mut answer).await.expect("read");
            }
            started.add_permits(1);
            ours.read_to_end(&mut answer).await.expect("read");
            let body = answer
                .windows(4)
                .position(|w| w == b"\r\n\r\n")
                .expect("a head")
                + 4;
            let mut decoder = frames::Decoder::default();
            decoder.push(&answer[body..]);
            let mut text = Vec::new();
            while let Some(frame) = decoder.next().expect("valid") {
                match frame {
                    Frame::Data { bytes, .. } => text.extend_from_slice(&bytes),
                    Frame::Heartbeat { .. } => {}
                    Frame::End { outcome, .. } => assert_eq!(outcome, Outcome::File),
                }
            }
            text
        }
    });
    let write = async {
        drop(
            started
                .acquire_many(u32::try_from(FOLLOWERS).expect("few"))
                .await,
        );
        let mut file = crate::sys::fs::open_append(&path).expect("writable");
        std::io::Write::write_all(&mut file, b"new\n").expect("written");
        finished.store(true, Ordering::SeqCst);
        tails.poke(&path);
    };
    let (texts, ()) =
        soon(async { tokio::join!(futures_util::future::join_all(followers), write) }).await;
    assert!(texts.iter().all(|text| text == b"old\nnew\n"));
}
