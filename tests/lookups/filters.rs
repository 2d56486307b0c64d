//! What each filter selects.

use super::*;

/// One filter, as JSON reads it, and the ids that it selects.
const FILTERS: &[(&str, &str)] = &[
    (r#"{"kinds": ["RECORD_KIND_VISIT"]}"#, "v1 v2 v3 v4 v5"),
    (r#"{"kinds": ["RECORD_KIND_PERSON", "RECORD_KIND_PLACE"]}"#, "p1 p2 p3 l1 l2 l3"),
    (r#"{"names": ["visits/v2", "places/l3", "visits/v9"]}"#, "v2 l3"),
    (r#"{"statesAny": ["GE"]}"#, "v3 a2"),
    (r#"{"statesAny": ["GE", "UZ"]}"#, "v3 v4 a2"),
    (r#"{"statesAny": ["SUHH"]}"#, "a3"),
    (r#"{"statesAll": ["AZ", "KZ"]}"#, "v1 v2 v5 m1 a1 e1"),
    (r#"{"statesAll": ["AZ", "KZ", "TR"]}"#, "m1"),
    (r#"{"statesOnly": ["AZ", "KZ"]}"#, "v1 v2 v5 m2 a1 e1 e2 p1 p2 o1 o2 l1 l2"),
    (r#"{"statesOnly": ["KZ"]}"#, "m2 e2 p2 o2 l2"),
    (r#"{"observerStates": ["TR"]}"#, "e1"),
    (r#"{"observerStates": ["RU", "TR"]}"#, "e1 e3"),
    (r#"{"hosts": ["AZ"]}"#, "v1 v4 v5 m1 e1"),
    (r#"{"hosts": ["KZ", "TR"]}"#, "v2 v3 e2"),
    (r#"{"guests": ["AZ"]}"#, "v2 v3"),
    (r#"{"topics": ["TOPIC_CYBER"]}"#, "v1 m1"),
    (r#"{"topics": ["TOPIC_CYBER", "TOPIC_PEACEKEEPING"]}"#, "v1 v2 m1"),
    (r#"{"visitTypes": ["VISIT_TYPE_OFFICIAL"]}"#, "v1"),
    (r#"{"visitLevels": ["VISIT_LEVEL_EXPERT", "VISIT_LEVEL_MINISTER"]}"#, "v1 v2"),
    (r#"{"instruments": ["INSTRUMENT_TREATY"]}"#, "a1 a3"),
    (r#"{"exerciseDomains": ["DOMAIN_LAND"]}"#, "e2"),
    (r#"{"exerciseDomains": ["DOMAIN_MARITIME", "DOMAIN_AIR"]}"#, "e1 e2"),
    (r#"{"persons": ["persons/p1"]}"#, "v1"),
    (r#"{"organizations": ["organizations/o1"]}"#, "v1 p1 o2"),
    (r#"{"places": ["places/l1"]}"#, "v1 l2"),
    (r#"{"disputed": true}"#, "v5"),
    (r#"{"disputed": false, "statesAll": ["AZ", "KZ"]}"#, "v1 v2 m1 a1 e1"),
    // On the registry's day, 2024-01-02. What has begun and whose end nobody states may be underway still.
    (r#"{"statuses": ["STATUS_UNDERWAY"]}"#, "v1 v5 m2 e1"),
    (r#"{"statuses": ["STATUS_CONCLUDED", "STATUS_ANNOUNCED"]}"#, "v3 e2"),
    (r#"{"statuses": ["STATUS_UNKNOWN"]}"#, "v2 v4 m1 e3"),
    (r#"{"agreementStatuses": ["AGREEMENT_STATUS_SIGNED"]}"#, "a1 a2"),
    (r#"{"agreementStatuses": ["AGREEMENT_STATUS_UNKNOWN", "AGREEMENT_STATUS_IN_FORCE"]}"#, "a3"),
    (r#"{"statuses": ["STATUS_UNDERWAY"], "hosts": ["AZ"]}"#, "v1 v5 e1"),
    // Dates: "maybe" matches, unless it must be certain; what has no date never does.
    (r#"{"occurred": {"from": "2023-10-06", "until": "2023-10-06"}}"#, "v1 m2 a1"),
    (r#"{"occurred": {"from": "2023-10-06", "until": "2023-10-06", "definiteOnly": true}}"#, "v1 a1"),
    (r#"{"occurred": {"from": "2023", "until": "2023"}}"#, "v1 v3 v5 m2 a1 e1"),
    (r#"{"occurred": {"from": "2023", "until": "2023", "definiteOnly": true}}"#, "v1 v5 m2 a1 e1"),
    (r#"{"occurred": {"from": "2024"}}"#, "v2 m1 e2"),
    (r#"{"occurred": {"until": "2022"}}"#, "v3 a2"),
    (r#"{"occurred": {"until": "2022", "definiteOnly": true}}"#, "a2"),
    (r#"{"occurred": {"from": "2024-06-15", "until": "2024-06-20"}}"#, "v2"),
    (r#"{"occurred": {"from": "2024-06-15", "until": "2024-06-20", "definiteOnly": true}}"#, ""),
    (r#"{"occurred": {"from": "1900", "until": "2100"}}"#, "v1 v2 v3 v5 m1 m2 a1 a2 e1 e2"),
    // Nothing here is a probe.
    (r#"{"includeProbes": true, "hosts": ["AZ"], "statesAll": ["AZ", "KZ"], "kinds": ["RECORD_KIND_VISIT"]}"#, "v1 v5"),
    // Fields are ANDed.
    (r#"{"kinds": ["RECORD_KIND_VISIT"], "statesAll": ["AZ", "KZ"], "hosts": ["AZ"]}"#, "v1 v5"),
    (r#"{"statesAny": ["KZ"], "topics": ["TOPIC_CYBER"], "occurred": {"from": "2024"}}"#, "m1"),
    (r#"{"hosts": ["AZ"], "guests": ["AZ"]}"#, ""),
];

#[tokio::test]
async fn each_filter_selects_what_it_says() {
    let server = TestServer::start().await;
    server.file(data()).await;
    for (json, ids) in FILTERS {
        assert_eq!(selected(&server, &[filter(json)]).await, named(ids), "{json}");
    }
    // Filters are ORed, each pair of neighbours.
    for pair in FILTERS.windows(2) {
        let either: BTreeSet<String> = named(pair[0].1).union(&named(pair[1].1)).cloned().collect();
        assert_eq!(selected(&server, &[filter(pair[0].0), filter(pair[1].0)]).await, either, "{pair:?}");
    }
    // Every field of the contract's filter is in the table.
    for field in pb::descriptor("Filter").fields() {
        assert!(FILTERS.iter().any(|(json, _)| json.contains(&format!("{:?}", field.json_name()))), "{}", field.name());
    }
    server.stop().await;
}
