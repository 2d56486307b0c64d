//! The sample registry: one visit of 2023 and what surrounds it, as a desk would file it.
//!
//! Each file is one `FileReportsRequest` in canonical proto JSON: a source, and what it states about each record, in the
//! desk's words. Together they hold what makes such records hard: two sides that tell one visit differently, wire copies
//! and translations, one person under several spellings, a plan for every year, a source without a date.
//!
//! They stand in the order they are filed, that of publication, which is also when they are recorded: a bare day counts to
//! its end, equal times go by the source's name. A source without a date is recorded on the day that the desk read it. The
//! desk's own directory of persons, organizations and places is dated before all others, so what they refer to is there
//! first. Filed in another order they make the same records, but another history.

use std::{collections::BTreeMap, fmt};

use prost::Message as _;

use crate::{
    day,
    domain::{
        date::{self, Day},
        error::{Error, Result},
        name::collection,
        report::{Report, path_in_request},
    },
    pb::{self, v1},
    writer::{Act, Request, Writer},
};

/// What was loaded.
#[derive(Debug, Clone)]
pub enum Loaded {
    /// The store held records already.
    NotEmpty,
    /// So many reports and events, and records of each collection.
    Filed {
        /// Reports.
        reports: usize,
        /// Sources.
        sources: usize,
        /// Events.
        events: usize,
        /// Records by collection.
        records: BTreeMap<&'static str, usize>,
    },
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEmpty => f.write_str("the store is not empty: the sample was not loaded"),
            Self::Filed { reports, sources, events, records } => {
                let records: Vec<String> = records.iter().map(|(c, n)| format!("{n} {c}")).collect();
                write!(
                    f,
                    "loaded the sample: {reports} reports from {sources} sources, {events} events; {}",
                    records.join(", ")
                )
            }
        }
    }
}

/// When the sources that have no date were read.
const READ_ON: &[(&str, &str)] =
    &[("sources/tamasha-170926", "2023-10-08"), ("sources/azvision-de-105822", "2025-10-31")];

/// When a file is recorded, in microseconds since 1970: when its source was published, or read if that is not known.
///
/// # Errors
///
/// If its source has no date, and nobody says when it was read.
pub fn recorded_at_us(request: &v1::FileReportsRequest) -> Result<i64> {
    let source = request.source.clone().unwrap_or_default();
    let read_on = || READ_ON.iter().find(|(name, _)| *name == source.name).map(|(_, day)| (*day).to_owned());
    let when = source.published.clone().or_else(read_on).unwrap_or_default();
    let at = date::published(&when).map_err(|e| Error::internal(format!("the sample, {}: {e}", source.name)))?;
    Ok(at.as_microsecond())
}

/// Files the sample into an empty registry, as a history that is replayed, and then lets the registry's day be `today`.
///
/// # Errors
///
/// If a filing is refused.
pub async fn load(writer: &Writer, today: Day) -> Result<Loaded> {
    let (mut reports, mut events) = (0, 0);
    let mut names = std::collections::BTreeSet::new();
    for (name, text) in REPORTS {
        let request: v1::FileReportsRequest = pb::from_json("FileReportsRequest", text)
            .map_err(|e| Error::internal(format!("the sample {name} cannot be read: {e}")))?;
        let act = Act::File { reports: parse(&request)?, preconditions: Vec::new(), intent: request.intent() };
        let filing = Request {
            act,
            principal: "sample".to_owned(),
            may_rule: true,
            request_id: format!("sample-{name}"),
            digest: Some(*blake3::hash(&request.encode_to_vec()).as_bytes()),
            validate_only: false,
            recorded_at_us: Some(recorded_at_us(&request)?),
        };
        let answer = writer.file(filing, None).await?;
        reports += answer.results.len();
        events += answer.events.len();
        names.extend(answer.results.into_iter().map(|r| r.record));
    }
    day::advance(writer, today).await?;
    let mut records = BTreeMap::new();
    for name in &names {
        if let Ok(name) = name.parse::<crate::domain::name::RecordName>() {
            *records.entry(collection(name.kind())).or_insert(0) += 1;
        }
    }
    Ok(Loaded::Filed { reports, sources: REPORTS.len(), events, records })
}

/// The reports of one file, checked.
///
/// # Errors
///
/// If a report is not what the contract allows.
pub fn parse(request: &v1::FileReportsRequest) -> Result<Vec<Report>> {
    let each = request.reports.iter().enumerate();
    each.map(|(i, r)| Report::parse(r, request.source.as_ref(), &path_in_request(i))).collect()
}

/// Name and content of each file, in filing order.
pub const REPORTS: &[(&str, &str)] = &[
    ("01-desk-directory", include_str!("reports/01-desk-directory.json")),
    ("02-report-az-2016-ge", include_str!("reports/02-report-az-2016-ge.json")),
    ("03-azernews-127604", include_str!("reports/03-azernews-127604.json")),
    ("04-trend-3659231", include_str!("reports/04-trend-3659231.json")),
    ("05-azernews-215557", include_str!("reports/05-azernews-215557.json")),
    ("06-inform-1321b6", include_str!("reports/06-inform-1321b6.json")),
    ("07-menafn-1107173756", include_str!("reports/07-menafn-1107173756.json")),
    ("08-azernews-215764", include_str!("reports/08-azernews-215764.json")),
    ("09-azernews-215782", include_str!("reports/09-azernews-215782.json")),
    ("10-menafn-1107205027", include_str!("reports/10-menafn-1107205027.json")),
    ("11-menafn-1107207730", include_str!("reports/11-menafn-1107207730.json")),
    ("12-tamasha-170926", include_str!("reports/12-tamasha-170926.json")),
    ("13-trend-3815780", include_str!("reports/13-trend-3815780.json")),
    ("14-azernews-227111", include_str!("reports/14-azernews-227111.json")),
    ("15-azertag-fr-3196478", include_str!("reports/15-azertag-fr-3196478.json")),
    ("16-menafn-1108710837", include_str!("reports/16-menafn-1108710837.json")),
    ("17-news-az-2025-plan", include_str!("reports/17-news-az-2025-plan.json")),
    ("18-trend-4019680", include_str!("reports/18-trend-4019680.json")),
    ("19-azernews-243245", include_str!("reports/19-azernews-243245.json")),
    ("20-1news-20251031", include_str!("reports/20-1news-20251031.json")),
    ("21-azertag-fr-3836107", include_str!("reports/21-azertag-fr-3836107.json")),
    ("22-azvision-de-105822", include_str!("reports/22-azvision-de-105822.json")),
    ("23-day-az-1792258", include_str!("reports/23-day-az-1792258.json")),
];
