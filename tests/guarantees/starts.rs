//! Where a watch starts, amid filings too.

use super::{
    caches::{Cache, listed, many_filters},
    *,
};

under_both_settings!(
    from_time_includes_its_instant,
    now_starts_after_everything_acknowledged,
    a_stalled_subscriber_does_not_hinder_others,
    a_snapshot_amid_filings_has_no_gap_and_nothing_twice,
    a_list_then_a_watch_after_its_token_has_no_gap,
);

async fn from_time_includes_its_instant(config: Config) {
    use v1::watch_events_request::Start;
    let server = server(config).await;
    let mut times = Vec::new();
    for number in 0..60 {
        let filed = server.file(vec![visit_report(&format!("v{number}"), "one", "KZ", "AZ", "2023-05-01")]).await;
        times.push(filed.events[0].time.unwrap());
    }
    let from = |time| until_caught_up(WatchEventsRequest { start: Some(Start::FromTime(time)), ..Default::default() });
    let recorded = |e: &&v1::Event| e.r#type() == EventType::Recorded;
    let revisions = |events: Vec<v1::Event>| events.iter().filter(recorded).map(|e| e.revision).collect::<Vec<_>>();
    for at in [0, 1, 30, 58, 59] {
        let time = times[at];
        let first = u64::try_from(at).unwrap() + 1;
        assert_eq!(revisions(server.replay(from(time)).await), (first..=60).collect::<Vec<_>>());
        let later = prost_types::Timestamp { nanos: time.nanos + 1000, ..time };
        assert_eq!(revisions(server.replay(from(later)).await), (first + 1..=60).collect::<Vec<_>>());
        let start = Some(list_events_request::Start::FromTime(time));
        let listed = server.list_events(v1::ListEventsRequest { start, ..Default::default() }).await;
        assert_eq!(revisions(listed), (first..=60).collect::<Vec<_>>());
    }
    // The last is the earliest that can be said at all.
    for seconds in [0, i64::MIN] {
        let before_the_log = prost_types::Timestamp { seconds, nanos: 0 };
        assert_eq!(server.replay(from(before_the_log)).await.len(), 60 * TOLD_OF_ONE, "from {seconds} s");
    }
    let future = prost_types::Timestamp { seconds: times[59].seconds + 1_000_000, nanos: 0 };
    let Err(refused) = Watching::open(server.feed(), from(future)).await else { panic!("taken") };
    assert_eq!(reason(&refused), "FIELD_INVALID");
}

async fn now_starts_after_everything_acknowledged(config: Config) {
    let server = server(config).await;
    for request in [from_now(), WatchEventsRequest::default()] {
        let before = server.file(vec![visit_report("a", "one", "KZ", "AZ", "2023-05-01")]).await;
        let mut watch = server.watch(taciturn(request)).await;
        let frames = watch.up_to(is_caught_up).await;
        assert!(events(&frames).is_empty());
        assert_eq!(frames[0].token, before.token);
        let after = server.filing().retract_record(ruling("visits/a")).await.unwrap().into_inner();
        let frames = watch.up_to_revision(after.revision).await;
        assert_eq!(events(&frames).iter().map(bare).map(|e| e.id).collect::<Vec<_>>(), ids(&after.events));
        let restore = v1::RestoreRecordRequest { name: "visits/a".into(), ..Default::default() };
        server.filing().restore_record(restore).await.unwrap();
    }
}

async fn a_stalled_subscriber_does_not_hinder_others(config: Config) {
    let server = server(config).await;
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let feed = v1::feed_service_client::FeedServiceClient::new(server.narrow_channel());
        stalled.push(Watching::open(feed, taciturn(from_oldest())).await.unwrap());
    }
    let mut reading = server.watch(taciturn(from_oldest())).await;
    let last = flood(&server, FLOOD).await;
    let frames = reading.up_to_revision(read(&last).revision).await;
    assert_eq!(events(&frames).len(), FLOOD * 20 * TOLD_OF_ONE);
    assert_eq!(server.replay(through(from_oldest(), &last)).await, events(&frames));
    drop(stalled);
}

async fn a_snapshot_amid_filings_has_no_gap_and_nothing_twice(config: Config) {
    let server = Arc::new(server(config).await);
    common::scribe::all_file(&[&server], vec![Scribe::moving("before")], 25).await;
    let (last, until) = watch::channel(u64::MAX);
    let mut watchers = Vec::new();
    for number in 0..6 {
        let (server, until) = (Arc::clone(&server), until.clone());
        watchers.push(tokio::spawn(async move {
            for _ in 0..number * 3 {
                server.token().await;
            }
            let filters = many_filters().remove(number % 3);
            let request =
                WatchEventsRequest { max_batch_events: 4, ..lively(filtered(from_snapshot(), filters.clone())) };
            let frames = server.watch(request).await.up_to(|f| covers(&f.token, *until.borrow())).await;
            (filters, frames)
        }));
    }
    let acked =
        common::scribe::all_file(&[&server], vec![Scribe::moving("a"), Scribe::moving("b"), Scribe::moving("c")], 25)
            .await;
    last.send_replace(acked.last().unwrap().revision);
    for watcher in watchers {
        let (filters, frames) = watcher.await.unwrap();
        let start = read(&frames[0].token).revision;
        let (snapshot, changes): (Vec<_>, Vec<_>) = events(&frames).into_iter().partition(is_snapshot);
        assert!(snapshot.iter().all(|e| e.revision == start && !e.left_filter));
        let records: BTreeMap<_, _> = snapshot.iter().map(|e| (e.subject.clone(), e.record.clone().unwrap())).collect();
        assert_eq!(records.len(), snapshot.len(), "a record comes twice");
        assert_eq!(records, listed(&server, &filters, &frames[0].token).await);
        let request = v1::ListEventsRequest { filters, page_size: 1000, ..Default::default() };
        let mut expected = server.list_events(request).await;
        expected.retain(|e| e.revision > start && e.revision <= changes.last().map_or(0, |e| e.revision));
        assert_eq!(ids(&changes), ids(&expected));
    }
}

async fn a_list_then_a_watch_after_its_token_has_no_gap(config: Config) {
    let server = Arc::new(server(config).await);
    let filer = {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            common::scribe::all_file(&[&server], vec![Scribe::moving("a"), Scribe::moving("b")], 40).await
        })
    };
    let filters = guests(&["KZ"]);
    let mut lists = Vec::new();
    while lists.len() < 10 {
        let request = v1::ListVisitsRequest { filters: filters.clone(), page_size: 1000, ..Default::default() };
        let list = server.registry().list_visits(request).await.unwrap().into_inner();
        let record = |v: v1::Visit| (v.name.clone(), v1::Record { kind: Some(Kind::Visit(v)) });
        lists.push((Cache(list.visits.into_iter().map(record).collect()), list.token));
    }
    let last = filer.await.unwrap().last().unwrap().token.clone();
    let visits = vec![v1::Filter { kinds: vec![RecordKind::Visit.into()], ..filters[0].clone() }];
    for (mut cache, token) in lists {
        cache.apply(&server.replay(through(filtered(after(&token), visits.clone()), &last)).await);
        assert_eq!(cache.0, listed(&server, &visits, &last).await);
    }
}
