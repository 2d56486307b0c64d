//! What is compared in the end: what was acknowledged, told and kept, with the log, and one replica's log with another's.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use attache::{
    clock::CLOCK,
    domain::token::Phase,
    pb::v1::{
        self, EventBasis, EventType, WatchEventsRequest, log_service_client::LogServiceClient, record::Kind,
        registry_service_client::RegistryServiceClient, watch_events_response::Frame,
    },
};
use tonic::{Status, transport::Channel};

use super::{
    REPLICAS,
    clients::{Consumer, Watcher},
    faults::Doors,
};
use crate::{
    common::{
        ask,
        watching::{
            Watching, bare, batch, covers, filtered, from_oldest, is_snapshot, read, taciturn, until_caught_up,
        },
    },
    process,
};

/// How often what a watcher kept is compared with a list.
const COMPARISONS: usize = 4;

/// All events that match, in order, each with its token; asked again of a replica that is about to begin anew.
pub async fn history(doors: &Doors, replica: usize, filters: &[v1::Filter]) -> (Vec<v1::Event>, Vec<String>) {
    loop {
        if let Ok(told) = told(doors.of(replica), filters).await {
            return told;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The same, unless it goes away or has nothing yet.
async fn told(channel: Channel, filters: &[v1::Filter]) -> Result<(Vec<v1::Event>, Vec<String>), Elsewhere> {
    // One by one, so that each has a token; and without signs of life, so that patience ends if it is never caught up.
    let single = WatchEventsRequest { max_batch_events: 1, ..filtered(from_oldest(), filters.to_vec()) };
    let request = until_caught_up(taciturn(single));
    let mut watch = Watching::open(process::feed(channel), request).await.map_err(elsewhere)?;
    let (mut events, mut tokens) = (Vec::new(), Vec::new());
    while let Some(frame) = watch.next().await.map_err(elsewhere)? {
        if matches!(frame.frame, Some(Frame::GoingAway(_))) {
            return Err(Elsewhere);
        }
        if let Some(batch) = batch(&frame) {
            events.extend(batch.events.clone());
            tokens.push(frame.token);
        }
    }
    Ok((events, tokens))
}

/// A replica that is not to be asked now.
struct Elsewhere;

fn elsewhere(status: Status) -> Elsewhere {
    // An error of the transport itself has no reason.
    let passes = ["", "DRAINING", "JOURNAL_UNAVAILABLE", "REPLICA_BEHIND"].contains(&ask::reason(&status).as_str());
    assert!(passes, "{status:?}");
    Elsewhere
}

/// Every visit that matches as of a token.
async fn listed(channel: Channel, filters: &[v1::Filter], token: &str) -> BTreeMap<String, v1::Visit> {
    let mut registry = RegistryServiceClient::new(channel).max_decoding_message_size(64 << 20);
    let mut request = v1::ListVisitsRequest {
        filters: filters.to_vec(),
        as_of: ask::as_of(token),
        page_size: 1000,
        ..Default::default()
    };
    let mut visits = BTreeMap::new();
    loop {
        let page = registry.list_visits(request.clone()).await.expect("a page").into_inner();
        visits.extend(page.visits.into_iter().map(|visit| (visit.name.clone(), visit)));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return visits;
        }
    }
}

/// What a client keeps that follows these events.
fn cache(events: &[v1::Event]) -> BTreeMap<String, v1::Visit> {
    let mut visits = BTreeMap::new();
    for event in events {
        if event.left_filter {
            visits.remove(&event.subject);
        } else if let Some(v1::Record { kind: Some(Kind::Visit(visit)) }) = &event.record {
            visits.insert(event.subject.clone(), visit.clone());
        }
    }
    visits
}

/// Says where two histories begin to differ, which would be lost in the whole of them.
pub fn assert_same(found: &[v1::Event], expected: &[v1::Event], about: &str) {
    let differ = found.iter().zip(expected).position(|(found, expected)| found != expected);
    let at = differ.unwrap_or_else(|| found.len().min(expected.len()));
    assert_eq!(found.get(at), expected.get(at), "{about}: at event {at} of {} and {}", found.len(), expected.len());
}

/// What was acknowledged stands as it was acknowledged, each at a revision of its own, and nothing else was filed; as far as
/// the log has not been trimmed.
pub fn check_filings(mut filed: Vec<v1::FileReportsResponse>, log: &[v1::Event], floor: u64) {
    filed.sort_by_key(|answer| answer.revision);
    let revisions: BTreeSet<u64> = filed.iter().map(|answer| answer.revision).collect();
    assert_eq!(revisions.len(), filed.len(), "every acknowledged filing has a revision of its own");
    assert!(filed.iter().all(|answer| covers(&answer.token, answer.revision)), "an answer's token is after it");
    filed.retain(|answer| answer.revision > floor);
    let told: Vec<v1::Event> = filed.into_iter().flat_map(|answer| answer.events).collect();
    let (stand, rest): (Vec<_>, Vec<_>) = log.iter().map(bare).partition(|event| revisions.contains(&event.revision));
    assert_same(&stand, &told, "what was acknowledged");
    // The clock may have moved the day.
    let filed_by_nobody = rest.iter().find(|e| matches!(e.r#type(), EventType::Recorded | EventType::Corrected));
    assert_eq!(filed_by_nobody, None, "what nobody was told of");
}

/// The days between the history and now were gone through once, by whoever was first: each visit of the history began, and
/// nobody else said so.
pub fn check_days(history: &[v1::FileReportsResponse], log: &[v1::Event]) {
    let recorded = history.iter().flat_map(|answer| &answer.events).filter(|e| e.r#type() == EventType::Recorded);
    let mut planned: Vec<&str> = recorded.map(|event| event.subject.as_str()).collect();
    let by_date = |e: &&v1::Event| e.principal == CLOCK && e.basis() == EventBasis::ByDate;
    let begun: Vec<&v1::Event> = log.iter().filter(|e| e.r#type() == EventType::VisitBegan).filter(by_date).collect();
    let mut subjects: Vec<&str> = begun.iter().map(|event| event.subject.as_str()).collect();
    planned.sort_unstable();
    subjects.sort_unstable();
    assert_eq!(subjects, planned, "each begins once");
    let revisions: BTreeSet<u64> = begun.iter().map(|event| event.revision).collect();
    assert_eq!(revisions.len(), 1, "in one move of the day: {revisions:?}");
}

/// A watcher was told exactly the log, and what it kept of that was the registry at every token; as far as the log has not
/// been trimmed.
pub async fn check_watcher(watcher: &Watcher, log: &[v1::Event], doors: &Doors, floor: u64) {
    let Watcher { about, request, wants, heard, marks, .. } = watcher;
    let start = watcher.start.expect("it began").max(floor);
    let end = read(watcher.token.as_ref().expect("it began")).revision;
    let all: Vec<v1::Event> = match wants {
        Some(wants) => log.iter().filter(|event| wants(event)).cloned().collect(),
        None => history(doors, 0, &request.filters).await.0,
    };
    let is_told = |event: &&v1::Event| event.revision > start && event.revision <= end;
    let expected: Vec<v1::Event> = all.iter().filter(is_told).cloned().collect();
    let (records, mut changes): (Vec<_>, Vec<_>) = heard.iter().cloned().partition(is_snapshot);
    changes.retain(|event| event.revision > floor);
    assert_same(&changes, &expected, about);
    let subjects: BTreeSet<&String> = records.iter().map(|event| &event.subject).collect();
    assert_eq!(subjects.len(), records.len(), "{about}: a record comes twice in a snapshot");
    let is_listed = |token: &str| read(token).phase == Phase::Whole && read(token).revision >= floor;
    let whole: Vec<_> = marks.iter().filter(|(token, _)| is_listed(token)).collect();
    let every = whole.len().div_ceil(COMPARISONS);
    for (number, (token, heard_so_far)) in whole.iter().rev().step_by(every).enumerate() {
        let kept = cache(&heard[..*heard_so_far]);
        let listed = listed(doors.of(number % REPLICAS), &request.filters, token).await;
        assert!(kept == listed, "{about}: what it kept differs from the list at {:?}", read(token));
    }
}

/// A consumer did each event once, up to where its cursor stands; as far as the log has not been trimmed.
pub fn check_consumer(consumer: &Consumer, log: &[v1::Event], floor: u64) {
    let end = read(&consumer.cursor.as_ref().expect("it committed").position).revision;
    let expected: Vec<v1::Event> = log.iter().filter(|event| event.revision <= end).cloned().collect();
    let done: Vec<v1::Event> = consumer.done.iter().filter(|event| event.revision > floor).cloned().collect();
    assert_same(&done, &expected, "a consumer");
}

/// Where the log begins on a replica.
pub async fn floor(channel: Channel) -> u64 {
    let asked = LogServiceClient::new(channel).get_log_info(v1::GetLogInfoRequest {}).await;
    read(&asked.expect("it answers").into_inner().oldest_token).revision
}
