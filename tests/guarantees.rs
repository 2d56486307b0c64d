//! The feed's guarantees, by number, and what else a watch promises. Everything runs twice: with the defaults, and with
//! a ring so small and pages so short that every watch reads from the store, meets the ring, and falls out of it again.
//!
//! Guarantee 9 (Durable) is held by the tests of crashes and faults, `tests/recovery/`, under its name.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use attache::{
    config::{Config, DataDir},
    domain::token::Phase,
    feed,
    pb::v1::{
        self, EventType, RecordKind, WatchEventsRequest, WatchEventsResponse, list_events_request, record::Kind,
        watch_events_response::Frame,
    },
    serve::Parts,
};
use common::{
    FakeClock, TestServer, date,
    scribe::{Acked, Scribe, file_at_once, parties, ruling, told},
    shared_log::{Lagging, SharedLog},
    side, visit_report, visit_report_of,
    watching::*,
};
use tokio::sync::watch;

/// Every scenario under both settings.
macro_rules! under_both_settings {
    ($($scenario:ident),* $(,)?) => {
        mod with_defaults {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(crate::common::config()).await;
            })*
        }
        mod under_stress {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(super::stress()).await;
            })*
        }
    };
}

under_both_settings!(
    guarantee_1_ordered_by_revision_and_index,
    guarantee_2_unique_on_one_stream,
    guarantee_3_complete_for_every_filter_and_start,
    guarantee_3_complete_over_more_revisions_than_one_look_takes,
    guarantee_4_atomic_whole_revisions_or_consecutive_frames,
    guarantee_5_resumable_from_every_frame_after_a_restart_and_elsewhere,
    guarantee_5_resumable_from_the_frame_that_says_it_fell_behind,
    guarantee_6_bookmarkable_progress_is_never_ahead_of_delivery,
    guarantee_6_bookmarkable_progress_advances_over_what_is_filtered_out,
    guarantee_7_filter_consistent_a_cache_equals_the_list_at_every_token,
    guarantee_8_caught_up_after_everything_acknowledged_before,
    guarantee_8_caught_up_also_when_nothing_matches,
    guarantee_8_caught_up_is_where_the_log_stood_though_filings_outrun_the_replay,
    guarantee_8_caught_up_on_a_replica_that_lags,
    guarantee_10_honest_end_where_until_says_so,
    guarantee_10_honest_end_when_the_server_drains,
    guarantee_10_honest_end_of_a_stalled_client,
    guarantee_10_honest_end_when_the_log_cannot_be_read,
    one_stream_too_many_is_refused_and_a_dropped_one_frees_its_place,
    an_event_that_takes_a_record_out_of_the_filter_says_so,
    a_withdrawn_milestone_reaches_who_was_told_of_it,
    a_withdrawn_milestone_reaches_who_watches_its_type,
    previous_records_come_when_asked_for,
    a_read_mask_applies_to_records_and_previous_ones,
    only_the_types_asked_for_come,
    from_time_includes_its_instant,
    now_starts_after_everything_acknowledged,
    a_slow_subscriber_is_never_dropped_and_gets_everything,
    a_stalled_subscriber_does_not_hinder_others,
    a_snapshot_amid_filings_has_no_gap_and_nothing_twice,
    a_list_then_a_watch_after_its_token_has_no_gap,
    pages_of_events_equal_the_watch,
    a_page_after_a_token_of_another_replica_is_not_read_before_it,
    a_snapshot_token_is_refused_with_other_filters,
    cursors_only_move_forward_and_compare_before_they_set,
);

/// A ring of a few revisions, read back two at a time.
fn stress() -> Config {
    let feed = feed::Settings { ring_bytes: 64 * 1024, page_revisions: 2, ..feed::Settings::default() };
    Config { feed, ..common::config() }
}

fn is_stressed(config: &Config) -> bool {
    config.feed.ring_bytes <= 64 * 1024
}

fn parts() -> Parts {
    Parts { clock: Arc::new(FakeClock::default()), ..Parts::default() }
}

fn parts_on(journal: impl attache::journal::Journal) -> Parts {
    Parts { journal: Arc::new(journal), clock: Arc::new(FakeClock::default()), ..Parts::default() }
}

async fn server(config: Config) -> TestServer {
    TestServer::with(config, parts()).await
}

