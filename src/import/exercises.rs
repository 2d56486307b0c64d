//! `mme`: multinational military exercises (MME), CSV; one source. The set is called Latin-1; files that are UTF-8 are
//! read as such.
//!
//! A day `xx` leaves the month; `-9` is "missing" and states nothing.

use super::{
    Error, File, Import, Kind, Row, States, data_set, edtf, english, external_id,
    fields::{self, Fields},
    note, place_as_stated,
    text::decode_latin,
    title,
};
use crate::{
    domain::fold::slug,
    pb::v1::{self, Domain, ExerciseForm, ExerciseRole, RecordKind, report::Content},
};

/// Columns of 0 and 1 that are domains.
const DOMAINS: &[(&str, Domain)] = &[
    ("Air", Domain::Air),
    ("Land", Domain::Land),
    ("Sea", Domain::Maritime),
    ("Cyber", Domain::Cyber),
    ("Amphibious", Domain::Other),
];

/// Columns of 0 and 1 that say what is trained.
const FOCUS: &[&str] = &["Warfighting", "Peacekeeping", "Humanitarian"];

/// The data set as a source.
#[must_use]
pub fn source() -> v1::Source {
    let coverage = v1::Coverage {
        kinds: vec![RecordKind::Exercise as i32],
        states: Vec::new(),
        from: edtf("1980"),
        until: edtf("2010"),
        complete: false,
    };
    data_set("mme-v7", "Vito D'Orazio and Kevin Galambos", None, coverage)
}

/// Reads CSV.
///
/// # Errors
///
/// The first file that is not, or is cut off.
pub fn read(files: &[File], states: &States) -> Result<Import, Error> {
    let mut rows = Vec::new();
    for file in files {
        let text = decode_latin(&file.bytes);
        let required = ["MMEID", "Ex-Name", "s.year", "s.month", "s.day", "StateA"];
        let table = fields::csv(Kind::Mme, file, &text, &required)?;
        rows.extend(table.into_iter().map(|row| one(&file.name, row, states)));
    }
    Ok(Import { source: Some(source()), rows, left_out: &[], passed: Vec::new() })
}

fn one(file: &str, mut row: Fields, states: &States) -> Row {
    let place = row.place(file, row.peek("MMEID"));
    let made = match row.fault.take() {
        Some(fault) => Err(fault),
        None => report(&mut row, states),
    };
    Row::new(place, made, row.flags())
}

fn report(row: &mut Fields, states: &States) -> Result<v1::Report, String> {
    let id = row.require("MMEID")?;
    let mut lines = Vec::new();
    let (start, end) = (date(row, "s", "StartDate", &mut lines)?, date(row, "e", "EndDate", &mut lines)?);
    if let (Some(start), Some(end)) = (&start, &end)
        && end.len() == start.len()
        && end < start
    {
        row.flag("it ends before it starts: kept as stated");
        lines.push(format!("The end is dated {end}, before the start of {start}."));
    }
    let participants = participants(row, states, &mut lines)?;
    let series = row.take("Series-Name");
    lines.extend(series.as_ref().map(|words| format!("Series: {words}")));
    let (domains, domains_as_stated) = domains(row)?;
    let forms = if flag(row, "CPX")? { vec![ExerciseForm::Cpx as i32] } else { Vec::new() };
    let mut focus: Vec<v1::Text> = row.take("FocusDescription").map(english).into_iter().collect();
    for name in FOCUS {
        focus.extend(flag(row, name)?.then(|| english(*name)));
    }
    let areas = row.take("Location").map(place_as_stated).into_iter().collect();
    match (row.take("lat"), row.take("lon")) {
        (None, None) => {}
        (lat, lon) => {
            let show = |number: Option<String>| number.unwrap_or_else(|| "missing".to_owned());
            lines.push(format!("Latitude {}, longitude {}.", show(lat), show(lon)));
        }
    }
    lines.extend(row.take("AdditionalParticipantInfo").map(|words| format!("Participants, further: {words}")));
    let titles = row.take("Ex-Name").map(title).into_iter().collect();
    lines.extend(row.rest(&[]));
    let exercise = v1::Exercise {
        titles,
        external_ids: vec![external_id("mme", &id)],
        note: note(lines),
        series: series.and_then(|words| slug(&words)),
        forms,
        domains,
        domains_as_stated,
        focus,
        participants,
        start: start.and_then(edtf),
        end: end.and_then(edtf),
        areas,
        ..v1::Exercise::default()
    };
    let record = format!("exercises/{}", id.to_lowercase());
    Ok(v1::Report { record, content: Some(Content::Exercise(exercise)), ..v1::Report::default() })
}

