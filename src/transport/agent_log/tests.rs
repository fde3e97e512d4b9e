use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, RawQuery};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::*;
use crate::api::agent::CancelJobs;
use crate::api::status::JobStatus;
use crate::http::serve::{Options, Server};
use crate::http::stream::{Source, framed};
use crate::transport::faulty::{Fault, Faulty};
use crate::transport::memory::Memory;

/// A log that is there as a whole.
struct Whole(&'static [u8]);

const DONE: Outcome = Outcome::Job {
    status: Some(JobStatus::Succeeded),
    job_id: Some(JobId(1)),
};

impl Source for Whole {
    fn read(&mut self, offset: u64, _wait: bool) -> BoxFuture<'_, Result<Piece>> {
        let at = usize::try_from(offset).expect("small");
        // In small pieces, so that cuts fall between and into frames.
        let rest = &self.0[at.min(self.0.len())..];
        let piece = if rest.is_empty() {
            Piece::End(DONE)
        } else {
            Piece::Bytes(Bytes::from_static(&rest[..rest.len().min(5)]))
        };
        Box::pin(std::future::ready(Ok(piece)))
    }

    fn tail_offset(&mut self, lines: u64) -> BoxFuture<'_, Result<u64>> {
        let all: Vec<_> = self.0.split_inclusive(|b| *b == b'\n').collect();
        let kept = usize::try_from(lines).expect("small").min(all.len());
        let offset: usize = all[..all.len() - kept].iter().map(|l| l.len()).sum();
        Box::pin(std::future::ready(Ok(offset as u64)))
    }
}

#[derive(serde::Deserialize)]
struct Asked {
    offset: u64,
    follow: bool,
    tail: Option<u64>,
}

const LOG: &[u8] = b"first line\nsecond line\nthe third one\n";

/// An agent with one log and a counter.
fn agent(submissions: Arc<AtomicUsize>) -> Memory {
    let log = async |Query(asked): Query<Asked>| -> Body {
        let mut source = Whole(LOG);
        let from = match asked.tail {
            Some(lines) => source.tail_offset(lines).await.expect("counts"),
            None => asked.offset,
        };
        framed(Box::new(source), from, asked.follow, Duration::from_secs(5))
    };
    let submit = async move || {
        submissions.fetch_add(1, Ordering::SeqCst);
        axum::Json(json!({"job_id": 1, "new": true}))
    };
    let absent = async || Error::new(Kind::NotFound, "there is no job 7").hint("sky queue");
    let router = Router::new()
        .route("/v1/jobs/latest/log", get(log))
        .route("/v1/jobs/1/log", get(log))
        .route("/v1/jobs/7", get(absent))
        .route("/v1/jobs/7/log", get(absent))
        .route(
            "/v1/jobs",
            post(submit).get(async |RawQuery(q): RawQuery| {
                assert_eq!(q.as_deref(), Some("unfinished=true&limit=3"));
                axum::Json(json!([]))
            }),
        )
        .route(
            "/v1/jobs/cancel",
            post(async || axum::Json(json!({"ids": [4]}))),
        );
    Memory::new(Server::new(router, Options::default()))
}

/// Reads a log to its end.
async fn read_all(reader: &mut LogReader) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        match reader.next().await? {
            Some(Frame::Data { offset, bytes }) => {
                assert_eq!(offset, text.len() as u64, "no gap and no repetition");
                text.extend_from_slice(&bytes);
            }
            Some(Frame::End { offset, outcome }) => {
                assert_eq!((offset, outcome), (LOG.len() as u64, DONE));
            }
            Some(Frame::Heartbeat { .. }) => {}
            None => return Ok(text),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_survives_a_cut_at_every_byte() {
    let mut whole = 0;
    for bytes in 1.. {
        let agent = agent(Arc::default());
        let transport = Faulty::new(
            agent,
            [
                Fault::CutReading(bytes),
                Fault::Refuse,
                Fault::CutReading(bytes + 40),
            ],
        );
        let client = AgentClient::new(Arc::new(transport));
        let text = read_all(&mut client.log(None, Start::At(0), true))
            .await
            .expect("it resumes");
        assert_eq!(text, LOG, "cut after {bytes} bytes");
        // Beyond the length of the whole exchange nothing is cut any more.
        whole += usize::from(bytes > 600);
        if whole > 3 {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stays_away_is_an_error_in_the_end() {
    let transport = Faulty::new(agent(Arc::default()), vec![Fault::Refuse; 100]);
    let client = AgentClient::new(Arc::new(transport));
    let error = read_all(&mut client.log(None, Start::At(0), true))
        .await
        .expect_err("away");
    assert_eq!(error.kind(), Kind::Unreachable);
}

#[tokio::test(start_paused = true)]
async fn calls_share_one_connection_and_redial_when_it_breaks() {
    let submissions = Arc::<AtomicUsize>::default();
    let transport = Arc::new(Faulty::new(
        agent(Arc::clone(&submissions)),
        [Fault::CutWriting(400)],
    ));
    let client = AgentClient::new(transport.clone());
    let job: crate::api::agent::SubmitJob = serde_json::from_value(json!({"key": "k", "spec": {
        "name": null, "user": "0a1b2c3d", "user_name": "u", "setup": null, "run": "true", "num_nodes": 1,
        "envs": {}, "cpus": 0.5, "resources_text": "1x[CPU:1+]", "task_id_prefix": "sky-"}}))
    .expect("valid");
    for _ in 0..5 {
        client.submit(&job).await.expect("redials");
    }
    // The one whose connection broke may have arrived before: that is why it carries a key.
    assert!(matches!(submissions.load(Ordering::SeqCst), 5 | 6));
    assert!(
        client
            .jobs(true, Some(3))
            .await
            .expect("answers")
            .is_empty()
    );
    let cancelled = client.cancel(&CancelJobs::All).await.expect("answers");
    assert_eq!(cancelled.ids, [JobId(4)]);
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_agent_arrive_whole() {
    let client = AgentClient::new(Arc::new(agent(Arc::default())));
    assert_eq!(client.job(Some(JobId(7))).await.expect("none"), None);
    let error = client
        .log(Some(JobId(7)), Start::At(0), true)
        .next()
        .await
        .expect_err("none");
    assert_eq!(
        (error.kind(), error.hints()),
        (Kind::NotFound, &["sky queue".to_owned()][..])
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_connection_is_waited_for_and_a_dead_one_is_not() {
    let slow = Faulty::new(
        agent(Arc::default()),
        [Fault::Delay(Duration::from_secs(20))],
    );
    let client = AgentClient::new(Arc::new(slow));
    client
        .jobs(true, Some(3))
        .await
        .expect("20 s is not too long");
    let dead = Faulty::new(
        agent(Arc::default()),
        [Fault::Delay(Duration::from_secs(31))],
    );
    let client = AgentClient::new(Arc::new(dead));
    let error = client.jobs(true, Some(3)).await.expect_err("31 s is");
    assert_eq!(error.kind(), Kind::Unreachable);
}

#[tokio::test(start_paused = true)]
async fn pieces_are_what_the_agent_has() {
    let client = AgentClient::new(Arc::new(agent(Arc::default())));
    let job = JobId(1);
    assert_eq!(client.log_tail(job, 1).await.expect("counts"), 23);
    assert_eq!(client.log_tail(job, 9).await.expect("counts"), 0);
    let piece = client.log_piece(job, 6).await.expect("readable");
    assert_eq!(piece, Piece::Bytes(Bytes::from_static(&LOG[6..])));
    let end = client.log_piece(job, LOG.len() as u64).await;
    assert_eq!(end.expect("readable"), Piece::End(DONE));
}
