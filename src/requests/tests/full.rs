//! A full disk: refused with the reason, nothing acknowledged is lost, and it goes on by itself.

use super::*;
use crate::api::status::RequestStatus;
use crate::base::Kind;
use crate::store::testing::{Disk, Survivors};

#[tokio::test]
async fn a_result_waits_for_space_and_new_requests_are_refused_meanwhile() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Disk::default();
    let (runs, go) = (Signal::new(), Signal::new());
    let (fired, wait) = (runs.clone(), go.clone());
    let fake = Fake::new(move |_, _| {
        let (fired, wait) = (fired.clone(), wait.clone());
        async move {
            fired.fire();
            wait.wait().await;
            Ok(Verdict::Done(json!("x".repeat(3 << 20))))
        }
    });
    let db = disk.open().expect("it opens");
    let requests = Requests::start(db, dir.path().join("logs"), fake, Options::default())
        .await
        .expect("it starts");
    let id = submit(&requests, long("launch")).await;
    runs.wait().await;
    disk.limit(Some(disk.used()));
    let mut huge = long("launch");
    huge.body = json!("y".repeat(3 << 20));
    let error = requests.submit(huge).await.expect_err("the disk is full");
    assert_eq!(error.kind(), Kind::StorageFull);
    go.fire();
    let said = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        loop {
            // The store may be between two attempts to open it.
            if let Ok(record) = requests.get(id).await
                && let Some(message) = record.status_msg.clone()
            {
                return message;
            }
            tokio::task::yield_now().await;
        }
    });
    assert!(said.await.expect("it says why it waits").contains("space"));
    disk.limit(None);
    let record = requests.wait(id).await.expect("it ends");
    assert_eq!(record.status(), RequestStatus::Succeeded);
}

#[test]
fn wherever_the_power_goes_acknowledged_requests_are_there() {
    for cut in (1_u64..).step_by(3) {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Disk::default();
        let runtime = || tokio::runtime::Runtime::new().expect("a runtime");
        let mut acknowledged = Vec::new();
        let mut finished = Vec::new();
        runtime().block_on(async {
            let db = disk.open().expect("it opens");
            let logs = dir.path().join("logs");
            let started = Requests::start(db, logs, Fake::echo(), Options::default()).await;
            let requests = started.expect("it starts");
            disk.cut_after(cut);
            for n in 0..6 {
                let admission = if n % 2 == 0 {
                    short("status")
                } else {
                    on("launch", "a")
                };
                let Ok(admitted) = requests.submit(admission).await else {
                    break;
                };
                acknowledged.push(admitted.id);
                let ended = std::time::Duration::from_millis(200);
                match tokio::time::timeout(ended, requests.wait(admitted.id)).await {
                    Ok(Ok(record)) if record.status().is_final() => finished.push(admitted.id),
                    _ => break,
                }
            }
        });
        let survived = !disk.is_dead();
        let disk = disk.after_power_loss(Survivors::Some(cut));
        runtime().block_on(async {
            let db = disk.open().expect("it opens");
            let logs = dir.path().join("logs");
            let requests = Requests::start(db, logs, Fake::echo(), Options::default()).await;
            let requests = requests.expect("it starts");
            for id in &acknowledged {
                let record = requests
                    .get(*id)
                    .await
                    .unwrap_or_else(|e| panic!("cut {cut}: {e}"));
                if finished.contains(id) && record.profile.lane == Lane::Long {
                    assert!(record.result().is_some(), "cut {cut}: a result is lost");
                }
                let record = requests.wait(*id).await.expect("it ends");
                assert_eq!(record.status(), RequestStatus::Succeeded, "cut {cut}");
            }
        });
        if survived {
            return;
        }
    }
}
