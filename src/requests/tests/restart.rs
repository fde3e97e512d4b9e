//! Kills and restarts: what was acknowledged goes on, what was done is not done again.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::api::status::RequestStatus;
use crate::base::clock::Moment;
use crate::base::{Error, Kind};

#[test]
fn running_and_pending_requests_go_on_after_a_kill_and_steps_are_not_repeated() {
    let dir = tempfile::tempdir().expect("a directory");
    let provisioned = Arc::new(AtomicU32::new(0));
    let runs = Signal::new();
    let (count, fired) = (Arc::clone(&provisioned), runs.clone());
    let fake = Fake::new(move |cx, _| {
        let (count, fired) = (Arc::clone(&count), fired.clone());
        async move {
            let _: u32 = cx
                .step("provision", || async {
                    Ok(count.fetch_add(1, Ordering::SeqCst))
                })
                .await?;
            fired.fire();
            std::future::pending().await
        }
    });
    let (first, second) = life(dir.path(), fake, Options::default(), async |requests| {
        let first = submit(&requests, on("launch", "a")).await;
        runs.wait().await;
        (first, submit(&requests, on("exec", "a")).await)
    });
    let count = Arc::clone(&provisioned);
    let fake = Fake::new(move |cx, record| {
        let count = Arc::clone(&count);
        async move {
            if record.name == "launch" {
                let _: u32 = cx
                    .step("provision", || async {
                        Ok(count.fetch_add(1, Ordering::SeqCst))
                    })
                    .await?;
            }
            Ok(Verdict::Done(json!(record.name)))
        }
    });
    life(dir.path(), fake, Options::default(), async |requests| {
        assert_eq!(result(&requests, first).await, Some(json!("launch")));
        assert_eq!(result(&requests, second).await, Some(json!("exec")));
    });
    assert_eq!(provisioned.load(Ordering::SeqCst), 1);
}

#[test]
fn a_cancel_that_a_kill_cut_short_is_finished() {
    let dir = tempfile::tempdir().expect("a directory");
    let runs = Signal::new();
    let fired = runs.clone();
    let fake = Fake::with_clean_up(
        move |cx, _| {
            let fired = fired.clone();
            async move {
                fired.fire();
                cx.unless_cancelled(std::future::pending::<Result<Verdict>>())
                    .await
            }
        },
        |_, _| std::future::pending(),
    );
    let id = life(dir.path(), fake, Options::default(), async |requests| {
        let id = submit(&requests, on("launch", "a")).await;
        runs.wait().await;
        let receipt = requests.cancel(Which::Ids(vec![id]), &caller("ann")).await;
        assert_eq!(receipt.expect("a receipt").cancelled.len(), 1);
        let record = requests.get(id).await.expect("it exists");
        assert_eq!(record.status_msg.as_deref(), Some("being cancelled"));
        id
    });
    let fake = Fake::with_clean_up(
        |_, _| async { panic!("a request that is being cancelled must not run") },
        |_, _| async { Some("undone".to_owned()) },
    );
    life(dir.path(), fake, Options::default(), async |requests| {
        let record = requests.wait(id).await.expect("it ends");
        assert!(
            matches!(&record.state, State::Cancelled { note: Some(note), .. } if note == "undone"),
            "{:?}",
            record.state
        );
    });
}

#[test]
fn a_parked_request_keeps_its_time_and_its_cluster() {
    let dir = tempfile::tempdir().expect("a directory");
    let far = Fake::new(|_, record| async move {
        if record.name == "launch" {
            return Ok(Verdict::Park {
                until: Moment::now().after(Duration::from_millis(300)),
                reason: "no capacity".into(),
            });
        }
        Ok(Verdict::Done(Value::Null))
    });
    let (parked, behind) = life(dir.path(), far, Options::default(), async |requests| {
        let parked = submit(&requests, on("launch", "a")).await;
        reaches(&requests, parked, RequestStatus::Waiting).await;
        (parked, submit(&requests, on("exec", "a")).await)
    });
    life(
        dir.path(),
        Fake::echo(),
        Options::default(),
        async |requests| {
            let record = requests.get(behind).await.expect("it exists");
            if record.status() == RequestStatus::Pending {
                let message = record.status_msg.clone().expect("it names what blocks it");
                assert!(message.contains(&parked.short()), "{message}");
            }
            let first = requests.wait(parked).await.expect("it ends");
            let second = requests.wait(behind).await.expect("it ends");
            assert!(first.finished_at() <= second.finished_at());
        },
    );
}

