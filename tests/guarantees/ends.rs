//! How a watch ends, and who is refused one: guarantee 10.

use super::*;

under_both_settings!(
    guarantee_10_honest_end_where_until_says_so,
    guarantee_10_honest_end_when_the_server_drains,
    guarantee_10_honest_end_of_a_stalled_client,
    guarantee_10_honest_end_when_the_log_cannot_be_read,
    one_stream_too_many_is_refused_and_a_dropped_one_frees_its_place,
);

async fn guarantee_10_honest_end_where_until_says_so(config: Config) {
    let server = server(config).await;
    let acked = file_at_once(&[&server], "any", 2, 20).await;
    let all = told(&acked);
    let middle = acked[acked.len() / 2].clone();
    let ends = [
        (until_caught_up(from_oldest()), acked.last().unwrap().revision),
        (through(from_oldest(), &acked.last().unwrap().token), acked.last().unwrap().revision),
        (through(WatchEventsRequest { max_batch_events: 1, ..from_oldest() }, &acked.last().unwrap().token), u64::MAX),
    ];
    for (request, last) in ends {
        let (frames, error) = server.watch(request).await.until_the_end().await;
        assert!(error.is_none() && is_end(frames.last().unwrap()));
        let expected: Vec<_> = all.iter().filter(|e| e.revision <= last).cloned().collect();
        assert_eq!(ids(&events(&frames)), ids(&expected));
    }
    // Answers name the position of their whole group: what was acknowledged with it is included.
    let through_middle = read(&middle.token).revision;
    let (frames, _) = server.watch(through(from_oldest(), &middle.token)).await.until_the_end().await;
    let expected: Vec<_> = all.iter().filter(|e| e.revision <= through_middle).cloned().collect();
    assert_eq!(ids(&events(&frames)), ids(&expected), "exactly up to the revision asked for");
    assert!(is_end(frames.last().unwrap()));
    assert!(covers(&frames.last().unwrap().token, through_middle));
    // A token that is reached already ends at once; a filter that nothing passes does not keep it open.
    let (frames, _) = server.watch(through(from_now(), &middle.token)).await.until_the_end().await;
    assert!(events(&frames).is_empty() && is_end(frames.last().unwrap()));
    let request = through(taciturn(filtered(from_oldest(), nobody())), &acked.last().unwrap().token);
    let (frames, _) = server.watch(request).await.until_the_end().await;
    assert!(events(&frames).is_empty() && is_end(frames.last().unwrap()));
}

async fn guarantee_10_honest_end_when_the_server_drains(config: Config) {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { data_dir: DataDir::At(folder.path().to_owned()), ..config };
    let mut server = server(config.clone()).await;
    file_at_once(&[&server], "any", 2, 20).await;
    let last = server.token().await;
    let mut open = Vec::new();
    for request in
        [from_oldest(), from_now(), filtered(from_snapshot(), guests(&["KZ"])), filtered(from_oldest(), nobody())]
    {
        let mut watch = server.watch(taciturn(request.clone())).await;
        let frames = watch.up_to(is_caught_up).await;
        open.push((request, watch, frames));
    }
    // One that has not read anything yet.
    let unread = server.watch(taciturn(WatchEventsRequest { max_batch_events: 1, ..from_oldest() })).await;
    server.drain();
    let mut resumable = Vec::new();
    for (request, watch, mut frames) in open {
        let (rest, error) = watch.until_the_end().await;
        assert!(error.is_none(), "{error:?}");
        frames.extend(rest);
        resumable.push((request, frames));
    }
    let (frames, error) = unread.until_the_end().await;
    assert!(error.is_none(), "{error:?}");
    resumable.push((from_oldest(), frames));
    patiently("the end of the drain", server.ended()).await;

    let server = TestServer::with(config, parts()).await;
    for (request, frames) in resumable {
        let goodbye = frames.last().unwrap();
        let Some(Frame::GoingAway(going)) = &goodbye.frame else { panic!("{goodbye:?}") };
        assert!(going.retry_delay.is_some());
        let start = after(&goodbye.token).start;
        let rest = server.replay(through(WatchEventsRequest { start, ..request.clone() }, &last)).await;
        let together: Vec<v1::Event> = events(&frames).into_iter().chain(rest).collect();
        if request.start == from_oldest().start {
            let whole = server.replay(through(request, &last)).await;
            assert_eq!(ids(&together), ids(&whole), "nothing is lost and nothing comes twice");
        }
    }
}

