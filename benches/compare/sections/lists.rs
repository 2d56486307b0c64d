//! Pages of lists: the first and the one after it, by every filter of the contract.

use attache::pb::v1::{
    AgreementStatus, Domain, Filter, Instrument, ListVisitsRequest, OccurredRange, OrderBy, RecordKind, Status, Topic,
    Visit, VisitType, report::Content,
};
use prost::Message;

use crate::{
    Outcome,
    bench::Bench,
    results::Goal,
    rows::Rows,
    servers::attache::Attache,
    stores,
    times::Times,
    visits::{self, Names, UNIFORM},
    wire::{Method, Wire},
};

/// Elements of a page.
const PAGE: i32 = 50;
/// Lists of each row in each round, two pages each.
const LISTS: usize = 40;

const VISITS: &str = "/attache.v1.RegistryService/ListVisits";
const AGREEMENTS: &str = "/attache.v1.RegistryService/ListAgreements";
const EXERCISES: &str = "/attache.v1.RegistryService/ListExercises";

/// A filter with the values that a visit of the store has.
type Of = fn(&Visit) -> Filter;

/// What is listed.
struct Case {
    key: &'static str,
    what: &'static str,
    path: &'static str,
    order: OrderBy,
    filter: Option<Of>,
}

/// What is read of a page, the same of every kind.
#[derive(Clone, PartialEq, Message)]
struct Page {
    #[prost(string, tag = "2")]
    next_page_token: String,
}

/// Measures them.
pub async fn run(bench: &Bench) -> Outcome<Rows> {
    let mut rows = Rows::new(format!(
        "{}; the p99 of pages of {PAGE}, the first and the one after it, {LISTS} lists a row and round, one call at a \
         time; values are those of visits drawn from the store.",
        bench.large()
    ));
    let cases: Vec<Case> = by_filter().into_iter().chain(by_order()).chain(of_others()).collect();
    for case in &cases {
        rows.row(case.key, case.what, "ms");
    }
    let server = Attache::on(&stores::kept(bench.records).await?).await?;
    let wire = server.wires().await?.remove(0);
    let names = Names::new(bench.records, UNIFORM);
    for round in bench.rounds() {
        for case in &cases {
            let drawn = names.draw(round, LISTS);
            let times = case.measure(&wire, &drawn).await;
            rows.take_p99(case.key, &times.map_err(|error| format!("{}: {error}", case.what))?);
        }
    }
    rows.tell_worst(Goal::at_most(10.0, None));
    Ok(rows)
}

impl Case {
    async fn measure(&self, wire: &Wire, drawn: &[u64]) -> Outcome<Times> {
        let (mut method, mut times) = (wire.method(self.path)?, Times::default());
        for number in drawn {
            let report = visits::report(*number);
            let Some(Content::Visit(mut visit)) = report.content else { continue };
            visit.name = report.record;
            // The requests of all kinds have the same fields.
            let mut request = ListVisitsRequest {
                filters: self.filter.map(|filter| filter(&visit)).into_iter().collect(),
                page_size: PAGE,
                order_by: self.order.into(),
                ..Default::default()
            };
            request.page_token = page(&mut method, &request, &mut times).await?;
            if !request.page_token.is_empty() {
                page(&mut method, &request, &mut times).await?;
            }
        }
        Ok(times)
    }
}

async fn page(method: &mut Method, request: &ListVisitsRequest, times: &mut Times) -> Outcome<String> {
    let request = request.encode_to_vec();
    let sent = std::time::Instant::now();
    let answer = method.call(&request).await?;
    times.add(sent.elapsed());
    Ok(Page::decode(answer)?.next_page_token)
}