#[test]
fn an_attached_request_is_closed_with_the_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let (id, tail) = life(
        dir.path(),
        Fake::echo(),
        Options::default(),
        async |requests| {
            let tail = requests.attach(long("logs")).await.expect("it attaches");
            (tail.id, std::mem::ManuallyDrop::new(tail).id)
        },
    );
    assert_eq!(id, tail);
    // The forgotten handle keeps the first store open: look at a copy, as the next boot would find it.
    let copy = tempfile::tempdir().expect("a directory");
    std::fs::copy(
        dir.path().join("store.redb"),
        copy.path().join("store.redb"),
    )
    .expect("it copies");
    life(
        copy.path(),
        Fake::echo(),
        Options::default(),
        async |requests| {
            let record = requests.get(id).await.expect("it exists");
            assert_eq!(record.error().map(Error::kind), Some(Kind::Interrupted));
        },
    );
}

#[test]
fn a_drained_server_leaves_its_work_to_the_next() {
    let dir = tempfile::tempdir().expect("a directory");
    let runs = Signal::new();
    let fired = runs.clone();
    let fake = Fake::new(move |_, _| {
        fired.fire();
        std::future::pending()
    });
    let id = life(dir.path(), fake, Options::default(), async |requests| {
        let id = submit(&requests, long("launch")).await;
        runs.wait().await;
        requests.drain(Duration::from_millis(10)).await;
        let refused = requests.submit(long("launch")).await.expect_err("it stops");
        assert_eq!(refused.kind(), Kind::TooBusy);
        id
    });
    life(
        dir.path(),
        Fake::echo(),
        Options::default(),
        async |requests| {
            assert_eq!(result(&requests, id).await, Some(json!({"of": "launch"})));
        },
    );
}

/// Work of three steps that notes which of them returned, and which ran after that.
fn three_steps(done: &Arc<Mutex<HashSet<String>>>, again: &Arc<AtomicU32>) -> Arc<Fake> {
    let (done, again) = (Arc::clone(done), Arc::clone(again));
    Fake::new(move |cx, record| {
        let (done, again) = (Arc::clone(&done), Arc::clone(&again));
        async move {
            for name in ["plan", "provision", "submit"] {
                let key = format!("{} {name}", record.id);
                let _: () = cx
                    .step(name, || async {
                        if done.lock().expect("a lock").contains(&key) {
                            again.fetch_add(1, Ordering::SeqCst);
                        }
                        tokio::task::yield_now().await;
                        Ok(())
                    })
                    .await?;
                done.lock().expect("a lock").insert(key);
                cx.line(name);
            }
            Ok(Verdict::Done(json!("ok")))
        }
    })
}

#[test]
fn killed_at_random_moments_everything_acknowledged_is_done_and_no_finished_step_again() {
    for seed in 0..12_u64 {
        let dir = tempfile::tempdir().expect("a directory");
        let done = Arc::new(Mutex::new(HashSet::new()));
        let again = Arc::new(AtomicU32::new(0));
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        for round in 0..4_u64 {
            let fake = three_steps(&done, &again);
            let acknowledged = Arc::clone(&acknowledged);
            life(dir.path(), fake, Options::default(), async |requests| {
                let submitter = async {
                    for n in 0..40 {
                        let cluster = format!("c{}", n % 5);
                        let mut admission = on("launch", &cluster);
                        // Every life repeats what the one before may have got through.
                        admission.key = Some(format!("k{n}").parse().expect("a key"));
                        let id = submit(&requests, admission).await;
                        acknowledged.lock().expect("a lock").push(id);
                    }
                };
                // The seed picks the moment of the kill, up to well after the last submission.
                let micros = (seed * 7919 + round * 104_729) % 60_000;
                drop(tokio::time::timeout(Duration::from_micros(micros), submitter).await);
            });
        }
        let ids: HashSet<_> = acknowledged.lock().expect("a lock").drain(..).collect();
        assert!(ids.len() <= 40, "seed {seed}: a key made two requests");
        let fake = three_steps(&done, &again);
        life(dir.path(), fake, Options::default(), async |requests| {
            for id in ids {
                let record = requests.wait(id).await.expect("it ends");
                assert_eq!(record.status(), RequestStatus::Succeeded, "seed {seed}");
                assert_eq!(record.steps.len(), 3, "seed {seed}");
            }
        });
        assert_eq!(
            again.load(Ordering::SeqCst),
            0,
            "seed {seed}: a finished step ran again"
        );
    }
}
