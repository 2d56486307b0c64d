//! Relations as CSV. Columns only ever grow at the end.

use super::Part;
use crate::{
    cli::{error::CliError, words},
    pb::v1::{AgreementSummary, Contact, InferableDate, Relationship, RelationshipSummary, Tally, TimelineMonth},
};

const COUNTS: &[&str] = &[
    "what",
    "guest",
    "host",
    "count",
    "maybe",
    "undated",
    "called_off",
    "ahead",
    "observed",
    "watched_by",
    "last_date",
    "last",
    "next_date",
    "next",
];
const AGREEMENTS: &[&str] = &[
    "name",
    "label",
    "instrument",
    "status",
    "certainty",
    "reason",
    "concluded",
    "start",
    "start_basis",
    "end",
    "end_basis",
    "series",
    "legal_character",
];
const TIMELINE: &[&str] = &["month", "visits", "meetings", "agreements", "exercises", "expiries", "observed"];
const RANKING: &[&str] = &[
    "state",
    "count",
    "visits",
    "visits_observed",
    "meetings",
    "meetings_observed",
    "agreements",
    "agreements_observed",
    "exercises",
    "exercises_observed",
    "undated",
    "last_date",
    "last",
    "next_date",
    "next",
];

type Row = Vec<String>;

/// The lines of a part of a relation, headings first.
///
/// # Errors
///
/// If a line cannot be written, which no text causes.
pub fn relation(relation: &Relationship, part: Part) -> Result<Vec<String>, CliError> {
    match part {
        Part::Counts => lines(COUNTS, counts(relation)),
        Part::Agreements => {
            let agreements = relation.agreement_groups.iter().flat_map(|group| &group.agreements);
            lines(AGREEMENTS, agreements.map(agreement))
        }
        Part::Timeline => {
            let months = relation.timeline.iter().flat_map(|t| &t.months);
            lines(TIMELINE, months.map(month))
        }
    }
}

/// The lines of a ranking, headings first.
///
/// # Errors
///
/// As of [`relation`].
pub fn ranking(listed: &[RelationshipSummary]) -> Result<Vec<String>, CliError> {
    let row = |relation: &RelationshipSummary| {
        let kinds = [&relation.visits, &relation.meetings, &relation.agreements, &relation.exercises];
        let undated: u32 = kinds.iter().filter_map(|t| t.as_ref()).map(|t| t.undated).sum();
        let mut row = vec![relation.state.clone(), relation.count.to_string()];
        for tally in kinds.into_iter().map(|t| t.clone().unwrap_or_default()) {
            row.extend([tally.count.to_string(), words::human("Observed", tally.observed)]);
        }
        row.push(undated.to_string());
        row.extend(contact(relation.last.as_ref()));
        row.extend(contact(relation.next.as_ref()));
        row
    };
    lines(RANKING, listed.iter().map(row))
}

fn counts(relation: &Relationship) -> impl Iterator<Item = Row> {
    let own = [
        ("visits", &relation.visits),
        ("meetings", &relation.meetings),
        ("agreements", &relation.agreements),
        ("exercises", &relation.exercises),
        ("observations", &relation.observations),
    ];
    let own = own.into_iter().map(|(what, tally)| count([what, "", ""], tally.as_ref()));
    let ways = relation.directions.iter().map(|way| count(["visits", &way.guest, &way.host], way.visits.as_ref()));
    own.chain(ways)
}

fn count(what: [&str; 3], tally: Option<&Tally>) -> Row {
    let tally = tally.cloned().unwrap_or_default();
    let mut row: Row = what.map(str::to_owned).into();
    let numbers = [tally.count, tally.maybe, tally.undated, tally.called_off, tally.ahead];
    row.extend(numbers.map(|n| n.to_string()));
    row.extend([words::human("Observed", tally.observed), tally.watched_by.join("; ")]);
    row.extend(contact(tally.last.as_ref()));
    row.extend(contact(tally.next.as_ref()));
    row
}

fn contact(contact: Option<&Contact>) -> [String; 2] {
    let date = contact.and_then(|c| c.occurred.as_ref()).map(|d| d.edtf.clone());
    [date.unwrap_or_default(), contact.map(|c| c.name.clone()).unwrap_or_default()]
}

fn agreement(agreement: &AgreementSummary) -> Row {
    let status = agreement.status.clone().unwrap_or_default();
    let date = |date: Option<&InferableDate>| {
        let edtf = date.and_then(|d| d.date.as_ref()).map(|d| d.edtf.clone()).unwrap_or_default();
        [edtf, date.map(|d| words::human("Basis", d.basis)).unwrap_or_default()]
    };
    let mut row = vec![
        agreement.name.clone(),
        agreement.label.clone(),
        words::human("Instrument", agreement.instrument),
        words::human("AgreementStatus", status.agreement_status),
        words::human("Certainty", status.certainty),
        status.reason,
        agreement.concluded.as_ref().map(|d| d.edtf.clone()).unwrap_or_default(),
    ];
    row.extend(date(agreement.start.as_ref()));
    row.extend(date(agreement.end.as_ref()));
    row.push(agreement.series.clone().unwrap_or_default());
    row.push(words::human("LegalCharacter", agreement.legal_character));
    row
}

fn month(month: &TimelineMonth) -> Row {
    let numbers = [month.visits, month.meetings, month.agreements, month.exercises, month.expiries];
    let mut row = vec![month.month.clone()];
    row.extend(numbers.map(|n| n.to_string()));
    row.push(words::human("Observed", month.observed));
    row
}

fn lines(headings: &[&str], rows: impl Iterator<Item = Row>) -> Result<Vec<String>, CliError> {
    let headings: Row = headings.iter().map(|h| (*h).to_owned()).collect();
    std::iter::once(headings).chain(rows).map(|row| line(&row)).collect()
}

fn line(cells: &[String]) -> Result<String, CliError> {
    let broken = || CliError::Broken("it cannot be written as CSV");
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
    writer.write_record(cells).map_err(|_| broken())?;
    let bytes = writer.into_inner().map_err(|_| broken())?;
    let text = String::from_utf8(bytes).map_err(|_| broken())?;
    Ok(text.trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::v1::Observed;

    #[test]
    fn every_row_is_as_long_as_its_headings() {
        let tally = Tally { count: 2, observed: Observed::Partly.into(), ..Default::default() };
        let relation = Relationship { visits: Some(tally.clone()), ..Default::default() };
        assert!(counts(&relation).all(|row| row.len() == COUNTS.len()));
        assert_eq!(agreement(&AgreementSummary::default()).len(), AGREEMENTS.len());
        assert_eq!(month(&TimelineMonth::default()).len(), TIMELINE.len());
        let summary = RelationshipSummary { state: "KZ".into(), visits: Some(tally), ..Default::default() };
        let lines = ranking(&[summary]).unwrap();
        assert_eq!(lines[0].matches(',').count(), lines[1].matches(',').count());
        assert!(lines[1].starts_with("KZ,0,2,partly,"), "{}", lines[1]);
    }

    #[test]
    fn a_cell_with_a_comma_or_a_quote_is_quoted() {
        assert_eq!(line(&["a,b".into(), "say \"x\"".into()]).unwrap(), r#""a,b","say ""x""""#);
    }
}
