//! Pages of events, and cursors.

use super::*;

under_both_settings!(
    pages_of_events_equal_the_watch,
    a_page_after_a_token_of_another_replica_is_not_read_before_it,
    a_snapshot_token_is_refused_with_other_filters,
    cursors_only_move_forward_and_compare_before_they_set,
);

async fn pages_of_events_equal_the_watch(config: Config) {
    let server = server(config).await;
    let acked = file_at_once(&[&server], "any", 2, 25).await;
    let middle = &acked[acked.len() / 2].token;
    let partial = {
        let request = WatchEventsRequest { max_batch_events: 1, ..from_oldest() };
        let (frames, _) = server.watch(until_caught_up(request)).await.until_the_end().await;
        let continued = frames.iter().find(|f| batch(f).is_some_and(|b| b.continued));
        continued.expect("a revision of more than one event").token.clone()
    };
    let types = vec![EventType::Recorded.into(), EventType::VisitAnnounced.into()];
    for (start, filters, event_types) in [
        (None, vec![], vec![]),
        (None, guests(&["KZ"]), vec![]),
        (Some(middle), vec![], types.clone()),
        (Some(&partial), guests(&["KZ", "TJ"]), vec![]),
        (None, nobody(), vec![]),
    ] {
        let begin = start.map_or_else(from_oldest, |token| after(token));
        let watched = server.replay(until_caught_up(WatchEventsRequest {
            filters: filters.clone(),
            event_types: event_types.clone(),
            include_previous: true,
            ..begin
        }));
        let watched = watched.await;
        for page_size in [1, 7, 1000] {
            let request = v1::ListEventsRequest {
                filters: filters.clone(),
                event_types: event_types.clone(),
                include_previous: true,
                start: start.map(|token| list_events_request::Start::After(token.clone())),
                page_size,
                ..Default::default()
            };
            assert_eq!(server.list_events(request).await, watched, "pages of {page_size}");
        }
    }
    // Pages end where the log ended at the first one, and the token says where.
    let first = v1::ListEventsRequest { page_size: 5, ..Default::default() };
    let mut page = server.feed().list_events(first.clone()).await.unwrap().into_inner();
    let token = page.token.clone();
    let mut paged = page.events.clone();
    let later = server.file(vec![visit_report("later", "one", "KZ", "AZ", "2023-05-01")]).await;
    while !page.next_page_token.is_empty() {
        let request = v1::ListEventsRequest { page_token: page.next_page_token, ..first.clone() };
        page = server.feed().list_events(request).await.unwrap().into_inner();
        assert_eq!(page.token, token);
        paged.extend(page.events.clone());
    }
    assert_eq!(ids(&paged), ids(&told(&acked)));
    let rest = server.replay(until_caught_up(after(&token))).await;
    assert_eq!(ids(&rest), ids(&later.events));
}

async fn a_page_after_a_token_of_another_replica_is_not_read_before_it(config: Config) {
    let log = SharedLog::default();
    let lagging = Lagging::of(&log);
    let ahead = TestServer::with(config.clone(), parts_on(log.clone())).await;
    let behind = TestServer::with(config, parts_on(lagging.clone())).await;
    lagging.hold();
    let acked = file_at_once(&[&ahead], "any", 1, 10).await;
    let token = acked.last().unwrap().token.clone();
    let before = lagging.asked();
    let mut feed = behind.feed();
    let start = Some(list_events_request::Start::After(token.clone()));
    let page = tokio::spawn(async move {
        feed.list_events(v1::ListEventsRequest { start, ..Default::default() }).await.unwrap().into_inner()
    });
    // It waits for the token once it has asked how far the log is.
    patiently("the question", async {
        while lagging.asked() == before {
            tokio::task::yield_now().await
        }
    })
    .await;
    lagging.release();
    let page = page.await.unwrap();
    assert!(page.events.is_empty());
    assert!(covers(&page.token, read(&token).revision), "the page's token lies before the one it was asked after");
}

async fn a_snapshot_token_is_refused_with_other_filters(config: Config) {
    let server = server(config).await;
    file_at_once(&[&server], "any", 1, 10).await;
    let request = WatchEventsRequest { max_batch_events: 1, ..filtered(from_snapshot(), guests(&["KZ"])) };
    let frames = server.watch(request).await.up_to(|f| batch(f).is_some()).await;
    let token = &frames.last().unwrap().token;
    let Err(refused) = Watching::open(server.feed(), after(token)).await else { panic!("taken") };
    assert_eq!(reason(&refused), "TOKEN_FILTER_MISMATCH");
    server.watch(filtered(after(token), guests(&["KZ"]))).await;
}

async fn cursors_only_move_forward_and_compare_before_they_set(config: Config) {
    let server = server(config).await;
    let acked = file_at_once(&[&server], "any", 1, 12).await;
    let (early, late) = (acked[2].token.clone(), acked[6].token.clone());
    let get = |name: &str| {
        let (mut feed, name) = (server.feed(), name.to_owned());
        async move { feed.get_cursor(v1::GetCursorRequest { name }).await.map(|r| r.into_inner().cursor.unwrap()) }
    };
    let commit = |position: &str, expected: Option<&str>| {
        let mut feed = server.feed();
        let request = v1::CommitCursorRequest {
            name: "reader".into(),
            position: position.into(),
            expected_etag: expected.map(ToOwned::to_owned),
        };
        async move { feed.commit_cursor(request).await.map(|r| r.into_inner().cursor.unwrap()) }
    };
    assert_eq!(reason(&get("reader").await.unwrap_err()), "RECORD_NOT_FOUND");
    let first = commit(&early, Some("")).await.unwrap();
    assert_eq!((&first.name, &first.position), (&"reader".to_owned(), &early));
    assert_eq!(get("reader").await.unwrap(), first);
    assert_eq!(commit(&early, None).await.unwrap(), first, "the same again is accepted and changes nothing");
    assert_eq!(reason(&commit(&late, Some("")).await.unwrap_err()), "ETAG_MISMATCH", "there is one already");
    let second = commit(&late, Some(&first.etag)).await.unwrap();
    assert_ne!(second.etag, first.etag);
    assert_eq!(
        commit(&late, Some(&first.etag)).await.unwrap(),
        second,
        "a commit whose answer was lost is safe to retry"
    );
    assert_eq!(reason(&commit(&early, None).await.unwrap_err()), "ETAG_MISMATCH", "never back");
    assert_eq!(reason(&commit(&early, Some(&second.etag)).await.unwrap_err()), "ETAG_MISMATCH", "never back");
    assert_eq!(get("reader").await.unwrap(), second, "what was refused changed nothing");
    // Within a revision too: the end of it is after its middle.
    let request = WatchEventsRequest { max_batch_events: 1, ..after(&late) };
    let (frames, _) = server.watch(until_caught_up(request)).await.until_the_end().await;
    let continued = frames.iter().position(|f| batch(f).is_some_and(|b| b.continued)).expect("several events");
    let middle = commit(&frames[continued].token, Some(&second.etag)).await.unwrap();
    let whole = frames[continued..].iter().find(|f| batch(f).is_some_and(|b| !b.continued)).unwrap();
    assert_eq!(reason(&commit(&whole.token, Some(&second.etag)).await.unwrap_err()), "ETAG_MISMATCH", "it has changed");
    commit(&whole.token, Some(&middle.etag)).await.unwrap();
    assert_eq!(reason(&commit(&frames[continued].token, None).await.unwrap_err()), "ETAG_MISMATCH");
    assert_eq!(reason(&commit("no token", None).await.unwrap_err()), "TOKEN_MALFORMED");
}
