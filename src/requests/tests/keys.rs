//! Idempotency keys: once, whatever is retried and whoever restarts.

use super::*;
use crate::base::Kind;

fn keyed(name: &str, key: &str) -> Admission {
    let mut admission = short(name);
    admission.key = Some(key.parse().expect("a key"));
    admission
}

#[test]
fn a_repeated_key_is_the_same_request_also_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let (first, other) = life(
        dir.path(),
        Fake::echo(),
        Options::default(),
        async |requests| {
            let (a, b) = tokio::join!(
                requests.submit(keyed("launch", "k1")),
                requests.submit(keyed("launch", "k1"))
            );
            let (a, b) = (a.expect("accepted"), b.expect("accepted"));
            assert_eq!(a.id, b.id);
            assert!(a.new != b.new, "exactly one is new");
            let mut bob = keyed("launch", "k1");
            bob.caller = caller("bob");
            let other = requests.submit(bob).await.expect("accepted");
            assert!(other.new, "keys are each user's own");
            (a.id, other.id)
        },
    );
    assert_ne!(first, other);
    life(
        dir.path(),
        Fake::echo(),
        Options::default(),
        async |requests| {
            let again = requests
                .submit(keyed("launch", "k1"))
                .await
                .expect("accepted");
            assert_eq!(
                again,
                Admitted {
                    id: first,
                    new: false
                }
            );
            let error = requests
                .submit(keyed("exec", "k1"))
                .await
                .expect_err("another name");
            assert_eq!(error.kind(), Kind::Conflict);
            let mut body = keyed("launch", "k1");
            body.body = json!("another body");
            let error = requests.submit(body).await.expect_err("another body");
            assert_eq!(error.kind(), Kind::Conflict);
        },
    );
}

#[tokio::test]
async fn too_much_is_refused_with_a_time_but_a_repeat_is_answered() {
    let dir = tempfile::tempdir().expect("a directory");
    let fake = Fake::new(|_, _| std::future::pending());
    let options = Options {
        max_pending: 2,
        ..Options::default()
    };
    let requests = start(dir.path(), fake, options).await;
    let first = submit(&requests, keyed("launch", "k")).await;
    submit(&requests, on("launch", "a")).await;
    let error = requests
        .submit(long("launch"))
        .await
        .expect_err("it is full");
    assert_eq!(error.kind(), Kind::TooBusy);
    assert!(error.delay().is_some());
    assert_eq!(submit(&requests, keyed("launch", "k")).await, first);
    submit(&requests, down("a")).await;
}
