//! `uk-treaties`: UK Treaties Online, JSON lines. It is an official register and one source.
//!
//! Its list of names has states in capitals and, in mixed case, what a treaty was extended to: territories are no
//! parties and go into the note, but the dominions that signed for themselves are parties. Organizations are no states
//! and go into the note, too. A name that is in no table refuses the row.

use super::{
    Error, File, Import, Kind, Row, States, data_set, edtf, english, external_id,
    fields::{self, Fields},
    note, place_as_stated,
    states::Meaning,
    title,
};
use crate::pb::v1::{self, ActionType, Instrument, RecordKind, SourceKind, report::Content};

/// The spellings of this register.
const SCOPE: &str = "uk-treaties";

/// In mixed case, too, these are states: they signed for themselves.
const DOMINIONS: &[&str] = &["AU", "CA", "IE", "IN", "NZ", "ZA"];

/// Adjectives before the word that says what a title is.
const BEFORE: &[&str] = &[
    "additional",
    "supplementary",
    "supplemental",
    "final",
    "general",
    "international",
    "military",
    "mutual",
    "proposed",
    "technical",
    "detailed",
    "provisional",
    "interim",
    "the",
];

/// What titles begin with, the longer first.
const INSTRUMENTS: &[(&str, Instrument)] = &[
    ("exchange of notes", Instrument::ExchangeOfNotes),
    ("exchanges of notes", Instrument::ExchangeOfNotes),
    ("notes exchanged", Instrument::ExchangeOfNotes),
    ("exchange of letters", Instrument::ExchangeOfLetters),
    ("exchanges of letters", Instrument::ExchangeOfLetters),
    ("memorandum of understanding", Instrument::MemorandumOfUnderstanding),
    ("agreed minute", Instrument::AgreedMinute),
    ("letter of intent", Instrument::LetterOfIntent),
    ("joint declaration", Instrument::JointDeclaration),
    ("declaration", Instrument::Other),
    ("arrangement", Instrument::Arrangement),
    ("agreement", Instrument::Agreement),
    ("convention", Instrument::Convention),
    ("protocol", Instrument::Protocol),
    ("treaty", Instrument::Treaty),
];

/// The register's events: the field's beginning, what act it is, its verb.
const EVENTS: &[(&str, ActionType)] = &[
    ("adopted_event", ActionType::Adopted),
    ("signed_event", ActionType::Signed),
    ("provisional_eif_event", ActionType::ProvisionallyApplied),
    ("definative_eif_event", ActionType::EnteredIntoForce),
    ("withdrawn_event", ActionType::Withdrawn),
    ("terminated_event", ActionType::Terminated),
];

/// The register as a source.
#[must_use]
pub fn source() -> v1::Source {
    let coverage = v1::Coverage {
        kinds: vec![RecordKind::Agreement as i32],
        states: vec!["GB".to_owned()],
        from: edtf("1815"),
        until: edtf("2006"),
        complete: false,
    };
    let publisher = "Foreign, Commonwealth and Development Office";
    let source = data_set("uk-treaties-online", publisher, Some("https://treaties.fcdo.gov.uk"), coverage);
    v1::Source { kind: SourceKind::OfficialRegister as i32, ..source }
}

/// Reads JSON lines.
///
/// # Errors
///
/// The first file that is not, or is cut off.
pub fn read(files: &[File], states: &States) -> Result<Import, Error> {
    let mut rows = Vec::new();
    for file in files {
        let text = fields::utf8(Kind::UkTreaties, file)?;
        let lines = fields::json_lines(Kind::UkTreaties, file, &text, &["id", "title", "country_name"])?;
        rows.extend(lines.into_iter().map(|row| one(&file.name, row, states)));
    }
    Ok(Import { source: Some(source()), rows, left_out: &[], passed: Vec::new() })
}

fn one(file: &str, mut row: Fields, states: &States) -> Row {
    let place = row.place(file, row.peek("id"));
    let made = match row.fault.take() {
        Some(fault) => Err(fault),
        None => report(&mut row, states),
    };
    Row::new(place, made, row.flags())
}

