//! In what order, page by page.

use super::*;

/// A visit as the orders see it: its name, its first and last day if it has any, and the revision that changed it.
type Sortable = (String, Option<(&'static str, &'static str)>, u64);

/// Visits with equal days, without days, with wide days, each filed on its own.
async fn sortable(server: &TestServer) -> Vec<Sortable> {
    let days = [
        ("d", "2023-05-05", Some(("2023-05-05", "2023-05-05"))),
        ("b", "2023-05-05", Some(("2023-05-05", "2023-05-05"))),
        ("f", "", None),
        ("a", "2023", Some(("2023-01-01", "2023-12-31"))),
        ("c", "2023-05", Some(("2023-05-01", "2023-05-31"))),
        ("e", "", None),
        ("h", "1999-01-01", Some(("1999-01-01", "1999-01-01"))),
        ("g", "2023-12-31", Some(("2023-12-31", "2023-12-31"))),
        ("i", "2024-01-01", Some(("2024-01-01", "2024-01-01"))),
    ];
    let mut sortable = Vec::new();
    for (id, day, span) in days {
        let filed = server.file(vec![visit(id, "AZ", &["KZ"], day, |_| {})]).await;
        sortable.push((format!("visits/{id}"), span, filed.revision));
    }
    sortable
}

const ORDERS: [OrderBy; 4] = [OrderBy::OccurredDesc, OrderBy::OccurredAsc, OrderBy::Name, OrderBy::UpdateTimeDesc];

fn sorted(mut visits: Vec<Sortable>, order: OrderBy) -> Vec<String> {
    visits.sort();
    match order {
        // A stable sort keeps names in order where days are equal.
        OrderBy::OccurredDesc | OrderBy::Unspecified => {
            visits.sort_by_key(|(_, days, _)| std::cmp::Reverse(days.map(|(_, last)| last)))
        }
        OrderBy::OccurredAsc => visits.sort_by_key(|(_, days, _)| days.map_or("9999", |(first, _)| first)),
        OrderBy::UpdateTimeDesc => visits.sort_by_key(|(_, _, revision)| std::cmp::Reverse(*revision)),
        OrderBy::Name => {}
    }
    visits.into_iter().map(|(name, ..)| name).collect()
}

fn ordered(order: OrderBy) -> v1::ListVisitsRequest {
    v1::ListVisitsRequest { order_by: order.into(), ..Default::default() }
}

#[tokio::test]
async fn lists_are_in_the_order_that_was_asked_for() {
    let server = TestServer::start().await;
    let visits = sortable(&server).await;
    for order in ORDERS.into_iter().chain([OrderBy::Unspecified]) {
        let listed = ask::list(&server, RecordKind::Visit, &ordered(order)).await.unwrap();
        assert_eq!(listed.names(), sorted(visits.clone(), order), "{order:?}");
    }
    // Two that one revision changed: by name.
    server.file(vec![visit("z", "AZ", &["KZ"], "", |_| {}), visit("y", "AZ", &["KZ"], "", |_| {})]).await;
    let listed = ask::list(&server, RecordKind::Visit, &ordered(OrderBy::UpdateTimeDesc)).await.unwrap();
    assert_eq!(listed.names()[..3], ["visits/y", "visits/z", "visits/i"]);
    server.stop().await;
}

#[tokio::test]
async fn pages_never_shift_whatever_is_filed_between_them() {
    let server = TestServer::start().await;
    let visits = sortable(&server).await;
    let mut round = 0;
    for order in ORDERS {
        for size in 1..=visits.len() + 1 {
            let whole = ask::list(&server, RecordKind::Visit, &ordered(order)).await.unwrap();
            let (mut page, mut gathered) = (ordered(order), Vec::new());
            page.page_size = i32::try_from(size).unwrap();
            loop {
                let Listed { records, next, token } = ask::list(&server, RecordKind::Visit, &page).await.unwrap();
                assert!(records.len() <= usize::try_from(page.page_size).unwrap());
                assert_eq!(token, whole.token, "pages stay at the first page's position");
                gathered.extend(records);
                if next.is_empty() {
                    break;
                }
                round += 1;
                disturb(&server, &whole.names(), round).await;
                page.page_token = next;
                // Only the size may change between pages, so it does.
                page.page_size = page.page_size % 3 + 1;
            }
            assert_eq!(gathered, whole.records, "{order:?} by {size}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_page_has_a_thousand_elements_at_most_however_many_are_asked_for() {
    let server = TestServer::start().await;
    for filing in 0..11 {
        let visits = (0..91).map(|n| visit(&format!("v{filing}-{n}"), "AZ", &["KZ"], "", |_| {}));
        server.file(visits.collect()).await;
    }
    // (Of events: to read a record costs so much that a page of records ends before.)
    for page_size in [1001, i32::MAX] {
        let request = v1::ListEventsRequest { page_size, ..Default::default() };
        let first = server.feed().list_events(request.clone()).await.unwrap().into_inner();
        assert_eq!(first.events.len(), 1000, "{page_size} are asked for");
        let rest = v1::ListEventsRequest { page_token: first.next_page_token, ..request };
        let rest = server.feed().list_events(rest).await.unwrap().into_inner();
        assert!(!rest.events.is_empty(), "the rest is on the next page");
    }
    server.stop().await;
}

/// Adds, alters and retracts, so that whatever is paged through has changed.
async fn disturb(server: &TestServer, names: &[String], round: usize) {
    let victim = &names[round % names.len()];
    let id = victim.trim_start_matches("visits/");
    match round % 3 {
        0 => {
            let day = format!("20{:02}-01-01", 10 + round % 30);
            server.file(vec![visit(id, "AZ", &["KZ"], &day, |v| v.summary = Some(format!("round {round}")))]).await;
        }
        1 => {
            let day = format!("20{:02}", 10 + round % 30);
            server.file(vec![visit(&format!("m{}", round % 5), "KZ", &["AZ"], &day, |_| {})]).await;
        }
        _ => {
            let selection = Some(v1::retract_reports_request::Selection::Report(format!("{victim}/reports/a")));
            let reason = v1::RetractionReason::FilerError.into();
            // It may be retracted already; filing brings it back in another round.
            let _ = server
                .filing()
                .retract_reports(v1::RetractReportsRequest { selection, reason, ..Default::default() })
                .await;
        }
    }
}