/// A date from its three columns; the fourth, which says the same in one, is compared.
fn date(row: &mut Fields, start: &str, whole: &str, lines: &mut Vec<String>) -> Result<Option<String>, String> {
    let mut part = |name: &str| row.take(&format!("{start}.{name}"));
    let (year, month, day) = (part("year"), part("month"), part("day"));
    let number = |text: &str| text.parse::<u16>().map_err(|_| format!("{whole}: {text:?} is no number and not xx"));
    let known = |text: Option<String>| text.filter(|t| !t.eq_ignore_ascii_case("xx"));
    let stated = row.take(whole);
    let Some(year) = known(year) else {
        lines.extend(stated.map(|words| format!("{whole}: {words}")));
        return Ok(None);
    };
    let mut date = format!("{:04}", number(&year)?);
    let (month, day) = (known(month), known(day));
    if let Some(month) = &month {
        date = format!("{date}-{:02}", number(month)?);
        if let Some(day) = &day {
            date = format!("{date}-{:02}", number(day)?);
        }
    }
    if let Some(words) = stated
        && !agrees(&words, &date)
    {
        row.flag(format!("{whole} differs from the columns of year, month and day, which are taken"));
        lines.push(format!("{whole}: {words}"));
    }
    Ok(Some(date))
}

/// Whether `1/14/80` or `1980-01-xx` says the same as `1980-01-14` or `1980-01`.
fn agrees(words: &str, date: &str) -> bool {
    if let Some(month) = words.strip_suffix("-xx") {
        return month.strip_suffix("-xx").unwrap_or(month) == date;
    }
    let parts: Vec<Option<u16>> = words.split('/').map(|part| part.parse().ok()).collect();
    match parts.as_slice() {
        [Some(month), Some(day), Some(year)] => {
            date.get(2..).is_some_and(|date| date == format!("{:02}-{month:02}-{day:02}", year % 100))
        }
        _ => words == date,
    }
}

fn participants(
    row: &mut Fields,
    states: &States,
    lines: &mut Vec<String>,
) -> Result<Vec<v1::ExerciseParticipant>, String> {
    let (mut codes, mut missing): (Vec<String>, usize) = (Vec::new(), 0);
    for name in row.names("State") {
        missing += usize::from(row.peek(&name) == "-9");
        let Some(words) = row.take(&name) else { continue };
        let state = states.of("mme", &words)?;
        lines.extend(state.words_to_keep.map(|words| format!("Listed as: {words}")));
        if codes.contains(&state.code) {
            row.flag("a state is listed twice: taken once");
            lines.push(format!("Listed twice: {words}."));
        } else {
            codes.push(state.code);
        }
    }
    if missing > 0 {
        row.flag("the set marks participants that it does not name (-9): said in the note");
        lines.push(format!("Participants marked as missing: {missing}."));
    }
    let one = |state: String| v1::ExerciseParticipant {
        state,
        role: ExerciseRole::Participant as i32,
        ..v1::ExerciseParticipant::default()
    };
    Ok(codes.into_iter().map(one).collect())
}

fn domains(row: &mut Fields) -> Result<(Vec<i32>, Vec<v1::Text>), String> {
    let (mut domains, mut words) = (Vec::new(), Vec::new());
    for (name, domain) in DOMAINS {
        if flag(row, name)? {
            domains.push(*domain as i32);
            // The set's word where the vocabulary has none.
            words.extend((*domain == Domain::Other).then(|| english(*name)));
        }
    }
    Ok((domains, words))
}