fn report(row: &mut Fields, states: &States) -> Result<v1::Report, String> {
    let (id, words) = (row.require("id")?, row.require("title")?);
    let mut lines = Vec::new();
    let parties = parties(row, states, &mut lines)?;
    let mut actions = actions(row, &mut lines)?;
    if parties.len() > 2 {
        // The register's own state leaves; the others go on.
        let own = || vec![v1::Party { state: "GB".to_owned(), organization: None }];
        actions.iter_mut().filter(|a| a.r#type() == ActionType::Withdrawn).for_each(|a| a.parties = own());
    }
    let (registration, mut external_ids) = references(row, &mut lines);
    external_ids.insert(0, external_id("uk-treaties-online", &id));
    external_ids.extend(row.take("uuid").map(|uuid| external_id("uk-treaties-online-uuid", uuid)));
    match row.take("field3").as_deref() {
        Some("BI") => lines.push("Listed as bilateral.".to_owned()),
        Some("MULTI") => lines.push("Listed as multilateral.".to_owned()),
        Some(other) => lines.push(format!("field3: {other}")),
        None => {}
    }
    let (instrument, instrument_as_stated) = instrument(&words).unzip();
    let topics_as_stated = row.take("subject").map(english).into_iter().collect();
    let text_uri = text_uri(row);
    lines.extend(row.rest(&[]));
    let agreement = v1::Agreement {
        titles: vec![title(words)],
        external_ids,
        note: note(lines),
        instrument: instrument.unwrap_or_default() as i32,
        instrument_as_stated: instrument_as_stated.into_iter().collect(),
        parties,
        actions,
        topics_as_stated,
        registration,
        text_uri,
        ..v1::Agreement::default()
    };
    let record = format!("agreements/uk-treaty-{id}");
    Ok(v1::Report { record, content: Some(Content::Agreement(agreement)), ..v1::Report::default() })
}

fn parties(row: &mut Fields, states: &States, lines: &mut Vec<String>) -> Result<Vec<v1::Party>, String> {
    let names = row.require("country_name")?;
    let (mut codes, mut others, mut kept): (Vec<String>, Vec<&str>, Vec<String>) = Default::default();
    for name in names.split(';').map(str::trim).filter(|name| !name.is_empty()) {
        let in_capitals = !name.chars().any(char::is_lowercase);
        match states.meaning(SCOPE, name)? {
            Meaning::State(state) if in_capitals || DOMINIONS.contains(&state.code.as_str()) => {
                kept.extend(state.words_to_keep);
                if !codes.contains(&state.code) {
                    codes.push(state.code);
                }
            }
            Meaning::State(_) | Meaning::NoState(_) => others.push(name),
        }
    }
    if !others.is_empty() {
        row.flag("names beside the parties that are no states by themselves: kept in the note");
        lines.push(format!("Also listed, not as states: {}.", others.join("; ")));
    }
    if !kept.is_empty() {
        lines.push(format!("Listed as: {}.", kept.join("; ")));
    }
    if codes.is_empty() {
        row.flag("no party is a state");
    }
    Ok(codes.into_iter().map(|state| v1::Party { state, organization: None }).collect())
}

fn actions(row: &mut Fields, lines: &mut Vec<String>) -> Result<Vec<v1::AgreementAction>, String> {
    let mut actions = Vec::new();
    for (name, kind) in EVENTS {
        let date = date(row, &format!("{name}_date"))?;
        let effective_date = date_of(row, &format!("{name}_effective_date"))?;
        let place = row.take(&format!("{name}_location"));
        if date.is_none() && effective_date.is_none() && place.is_none() {
            continue;
        }
        actions.push(v1::AgreementAction {
            r#type: *kind as i32,
            date: date.and_then(edtf),
            effective_date,
            place: place.map(place_as_stated),
            ..v1::AgreementAction::default()
        });
    }
    flag_order(row, &actions, lines);
    Ok(actions)
}

/// Entry into force before the signature is kept: some agreements do have effect from an earlier day.
fn flag_order(row: &mut Fields, actions: &[v1::AgreementAction], lines: &mut Vec<String>) {
    let day = |kind: ActionType| {
        let action = actions.iter().find(|a| a.r#type() == kind)?;
        action.date.as_ref().map(|date| date.edtf.as_str())
    };
    if let (Some(signed), Some(in_force)) = (day(ActionType::Signed), day(ActionType::EnteredIntoForce))
        && in_force < signed
    {
        row.flag("entry into force lies before the signature: kept as stated");
        lines.push(format!("The entry into force is dated {in_force}, before the signature of {signed}."));
    }
}

fn date_of(row: &mut Fields, name: &str) -> Result<Option<v1::EdtfDate>, String> {
    Ok(date(row, name)?.and_then(edtf))
}

/// dd/mm/yyyy as YYYY-MM-DD.
fn date(row: &mut Fields, name: &str) -> Result<Option<String>, String> {
    let Some(words) = row.take(name) else { return Ok(None) };
    let parts: Vec<&str> = words.split('/').collect();
    match parts.as_slice() {
        [day, month, year] if (day.len(), month.len(), year.len()) == (2, 2, 4) => {
            Ok(Some(format!("{year}-{month}-{day}")))
        }
        _ => Err(format!("{name} is {words:?}; a date here is dd/mm/yyyy")),
    }
}

/// What a title says it is, if it begins so.
fn instrument(words: &str) -> Option<(Instrument, v1::Text)> {
    let mut rest = words.trim_start();
    while let Some((first, after)) = rest.split_once(' ') {
        if !BEFORE.contains(&first.to_ascii_lowercase().as_str()) {
            break;
        }
        rest = after.trim_start();
    }
    let lower = rest.to_ascii_lowercase();
    let (phrase, kind) = INSTRUMENTS.iter().find(|(phrase, _)| lower.starts_with(phrase))?;
    // "Agreements" or "protocol's" would be another word; the plural of a minute is the instrument's own name.
    let after = &lower[phrase.len()..];
    let is_whole = !after.starts_with(char::is_alphanumeric) || *phrase == "agreed minute";
    is_whole.then(|| (*kind, english(rest.get(..phrase.len()).unwrap_or_default())))
}

/// The references stay as they are in the note; what is plainly one number of one series is an identifier, too.
fn references(row: &mut Fields, lines: &mut Vec<String>) -> (Option<v1::Registration>, Vec<v1::ExternalId>) {
    let Some(words) = row.take("references") else { return (None, Vec::new()) };
    let one = |series: &str| {
        let mut found = words.split(';').filter_map(|entry| entry.trim().strip_prefix(series));
        found.next().filter(|_| found.next().is_none()).map(|rest| rest.split("||").next().unwrap_or_default().trim())
    };
    let registration = one("UN Registration United/0: ").filter(|n| !n.is_empty()).map(|number| v1::Registration {
        register: Some("UN Registration United".to_owned()),
        number: Some(number.to_owned()),
        date: None,
    });
    let mut ids = Vec::new();
    if let Some((number, paper)) = one("Treaty Series ").and_then(|rest| rest.split_once(':')) {
        let (number, paper) = (number.trim(), paper.trim());
        ids.extend((!number.is_empty()).then(|| external_id("uk-treaty-series", number)));
        ids.extend(paper.starts_with('C').then(|| external_id("uk-command-paper", paper)));
    }
    lines.push(format!("References: {words}"));
    (registration, ids)
}

/// The register writes the folders of its addresses with backslashes.
fn text_uri(row: &mut Fields) -> Option<String> {
    let uri = row.take("document_url")?;
    if uri.contains('\\') {
        row.flag("backslashes in the address of the text: read as slashes");
    }
    Some(uri.replace('\\', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        import::{Outcome, read as read_kind},
        pb::v1::import_item::Item,
    };

    const LINE: &str = r#"{"id":9,"uuid":"u-9","title":"Supplementary Protocol about nothing","country_name":"CHINA P R ; Gibraltar ; UNITED KINGDOM","signed_event_date":"08/07/1943","signed_event_location":"London & Ys","definative_eif_event_date":"25/11/1942","terminated_event_date":"01/02/1950","terminated_event_effective_date":"01/02/1951","references":"UN Registration United/0: 12 34;Treaty Series 014/1958: Cmnd 406||https://x/y.pdf","subject":"DEFENCE","field3":"BI","document_url":"https://x.example/a\\b\\c.html"}"#;

    fn row(line: &str) -> Row {
        let file = File { name: "t".into(), bytes: format!("{line}\n").into_bytes() };
        read_kind(Kind::UkTreaties, &[file], &States::built_in()).unwrap().rows.remove(0)
    }

    fn agreement(row: &Row) -> v1::Agreement {
        let Outcome::Items(items) = &row.outcome else { panic!("{row:?}") };
        match &items[0].item {
            Some(Item::Report(v1::Report { content: Some(Content::Agreement(agreement)), .. })) => agreement.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_line_becomes_an_agreement_with_dated_acts() {
        let agreement = agreement(&row(LINE));
        let parties: Vec<&str> = agreement.parties.iter().map(|p| p.state.as_str()).collect();
        assert_eq!(parties, ["CN", "GB"]);
        let acts: Vec<_> =
            agreement.actions.iter().map(|a| (a.r#type(), a.date.as_ref().unwrap().edtf.as_str())).collect();
        assert_eq!(
            acts,
            [
                (ActionType::Signed, "1943-07-08"),
                (ActionType::EnteredIntoForce, "1942-11-25"),
                (ActionType::Terminated, "1950-02-01")
            ]
        );
        assert_eq!(agreement.actions[2].effective_date.as_ref().unwrap().edtf, "1951-02-01");
        assert_eq!(agreement.actions[0].place.as_ref().unwrap().as_stated.as_deref(), Some("London & Ys"));
        assert_eq!(agreement.instrument(), Instrument::Protocol);
        assert_eq!(agreement.text_uri.as_deref(), Some("https://x.example/a/b/c.html"));
        assert_eq!(agreement.registration.unwrap().number.as_deref(), Some("12 34"));
        let ids: Vec<_> = agreement.external_ids.iter().map(|e| e.id.as_str()).collect();
        assert_eq!(ids, ["9", "014/1958", "Cmnd 406", "u-9"]);
    }

    #[test]
    fn entry_into_force_before_the_signature_is_kept_and_flagged() {
        let row = row(LINE);
        assert!(row.flags.iter().any(|f| f.contains("before the signature")), "{row:?}");
        assert!(agreement(&row).note.unwrap().contains("1942-11-25, before the signature of 1943-07-08"));
    }

    #[test]
    fn territories_and_organizations_are_no_parties_and_are_kept() {
        let line = LINE.replace("CHINA P R ;", "UNITED NATIONS ; Canada ; Bermuda ;");
        let agreement = agreement(&row(&line));
        let parties: Vec<&str> = agreement.parties.iter().map(|p| p.state.as_str()).collect();
        assert_eq!(parties, ["CA", "GB"]);
        assert!(agreement.note.unwrap().contains("UNITED NATIONS; Bermuda; Gibraltar"));
    }

    #[test]
    fn what_cannot_be_read_refuses_the_row() {
        for (from, to, why) in [
            ("08/07/1943", "1943-07-08", "dd/mm/yyyy"),
            ("08/07/1943", "31/02/1943", "EDTF"),
            ("CHINA P R", "RURITANIA", "RURITANIA"),
        ] {
            let row = row(&LINE.replace(from, to));
            assert!(matches!(&row.outcome, Outcome::Refused(text) if text.contains(why)), "{row:?}");
        }
    }

    #[test]
    fn only_a_plain_title_says_what_the_instrument_is() {
        let of = |words: &str| instrument(words).map(|(kind, words)| (kind, words.text));
        assert_eq!(of("Exchange of Notes between"), Some((Instrument::ExchangeOfNotes, "Exchange of Notes".into())));
        assert_eq!(of("Declaration between"), Some((Instrument::Other, "Declaration".into())));
        assert_eq!(of("Military Convention, with"), Some((Instrument::Convention, "Convention".into())));
        for none in ["Accession of somebody to a treaty", "Agreements and Protocols", "Report"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn a_column_that_is_not_known_is_kept_in_the_note() {
        let row = row(&LINE.replace(r#""id":9"#, r#""id":9,"colour":"red""#));
        assert!(agreement(&row).note.unwrap().contains("colour: red"));
    }
}
