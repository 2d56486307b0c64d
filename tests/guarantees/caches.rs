//! A cache that applies what comes equals the list at every token: guarantee 7.

use super::*;

under_both_settings!(guarantee_7_filter_consistent_a_cache_equals_the_list_at_every_token);

/// Every record that matches as of a token.
pub async fn listed(server: &TestServer, filters: &[v1::Filter], token: &str) -> BTreeMap<String, v1::Record> {
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
pub struct Cache(pub BTreeMap<String, v1::Record>);

impl Cache {
    pub fn apply(&mut self, events: &[v1::Event]) {
        for event in events {
            if event.left_filter {
                self.0.remove(&event.subject);
            } else if let Some(record) = &event.record {
                self.0.insert(event.subject.clone(), record.clone());
            }
        }
    }
}

pub fn many_filters() -> Vec<Vec<v1::Filter>> {
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
