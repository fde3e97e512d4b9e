//! Following a log over connections that break anywhere.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use proptest::prelude::*;

use super::*;
use crate::api::bodies::Common;
use crate::api::frames::Control;
use crate::api::status::RequestStatus;
use crate::http::frames;
use crate::http::listen::{Listener, Policy, bind_tcp};
use crate::http::serve::{Options, Server};

#[test]
fn frames_are_joined_at_the_byte() {
    assert_eq!(unseen(None, 7, b"abc").expect("fine"), b"abc");
    assert_eq!(unseen(Some(7), 7, b"abc").expect("fine"), b"abc");
    assert_eq!(unseen(Some(9), 7, b"abc").expect("fine"), b"c");
    assert_eq!(unseen(Some(20), 7, b"abc").expect("fine"), b"");
    assert!(unseen(Some(5), 7, b"abc").is_err());
}

/// How the connections of a test end.
#[derive(Debug, Clone)]
enum Cut {
    /// After so many bytes, without a word.
    Broken(usize),
    /// After so many bytes of the log, with the word that the server stops.
    Interrupted(usize),
    /// Before anything: the server is busy.
    Busy,
}

/// A server of one log.
struct OneLog {
    /// The log.
    text: String,
    /// Bytes of a frame.
    step: usize,
    /// How its first connections end; the next one goes to the end.
    cuts: Vec<Cut>,
    /// Connections so far.
    served: AtomicUsize,
}

impl OneLog {
    /// Answers from a byte on.
    fn answer(&self, offset: u64) -> Response {
        let cut = self.cuts.get(self.served.fetch_add(1, Ordering::SeqCst));
        let from = usize::try_from(offset).expect("small");
        let rest = &self.text.as_bytes()[from..];
        let (shown, end) = match cut {
            Some(Cut::Busy) => {
                let error = Error::new(Kind::TooBusy, "later");
                return error.retry_after(Duration::from_millis(1)).into_response();
            }
            Some(Cut::Interrupted(n)) => (
                &rest[..rest.len().min(*n)],
                End::Interrupted {
                    reason: "the server stops".to_owned(),
                },
            ),
            Some(Cut::Broken(_)) | None => (rest, succeeded()),
        };
        let mut wire = Vec::new();
        let mut at = offset;
        for chunk in shown.chunks(self.step) {
            let encoded = frames::data(at, Bytes::copy_from_slice(chunk));
            wire.extend_from_slice(&encoded.head);
            wire.extend_from_slice(&encoded.payload.unwrap_or_default());
            wire.extend_from_slice(&frames::heartbeat(at));
            at += chunk.len() as u64;
        }
        wire.extend_from_slice(&frames::end(at, &end));
        if let Some(Cut::Broken(n)) = cut {
            wire.truncate(*n);
        }
        ([(CONTENT_TYPE, FRAMES_CONTENT_TYPE)], Body::from(wire)).into_response()
    }
}

/// The end of the log.
fn succeeded() -> End {
    End::Request {
        status: RequestStatus::Succeeded,
    }
}

/// Follows the log of a server and returns what was printed.
async fn printed(log: OneLog) -> (Vec<u8>, usize) {
    let log = Arc::new(log);
    let router = Router::new()
        .route(
            "/api/stream",
            get(
                async |State(log): State<Arc<OneLog>>, Query(query): Query<StreamQuery>| {
                    log.answer(query.offset.unwrap_or(0))
                },
            ),
        )
        .with_state(Arc::clone(&log));
    let what = What::Request {
        id: "1a2b3c4d".to_owned(),
        tail: None,
        follow: true,
    };
    let (end, out) = followed(router, &what).await;
    assert_eq!(end.expect("it succeeds"), Some(succeeded()));
    (out, log.served.load(Ordering::SeqCst))
}

/// Follows something on a server; returns how that ended and what was printed.
async fn followed(router: Router, what: &What) -> (Outcome<Option<End>>, Vec<u8>) {
    let server = Server::new(router, Options::default());
    let listener = bind_tcp((Ipv4Addr::LOCALHOST, 0).into())
        .await
        .expect("free");
    let address = listener.local_addr().expect("bound");
    server.listen(Listener::Tcp(listener), Policy::SameUser);
    let state = tempfile::tempdir().expect("a directory");
    let session = Session::testing(&format!("http://{address}"), state.path());
    let end = tokio::time::timeout(Duration::from_secs(60), follow(&session, what))
        .await
        .expect("it ends");
    (end, session.ui.take_captured())
}