fn place(event: &v1::Event) -> (u64, u32) {
    (event.revision, event.index)
}

// ---- 1, 2, 3: one run of filers and watchers, three promises about it ----

/// A watch among the filers, and which of the events are for it.
struct Case {
    about: &'static str,
    request: WatchEventsRequest,
    wants: fn(&v1::Event) -> bool,
}

fn cases() -> Vec<Case> {
    let small = |request: WatchEventsRequest| WatchEventsRequest { max_batch_events: 2, ..request };
    let all_of =
        |host: &str, guest: &str| v1::Filter { states_all: vec![host.into(), guest.into()], ..Default::default() };
    let hosts = |state: &str| v1::Filter { hosts: vec![state.into()], ..Default::default() };
    let named = |name: &str| v1::Filter { names: vec![name.into()], ..Default::default() };
    let kind = |kind: RecordKind| v1::Filter { kinds: vec![kind.into()], ..Default::default() };
    let case = |about, request, wants| Case { about, request: lively(request), wants };
    vec![
        case("all from oldest", from_oldest(), |_| true),
        case("all from oldest in small frames", small(from_oldest()), |_| true),
        case("all from now", from_now(), |_| true),
        case("all from a snapshot", from_snapshot(), |_| true),
        case("a snapshot in small frames", small(from_snapshot()), |_| true),
        case("guest KZ", filtered(from_oldest(), guests(&["KZ"])), |e| guest_of(e) == "KZ"),
        case("guest KZ from now", filtered(small(from_now()), guests(&["KZ"])), |e| guest_of(e) == "KZ"),
        case("guest UZ from a snapshot", filtered(from_snapshot(), guests(&["UZ"])), |e| guest_of(e) == "UZ"),
        case("AZ and TJ", filtered(from_oldest(), vec![all_of("AZ", "TJ")]), |e| parties(&e.subject) == ("AZ", "TJ")),
        case("host GE or guest KZ", filtered(from_oldest(), vec![hosts("GE"), guests(&["KZ"]).remove(0)]), |e| {
            parties(&e.subject).0 == "GE" || guest_of(e) == "KZ"
        }),
        case("one name", filtered(from_oldest(), vec![named("visits/before1-0")]), |e| e.subject == "visits/before1-0"),
        case("no agreement", filtered(from_oldest(), vec![kind(RecordKind::Agreement)]), |_| false),
        case("announcements", typed(from_oldest(), EventType::VisitAnnounced), |e| {
            e.r#type() == EventType::VisitAnnounced || e.withdrawn_type() == EventType::VisitAnnounced
        }),
        case("KZ recorded", typed(filtered(from_oldest(), guests(&["KZ"])), EventType::Recorded), |e| {
            e.r#type() == EventType::Recorded && guest_of(e) == "KZ"
        }),
    ]
}

fn guest_of(event: &v1::Event) -> &'static str {
    parties(&event.subject).1
}

fn typed(request: WatchEventsRequest, event_type: EventType) -> WatchEventsRequest {
    WatchEventsRequest { event_types: vec![event_type.into()], ..request }
}

struct Observed {
    case: Case,
    frames: Vec<WatchEventsResponse>,
}

impl Observed {
    /// Without the records of the snapshot.
    fn events(&self) -> Vec<v1::Event> {
        events(&self.frames).into_iter().filter(|e| !is_snapshot(e)).collect()
    }

    /// The revision after which its changes begin.
    fn start(&self) -> u64 {
        read(&self.frames[0].token).revision
    }
}

/// Filers and watchers at the same time: what was acknowledged, and what was watched.
async fn observe(config: Config) -> (TestServer, Vec<Acked>, Vec<Observed>) {
    let server = server(config).await;
    let mut acked = file_at_once(&[&server], "before", 2, 15).await;
    let (last, until) = watch::channel(u64::MAX);
    let mut watchers = Vec::new();
    for (number, case) in cases().into_iter().enumerate() {
        let (mut log, feed, until) = (server.log(), server.feed(), until.clone());
        watchers.push(tokio::spawn(async move {
            // Each begins a little later amid the filings.
            for _ in 0..number {
                log.get_log_info(v1::GetLogInfoRequest {}).await.expect("an answer");
            }
            let mut watch = Watching::open(feed, case.request.clone()).await.expect("the watch is accepted");
            let frames = watch.up_to(|frame| covers(&frame.token, *until.borrow())).await;
            Observed { case, frames }
        }));
    }
    acked.extend(file_at_once(&[&server], "amid", 4, 25).await);
    last.send_replace(acked.last().expect("something was filed").revision);
    let mut observed = Vec::new();
    for watcher in watchers {
        observed.push(watcher.await.expect("a watcher ends well"));
    }
    (server, acked, observed)
}

