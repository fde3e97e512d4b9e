//! From submission to result.

use super::*;
use crate::api::status::RequestStatus;
use crate::base::{Error, Kind};
use crate::http::stream::{Piece, Source};

#[tokio::test]
async fn runs_and_keeps_its_result() {
    let dir = tempfile::tempdir().expect("a directory");
    let requests = start(dir.path(), Fake::echo(), Options::default()).await;
    let id = submit(&requests, short("status")).await;
    assert_eq!(result(&requests, id).await, Some(json!({"of": "status"})));
    let id = submit(&requests, long("launch")).await;
    let record = requests.wait(id).await.expect("it ends");
    assert_eq!(record.status(), RequestStatus::Succeeded);
    assert_eq!(record.body, json!({"of": "launch"}));
}

#[tokio::test]
async fn a_failure_and_a_panic_are_stored() {
    let dir = tempfile::tempdir().expect("a directory");
    let fake = Fake::new(|_, record| async move {
        assert_ne!(record.name, "panic", "boom");
        Err(Error::new(Kind::ClusterNotUp, "cluster `a` is stopped"))
    });
    let requests = start(dir.path(), fake, Options::default()).await;
    let id = submit(&requests, long("exec")).await;
    let record = requests.wait(id).await.expect("it ends");
    assert_eq!(record.error().map(Error::kind), Some(Kind::ClusterNotUp));
    let id = submit(&requests, long("panic")).await;
    let record = requests.wait(id).await.expect("it ends");
    let error = record.error().expect("it failed");
    assert_eq!(error.kind(), Kind::Internal);
    assert!(error.one_line().contains("boom"), "{}", error.one_line());
}

#[tokio::test]
async fn its_log_can_be_followed_to_its_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let fake = Fake::new(|cx, _| async move {
        cx.line("one");
        cx.spinner("[bold]busy[/]");
        cx.line("two");
        Ok(Verdict::Done(Value::Null))
    });
    let requests = start(dir.path(), fake, Options::default()).await;
    let id = submit(&requests, long("launch")).await;
    let mut log = requests.log(id).await.expect("it has a log");
    let mut text = Vec::new();
    loop {
        match log.read(text.len() as u64, true).await.expect("it reads") {
            Piece::Bytes(bytes) => text.extend_from_slice(&bytes),
            Piece::End(_) => break,
            Piece::Quiet(_) => panic!("it should wait"),
        }
    }
    let text = String::from_utf8(text).expect("text");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.first(), Some(&"one"));
    assert!(lines.contains(&"two"));
    assert!(lines.last().is_some_and(|line| line.contains("rich_exit")));
}
