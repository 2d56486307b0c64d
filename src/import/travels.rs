//! `historyatstate-travels`: journeys of US presidents, as the Office of the Historian lists them; one source, as the
//! list of visits is.

use super::{
    Error, File, Import, Kind, Row, States, data_set, edtf, english, external_id,
    fields::{self, Fields, Xml},
    note, place_as_stated, visit_type,
    visits::SCOPE,
};
use crate::pb::v1::{self, RecordKind, VisitLevel, report::Content};

/// Columns that are about the list's own rows, or say again what another says.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("@who", "the list's own key of the person whose name is taken"),
    ("@role", "the same as the element role"),
    ("country-id", "the list's own key of the state that `country` names"),
    ("created-datetime", "when the row was typed"),
    ("last-modified-datetime", "when the row was last edited"),
    ("created-by", "who typed the row: a private name"),
    ("last-modified-by", "who last edited the row: a private name"),
];

/// The list's codes of roles: code, label, level.
const ROLES: &[(&str, &str, VisitLevel)] =
    &[("president", "President", VisitLevel::HeadOfState), ("secretary", "Secretary of State", VisitLevel::Minister)];

/// How remarks say that the role's code is not right.
const ELECT: &str = "Visit made as President-elect";

/// The source of this list.
#[must_use]
pub fn source() -> v1::Source {
    let coverage = v1::Coverage {
        kinds: vec![RecordKind::Visit as i32],
        states: vec!["US".to_owned()],
        from: edtf("1906"),
        until: edtf("2024"),
        complete: false,
    };
    let publisher = "Office of the Historian, United States Department of State";
    data_set("historyatstate-travels", publisher, Some("https://github.com/HistoryAtState/travels"), coverage)
}

/// Reads XML.
///
/// # Errors
///
/// The first file that is not, or is cut off.
pub fn read(files: &[File], states: &States) -> Result<Import, Error> {
    let mut import = Import { source: Some(source()), rows: Vec::new(), left_out: LEFT_OUT, passed: Vec::new() };
    for file in files {
        let text = fields::utf8(Kind::Travels, file)?;
        match fields::xml(Kind::Travels, file, &text, "trips")? {
            Xml::Rows(rows) => import.rows.extend(rows.into_iter().map(|row| one(&file.name, row, states))),
            Xml::Other(root) if root == "code-table" => {
                import.passed.push((file.name.clone(), "a table of codes, which are known here; it has no journeys"));
            }
            Xml::Other(root) => {
                return Err(Error::wrong(Kind::Travels, &file.name, format!("its root is <{root}>")));
            }
        }
    }
    Ok(import)
}

fn one(file: &str, mut row: Fields, states: &States) -> Row {
    let place = row.place(file, row.peek("id"));
    let made = report(&mut row, states);
    Row::new(place, made, row.flags())
}

fn report(row: &mut Fields, states: &States) -> Result<v1::Report, String> {
    let (id, name, country) = (row.require("id")?, row.require("name")?, row.require("country")?);
    let (start, end) = (row.require("start-date")?, row.require("end-date")?);
    let (mut label, mut level) = role(row)?;
    let state = states.of(SCOPE, &country)?;
    let (locale, remarks) = (row.take("locale"), row.take("remarks"));
    if remarks.as_deref().is_some_and(|text| text.contains(ELECT)) {
        row.flag("the role is president, the remarks say President-elect: taken as that, without a level");
        (label, level) = ("President-elect", VisitLevel::Unspecified);
    }
    if end < start {
        row.flag(format!("it ends on {end}, before it starts on {start}: kept as stated"));
    }
    let (kind, kind_as_stated) = remarks.as_deref().and_then(visit_type::stated).unzip();
    let mut lines: Vec<String> = remarks.into_iter().collect();
    lines.extend(state.words_to_keep.map(|words| format!("Country: {words}")));
    lines.extend(row.rest(LEFT_OUT));
    let head = v1::PersonRef {
        name_as_stated: Some(name),
        post_as_stated: Some(label.to_owned()),
        ..v1::PersonRef::default()
    };
    let visit = v1::Visit {
        external_ids: vec![external_id("historyatstate-travels", &id)],
        note: note(lines),
        r#type: kind.unwrap_or_default() as i32,
        type_as_stated: kind_as_stated.into_iter().collect(),
        level: level as i32,
        level_as_stated: if level == VisitLevel::Unspecified { Vec::new() } else { vec![english(label)] },
        hosts: vec![v1::Side { state: state.code, ..v1::Side::default() }],
        guests: vec![v1::Side { state: "US".to_owned(), organization: None, head: Some(head) }],
        start: edtf(start),
        end: edtf(end),
        places: locale.map(place_as_stated).into_iter().collect(),
        ..v1::Visit::default()
    };
    let record = format!("visits/us-travel-{id}");
    Ok(v1::Report { record, content: Some(Content::Visit(visit)), ..v1::Report::default() })
}