async fn guarantee_1_ordered_by_revision_and_index(config: Config) {
    let (_server, _, observed) = observe(config).await;
    for watch in observed {
        let about = watch.case.about;
        let all = events(&watch.frames);
        let records = all.iter().take_while(|e| is_snapshot(e)).count();
        let (snapshot, changes) = all.split_at(records);
        assert!(snapshot.is_sorted_by(|a, b| a.subject < b.subject), "{about}");
        assert!(!changes.iter().any(is_snapshot), "{about}: the snapshot goes on after a change");
        assert!(changes.is_sorted_by(|a, b| place(a) < place(b)), "{about}");
        assert!(changes.iter().all(|e| e.revision > watch.start()), "{about}: from before the start");
        let positions: Vec<u64> = watch.frames.iter().map(|f| read(&f.token).revision).collect();
        assert!(positions.is_sorted(), "{about}: a token goes back");
    }
}

async fn guarantee_2_unique_on_one_stream(config: Config) {
    let (_server, _, observed) = observe(config).await;
    for watch in observed {
        let mut seen = HashSet::new();
        for event in events(&watch.frames) {
            assert!(seen.insert(event.id.clone()), "{}: {} comes twice", watch.case.about, event.id);
        }
    }
}

async fn guarantee_3_complete_for_every_filter_and_start(config: Config) {
    let (server, acked, observed) = observe(config).await;
    let model = told(&acked);
    let last = acked.last().unwrap().revision;
    assert_eq!(acked.iter().map(|a| a.revision).collect::<Vec<_>>(), (1..=last).collect::<Vec<_>>());
    for watch in observed {
        let (about, start) = (watch.case.about, watch.start());
        let after_start = |e: &&v1::Event| e.revision > start && (watch.case.wants)(e);
        let expected: Vec<v1::Event> = model.iter().filter(after_start).cloned().collect();
        let found: Vec<v1::Event> = watch.events().iter().map(bare).collect();
        assert_eq!(ids(&found), ids(&expected), "{about}");
        assert_eq!(found, expected, "{about}");
        let pages = v1::ListEventsRequest {
            filters: watch.case.request.filters.clone(),
            event_types: watch.case.request.event_types.clone(),
            page_size: 100,
            ..Default::default()
        };
        let mut listed = server.list_events(pages).await;
        listed.retain(|e| e.revision > start);
        assert_eq!(listed, watch.events(), "{about}: pages and watch differ");
        let caught_up = watch.frames.iter().filter(|f| is_caught_up(f)).count();
        assert_eq!(caught_up, 1, "{about}: caught_up comes once");
        assert!(is_started(&watch.frames[0]), "{about}: started comes first");
    }
}

async fn guarantee_3_complete_over_more_revisions_than_one_look_takes(config: Config) {
    let server = server(config).await;
    let visit = |n: u64| visit_report(&format!("v{n}"), "one", "KZ", "AZ", "2023-05-01");
    let mut live = server.watch(taciturn(from_oldest())).await;
    // Filed by many, so that they come in groups.
    let mut filers = tokio::task::JoinSet::new();
    for filer in 0..8 {
        let mut filing = server.filing();
        filers.spawn(async move {
            for n in 0..150 {
                let request = v1::FileReportsRequest {
                    reports: vec![visit(filer * 150 + n)],
                    ..v1::FileReportsRequest::default()
                };
                filing.file_reports(request).await.expect("the filing is taken");
            }
        });
    }
    filers.join_all().await;
    let revisions = |events: &[v1::Event]| events.iter().map(|e| (e.revision, e.index)).collect::<Vec<_>>();
    // Each is recorded, and began by its date.
    let all: Vec<(u64, u32)> = (1..=1200).flat_map(|revision| [(revision, 0), (revision, 1)]).collect();
    assert_eq!(revisions(&events(&live.up_to_revision(1200).await)), all);
    let late = server.watch(taciturn(from_oldest())).await.up_to(is_caught_up).await;
    assert_eq!(revisions(&events(&late)), all);
}

