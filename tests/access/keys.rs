//! An issuer's keys at an address: when they are fetched again, and what is said while there are none.

use super::*;

/// How often an issuer's keys were fetched.
const KEYS_READ: &str = "attache_reloads_total{what=\"keys\",outcome=\"read\"}";

#[tokio::test]
async fn a_reload_that_is_asked_for_fetches_an_issuers_keys() {
    let (first, second) = (Key::ed25519("first"), Key::ed25519("second"));
    let publisher = Publisher::of(&[&first]);
    let files = Files::new(&jwt_config(&publisher.start().await));
    let (server, _) = files.serve().await;
    // Before anybody shows a token: one whose key is unknown would have the keys fetched once more.
    server.until_number(KEYS_READ, 1.0).await;
    // (The clock moves with each question.)
    let lasting = with(claims("desk@az"), "exp", json!(NOW + 1_000_000_000));
    let old = Caller::bearer(&server, &first.token(&lasting));
    old.info().await.expect("its key is published");
    publisher.publishes(Some(&[&second]));
    server.reload().await;
    patiently("the key's withdrawal", async {
        while old.info().await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(refused(old.info().await), missing());
    let pauses = publisher.pauses();
    assert!(pauses.iter().all(|pause| *pause >= KEYS_MIN_PAUSE), "{pauses:?}");
    server.stop().await;
}

#[tokio::test]
async fn while_no_keys_were_fetched_a_caller_is_not_told_that_the_issuer_does_not_publish_theirs() {
    let (first, second) = (Key::ed25519("first"), Key::ed25519("second"));
    let publisher = Publisher::default();
    let files = Files::new(&jwt_config(&publisher.start().await));
    let (server, _) = files.serve().await;
    let lasting = with(claims("desk@az"), "exp", json!(NOW + 1_000_000_000));
    let [known, unknown] = [&first, &second].map(|key| Caller::bearer(&server, &key.token(&lasting)));
    let status = known.info().await.expect_err("there are no keys");
    assert_eq!(reason(&status), "CREDENTIAL_MISSING");
    assert!(status.message().contains("no keys of its issuer are known here yet"), "{}", status.message());
    publisher.publishes(Some(&[&first]));
    taken(known).await;
    let status = unknown.info().await.expect_err("its key is none of them");
    assert!(status.message().contains("does not publish"), "{}", status.message());
    server.stop().await;
}
