//! Cancelling in every state, and what preempts what.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::api::status::RequestStatus;
use crate::base::clock::{Moment, monotonic};

/// Work that says when it runs, and stops when it is told to.
fn stoppable(runs: &Signal) -> Arc<Fake> {
    let runs = runs.clone();
    Fake::with_clean_up(
        move |cx, _| {
            let runs = runs.clone();
            async move {
                runs.fire();
                cx.unless_cancelled(std::future::pending::<Result<Verdict>>())
                    .await
            }
        },
        |cx, _| async move {
            // The clean-up may work: its context is not the cancelled one.
            cx.check().ok()?;
            Some("deleted machine m-1".to_owned())
        },
    )
}

#[tokio::test]
async fn a_pending_one_is_cancelled_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let runs = Signal::new();
    let options = Options {
        long: 1,
        ..Options::default()
    };
    let requests = start(dir.path(), stoppable(&runs), options).await;
    submit(&requests, long("launch")).await;
    runs.wait().await;
    let id = submit(&requests, long("launch")).await;
    let receipt = requests
        .cancel(Which::Ids(vec![id]), &caller("ann"))
        .await
        .expect("a receipt");
    assert_eq!(receipt.cancelled, [id.to_string()]);
    let record = requests.get(id).await.expect("it exists");
    assert!(
        matches!(&record.state, State::Cancelled { by: Some(by), note: None, .. } if *by == user("ann")),
        "{:?}",
        record.state
    );
}

#[tokio::test]
async fn a_running_one_stops_and_says_what_was_undone() {
    let dir = tempfile::tempdir().expect("a directory");
    let runs = Signal::new();
    let requests = start(dir.path(), stoppable(&runs), Options::default()).await;
    let id = submit(&requests, long("launch")).await;
    runs.wait().await;
    let receipt = requests
        .cancel(Which::Ids(vec![id]), &caller("bob"))
        .await
        .expect("a receipt");
    assert_eq!(receipt.cancelled.len(), 1);
    let record = requests.wait(id).await.expect("it ends");
    let State::Cancelled { by, note, .. } = &record.state else {
        panic!("{:?}", record.state);
    };
    assert_eq!(
        (by.as_ref(), note.as_deref()),
        (Some(&user("bob")), Some("deleted machine m-1"))
    );
    let again = requests
        .cancel(Which::Ids(vec![id, RequestId::generate()]), &caller("bob"))
        .await;
    let again = again.expect("a receipt");
    assert!(again.cancelled.is_empty());
    assert_eq!(again.left.len(), 2);
    assert_eq!(again.left[0].1, "it is CANCELLED already");
}

#[tokio::test]
async fn a_parked_one_is_cleaned_up_before_it_is_cancelled() {
    let dir = tempfile::tempdir().expect("a directory");
    let cleaned = Signal::new();
    let fired = cleaned.clone();
    let fake = Fake::with_clean_up(
        |_, _| async {
            Ok(Verdict::Park {
                until: Moment::now().after(Duration::from_secs(3600)),
                reason: "no capacity".into(),
            })
        },
        move |_, _| {
            fired.fire();
            async { None }
        },
    );
    let requests = start(dir.path(), fake, Options::default()).await;
    let id = submit(&requests, long("launch")).await;
    let record = reaches(&requests, id, RequestStatus::Waiting).await;
    assert_eq!(record.status_msg.as_deref(), Some("no capacity"));
    requests
        .cancel(Which::All, &caller("ann"))
        .await
        .expect("a receipt");
    assert_eq!(
        requests.wait(id).await.expect("it ends").status(),
        RequestStatus::Cancelled
    );
    cleaned.wait().await;
}

#[tokio::test]
async fn one_that_does_not_stop_is_abandoned_after_the_deadline() {
    let dir = tempfile::tempdir().expect("a directory");
    let runs = Signal::new();
    let fired = runs.clone();
    let fake = Fake::new(move |_, _| {
        fired.fire();
        std::future::pending()
    });
    let options = Options {
        cancel_deadline: Duration::from_millis(30),
        ..Options::default()
    };
    let requests = start(dir.path(), fake, options).await;
    let id = submit(&requests, long("launch")).await;
    runs.wait().await;
    requests
        .cancel(Which::OfUser(user("ann")), &caller("ann"))
        .await
        .expect("a receipt");
    let record = requests.wait(id).await.expect("it ends");
    assert!(
        matches!(&record.state, State::Cancelled { note: Some(note), .. } if note.contains("abandoned")),
        "{:?}",
        record.state
    );
}

#[tokio::test]
async fn work_that_ends_after_its_cancel_was_acknowledged_is_cancelled_all_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let runs = Signal::new();
    let fired = runs.clone();
    let fake = Fake::new(move |cx, _| {
        let fired = fired.clone();
        async move {
            fired.fire();
            cx.cancel_token().cancelled().await;
            Ok(Verdict::Done(json!("done anyway")))
        }
    });
    let requests = start(dir.path(), fake, Options::default()).await;
    let id = submit(&requests, long("launch")).await;
    runs.wait().await;
    requests
        .cancel(Which::Ids(vec![id]), &caller("ann"))
        .await
        .expect("a receipt");
    assert_eq!(
        requests.wait(id).await.expect("it ends").status(),
        RequestStatus::Cancelled
    );
}

