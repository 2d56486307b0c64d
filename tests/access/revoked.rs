//! Credentials that are good no longer, or for another time than they were, and what becomes of those who hold on to a
//! stream by them.

use super::*;

/// The next event that a watch is told, which goes on.
async fn next_event(watch: &mut tonic::Streaming<v1::WatchEventsResponse>) -> Vec<String> {
    ids(&events(&[next_batch(watch).await]))
}

/// That a watch ends because its credential is not good any more.
async fn ends_with_its_credential(watch: tonic::Streaming<v1::WatchEventsResponse>, why: &str) {
    let (_, error) = ends(watch).await;
    let error = error.unwrap_or_else(|| panic!("an end with a reason: {why}"));
    assert_eq!((error.code(), reason(&error)), expired(), "{why}");
}

#[tokio::test]
async fn a_token_whose_end_is_changed_ends_its_watches_by_the_new_end() {
    let files = Files::new(TOKENS);
    let rows = async |server: &TestServer, expire: [&str; 2], texts: &[String; 2]| {
        let row = |(text, end): (&String, &str)| format!("{text}expires = {end:?}\n");
        files.write("tokens.toml", texts.iter().zip(expire).map(row).collect::<String>());
        server.reload().await;
    };
    let shortened = files.token("desk-az", None);
    let first = fs::read_to_string(files.path("tokens.toml")).unwrap();
    let lengthened = files.token("editor", Some("2024-01-02T00:50:00Z"));
    let both = fs::read_to_string(files.path("tokens.toml")).unwrap();
    let second = both.strip_prefix(&first).and_then(|row| row.split_once("expires")).unwrap().0.to_owned();
    let texts = [first, second];
    let (server, clock) = files.serve().await;
    let (shortened, lengthened) = (Caller::bearer(&server, &shortened), Caller::bearer(&server, &lengthened));
    let (ending, mut lasting) = (shortened.watch().await, lengthened.watch().await);

    rows(&server, ["2024-01-02T01:00:00Z", "2024-01-02T03:00:00Z"], &texts).await;
    assert!(shortened.info().await.is_ok(), "it has not ended yet");
    clock.advance(Duration::from_secs(3600));
    ends_with_its_credential(ending, "its end came, which it had not when the watch began").await;
    assert_eq!(refused(shortened.info().await), expired());
    let filed = lengthened.file("v", "kz-mod").await.unwrap();
    assert_eq!(next_event(&mut lasting).await, ids(&filed.events), "its former end is past and counts no more");

    rows(&server, ["2024-01-02T01:00:00Z", "2024-01-01T00:00:00Z"], &texts).await;
    ends_with_its_credential(lasting, "its end was set into the past").await;
    assert_eq!(refused(lengthened.info().await), expired());
    server.stop().await;
}

#[tokio::test]
async fn an_import_is_refused_once_its_tokens_end_was_set_into_the_past() {
    let files = Files::new(TOKENS);
    let desk = files.token("desk-az", None);
    let row = fs::read_to_string(files.path("tokens.toml")).unwrap();
    let (server, _) = files.serve().await;
    let desk = Caller::bearer(&server, &desk);
    let (batches, sent) = tokio::sync::mpsc::channel(1);
    let batch = |id: &str| {
        let report = visit_report(id, "az-mod", "KZ", "AZ", "2023-05-01");
        let items = vec![v1::ImportItem { item: Some(v1::import_item::Item::Report(report)) }];
        v1::ImportReportsRequest { request_id: id.into(), items, ..Default::default() }
    };
    batches.send(batch("first")).await.unwrap();
    let stream = tokio_stream::wrappers::ReceiverStream::new(sent);
    let mut answers = desk.filing().import_reports(stream).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    files.write("tokens.toml", format!("{row}expires = \"2024-01-01T00:00:00Z\"\n"));
    server.reload().await;
    batches.send(batch("second")).await.unwrap();
    assert_eq!(refused(answers.message().await), expired());
    server.stop().await;
}

#[tokio::test]
async fn a_jwt_ends_when_another_issuer_or_audience_is_asked_for_with_the_same_keys() {
    let key = Key::ed25519("ed");
    let config = jwt_config("keys.json");
    let files = Files::new(&config);
    files.write("keys.json", issuer::set(&[&key]));
    let (server, _) = files.serve().await;
    let caller = Caller::bearer(&server, &key.token(&claims("desk@az")));
    for (before, after) in [("https://id.example", "https://other.example"), ("\"attache\"", "\"other\"")] {
        let watch = caller.watch().await;
        files.write("attache.toml", config.replace(before, after));
        server.reload().await;
        ends_with_its_credential(watch, after).await;
        assert_eq!(refused(caller.info().await), missing(), "{after}");
        files.write("attache.toml", &config);
        server.reload().await;
        assert!(caller.info().await.is_ok(), "{before} again");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_issuer_that_withdraws_its_last_key_in_a_file_has_no_good_token_left() {
    let key = Key::ed25519("ed");
    let files = Files::new(&jwt_config("keys.json"));
    files.write("keys.json", issuer::set(&[&key]));
    let (server, _) = files.serve().await;
    let caller = Caller::bearer(&server, &key.token(&claims("desk@az")));
    let watch = caller.watch().await;
    files.write("keys.json", issuer::set(&[]));
    server.reload().await;
    ends_with_its_credential(watch, "its key was the last").await;
    assert_eq!(refused(caller.info().await), missing());
    // Neither another change of the rules brings them back, nor a file that is no set.
    files.write("attache.toml", format!("{}\n", jwt_config("keys.json")));
    server.reload().await;
    assert_eq!(refused(caller.info().await), missing());
    files.write("keys.json", "");
    server.reload().await;
    assert_eq!(refused(caller.info().await), missing());
    files.write("keys.json", issuer::set(&[&key]));
    server.reload().await;
    assert!(caller.info().await.is_ok(), "it is published again");
    server.stop().await;
}

#[tokio::test]
async fn an_issuer_that_publishes_no_key_any_more_has_no_good_token_left() {
    let (key, unknown) = (Key::ed25519("ed"), Key::ed25519("unknown"));
    let publisher = Publisher::of(&[&key]);
    let files = Files::new(&jwt_config(&publisher.start().await));
    let (server, _) = files.serve().await;
    // (The clock moves with each question.)
    let lasting = with(claims("desk@az"), "exp", json!(NOW + 1_000_000_000));
    let caller = taken(Caller::bearer(&server, &key.token(&lasting))).await;
    let watch = caller.watch().await;
    publisher.publishes(Some(&[]));
    // A key that is unknown has the issuer asked.
    let stranger = Caller::bearer(&server, &unknown.token(&lasting));
    patiently("the set without keys", async {
        while caller.info().await.is_ok() {
            assert_eq!(refused(stranger.info().await), missing());
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(refused(caller.info().await), missing());
    ends_with_its_credential(watch, "its key was the last").await;
    // What is fetched is not lost when other rules are put in force.
    server.reload().await;
    assert_eq!(refused(caller.info().await), missing());
    server.stop().await;
}