/// Every filter of the contract, and some together.
const FILTERS: [(&str, &str, Of); 24] = [
    ("names", "by name", |v| Filter { names: vec![v.name.clone()], ..none() }),
    ("states-any", "visits of a state", |v| Filter { states_any: guests(v), ..none() }),
    ("states-any-two", "visits of one of two states", |v| Filter { states_any: both(v), ..none() }),
    ("states-all", "visits of two states", |v| Filter { states_all: both(v), ..none() }),
    ("states-only", "visits of these states alone", |v| Filter { states_only: both(v), ..none() }),
    ("observers", "by observer, of whom there is none", |v| Filter { observer_states: guests(v), ..none() }),
    ("hosts", "by host", |v| Filter { hosts: hosts(v), ..none() }),
    ("guests", "by guest", |v| Filter { guests: guests(v), ..none() }),
    ("host-guest", "by host and guest", |v| Filter { hosts: hosts(v), guests: guests(v), ..none() }),
    ("common-pair", "by the two states with most visits", |_| Filter {
        hosts: vec!["US".to_owned()],
        guests: vec!["GB".to_owned()],
        ..none()
    }),
    ("topics", "by topic", |v| Filter { topics: topics(v), ..none() }),
    ("types", "by type", |v| Filter { visit_types: vec![kind(v)], ..none() }),
    ("levels", "by level", |v| Filter { visit_levels: vec![v.level], ..none() }),
    ("statuses", "by status", |_| Filter { statuses: vec![Status::Concluded.into()], ..none() }),
    ("status-none", "by a status that none has", |_| Filter { statuses: vec![Status::Announced.into()], ..none() }),
    ("persons", "by person", |v| Filter { persons: persons(v), ..none() }),
    ("organizations", "by organization, of which there is none", |_| Filter {
        organizations: vec!["organizations/nobody".to_owned()],
        ..none()
    }),
    ("places", "by place, to which nothing refers", |_| Filter { places: vec!["places/nowhere".to_owned()], ..none() }),
    ("occurred", "by year", |v| Filter { occurred: Some(year(v, false)), ..none() }),
    ("occurred-definite", "by year, for certain", |v| Filter { occurred: Some(year(v, true)), ..none() }),
    ("disputed", "disputed", |_| Filter { disputed: Some(true), ..none() }),
    ("undisputed", "not disputed", |_| Filter { disputed: Some(false), ..none() }),
    ("kinds", "by kind", |_| Filter { kinds: vec![RecordKind::Visit.into()], ..none() }),
    ("everything", "by host, guest, topic, type, level and year", |v| Filter {
        hosts: hosts(v),
        guests: guests(v),
        topics: topics(v),
        visit_types: vec![kind(v)],
        visit_levels: vec![v.level],
        occurred: Some(year(v, false)),
        ..none()
    }),
];

fn by_filter() -> Vec<Case> {
    FILTERS
        .map(|(key, what, filter)| Case { key, what, path: VISITS, order: OrderBy::OccurredDesc, filter: Some(filter) })
        .into()
}

/// Every order, of all visits and of a state's.
fn by_order() -> Vec<Case> {
    let all = [
        ("newest", "state-newest", "all, newest first", "by state, newest first", OrderBy::OccurredDesc),
        ("oldest", "state-oldest", "all, oldest first", "by state, oldest first", OrderBy::OccurredAsc),
        ("name", "state-name", "all, by name", "by state, by name", OrderBy::Name),
        (
            "changed",
            "state-changed",
            "all, last changed first",
            "by state, last changed first",
            OrderBy::UpdateTimeDesc,
        ),
    ];
    let cases = |(all, state, what, what_of_state, order)| {
        let of_state: Of = |v| Filter { states_any: guests(v), ..none() };
        [
            Case { key: all, what, path: VISITS, order, filter: None },
            Case { key: state, what: what_of_state, path: VISITS, order, filter: Some(of_state) },
        ]
    };
    all.into_iter().flat_map(cases).collect()
}

/// Filters that concern other kinds only.
const OTHERS: [(&str, &str, &str, Of); 4] = [
    ("instruments", "agreements by form", AGREEMENTS, |_| Filter {
        instruments: vec![Instrument::Treaty.into()],
        ..none()
    }),
    ("agreement-statuses", "agreements by status", AGREEMENTS, |_| Filter {
        agreement_statuses: vec![AgreementStatus::InForce.into()],
        ..none()
    }),
    ("agreement-both", "agreements of a state by form and status", AGREEMENTS, |v| Filter {
        states_any: guests(v),
        instruments: vec![Instrument::Protocol.into()],
        agreement_statuses: vec![AgreementStatus::InForce.into()],
        ..none()
    }),
    ("domains", "exercises by domain", EXERCISES, |_| Filter {
        exercise_domains: vec![Domain::Maritime.into()],
        ..none()
    }),
];

fn of_others() -> Vec<Case> {
    OTHERS
        .map(|(key, what, path, filter)| Case { key, what, path, order: OrderBy::OccurredDesc, filter: Some(filter) })
        .into()
}

fn none() -> Filter {
    Filter::default()
}

fn hosts(visit: &Visit) -> Vec<String> {
    visit.hosts.iter().map(|side| side.state.clone()).collect()
}

fn guests(visit: &Visit) -> Vec<String> {
    visit.guests.iter().map(|side| side.state.clone()).collect()
}

fn both(visit: &Visit) -> Vec<String> {
    [hosts(visit), guests(visit)].concat()
}

fn topics(visit: &Visit) -> Vec<i32> {
    visit.topics.first().copied().or(Some(Topic::MilitaryCooperation.into())).into_iter().collect()
}

fn kind(visit: &Visit) -> i32 {
    if visit.r#type == 0 { VisitType::Working.into() } else { visit.r#type }
}

fn persons(visit: &Visit) -> Vec<String> {
    visit.guests.iter().filter_map(|side| side.head.as_ref()?.person.clone()).collect()
}

/// The year of a visit, which all of them state.
fn year(visit: &Visit, definite_only: bool) -> OccurredRange {
    let year: String = visit.start.iter().flat_map(|date| date.edtf.chars().take(4)).collect();
    OccurredRange { from: year.clone(), until: year, definite_only }
}
