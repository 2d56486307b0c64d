//! A stream goes on after any of its frames, and progress says what was delivered: guarantees 5 and 6.

use super::*;

under_both_settings!(
    guarantee_5_resumable_from_every_frame_after_a_restart_and_elsewhere,
    guarantee_5_resumable_from_the_frame_that_says_it_fell_behind,
    guarantee_6_bookmarkable_progress_is_never_ahead_of_delivery,
    guarantee_6_bookmarkable_progress_advances_over_what_is_filtered_out,
    a_slow_subscriber_is_never_dropped_and_gets_everything,
);

/// The kinds of frame and phase that a run went through.
fn phases(frames: &[WatchEventsResponse]) -> BTreeSet<&'static str> {
    let phase = |frame: &WatchEventsResponse| match (&frame.frame, read(&frame.token).phase) {
        (Some(Frame::Started(_)), Phase::Snapshot { .. }) => "started a snapshot",
        (Some(Frame::Started(_)), _) => "started",
        (Some(Frame::Batch(_)), Phase::Snapshot { .. }) => "amid a snapshot",
        (Some(Frame::Batch(b)), Phase::Partial { .. }) if b.continued => "continued",
        (Some(Frame::Batch(_)), _) => "batch",
        (Some(Frame::Progress(_)), _) => "progress",
        (Some(Frame::CaughtUp(_)), _) => "caught up",
        (Some(Frame::FellBehind(_)), _) => "fell behind",
        (Some(Frame::End(_)), _) => "end",
        (Some(Frame::GoingAway(_)) | None, _) => "other",
    };
    frames.iter().map(phase).collect()
}

/// A run: what was asked, and every frame that came.
struct Run {
    request: WatchEventsRequest,
    frames: Vec<WatchEventsResponse>,
}

impl Run {
    /// Resumes after every frame; what comes must be exactly what had come after it.
    async fn resumes_everywhere(&self, server: &TestServer, last: &str, place: &str) {
        for (number, frame) in self.frames.iter().enumerate() {
            let start = after(&frame.token).start;
            let request = through(WatchEventsRequest { start, ..self.request.clone() }, last);
            let rest = server.replay(request).await;
            let expected = events(&self.frames[number + 1..]);
            assert_eq!(ids(&rest), ids(&expected), "{place}, after frame {number}: {:?}", frame.frame);
            assert_eq!(rest, expected, "{place}, after frame {number}");
        }
    }
}

async fn guarantee_5_resumable_from_every_frame_after_a_restart_and_elsewhere(config: Config) {
    let (log, folder) = (SharedLog::default(), tempfile::tempdir().unwrap());
    let config = Config { data_dir: DataDir::At(folder.path().to_owned()), ..config };
    let server = TestServer::with(config.clone(), parts_on(log.clone())).await;
    let elsewhere = Config { data_dir: DataDir::Temporary, ..config.clone() };
    let replica = TestServer::with(elsewhere, parts_on(log.clone())).await;
    file_at_once(&[&server, &replica], "before", 2, 15).await;
    server.file((0..4).map(|n| announced(&format!("many-{n}"), "KZ", "2023-05-01")).collect()).await;

    let small = |request| WatchEventsRequest { max_batch_events: 3, ..lively(request) };
    let mut requests = vec![small(from_snapshot()), small(filtered(from_snapshot(), guests(&["KZ"])))];
    requests.extend([small(from_oldest()), filtered(small(from_oldest()), guests(&["KZ"])), small(from_now())]);
    let mut open = Vec::new();
    for request in requests {
        let start = server.token().await;
        let mut watch = server.watch(request.clone()).await;
        let frames = watch.up_to(|f| is_caught_up(f) && covers(&f.token, read(&start).revision)).await;
        open.push((request, watch, frames));
    }
    let acked = file_at_once(&[&server, &replica], "amid", 2, 10).await;
    server.file((0..4).map(|n| announced(&format!("more-{n}"), "KZ", "2023-05-02")).collect()).await;
    let quiet = server.file(vec![visit_report("quiet", "one", "TJ", "AZ", "2023-05-03")]).await;
    assert!(acked.len() > 5);
    let last = quiet.token;
    let mut runs = Vec::new();
    for (request, mut watch, mut frames) in open {
        let revision = read(&last).revision;
        // Up to progress at the end, so that tokens of progress are among those to resume from.
        frames.extend(watch.up_to(|f| is_progress(f) && covers(&f.token, revision)).await);
        runs.push(Run { request, frames });
    }
    let request = WatchEventsRequest { max_batch_events: 3, ..from_oldest() };
    let (frames, _) = server.watch(through(request.clone(), &last)).await.until_the_end().await;
    runs.push(Run { request, frames });

    let seen: BTreeSet<_> = runs.iter().flat_map(|r| phases(&r.frames)).collect();
    for phase in
        ["started a snapshot", "started", "amid a snapshot", "continued", "batch", "progress", "caught up", "end"]
    {
        assert!(seen.contains(phase), "no run went through {phase:?}: {seen:?}");
    }
    for run in &runs {
        run.resumes_everywhere(&server, &last, "on the same server").await;
        run.resumes_everywhere(&replica, &last, "on another replica").await;
    }
    server.stop().await;
    let server = TestServer::with(config, parts_on(log)).await;
    for run in &runs {
        run.resumes_everywhere(&server, &last, "after a restart").await;
    }
}