/// A column of 0 and 1; 0 and missing state nothing, which is not "no".
fn flag(row: &mut Fields, name: &str) -> Result<bool, String> {
    match row.take(name).as_deref() {
        Some("1") => Ok(true),
        Some("0") | None => Ok(false),
        Some(other) => Err(format!("{name} is {other:?}, neither 0 nor 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        import::{Outcome, read as read_kind},
        pb::v1::import_item::Item,
    };

    const HEAD: &str = "MMEID,Ex_Name,Series_Name,Location,lat,lon,StartDate,s.year,s.month,s.day,EndDate,e.year,e.month,e.day,CPX,Air,Land,Sea,Amphibious,Cyber,Warfighting,Peacekeeping,Humanitarian,FocusDescription,AdditionalParticipantInfo,StateA,StateB,StateC";
    const LINE: &str = "mme7,Sea Thing,Big Series,Somewhere,1.5,-2.5,1/4/80,1980,1,4,1980-02-xx,1980,2,xx,1,1,0,0,1,0,1,0,0,a trial,NATO,-9,South Korea,Federal Republic of Germany";

    fn rows(bytes: &[u8]) -> Vec<Row> {
        let mut file = format!("{HEAD}\r\n").into_bytes();
        file.extend_from_slice(bytes);
        file.extend_from_slice(b"\r\n");
        read_kind(Kind::Mme, &[File { name: "m".into(), bytes: file }], &States::built_in()).unwrap().rows
    }

    fn exercise(row: &Row) -> v1::Exercise {
        let Outcome::Items(items) = &row.outcome else { panic!("{row:?}") };
        match &items[0].item {
            Some(Item::Report(v1::Report { content: Some(Content::Exercise(exercise)), .. })) => exercise.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_row_becomes_an_exercise_and_keeps_what_has_no_field() {
        let row = rows(LINE.as_bytes()).remove(0);
        let exercise = exercise(&row);
        let states: Vec<&str> = exercise.participants.iter().map(|p| p.state.as_str()).collect();
        assert_eq!(states, ["KR", "DE"]);
        assert_eq!(exercise.start.as_ref().unwrap().edtf, "1980-01-04");
        assert_eq!(exercise.forms, [ExerciseForm::Cpx as i32]);
        assert_eq!(exercise.domains, [Domain::Air as i32, Domain::Other as i32]);
        assert_eq!(exercise.domains_as_stated[0].text, "Amphibious");
        let focus: Vec<&str> = exercise.focus.iter().map(|t| t.text.as_str()).collect();
        assert_eq!(focus, ["a trial", "Warfighting"]);
        assert_eq!(exercise.series.as_deref(), Some("big-series"));
        let note = exercise.note.unwrap();
        for kept in ["Big Series", "1.5", "-2.5", "NATO", "missing: 1"] {
            assert!(note.contains(kept), "{kept}: {note}");
        }
    }

    #[test]
    fn a_day_xx_leaves_the_month() {
        assert_eq!(exercise(&rows(LINE.as_bytes())[0]).end.unwrap().edtf, "1980-02");
    }

    #[test]
    fn a_missing_name_or_place_states_nothing() {
        let row = rows(LINE.replace("Sea Thing", "-9").replace("Somewhere", "-9").as_bytes()).remove(0);
        let exercise = exercise(&row);
        assert!(exercise.titles.is_empty() && exercise.areas.is_empty());
        assert!(!exercise.note.unwrap().contains("-9"));
    }

    #[test]
    fn one_id_three_times_is_refused_three_times() {
        let text = format!("{LINE}\r\n{}\r\n{}", LINE.replace("Sea Thing", "B"), LINE.replace("Sea Thing", "C"));
        let rows = rows(text.as_bytes());
        assert_eq!(rows.iter().filter(|r| matches!(r.outcome, Outcome::Refused(_))).count(), 3);
    }

    #[test]
    fn latin_1_utf_8_and_utf_8_read_as_latin_1_come_to_the_same_name() {
        let with = |name: &[u8]| {
            let at = LINE.find("Sea Thing").unwrap();
            let mut line = LINE.as_bytes()[..at].to_vec();
            line.extend_from_slice(name);
            line.extend_from_slice(&LINE.as_bytes()[at + 9..]);
            exercise(&rows(&line)[0]).titles[0].text.clone()
        };
        assert_eq!(with(b"\xc9toile"), "Étoile");
        assert_eq!(with("Étoile".as_bytes()), "Étoile");
        assert_eq!(with("\u{c3}\u{2030}toile".as_bytes()), "Étoile");
    }

    #[test]
    fn an_end_before_the_start_and_dates_that_differ_are_kept_and_flagged() {
        let row = rows(LINE.replace("1980-02-xx,1980,2,xx", "1/2/80,1980,1,2").as_bytes()).remove(0);
        assert!(row.flags.iter().any(|f| f.contains("before it starts")), "{row:?}");
        let row = rows(LINE.replace("1/4/80", "1/5/80").as_bytes()).remove(0);
        assert!(row.flags.iter().any(|f| f.contains("StartDate differs")), "{row:?}");
        assert!(exercise(&row).note.unwrap().contains("1/5/80"));
    }

    #[test]
    fn what_cannot_be_read_refuses_the_row() {
        for (from, to) in [("1980,1,4", "1980,1,today"), (",1,1,0,0,1", ",2,1,0,0,1"), ("South Korea", "Ruritania")] {
            let row = rows(LINE.replace(from, to).as_bytes()).remove(0);
            assert!(matches!(row.outcome, Outcome::Refused(_)), "{to}: {row:?}");
        }
    }
}