/// A server that sends text without positions, as `SkyPilot`'s does.
struct PlainLog {
    /// The log.
    text: String,
    /// After how many bytes its first connections end, and whether with the word to come back.
    cuts: Vec<(usize, bool)>,
    /// Connections so far.
    served: AtomicUsize,
}

impl PlainLog {
    /// Answers from the beginning, as always.
    fn answer(&self) -> Response {
        let text = self.text.as_bytes();
        let served = self.served.fetch_add(1, Ordering::SeqCst);
        let Some(&(end, is_asked_back)) = self.cuts.get(served) else {
            return Body::from(text.to_vec()).into_response();
        };
        let shown = &text[..end.min(text.len())];
        if is_asked_back {
            let whole = memchr::memrchr(b'\n', shown).map_or(0, |at| at + 1);
            return Body::from([&shown[..whole], Control::Retry.line().as_bytes()].concat())
                .into_response();
        }
        let shown = Bytes::copy_from_slice(shown);
        let pieces = stream::iter([Ok(shown)]).chain(stream::once(async {
            // What was shown is on its way by the time that the connection breaks.
            tokio::task::yield_now().await;
            Err(std::io::Error::other("cut"))
        }));
        Body::from_stream(pieces).into_response()
    }

    /// Follows the log; returns what was printed, or why not all of it.
    async fn printed(self, what: &What) -> (Outcome<Option<End>>, Vec<u8>) {
        let answer = async |State(log): State<Arc<Self>>| log.answer();
        let router = Router::new()
            .route("/api/stream", get(answer))
            .route("/logs", post(answer))
            .with_state(Arc::new(self));
        followed(router, what).await
    }
}

/// The log of a job.
fn job(tail: i64) -> What {
    What::Job(Box::new(LogsBody {
        common: Common::default(),
        cluster_name: "demo".to_owned(),
        job_id: Some(1),
        follow: true,
        tail,
    }))
}

fn any_cut() -> impl Strategy<Value = Cut> {
    prop_oneof![
        (0_usize..400).prop_map(Cut::Broken),
        (0_usize..300).prop_map(Cut::Interrupted),
        Just(Cut::Busy),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_byte_is_missed_or_repeated(
        lines in proptest::collection::vec("[a-zäöü ]{0,30}", 0..30),
        step in 1_usize..60,
        cuts in proptest::collection::vec(any_cut(), 0..5),
    ) {
        let mut text = Control::Init("[bold]Launching[/]".to_owned()).line();
        let mut expected = String::new();
        for line in &lines {
            expected.push_str(line);
            expected.push('\n');
            text.push_str(line);
            text.push('\n');
            text.push_str(&Control::Heartbeat.line());
        }
        let most = cuts.len() + 1;
        let log = OneLog { text, step, cuts, served: AtomicUsize::new(0) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (out, served) = runtime.block_on(printed(log));
        prop_assert_eq!(String::from_utf8(out).expect("text"), expected);
        prop_assert!(served <= most, "{} connections", served);
    }

    #[test]
    fn no_line_of_a_plain_stream_is_missed_or_repeated(
        lines in proptest::collection::vec("[a-zäöü ]{0,30}[\n\r]", 0..30),
        last in "[a-z]{0,10}",
        cuts in proptest::collection::vec((0_usize..400, any::<bool>()), 0..4),
        is_job in any::<bool>(),
    ) {
        let mut text = Control::Init("[bold]Launching[/]".to_owned()).line();
        for line in &lines {
            text.push_str(line);
            text.push_str(&Control::Heartbeat.line());
        }
        text.push_str(&last);
        let mut expected = lines.concat() + &last;
        if !last.is_empty() {
            expected.push('\n');
        }
        let what = if is_job { job(0) } else {
            What::Request { id: "1a2b3c4d".to_owned(), tail: None, follow: true }
        };
        let log = PlainLog { text, cuts, served: AtomicUsize::new(0) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (end, out) = runtime.block_on(log.printed(&what));
        prop_assert!(matches!(end, Ok(None)), "{:?}", end);
        prop_assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}

#[tokio::test]
async fn the_last_lines_of_a_plain_stream_are_not_guessed_again() {
    let log = PlainLog {
        text: "one\ntwo\nthree\n".to_owned(),
        cuts: vec![(8, false)],
        served: AtomicUsize::new(0),
    };
    let (end, out) = log.printed(&job(1000)).await;
    let Err(Stop::Failed(error)) = end else {
        panic!("{end:?}");
    };
    assert_eq!(error.message(), "the log stream broke off");
    assert!(error.hints()[0].starts_with("run the command again"));
    assert_eq!(String::from_utf8_lossy(&out), "one\ntwo\n");
}
