//! What is deleted, and what is not.

use std::time::Duration;

use super::super::retention::sweep;
use super::*;
use crate::base::Kind;
use crate::base::clock::Moment;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn talkative() -> Arc<Fake> {
    Fake::new(|cx, record| async move {
        if record.profile.lane == Lane::Long {
            return std::future::pending().await;
        }
        cx.line("x".repeat(999));
        let _: u32 = cx.step("look", || async { Ok(1) }).await?;
        Ok(Verdict::Done(json!("result")))
    })
}

async fn finished(requests: &Requests, count: usize) -> Vec<RequestId> {
    let mut ids = Vec::new();
    for n in 0..count {
        let mut admission = short("status");
        admission.key = Some(format!("k{n}").parse().expect("a key"));
        let id = submit(requests, admission).await;
        requests.wait(id).await.expect("it ends");
        ids.push(id);
    }
    ids
}

#[tokio::test]
async fn age_deletes_all_traces_but_the_keys_which_go_later() {
    let dir = tempfile::tempdir().expect("a directory");
    let requests = start(dir.path(), talkative(), Options::default()).await;
    let open = submit(&requests, long("launch")).await;
    let ids = finished(&requests, 300).await;
    let now = Moment::now();
    let deleted = |at: Moment| sweep(&requests.core, at);
    assert_eq!(deleted(now.after(DAY)).await.expect("it sweeps"), 0);
    assert_eq!(deleted(now.after(DAY * 8)).await.expect("it sweeps"), 300);
    let gone = requests.get(ids[0]).await.expect_err("it is deleted");
    assert_eq!(gone.kind(), Kind::NotFound);
    let left = requests
        .list(ListQuery {
            all_status: true,
            ..ListQuery::default()
        })
        .await;
    assert_eq!(left.expect("it lists").len(), 1, "the unfinished one stays");
    assert!(requests.get(open).await.is_ok());
    let prefix = requests.resolve(&ids[0].to_string(), None).await;
    assert!(prefix.is_err());
    let logs = std::fs::read_dir(dir.path().join("logs")).expect("it reads");
    let files: usize = logs
        .map(|sub| {
            std::fs::read_dir(sub.expect("a folder").path())
                .expect("it reads")
                .count()
        })
        .sum();
    assert_eq!(files, 0, "no log is left over");

    let mut again = short("status");
    again.key = Some("k0".parse().expect("a key"));
    let admitted = requests.submit(again.clone()).await.expect("it answers");
    assert_eq!(
        admitted,
        Admitted {
            id: ids[0],
            new: false
        },
        "never run twice"
    );
    assert_eq!(deleted(now.after(DAY * 40)).await.expect("it sweeps"), 0);
    assert!(requests.submit(again).await.expect("it is accepted").new);
}

#[tokio::test]
async fn bytes_delete_the_oldest_first() {
    let dir = tempfile::tempdir().expect("a directory");
    let retention = Retention {
        log_bytes: 3500,
        ..Retention::default()
    };
    let requests = start(
        dir.path(),
        talkative(),
        Options {
            retention,
            ..Options::default()
        },
    )
    .await;
    let ids = finished(&requests, 6).await;
    assert_eq!(
        sweep(&requests.core, Moment::now())
            .await
            .expect("it sweeps"),
        3
    );
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(requests.get(*id).await.is_ok(), n >= 3, "{n}");
    }
}
