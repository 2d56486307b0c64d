//! Every event once, in order, and a revision whole: guarantees 1 to 4.

use super::*;

under_both_settings!(
    guarantee_1_ordered_by_revision_and_index,
    guarantee_2_unique_on_one_stream,
    guarantee_3_complete_for_every_filter_and_start,
    guarantee_3_complete_over_more_revisions_than_one_look_takes,
    guarantee_4_atomic_whole_revisions_or_consecutive_frames,
);

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