/// Opens a watch as soon as there is a place for it.
async fn as_soon_as_there_is_a_place(server: &TestServer, request: WatchEventsRequest) -> Watching {
    let admitted = async {
        loop {
            match Watching::open(server.feed(), request.clone()).await {
                Ok(watch) => return watch,
                Err(status) => assert_eq!(reason(&status), "QUOTA_EXCEEDED"),
            }
        }
    };
    patiently("a place", admitted).await
}

async fn guarantee_10_honest_end_of_a_stalled_client(mut config: Config) {
    config.feed.stall_timeout = Duration::from_millis(300);
    config.feed.max_watches = 2;
    let server = server(config).await;
    let feed = v1::feed_service_client::FeedServiceClient::new(server.narrow_channel());
    let feed = feed.max_decoding_message_size(64 << 20);
    let mut stalled = Watching::open(feed, taciturn(from_oldest())).await.unwrap();
    let mut frames = stalled.up_to(is_caught_up).await;
    let last = flood(&server, FLOOD).await;
    // Given up, though it keeps its place among the streams until the transport lets go of it.
    while server.hub.subscribers() > 0 {
        tokio::task::yield_now().await;
    }
    let whole = as_soon_as_there_is_a_place(&server, through(from_oldest(), &last)).await.until_the_end().await.0;
    let (rest, error) = stalled.until_the_end().await;
    frames.extend(rest);
    assert_eq!(reason(&error.expect("it ends with an error")), "OVERLOADED");
    let resumed = as_soon_as_there_is_a_place(&server, through(after(&frames.last().unwrap().token), &last)).await;
    frames.extend(resumed.until_the_end().await.0);
    assert_eq!(ids(&events(&frames)), ids(&events(&whole)), "its last token stays good");
}

async fn guarantee_10_honest_end_when_the_log_cannot_be_read(mut config: Config) {
    let folder = tempfile::tempdir().unwrap();
    config.data_dir = DataDir::At(folder.path().to_owned());
    config.feed.ring_bytes = 0;
    let server = server(config).await;
    for number in 0..5 {
        server.file(vec![visit_report(&format!("v{number}"), "one", "KZ", "AZ", "2023-05-01")]).await;
    }
    let store = rusqlite::Connection::open(folder.path().join("attache.db")).unwrap();
    store.execute("UPDATE entries SET payload = x'ff' WHERE revision = 3", []).unwrap();
    for _ in 0..200 {
        let (frames, error) = server.watch(taciturn(from_oldest())).await.until_the_end().await;
        let error = error.unwrap_or_else(|| panic!("it ends without a word after {:?}", frames.last()));
        assert_eq!(reason(&error), "ENTRY_CORRUPT");
        assert_eq!(error.code(), tonic::Code::DataLoss);
    }
}

async fn one_stream_too_many_is_refused_and_a_dropped_one_frees_its_place(mut config: Config) {
    config.feed.max_watches = 2;
    let server = server(config).await;
    let mut first = server.watch(taciturn(from_oldest())).await;
    first.up_to(is_caught_up).await;
    let feed = v1::feed_service_client::FeedServiceClient::new(server.narrow_channel());
    let mut second = Watching::open(feed, taciturn(from_oldest())).await.unwrap();
    second.up_to(is_caught_up).await;
    let Err(refused) = Watching::open(server.feed(), from_oldest()).await else { panic!("three of two") };
    assert_eq!((reason(&refused).as_str(), refused.code()), ("QUOTA_EXCEEDED", tonic::Code::ResourceExhausted));
    // One that waits for an event, and one whose client has not read for long.
    drop(first);
    let third = as_soon_as_there_is_a_place(&server, taciturn(from_oldest())).await;
    flood(&server, FLOOD).await;
    drop(second);
    let fourth = as_soon_as_there_is_a_place(&server, taciturn(from_oldest())).await;
    drop((third, fourth));
    // Nothing is left of any: the drain ends at once.
    patiently("the end of the drain", server.stop()).await;
}
