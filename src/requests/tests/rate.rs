//! How many durable submissions a second; a floor that even a debug build on a busy machine reaches.

use super::*;
use crate::base::clock::monotonic;

#[test]
fn submissions_share_commits() {
    const EACH: usize = 40;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let fake = Fake::new(|_, _| std::future::pending());
        let requests = start(dir.path(), fake, Options::default()).await;
        let began = monotonic();
        let submitters = (0..64).map(|_| {
            let requests = requests.clone();
            async move {
                for _ in 0..EACH {
                    submit(&requests, long("launch")).await;
                }
            }
        });
        let tracker = tokio_util::task::TaskTracker::new();
        for submitter in submitters {
            tracker.spawn(submitter);
        }
        tracker.close();
        tracker.wait().await;
        let took = began.elapsed();
        let rate = 64 * EACH as u128 * 1_000_000 / took.as_micros();
        println!("{rate} durable submissions a second");
        assert_eq!(requests.load().unfinished, 64 * EACH);
        assert!(rate > 300, "{rate} a second: commits are not shared");
    });
}
