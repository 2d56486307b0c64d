//! What `caught_up` means: guarantee 8.

use super::*;

under_both_settings!(
    guarantee_8_caught_up_after_everything_acknowledged_before,
    guarantee_8_caught_up_also_when_nothing_matches,
    guarantee_8_caught_up_is_where_the_log_stood_though_filings_outrun_the_replay,
    guarantee_8_caught_up_on_a_replica_that_lags,
);

async fn guarantee_8_caught_up_after_everything_acknowledged_before(config: Config) {
    let server = server(config).await;
    file_at_once(&[&server], "before", 2, 20).await;
    let (stop, stopped) = watch::channel(false);
    let mut filing = server.filing();
    let filer = tokio::spawn(async move {
        let mut scribe = Scribe::new("amid");
        while !*stopped.borrow() {
            scribe.act(&mut filing).await;
        }
    });
    for start in [from_oldest(), from_snapshot(), from_now(), filtered(from_oldest(), guests(&["KZ"]))] {
        for _ in 0..5 {
            let acknowledged = server.file(vec![visit_report("mine", "one", "KZ", "AZ", "2023-05-01")]).await;
            let all = v1::retract_reports_request::Selection::Source("sources/one".into());
            let retracted = server.withdraw(all).await;
            let through = retracted.revision.max(acknowledged.revision);
            let frames = server.watch(taciturn(start.clone())).await.up_to(is_caught_up).await;
            let token = &frames.last().unwrap().token;
            assert!(covers(token, through), "caught up at {:?} before {through}", read(token));
            if start.start == from_oldest().start {
                let found: BTreeSet<u64> = events(&frames).iter().map(|e| e.revision).collect();
                assert!(retracted.events.is_empty() || found.contains(&through), "revision {through} did not come");
            }
        }
    }
    stop.send_replace(true);
    filer.await.unwrap();
}

async fn guarantee_8_caught_up_also_when_nothing_matches(config: Config) {
    let server = server(config).await;
    for start in [from_oldest(), from_snapshot(), from_now()] {
        let frames = server.watch(taciturn(filtered(start, nobody()))).await.up_to(is_caught_up).await;
        assert_eq!(frames.len(), 2, "started, then caught up, on an empty log");
    }
    let acked = file_at_once(&[&server], "any", 2, 20).await;
    for start in [from_oldest(), from_snapshot(), from_now()] {
        let request = taciturn(filtered(start, nobody()));
        let frames = server.watch(request).await.up_to(is_caught_up).await;
        assert!(events(&frames).is_empty());
        assert!(covers(&frames.last().unwrap().token, acked.last().unwrap().revision));
    }
}

async fn guarantee_8_caught_up_is_where_the_log_stood_though_filings_outrun_the_replay(config: Config) {
    let is_stressed = is_stressed(&config);
    let server = server(config).await;
    let before = read(&flood(&server, FLOOD).await).revision;
    let feed = v1::feed_service_client::FeedServiceClient::new(server.narrow_channel());
    let feed = feed.max_decoding_message_size(64 << 20);
    // It does not read before as much again has come.
    let watch = Watching::open(feed, until_caught_up(taciturn(from_oldest()))).await.unwrap();
    let last = read(&flood(&server, 2 * FLOOD).await).revision;
    let (frames, error) = watch.until_the_end().await;
    assert!(error.is_none(), "{error:?}");
    let caught_up = frames.iter().find(|frame| is_caught_up(frame)).expect("it caught up");
    let at = read(&caught_up.token).revision;
    assert!(at >= before, "everything acknowledged before has come");
    // Outside the ring the log is read two revisions at a time.
    assert!(!is_stressed || at < before + 2, "at {at}, asked for {before} of {last}");
}

async fn guarantee_8_caught_up_on_a_replica_that_lags(config: Config) {
    let log = SharedLog::default();
    let lagging = Lagging::of(&log);
    let ahead = TestServer::with(config.clone(), parts_on(log.clone())).await;
    let behind = TestServer::with(config, parts_on(lagging.clone())).await;
    let known = file_at_once(&[&ahead], "known", 1, 10).await.last().unwrap().clone();
    behind
        .registry()
        .list_visits(v1::ListVisitsRequest { at_least: Some(known.token), ..Default::default() })
        .await
        .unwrap();
    lagging.hold();
    let acked = file_at_once(&[&ahead], "unknown", 1, 20).await;
    let last = acked.last().unwrap().revision;

    // These say how it is meanwhile, and never that they have caught up.
    let mut early = Vec::new();
    for filters in [vec![], guests(&["KZ"]), nobody()] {
        let mut watch = behind.watch(lively(filtered(from_oldest(), filters.clone()))).await;
        let frames = watch.up_to(is_progress).await;
        assert!(!frames.iter().any(is_caught_up), "caught up while acknowledged filings are missing");
        early.push((filters, watch, frames));
    }
    // These must hear of it although nothing wakes them for an event.
    let mut silent = behind.watch(taciturn(filtered(from_oldest(), nobody()))).await;
    assert!(is_started(&silent.frame().await));
    // These start where the log ends, which is not here yet.
    let from_the_end = [from_now(), from_snapshot()].map(|request| {
        let feed = behind.feed();
        tokio::spawn(async move { Watching::open(feed, taciturn(request)).await.unwrap().up_to(is_caught_up).await })
    });
    lagging.release();

    for (filters, mut watch, mut frames) in early {
        frames.extend(watch.up_to(is_caught_up).await);
        assert!(covers(&frames.last().unwrap().token, last));
        let wanted = |e: &&v1::Event| filters.is_empty() || filters == guests(&[guest_of(e)]);
        let expected: Vec<v1::Event> = ahead.replay(until_caught_up(from_oldest())).await;
        let expected: Vec<v1::Event> = expected.iter().filter(wanted).cloned().collect();
        assert_eq!(ids(&events(&frames)), ids(&expected));
    }
    let frame = silent.frame().await;
    assert!(is_caught_up(&frame) && covers(&frame.token, last), "{frame:?}");
    for watch in from_the_end {
        let frames = watch.await.unwrap();
        assert!(covers(&frames[0].token, 0) && covers(&frames.last().unwrap().token, last));
        assert!(read(&frames[0].token).revision >= last, "it starts before the end of the log");
    }
}
