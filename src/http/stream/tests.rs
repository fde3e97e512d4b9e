use std::collections::VecDeque;

use http_body_util::BodyExt;

use super::*;
use crate::api::frames::Frame;
use crate::api::status::RequestStatus;
use crate::http::frames::FrameReader;

/// What a scripted source does next.
enum Step {
    Give(&'static str),
    Silence(Duration),
    End(Outcome),
    Fail,
}

/// A source that follows a script; the offset must be the right one at each step.
struct Script {
    steps: VecDeque<Step>,
    offset: u64,
}

impl Script {
    fn boxed(steps: impl IntoIterator<Item = Step>) -> Box<dyn Source> {
        Box::new(Self {
            steps: steps.into_iter().collect(),
            offset: 0,
        })
    }
}

impl Source for Script {
    fn read(&mut self, offset: u64, wait: bool) -> BoxFuture<'_, Result<Piece>> {
        Box::pin(async move {
            assert_eq!(offset, self.offset);
            loop {
                match self.steps.front() {
                    Some(Step::Silence(_)) if !wait => return Ok(Piece::Quiet(RUNNING)),
                    Some(Step::Silence(time)) => {
                        tokio::time::sleep(*time).await;
                        self.steps.pop_front();
                    }
                    Some(Step::Give(text)) => {
                        let bytes = Bytes::from_static(text.as_bytes());
                        self.offset += bytes.len() as u64;
                        self.steps.pop_front();
                        return Ok(Piece::Bytes(bytes));
                    }
                    Some(Step::End(outcome)) => return Ok(Piece::End(outcome.clone())),
                    Some(Step::Fail) => return Err(Error::new(Kind::Internal, "disk\non fire")),
                    None => panic!("read beyond the end"),
                }
            }
        })
    }

    fn tail_offset(&mut self, _lines: u64) -> BoxFuture<'_, Result<u64>> {
        Box::pin(std::future::ready(Ok(0)))
    }
}

const RUNNING: Outcome = Outcome::Request {
    status: RequestStatus::Running,
};
const DONE: Outcome = Outcome::Request {
    status: RequestStatus::Succeeded,
};

async fn text(body: Body) -> String {
    let bytes = body.collect().await.expect("never fails").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

async fn frames(body: Body) -> Vec<Frame> {
    let mut reader = FrameReader::new(body);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next().await.expect("whole") {
        frames.push(frame);
    }
    frames
}

fn data(offset: u64, text: &'static str) -> Frame {
    Frame::Data {
        offset,
        bytes: Bytes::from_static(text.as_bytes()),
    }
}

const BEAT: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn framed_beats_while_silent_and_ends() {
    let steps = || {
        Script::boxed([
            Step::Give("a\n"),
            Step::Silence(Duration::from_secs(9)),
            Step::Give("b\n"),
            Step::End(DONE),
        ])
    };
    let end = |offset, outcome| Frame::End { offset, outcome };
    assert_eq!(
        frames(framed(steps(), 0, true, BEAT)).await,
        [data(0, "a\n"), data(2, "b\n"), end(4, DONE)]
    );
    assert_eq!(
        frames(framed(steps(), 0, false, BEAT)).await,
        [data(0, "a\n"), end(2, RUNNING)]
    );
    let silent = Script::boxed([Step::Give("a\n"), Step::Silence(Duration::from_secs(3600))]);
    let mut reader = FrameReader::new(framed(silent, 0, true, BEAT));
    assert_eq!(reader.next().await.expect("read"), Some(data(0, "a\n")));
    for _ in 0..3 {
        let beat = reader.next().await.expect("read");
        assert_eq!(beat, Some(Frame::Heartbeat { offset: 2 }));
    }
}

#[tokio::test]
async fn a_failing_source_interrupts_the_framed_form() {
    let body = framed(Script::boxed([Step::Give("a"), Step::Fail]), 0, true, BEAT);
    let reason = "disk\non fire".to_owned();
    let outcome = Outcome::Interrupted { reason };
    assert_eq!(
        frames(body).await,
        [data(0, "a"), Frame::End { offset: 1, outcome }]
    );
}

/// A source that gives all it has at once.
struct Long(Bytes);
impl Source for Long {
    fn read(&mut self, offset: u64, _wait: bool) -> BoxFuture<'_, Result<Piece>> {
        let rest = self.0.slice(usize::try_from(offset).expect("small")..);
        let piece = if rest.is_empty() {
            Piece::End(Outcome::File)
        } else {
            Piece::Bytes(rest)
        };
        Box::pin(std::future::ready(Ok(piece)))
    }
    fn tail_offset(&mut self, _lines: u64) -> BoxFuture<'_, Result<u64>> {
        Box::pin(std::future::ready(Ok(0)))
    }
}