fn role(row: &mut Fields) -> Result<(&'static str, VisitLevel), String> {
    let attribute = row.peek("@role").to_owned();
    let code = row.require("role")?;
    if !attribute.is_empty() && attribute != code {
        return Err(format!("its role is {code:?} and {attribute:?}"));
    }
    let known = ROLES.iter().find(|(known, ..)| *known == code);
    known.map(|(_, label, level)| (*label, *level)).ok_or_else(|| format!("the role {code:?} is not known"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        import::{Outcome, read as read_kind},
        pb::v1::import_item::Item,
    };

    const TRIP: &str = "<trip role='president' who='x-y'><id>9</id><role>president</role><name>Y. X</name>\
        <start-date>1911-01-02</start-date><end-date>1911-01-03</end-date><country id='siam'>Siam</country>\
        <locale>Aa, Bb</locale><remarks>State visit.</remarks></trip>";

    fn rows(trip: &str) -> Vec<Row> {
        let file = File { name: "f".into(), bytes: format!("<trips>{trip}</trips>").into_bytes() };
        read_kind(Kind::Travels, &[file], &States::built_in()).unwrap().rows
    }

    #[test]
    fn a_journey_is_a_visit_of_the_united_states_to_the_country() {
        let row = rows(TRIP).remove(0);
        let Outcome::Items(items) = row.outcome else { panic!("{row:?}") };
        let Some(Item::Report(v1::Report { content: Some(Content::Visit(visit)), .. })) = &items[0].item else {
            panic!()
        };
        assert_eq!((visit.hosts[0].state.as_str(), visit.guests[0].state.as_str()), ("TH", "US"));
        assert_eq!(visit.level(), VisitLevel::HeadOfState);
        assert_eq!(visit.r#type(), v1::VisitType::State);
        assert_eq!(visit.places[0].as_stated.as_deref(), Some("Aa, Bb"));
    }

    #[test]
    fn a_president_elect_is_no_head_of_state_yet() {
        let row = rows(&TRIP.replace("State visit.", "Rest. [Visit made as President-elect.]")).remove(0);
        assert_eq!(row.flags.len(), 1);
        let Outcome::Items(items) = row.outcome else { panic!("{row:?}") };
        let Some(Item::Report(v1::Report { content: Some(Content::Visit(visit)), .. })) = &items[0].item else {
            panic!()
        };
        assert_eq!(visit.level(), VisitLevel::Unspecified);
        assert_eq!(visit.guests[0].head.as_ref().unwrap().post_as_stated.as_deref(), Some("President-elect"));
    }

    #[test]
    fn a_role_that_is_not_known_or_not_one_refuses_the_row() {
        for (from, to) in [("<role>president", "<role>valet"), ("role='president'", "role='secretary'")] {
            let row = rows(&TRIP.replace(from, to)).remove(0);
            assert!(matches!(&row.outcome, Outcome::Refused(why) if why.contains("role")), "{row:?}");
        }
    }

    #[test]
    fn the_table_of_codes_is_passed_over_and_said() {
        let file = File { name: "codes.xml".into(), bytes: b"<code-table><items/></code-table>".to_vec() };
        let import = read_kind(Kind::Travels, &[file], &States::built_in()).unwrap();
        assert_eq!((import.rows.len(), import.passed.len()), (0, 1));
    }
}
