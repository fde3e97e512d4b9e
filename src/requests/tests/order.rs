//! Order on a cluster, parking, and the timer.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::base::clock::Moment;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_at_a_time_on_a_cluster_in_order_of_arrival() {
    let dir = tempfile::tempdir().expect("a directory");
    let order = Arc::new(Mutex::new(Vec::new()));
    let busy = Arc::new(AtomicU32::new(0));
    let fake = {
        let (order, busy) = (Arc::clone(&order), Arc::clone(&busy));
        Fake::new(move |_, record| {
            let (order, busy) = (Arc::clone(&order), Arc::clone(&busy));
            async move {
                assert_eq!(busy.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                order.lock().expect("a lock").push(record.id);
                tokio::task::yield_now().await;
                busy.fetch_sub(1, Ordering::SeqCst);
                Ok(Verdict::Done(Value::Null))
            }
        })
    };
    let requests = start(dir.path(), fake, Options::default()).await;
    let mut ids = Vec::new();
    for n in 0..30 {
        let mut admission = on("exec", "a");
        admission.caller = caller(if n % 3 == 0 { "ann" } else { "bob" });
        ids.push(submit(&requests, admission).await);
    }
    for id in &ids {
        let record = requests.wait(*id).await.expect("it ends");
        assert!(record.result().is_some(), "{:?}", record.state);
    }
    assert_eq!(*order.lock().expect("a lock"), ids);
}

#[tokio::test]
async fn a_parked_request_goes_on_at_its_time_with_its_steps() {
    let dir = tempfile::tempdir().expect("a directory");
    let planned = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&planned);
    let tries = Arc::new(AtomicU32::new(0));
    let fake = Fake::new(move |cx, _| {
        let (count, tries) = (Arc::clone(&count), Arc::clone(&tries));
        async move {
            let plan: u32 = cx
                .step("plan", || async {
                    Ok(count.fetch_add(1, Ordering::SeqCst))
                })
                .await?;
            if tries.fetch_add(1, Ordering::SeqCst) < 3 {
                return Ok(Verdict::Park {
                    until: Moment::now().after(Duration::from_millis(5)),
                    reason: "no capacity".into(),
                });
            }
            Ok(Verdict::Done(json!(plan)))
        }
    });
    let requests = start(dir.path(), fake, Options::default()).await;
    let id = submit(&requests, on("launch", "a")).await;
    let record = requests.wait(id).await.expect("it ends");
    assert_eq!(record.result(), Some(&json!(0)));
    assert_eq!(record.steps, ["plan"]);
    assert_eq!(planned.load(Ordering::SeqCst), 1, "a step is done once");
}

#[tokio::test]
async fn a_full_long_lane_does_not_hold_up_short_requests() {
    let dir = tempfile::tempdir().expect("a directory");
    let fake = Fake::new(|_, record| async move {
        if record.profile.lane == Lane::Long {
            return std::future::pending().await;
        }
        Ok(Verdict::Done(Value::Null))
    });
    let options = Options {
        long: 2,
        ..Options::default()
    };
    let requests = start(dir.path(), fake, options).await;
    for _ in 0..20 {
        submit(&requests, long("launch")).await;
    }
    let id = submit(&requests, short("status")).await;
    requests.wait(id).await.expect("it ends");
    let load = requests.load();
    assert_eq!((load.unfinished, load.long_running), (20, 2));
}