// ---- 4 ----

async fn guarantee_4_atomic_whole_revisions_or_consecutive_frames(config: Config) {
    let server = server(config).await;
    for round in 0..8 {
        // Two events each, and every other filing exceeds a frame of five events.
        let visit = |n: i32| announced(&format!("v{round}-{n}"), "KZ", "2023-05-01");
        server.file((0..if round % 2 == 0 { 2 } else { 8 }).map(visit).collect()).await;
    }
    let all = server.replay(until_caught_up(from_oldest())).await;
    let size = |revision: u64| all.iter().filter(|e| e.revision == revision).count();
    for (max_events, max_bytes) in [(5, 0), (1, 0), (1000, 0), (1000, 1024), (1000, 4096)] {
        let request = WatchEventsRequest { max_batch_events: max_events, max_batch_bytes: max_bytes, ..from_oldest() };
        let (frames, _) = server.watch(until_caught_up(request)).await.until_the_end().await;
        let about = format!("{max_events} events, {max_bytes} bytes");
        assert_eq!(events(&frames), all, "{about}");
        let mut pieces = 0;
        for (at, frame) in frames.iter().enumerate() {
            let Some(batch) = batch(frame) else { continue };
            let last = batch.events.last().expect("a batch has events").revision;
            let following = frames[at + 1..].iter().find_map(common::watching::batch);
            let goes_on = following.is_some_and(|next| next.events[0].revision == last);
            assert_eq!(
                goes_on, batch.continued,
                "{about}: revision {last} goes on and does not say so, or the reverse"
            );
            assert!(batch.events.len() <= usize::try_from(max_events).unwrap(), "{about}: a frame too large");
            if batch.continued {
                pieces += 1;
                assert!(frames.get(at + 1).and_then(common::watching::batch).is_some(), "{about}: a frame between");
                let fits = size(last) <= usize::try_from(max_events).unwrap() && max_bytes == 0;
                assert!(!fits, "{about}: revision {last} fits a frame and was split");
            }
        }
        assert_eq!(pieces > 0, max_events < 1000 || max_bytes > 0, "{about}");
    }
}