#[tokio::test]
async fn long_pieces_are_cut_to_frames() {
    let long = vec![b'x'; MAX_PAYLOAD * 2 + 17];
    let body = framed(Box::new(Long(long.clone().into())), 0, false, BEAT);
    let mut read = Vec::new();
    for frame in frames(body).await {
        match frame {
            Frame::Data { offset, bytes } => {
                assert_eq!(offset, read.len() as u64);
                read.extend_from_slice(&bytes);
            }
            Frame::Heartbeat { .. } => panic!("it is not silent"),
            Frame::End { offset, .. } => assert_eq!(offset, long.len() as u64),
        }
    }
    assert!(read == long);
}

#[tokio::test(start_paused = true)]
async fn plain_keeps_or_strips_and_completes_the_last_line() {
    let steps = || {
        Script::boxed([
            Step::Give("one\n<sky-payload>\"<rich_in"),
            Step::Give("it>x</rich_init>\"</sky-payload>\ntwo\nthr"),
            Step::Give("ee"),
            Step::End(DONE),
        ])
    };
    let kept = text(plain(steps(), 0, true, Some(BEAT), Controls::Keep)).await;
    let control = Control::Init("x".into()).line();
    assert_eq!(kept, format!("one\n{control}two\nthree\n"));
    let stripped = text(plain(steps(), 0, true, None, Controls::Strip)).await;
    assert_eq!(stripped, "one\ntwo\nthree\n");
}

#[tokio::test(start_paused = true)]
async fn plain_beats_between_lines_only() {
    let mut body = plain(
        Script::boxed([Step::Give("a\n"), Step::Silence(Duration::from_secs(3600))]),
        0,
        true,
        Some(BEAT),
        Controls::Keep,
    );
    for expected in ["a\n".to_owned(), Control::Heartbeat.line()] {
        let frame = body.frame().await.expect("more").expect("never fails");
        assert_eq!(frame.into_data().expect("data"), expected);
    }
    let mut body = plain(
        Script::boxed([Step::Give("50 %"), Step::Silence(Duration::from_secs(3600))]),
        0,
        true,
        Some(BEAT),
        Controls::Keep,
    );
    body.frame().await.expect("more").expect("never fails");
    let next = tokio::time::timeout(BEAT * 20, body.frame()).await;
    assert!(next.is_err(), "a heartbeat would cut the line in two");
}

#[tokio::test]
async fn plain_says_when_the_log_is_not_complete() {
    let fail = |controls| {
        plain(
            Script::boxed([Step::Give("a"), Step::Fail]),
            0,
            true,
            None,
            controls,
        )
    };
    for controls in [Controls::Keep, Controls::Strip] {
        let shown = text(fail(controls)).await;
        assert_eq!(shown, "a\nsky: the log is not complete: disk on fire\n");
    }
    let at_once = plain(Script::boxed([Step::Fail]), 0, true, None, Controls::Keep);
    assert_eq!(
        text(at_once).await,
        "",
        "an error before the first byte is the route's to tell"
    );
    let interrupted = |controls| {
        let reason = "the server stops".to_owned();
        let end = Step::End(Outcome::Interrupted { reason });
        plain(
            Script::boxed([Step::Give("a\n"), end]),
            0,
            true,
            None,
            controls,
        )
    };
    let asked_back = text(interrupted(Controls::Keep)).await;
    assert_eq!(asked_back, format!("a\n{}", Control::Retry.line()));
    let told = text(interrupted(Controls::Strip)).await;
    assert_eq!(told, "a\nsky: the log is not complete: the server stops\n");
}