#[tokio::test]
async fn down_cancels_what_its_cluster_has_and_runs_ahead_of_the_queue() {
    let dir = tempfile::tempdir().expect("a directory");
    let runs = Signal::new();
    let (fired, wound_down) = (runs.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&wound_down);
    let fake = Fake::with_clean_up(
        move |cx, record| {
            let (fired, wound_down) = (fired.clone(), Arc::clone(&counted));
            async move {
                if record.name == "down" {
                    return Ok(Verdict::Done(json!(wound_down.load(Ordering::SeqCst))));
                }
                fired.fire();
                cx.unless_cancelled(std::future::pending::<Result<Verdict>>())
                    .await
            }
        },
        {
            let wound_down = Arc::clone(&wound_down);
            move |_, _| {
                let wound_down = Arc::clone(&wound_down);
                async move {
                    tokio::task::yield_now().await;
                    wound_down.fetch_add(1, Ordering::SeqCst);
                    None
                }
            }
        },
    );
    let requests = start(dir.path(), fake, Options::default()).await;
    let launch = submit(&requests, on("launch", "a")).await;
    runs.wait().await;
    let exec = submit(&requests, on("exec", "a")).await;
    let mut shared = on("queue", "a");
    shared.profile.exclusive = false;
    let queue = submit(&requests, shared.clone()).await;
    reaches(&requests, queue, RequestStatus::Running).await;
    let other = submit(&requests, on("launch", "b")).await;
    let tail = requests.attach(shared).await.expect("it attaches");
    let down = submit(&requests, down("a")).await;
    assert_eq!(
        result(&requests, down).await,
        Some(json!(2)),
        "launch and queue have wound down"
    );
    for id in [launch, exec, queue] {
        let record = requests.get(id).await.expect("it exists");
        let State::Cancelled {
            note: Some(note), ..
        } = &record.state
        else {
            panic!("{:?}", record.state);
        };
        assert!(note.contains(&down.short()), "{note}");
    }
    assert!(
        !requests
            .get(other)
            .await
            .expect("it exists")
            .status()
            .is_final()
    );
    assert!(tail.cx.check().is_ok(), "log tails go on");
}

#[tokio::test]
async fn a_cancel_is_quick_with_a_full_queue_and_short_requests_do_not_notice() {
    const PENDING: usize = 20_000;
    let dir = tempfile::tempdir().expect("a directory");
    let fake = Fake::new(|_, record| async move {
        if record.profile.lane == Lane::Short {
            return Ok(Verdict::Done(Value::Null));
        }
        std::future::pending().await
    });
    let requests = start(dir.path(), fake, Options::default()).await;
    let mut ids = Vec::new();
    for _ in 0..PENDING / 500 {
        let many = (0..500).map(|n| requests.submit(on("launch", &format!("c{n}"))));
        for admitted in futures_util::future::join_all(many).await {
            ids.push(admitted.expect("it is accepted").id);
        }
    }
    let mut worst = Duration::ZERO;
    for id in ids.iter().rev().step_by(PENDING / 20) {
        let began = monotonic();
        requests
            .cancel(Which::Ids(vec![*id]), &caller("ann"))
            .await
            .expect("a receipt");
        worst = worst.max(began.elapsed());
    }
    let began = monotonic();
    let id = submit(&requests, short("status")).await;
    requests.wait(id).await.expect("it ends");
    let short = began.elapsed();
    println!("cancel {worst:?}, short request {short:?} with {PENDING} pending");
    // Ten times the budget: this is a debug build on a shared machine.
    assert!(worst < Duration::from_millis(100), "{worst:?}");
    assert!(short < Duration::from_millis(100), "{short:?}");
}

#[tokio::test]
async fn an_attached_request_is_cancelled_by_anybody_and_by_being_dropped() {
    let dir = tempfile::tempdir().expect("a directory");
    let requests = start(dir.path(), Fake::echo(), Options::default()).await;
    let tail = requests.attach(long("logs")).await.expect("it attaches");
    let id = tail.id;
    assert_eq!(
        requests.get(id).await.expect("it exists").status(),
        RequestStatus::Running
    );
    requests
        .cancel(Which::Ids(vec![id]), &caller("ann"))
        .await
        .expect("a receipt");
    tail.cx.cancel_token().cancelled().await;
    tail.finish(Err(crate::base::cx::cancelled()))
        .await
        .expect("it ends");
    assert_eq!(
        requests.wait(id).await.expect("it ends").status(),
        RequestStatus::Cancelled
    );
    let tail = requests.attach(long("logs")).await.expect("it attaches");
    let id = tail.id;
    drop(tail);
    assert_eq!(
        requests.wait(id).await.expect("it ends").status(),
        RequestStatus::Cancelled
    );
    let tail = requests.attach(long("logs")).await.expect("it attaches");
    let id = tail.id;
    tail.finish(Ok(json!(0))).await.expect("it ends");
    assert_eq!(result(&requests, id).await, Some(json!(0)));
}
