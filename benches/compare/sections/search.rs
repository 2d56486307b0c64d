//! Search by words that the records have, or nearly have.

use attache::{
    cli::bench::draw::Draw,
    pb::v1::{SearchRecordsRequest, Visit, report::Content},
};
use prost::Message as _;

use crate::{
    Outcome,
    bench::Bench,
    results::Goal,
    rows::Rows,
    servers::attache::Attache,
    stores,
    times::Times,
    visits::{self, Names, UNIFORM},
    wire::Method,
};

const SEARCH: &str = "/attache.v1.RegistryService/SearchRecords";
/// Searches of each row in each round.
const SEARCHES: usize = 50;
/// Results of a page.
const PAGE: i32 = 20;
/// Letters of a word that says something.
const LETTERS: usize = 6;

/// What is searched for, made of a visit of the store.
type Words = fn(&Visit, &mut Draw) -> String;

const CASES: [(&str, &str, Words); 4] = [
    ("common", "a word of many texts", |visit, draw| common(visit, draw)),
    ("name", "the name of an official", |visit, _| name(visit)),
    ("misspelt", "the name with two letters of its last word in the wrong order", |visit, draw| misspelt(visit, draw)),
    ("two", "a town and a word of many texts", |visit, draw| format!("{} {}", town(visit), common(visit, draw))),
];

/// Measures them.
pub async fn run(bench: &Bench) -> Outcome<Rows> {
    let mut rows = Rows::new(format!(
        "{}; the p99 of pages of {PAGE}, {SEARCHES} searches a row and round, one call at a time; words are those of \
         visits drawn from the store.",
        bench.large()
    ));
    for (key, what, _) in CASES {
        rows.row(key, what, "ms");
    }
    let server = Attache::on(&stores::kept(bench.records).await?).await?;
    let mut method = server.wires().await?.remove(0).method(SEARCH)?;
    let names = Names::new(bench.records, UNIFORM);
    for round in bench.rounds() {
        for (at, (key, _, words)) in CASES.iter().enumerate() {
            let mut draw = Draw::of(at as u64, round as u64);
            let drawn = names.draw(round * CASES.len() + at, SEARCHES);
            let queries = drawn.into_iter().filter_map(|visit| query(visit, &mut draw, *words));
            rows.take_p99(key, &search(&mut method, queries).await?);
        }
    }
    rows.tell_worst(Goal::at_most(50.0, 20.0));
    Ok(rows)
}

async fn search(method: &mut Method, queries: impl Iterator<Item = String>) -> Outcome<Times> {
    let mut times = Times::default();
    for query in queries {
        let request = SearchRecordsRequest { query, page_size: PAGE, ..Default::default() };
        let request = request.encode_to_vec();
        let sent = std::time::Instant::now();
        method.call(&request).await?;
        times.add(sent.elapsed());
    }
    Ok(times)
}

fn query(visit: u64, draw: &mut Draw, words: Words) -> Option<String> {
    match visits::report(visit).content? {
        Content::Visit(visit) => Some(words(&visit, draw)),
        _ => None,
    }
}

fn common(visit: &Visit, draw: &mut Draw) -> String {
    let is_common = |word: &&str| word.len() >= LETTERS && word.chars().all(|c| c.is_ascii_lowercase());
    let words: Vec<&str> = visit.summary().split_whitespace().filter(is_common).collect();
    // Every summary has one; a search for nothing would be refused.
    words.get(draw.index(words.len())).map_or("exercises", |word| word).to_owned()
}

fn name(visit: &Visit) -> String {
    let heads = visit.guests.iter().filter_map(|side| side.head.as_ref());
    heads.map(|head| head.name_as_stated().to_owned()).next().unwrap_or_default()
}

fn misspelt(visit: &Visit, draw: &mut Draw) -> String {
    let mut letters: Vec<char> = name(visit).chars().collect();
    let last = letters.len().saturating_sub(1);
    let at = draw.index(3).min(last.saturating_sub(1));
    if last > 0 {
        letters.swap(last - at, last - at - 1);
    }
    letters.into_iter().collect()
}

fn town(visit: &Visit) -> String {
    visit.places.iter().map(|place| place.as_stated().to_owned()).next().unwrap_or_default()
}
