//! What comes of a revision: who is told of it, and how much.

use super::*;

under_both_settings!(
    an_event_that_takes_a_record_out_of_the_filter_says_so,
    a_withdrawn_milestone_reaches_who_was_told_of_it,
    a_withdrawn_milestone_reaches_who_watches_its_type,
    previous_records_come_when_asked_for,
    a_read_mask_applies_to_records_and_previous_ones,
    only_the_types_asked_for_come,
);

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
