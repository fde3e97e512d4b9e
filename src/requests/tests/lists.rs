//! Lists and prefixes.

use super::*;
use crate::base::Kind;

async fn ids(requests: &Requests, query: ListQuery) -> Vec<RequestId> {
    let records = requests.list(query).await.expect("it lists");
    records.iter().map(|record| record.id).collect()
}

#[tokio::test]
async fn lists_are_newest_first_and_filtered() {
    let dir = tempfile::tempdir().expect("a directory");
    let fake = Fake::new(|_, record| async move {
        if record.profile.lane == Lane::Long {
            return std::future::pending().await;
        }
        Ok(Verdict::Done(json!("a result")))
    });
    let requests = start(dir.path(), fake, Options::default()).await;
    let done = submit(&requests, short("status")).await;
    requests.wait(done).await.expect("it ends");
    let open = submit(&requests, on("launch", "a")).await;
    let mut bobs = on("launch", "a");
    bobs.caller = caller("bob");
    let bobs = submit(&requests, bobs).await;
    let mut hidden = short("server-heartbeat");
    hidden.profile.listed = false;
    let hidden = submit(&requests, hidden).await;
    requests.wait(hidden).await.expect("it ends");

    let query = ListQuery::default;
    assert_eq!(ids(&requests, query()).await, [bobs, open]);
    let all = ListQuery {
        all_status: true,
        ..query()
    };
    assert_eq!(ids(&requests, all.clone()).await, [bobs, open, done]);
    assert_eq!(
        ids(
            &requests,
            ListQuery {
                limit: Some(1),
                ..all.clone()
            }
        )
        .await,
        [bobs]
    );
    let anns = ListQuery {
        user: Some(user("ann")),
        ..all
    };
    assert_eq!(ids(&requests, anns.clone()).await, [open, done]);
    let cluster = Some("a".parse().expect("a name"));
    assert_eq!(ids(&requests, ListQuery { cluster, ..anns }).await, [open]);
    let prefixes = vec![done.short(), bobs.to_string()];
    let named = requests
        .list(ListQuery {
            prefixes,
            full: true,
            ..query()
        })
        .await
        .expect("it lists");
    assert_eq!(
        named.iter().map(|record| record.id).collect::<Vec<_>>(),
        [bobs, done]
    );
    assert_eq!(named[1].result(), Some(&json!("a result")));
    let blocked = &named[0];
    assert_eq!(
        blocked.status_msg,
        Some(format!(
            "waiting for {} (sky.launch) on cluster `a`",
            open.short()
        ))
    );
    let listed = requests.list(query()).await.expect("it lists");
    assert!(
        listed.iter().all(|record| record.body.is_null()),
        "lists do not read bodies"
    );
}

#[tokio::test]
async fn a_prefix_resolves_or_names_its_matches() {
    let dir = tempfile::tempdir().expect("a directory");
    let requests = start(dir.path(), Fake::echo(), Options::default()).await;
    assert_eq!(
        requests.resolve("", None).await.expect_err("none").kind(),
        Kind::NotFound
    );
    let mut all = Vec::new();
    for _ in 0..40 {
        all.push(submit(&requests, short("status")).await);
    }
    for id in &all {
        let text = id.to_string();
        for length in [9, 13, 14, 20, 36] {
            assert_eq!(
                requests.resolve(&text[..length], None).await.expect("one"),
                *id
            );
        }
        assert_eq!(
            requests
                .resolve(&text.replace('-', ""), None)
                .await
                .expect("one"),
            *id
        );
    }
    let error = requests
        .resolve("", Some(&user("ann")))
        .await
        .expect_err("a slip, never everything");
    assert_eq!(error.kind(), Kind::NotFound);
    let first = all[0].to_string();
    let sharing = all
        .iter()
        .filter(|id| id.to_string()[..1] == first[..1])
        .count();
    let one_digit = requests.resolve(&first[..1], None).await;
    match one_digit {
        Ok(id) => assert_eq!((id, sharing), (all[0], 1)),
        Err(error) => assert_eq!((error.kind(), sharing > 1), (Kind::Ambiguous, true)),
    }
    let foreign = requests
        .resolve(&first, Some(&user("bob")))
        .await
        .expect_err("not bob's");
    assert_eq!(foreign.kind(), Kind::NotFound);
    for wrong in ["xyz", "../../etc", "0-1", "\u{fffd}", &"0".repeat(40)] {
        let error = requests
            .resolve(wrong, None)
            .await
            .expect_err("it is no id");
        assert_eq!(error.kind(), Kind::NotFound, "{wrong}");
    }
}