/// A watch whose client does not read while a flood comes, and then does.
async fn slow(server: &TestServer) -> (Run, String) {
    let request = taciturn(from_oldest());
    let mut feed = v1::feed_service_client::FeedServiceClient::new(server.narrow_channel());
    feed = feed.max_decoding_message_size(64 << 20);
    let mut watch = Watching::open(feed, request.clone()).await.expect("the watch is accepted");
    let mut frames = watch.up_to(is_caught_up).await;
    let last = flood(server, FLOOD).await;
    frames.extend(watch.up_to_revision(read(&last).revision).await);
    (Run { request, frames }, last)
}

async fn guarantee_5_resumable_from_the_frame_that_says_it_fell_behind(config: Config) {
    let stressed = is_stressed(&config);
    let server = server(config).await;
    let (run, last) = slow(&server).await;
    let behind: Vec<usize> = (0..run.frames.len()).filter(|n| fell_behind(&run.frames[*n])).collect();
    assert_eq!(!behind.is_empty(), stressed, "only who leaves the ring falls behind");
    for number in behind {
        let rest = server.replay(through(after(&run.frames[number].token), &last)).await;
        assert_eq!(rest, events(&run.frames[number + 1..]));
    }
}

async fn a_slow_subscriber_is_never_dropped_and_gets_everything(config: Config) {
    let server = server(config).await;
    let (run, last) = slow(&server).await;
    assert_eq!(events(&run.frames), server.replay(through(from_oldest(), &last)).await);
    assert_eq!(events(&run.frames).len(), FLOOD * 20 * TOLD_OF_ONE);
}

async fn guarantee_6_bookmarkable_progress_is_never_ahead_of_delivery(config: Config) {
    let server = server(config).await;
    let noise = |n: usize| visit_report(&format!("noise-{n}"), "one", "KZ", "AZ", "2023-05-01");
    for filing in 0..150 {
        server.file(vec![noise(filing)]).await;
    }
    let wanted = server.file(vec![visit_report("wanted", "one", "UZ", "AZ", "2023-05-01")]).await;
    for filing in 150..170 {
        server.file(vec![noise(filing)]).await;
    }
    // So many read the log at once that each takes longer than the interval of progress.
    let request = through(lively(filtered(from_oldest(), guests(&["UZ"]))), &server.token().await);
    let mut watches = Vec::new();
    for _ in 0..60 {
        let (feed, request) = (server.feed(), request.clone());
        let watch = tokio::spawn(async move { Watching::open(feed, request).await.unwrap().until_the_end().await });
        watches.push(watch);
    }
    for watch in watches {
        let (frames, error) = watch.await.unwrap();
        assert!(error.is_none(), "{error:?}");
        assert_eq!(events(&frames).len(), TOLD_OF_ONE);
        for frame in frames.iter().take_while(|f| batch(f).is_none()) {
            let token = read(&frame.token);
            assert!(token.revision < wanted.revision, "{:?} is ahead of what comes after it", frame.frame);
        }
    }
}

async fn guarantee_6_bookmarkable_progress_advances_over_what_is_filtered_out(config: Config) {
    let server = server(config).await;
    let mut watch = server.watch(lively(filtered(from_now(), nobody()))).await;
    for number in 0..5 {
        let acked = server.file(vec![visit_report(&format!("v{number}"), "one", "KZ", "AZ", "2023-05-01")]).await;
        let frames = watch.up_to(|f| is_progress(f) && covers(&f.token, acked.revision)).await;
        assert!(events(&frames).is_empty());
        let Some(Frame::Progress(progress)) = &frames.last().unwrap().frame else { panic!() };
        assert_eq!((progress.lag_events, progress.lag_bytes), (0, 0));
        assert_eq!(progress.head_token, acked.token);
    }
}