/// A visit of `guest` to AZ that was announced: two events.
fn announced(id: &str, guest: &str, day: &str) -> v1::Report {
    let stage = v1::Progress { r#type: v1::ProgressType::Announced.into(), ..Default::default() };
    let visit = v1::Visit {
        hosts: vec![side("AZ")],
        guests: vec![side(guest)],
        start: Some(date(day)),
        progress: vec![stage],
        ..Default::default()
    };
    visit_report_of(id, "one", visit)
}

// ---- 5 ----

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

/// Files so much that no buffer between server and client holds it.
async fn flood(server: &TestServer, filings: usize) -> String {
    let mut token = String::new();
    for filing in 0..filings {
        let visit = |n: usize| {
            let visit = v1::Visit {
                hosts: vec![side("AZ")],
                guests: vec![side(["KZ", "UZ"][n % 2])],
                start: Some(date("2023-05-01")),
                note: Some("n".repeat(4000)),
                ..Default::default()
            };
            visit_report_of(&format!("flood-{filing}-{n}"), "one", visit)
        };
        token = server.file((0..20).map(visit).collect()).await.token;
    }
    token
}

/// More than a transport holds for a client that does not read: 4 MB.
const FLOOD: usize = 50;
/// What is told of each new visit here: that it is recorded, and that it began by its date.
const TOLD_OF_ONE: usize = 2;

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

// ---- 6 ----

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

// ---- 7 ----

/// Every record that matches as of a token.
async fn listed(server: &TestServer, filters: &[v1::Filter], token: &str) -> BTreeMap<String, v1::Record> {
    let as_of = Some(v1::AsOf { position: Some(v1::as_of::Position::Token(token.to_owned())) });
    let mut records = BTreeMap::new();
    let mut visits = v1::ListVisitsRequest {
        filters: filters.to_vec(),
        as_of: as_of.clone(),
        page_size: 1000,
        ..Default::default()
    };
    loop {
        let page = server.registry().list_visits(visits.clone()).await.expect("a page").into_inner();
        let record = |v: v1::Visit| (v.name.clone(), v1::Record { kind: Some(Kind::Visit(v)) });
        records.extend(page.visits.into_iter().map(record));
        visits.page_token = page.next_page_token;
        if visits.page_token.is_empty() {
            break;
        }
    }
    let mut agreements =
        v1::ListAgreementsRequest { filters: filters.to_vec(), as_of, page_size: 1000, ..Default::default() };
    loop {
        let page = server.registry().list_agreements(agreements.clone()).await.expect("a page").into_inner();
        let record = |a: v1::Agreement| (a.name.clone(), v1::Record { kind: Some(Kind::Agreement(a)) });
        records.extend(page.agreements.into_iter().map(record));
        agreements.page_token = page.next_page_token;
        if agreements.page_token.is_empty() {
            break;
        }
    }
    records
}

/// A cache as a client keeps it.
#[derive(Default)]
struct Cache(BTreeMap<String, v1::Record>);

impl Cache {
    fn apply(&mut self, events: &[v1::Event]) {
        for event in events {
            if event.left_filter {
                self.0.remove(&event.subject);
            } else if let Some(record) = &event.record {
                self.0.insert(event.subject.clone(), record.clone());
            }
        }
    }
}

fn many_filters() -> Vec<Vec<v1::Filter>> {
    let range = |from: &str, until: &str, definite_only| {
        Some(v1::OccurredRange { from: from.into(), until: until.into(), definite_only })
    };
    let default = v1::Filter::default;
    vec![
        vec![],
        guests(&["KZ"]),
        vec![v1::Filter { states_any: vec!["UZ".into(), "TJ".into()], ..default() }],
        vec![v1::Filter { states_only: vec!["AZ".into(), "KZ".into()], ..default() }],
        vec![v1::Filter { states_all: vec!["AZ".into(), "TJ".into()], ..default() }],
        vec![v1::Filter { disputed: Some(true), ..default() }],
        vec![v1::Filter { disputed: Some(false), hosts: vec!["GE".into()], ..default() }, guests(&["TJ"]).remove(0)],
        vec![v1::Filter { occurred: range("2023-03", "2023-06", false), ..default() }],
        vec![v1::Filter { occurred: range("2023-07", "", true), ..default() }],
        vec![v1::Filter { visit_types: vec![v1::VisitType::Working.into()], ..default() }],
        vec![v1::Filter { kinds: vec![RecordKind::Agreement.into()], ..default() }],
    ]
}

async fn guarantee_7_filter_consistent_a_cache_equals_the_list_at_every_token(config: Config) {
    let server = Arc::new(server(config).await);
    let mut scribes = vec![Scribe::moving("a"), Scribe::moving("b")];
    let mut filing = server.filing();
    for _ in 0..10 {
        scribes[0].act(&mut filing).await;
    }
    let (last, until) = watch::channel(u64::MAX);
    let mut keepers = Vec::new();
    for (number, filters) in many_filters().into_iter().enumerate() {
        let (server, until) = (Arc::clone(&server), until.clone());
        keepers.push(tokio::spawn(async move {
            let small = [0, 1, 3][number % 3];
            let request =
                WatchEventsRequest { max_batch_events: small, ..lively(filtered(from_snapshot(), filters.clone())) };
            let mut watch = server.watch(request).await;
            let mut cache = Cache::default();
            let mut left = 0;
            loop {
                let frame = watch.frame().await;
                let events = batch(&frame).map_or(&[][..], |b| &b.events);
                left += events.iter().filter(|e| e.left_filter).count();
                cache.apply(events);
                if read(&frame.token).phase == Phase::Whole {
                    let truth = listed(&server, &filters, &frame.token).await;
                    let names = |m: &BTreeMap<String, v1::Record>| m.keys().cloned().collect::<Vec<_>>();
                    assert_eq!(names(&cache.0), names(&truth), "{filters:?} after {:?}", frame.frame);
                    assert_eq!(cache.0, truth, "{filters:?}");
                }
                if covers(&frame.token, *until.borrow()) {
                    return (filters, left);
                }
            }
        }));
    }
    let acked = common::scribe::all_file(&[&server], scribes, 35).await;
    last.send_replace(acked.last().unwrap().revision);
    for keeper in keepers {
        let (filters, left) = keeper.await.expect("the cache equals the list");
        let kind_only = filters.iter().any(|f| !f.kinds.is_empty());
        assert!(left > 0 || kind_only, "{filters:?}: nothing ever left, so that nothing was tried");
    }
}

// ---- 8 ----

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

// ---- 10 ----

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

// ---- what comes of a revision ----

/// Files a visit again with another guest, as a correction, with or without its announcement.
async fn corrected(server: &TestServer, id: &str, guest: &str, announcement: bool) -> v1::FileReportsResponse {
    let report = if announcement {
        announced(id, guest, "2023-05-01")
    } else {
        visit_report(id, "one", guest, "AZ", "2023-05-01")
    };
    let intent = v1::Intent::Correction.into();
    let request = v1::FileReportsRequest { reports: vec![report], intent, ..Default::default() };
    server.filing().file_reports(request).await.unwrap().into_inner()
}

fn types(events: &[v1::Event]) -> Vec<(EventType, bool)> {
    events.iter().map(|e| (e.r#type(), e.left_filter)).collect()
}

async fn an_event_that_takes_a_record_out_of_the_filter_says_so(config: Config) {
    let server = server(config).await;
    let mut live = server.watch(taciturn(filtered(from_now(), guests(&["KZ"])))).await;
    live.up_to(is_caught_up).await;
    corrected(&server, "a", "KZ", false).await;
    corrected(&server, "a", "UZ", false).await;
    corrected(&server, "a", "TJ", false).await;
    corrected(&server, "a", "KZ", false).await;
    let last = server.filing().retract_record(ruling("visits/a")).await.unwrap().into_inner();
    let expected = [
        (EventType::Recorded, false),
        (EventType::VisitBegan, false),
        (EventType::Corrected, true),
        (EventType::Corrected, false),
        (EventType::Retracted, true),
        (EventType::MilestoneWithdrawn, true),
    ];
    let replayed = server.replay(until_caught_up(filtered(from_oldest(), guests(&["KZ"])))).await;
    assert_eq!(types(&replayed), expected);
    assert_eq!(replayed.iter().map(|e| e.revision).collect::<Vec<_>>(), [1, 1, 2, 4, 5, 5]);
    assert_eq!(events(&live.up_to_revision(last.revision).await), replayed);
    let Some(v1::Record { kind: Some(Kind::Visit(left)) }) = &replayed[2].record else { panic!() };
    assert_eq!(left.guests, [side("UZ")], "the record as it is now, outside the filter");
    assert!(replayed[4].record.is_none());
}

async fn a_withdrawn_milestone_reaches_who_was_told_of_it(config: Config) {
    let server = server(config).await;
    let mut live = server.watch(taciturn(filtered(from_now(), guests(&["KZ"])))).await;
    live.up_to(is_caught_up).await;
    let first = corrected(&server, "a", "KZ", true).await;
    corrected(&server, "a", "UZ", true).await;
    // From here on the record is none of KZ's, but KZ was told of the announcement.
    let last = corrected(&server, "a", "UZ", false).await;
    let replayed = server.replay(until_caught_up(filtered(from_oldest(), guests(&["KZ"])))).await;
    let expected = [
        (EventType::Recorded, false),
        (EventType::VisitBegan, false),
        (EventType::VisitAnnounced, false),
        (EventType::Corrected, true),
        (EventType::MilestoneWithdrawn, true),
    ];
    assert_eq!(types(&replayed), expected);
    assert_eq!(replayed[4].withdraws, first.events[2].id);
    assert_eq!(events(&live.up_to_revision(last.revision).await), replayed, "and it wakes who waits");
    let others = server.replay(until_caught_up(filtered(from_oldest(), guests(&["TJ"])))).await;
    assert!(others.is_empty(), "{others:?}");
}

async fn a_withdrawn_milestone_reaches_who_watches_its_type(config: Config) {
    let server = server(config).await;
    corrected(&server, "a", "KZ", true).await;
    corrected(&server, "a", "KZ", false).await;
    let announcements = server.replay(until_caught_up(typed(from_oldest(), EventType::VisitAnnounced))).await;
    let types_of = |events: &[v1::Event]| events.iter().map(v1::Event::r#type).collect::<Vec<_>>();
    assert_eq!(types_of(&announcements), [EventType::VisitAnnounced, EventType::MilestoneWithdrawn]);
    let beginnings = server.replay(until_caught_up(typed(from_oldest(), EventType::VisitBegan))).await;
    assert_eq!(types_of(&beginnings), [EventType::VisitBegan], "what withdraws another type does not come");
    let withdrawals = server.replay(until_caught_up(typed(from_oldest(), EventType::MilestoneWithdrawn))).await;
    assert_eq!(types_of(&withdrawals), [EventType::MilestoneWithdrawn]);
}

async fn previous_records_come_when_asked_for(config: Config) {
    let server = server(config).await;
    corrected(&server, "a", "KZ", true).await;
    corrected(&server, "a", "UZ", true).await;
    server.filing().retract_record(ruling("visits/a")).await.unwrap();
    let with = WatchEventsRequest { include_previous: true, ..until_caught_up(from_oldest()) };
    let events = server.replay(with).await;
    let registry: Vec<&v1::Event> = events.iter().filter(|e| e.event_class() == v1::EventClass::Registry).collect();
    let [recorded, corrected, retracted] = registry[..] else { panic!("{registry:?}") };
    assert_eq!((&recorded.previous, recorded.record.is_some()), (&None, true));
    assert_eq!(corrected.previous, recorded.record);
    assert_eq!((&retracted.previous, &retracted.record), (&corrected.record, &None));
    let cooperation = events.iter().filter(|e| e.event_class() == v1::EventClass::Cooperation);
    assert!(cooperation.clone().count() > 0 && cooperation.clone().all(|e| e.previous.is_none() && e.record.is_none()));
    let without = server.replay(until_caught_up(from_oldest())).await;
    assert!(without.iter().all(|e| e.previous.is_none()));
}

async fn a_read_mask_applies_to_records_and_previous_ones(config: Config) {
    let server = server(config).await;
    corrected(&server, "a", "KZ", false).await;
    corrected(&server, "a", "UZ", false).await;
    let read_mask = Some(prost_types::FieldMask { paths: vec!["guests.state".into()] });
    let masked = |guest: &str| {
        let visit = v1::Visit { name: "visits/a".into(), guests: vec![side(guest)], ..Default::default() };
        Some(v1::Record { kind: Some(Kind::Visit(visit)) })
    };
    let request = WatchEventsRequest { read_mask: read_mask.clone(), include_previous: true, ..from_oldest() };
    let events = server.replay(until_caught_up(request)).await;
    let [recorded, _, corrected] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&recorded.record, &corrected.record), (&masked("KZ"), &masked("UZ")));
    assert_eq!((&recorded.previous, &corrected.previous), (&None, &masked("KZ")));
    let request = WatchEventsRequest { read_mask, ..from_snapshot() };
    let snapshot = server.replay(until_caught_up(request)).await;
    assert_eq!(snapshot[0].record, masked("UZ"));
    let unknown = Some(prost_types::FieldMask { paths: vec!["capital".into()] });
    let request = WatchEventsRequest { read_mask: unknown, ..from_oldest() };
    let Err(refused) = Watching::open(server.feed(), request).await else { panic!("taken") };
    assert_eq!(reason(&refused), "MASK_INVALID");
}

async fn only_the_types_asked_for_come(config: Config) {
    let server = server(config).await;
    corrected(&server, "a", "KZ", true).await;
    corrected(&server, "a", "UZ", true).await;
    let two = vec![EventType::VisitAnnounced.into(), EventType::Corrected.into()];
    let request = WatchEventsRequest { event_types: two, ..until_caught_up(from_oldest()) };
    let expected = [(EventType::VisitAnnounced, false), (EventType::Corrected, false)];
    assert_eq!(types(&server.replay(request).await), expected);
    // What a snapshot asks for comes whatever the types.
    let request = typed(until_caught_up(from_snapshot()), EventType::VisitAnnounced);
    assert_eq!(types(&server.replay(request).await), [(EventType::Snapshot, false)]);
    for unknown in [0, 9999] {
        let request = WatchEventsRequest { event_types: vec![unknown], ..from_oldest() };
        let Err(refused) = Watching::open(server.feed(), request).await else { panic!("taken") };
        assert_eq!(reason(&refused), "FIELD_INVALID");
    }
}

// ---- where it starts ----

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

// ---- pages and cursors ----

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
