//! `historyatstate-visits-history`: the list of visits as it was on each day, from the history of its repository.
//!
//! Each line is one act on one row of the list: asserted, corrected or removed, with the time it was recorded. Filed in
//! this order with these times, the registry answers `as_of` as the list would have. A correction is filed as one, a
//! removal withdraws the list's report, because its source no longer says so.
//!
//! **An id is not always one visit.** Ids were used twice, and one day gave thirteen of them to other visits. A record's
//! name is never reused, so the visit that had the id before is another record, named after the day on which it lost the
//! id: `visits/us-visit-2138-until-2020-11-19`. The visit that has the id at the end has the plain name, as in the list
//! itself. An id has another meaning when visitor, state and first day all changed at once; no correction did that.

use std::collections::BTreeMap;

use super::{
    Error, File, Import, Kind, Outcome, Row, States, Terms,
    fields::{self, Fields},
    filed, text,
    visits::{self, Listed},
    withdrawn,
};
use crate::{
    domain::name,
    pb::v1::{Intent, RetractionReason},
};

/// Columns that are about the list's repository.
pub const LEFT_OUT: &[(&str, &str)] =
    &[("commit", "the commit of the list's repository"), ("message", "the message of that commit")];

/// Reads JSON lines.
///
/// # Errors
///
/// The first file that is not, or is cut off.
pub fn read(files: &[File], states: &States) -> Result<Import, Error> {
    let mut rows = Vec::new();
    for file in files {
        let text = fields::utf8(Kind::VisitsHistory, file)?;
        let lines = fields::json_lines(Kind::VisitsHistory, file, &text, &["recorded_at", "op", "id"])?;
        rows.extend(lines.into_iter().map(|row| (file.name.as_str(), row)));
    }
    let mut acts: Vec<Line<'_>> = rows.into_iter().map(|(file, row)| Line::read(file, row)).collect();
    let lives = Lives::of(&acts);
    let mut list = List { states, lives, standing: BTreeMap::new(), life: BTreeMap::new(), newest: None };
    let rows = acts.iter_mut().map(|line| list.row(line)).collect();
    Ok(Import { source: Some(visits::source()), rows, left_out: LEFT_OUT, passed: Vec::new() })
}

/// What a line does to the list.
#[derive(Debug, Clone)]
enum Op {
    Asserted(Listed),
    /// Field, value before, value after.
    Corrected(Vec<(String, String, String)>),
    Removed,
}

struct Line<'a> {
    file: &'a str,
    row: Fields,
    id: String,
    recorded_at: String,
    op: Result<Op, String>,
}

impl<'a> Line<'a> {
    fn read(file: &'a str, mut row: Fields) -> Self {
        let id = row.peek("id").to_owned();
        let recorded_at = row.peek("recorded_at").to_owned();
        let op = match row.fault.take() {
            Some(fault) => Err(fault),
            None => op(&mut row, &id),
        };
        Self { file, row, id, recorded_at, op }
    }

    /// The day of the act, as the list's repository dates it.
    fn day(&self) -> String {
        self.recorded_at.chars().take(10).collect()
    }
}

fn op(row: &mut Fields, id: &str) -> Result<Op, String> {
    row.require("id")?;
    let word = row.require("op")?;
    row.require("recorded_at")?;
    let (record, changes) = (row.take_raw("record"), row.take_raw("changes"));
    let unknown = row.rest(LEFT_OUT);
    if !unknown.is_empty() {
        return Err(format!("it has fields that are not known: {}", unknown.join(", ")));
    }
    match word.as_str() {
        "asserted" => Ok(Op::Asserted(listed(id, &record.ok_or("record is missing")?)?)),
        "corrected" => Ok(Op::Corrected(corrections(&changes.ok_or("changes is missing")?)?)),
        "removed" => Ok(Op::Removed),
        other => Err(format!("the op {other:?} is not known")),
    }
}

fn listed(id: &str, json: &str) -> Result<Listed, String> {
    let values: BTreeMap<String, Option<String>> = serde_json::from_str(json).map_err(|e| format!("record: {e}"))?;
    let mut listed = Listed { id: id.to_owned(), ..Listed::default() };
    for (name, value) in values {
        set(&mut listed, &name, &value.unwrap_or_default())?;
    }
    match [&listed.start, &listed.end, &listed.visitor, &listed.from].iter().any(|field| field.is_empty()) {
        true => Err("one of start-date, end-date, visitor, from is missing".to_owned()),
        false => Ok(listed),
    }
}

fn corrections(json: &str) -> Result<Vec<(String, String, String)>, String> {
    let changes: BTreeMap<String, (Option<String>, Option<String>)> =
        serde_json::from_str(json).map_err(|e| format!("changes: {e}"))?;
    Ok(changes.into_iter().map(|(name, (a, b))| (name, a.unwrap_or_default(), b.unwrap_or_default())).collect())
}

fn get(listed: &Listed, name: &str) -> Result<String, String> {
    Ok(match name {
        "start-date" => listed.start.clone(),
        "end-date" => listed.end.clone(),
        "visitor" => listed.visitor.clone(),
        "from" => listed.from.clone(),
        "description" => listed.description.clone().unwrap_or_default(),
        _ => return Err(format!("the field {name} is not known")),
    })
}

fn set(listed: &mut Listed, name: &str, raw: &str) -> Result<(), String> {
    let value = text::clean(raw).text;
    match name {
        "start-date" => listed.start = value,
        "end-date" => listed.end = value,
        "visitor" => listed.visitor = value,
        "from" => listed.from = value,
        "description" => listed.description = Some(value).filter(|v| !v.is_empty()),
        _ => return Err(format!("the field {name} is not known")),
    }
    Ok(())
}

/// Whether an id that stood for one visit stands for another.
fn is_another(before: &Listed, after: &Listed) -> bool {
    before.visitor != after.visitor && before.from != after.from && before.start != after.start
}

/// What a correction makes of a visit.
fn corrected(before: &Listed, changes: &[(String, String, String)]) -> Result<Listed, String> {
    let mut after = before.clone();
    for (name, old, new) in changes {
        let stood = get(before, name)?;
        if stood != text::clean(old).text {
            return Err(format!("it corrects {name} from {}, but that was {}", name::quote(old), name::quote(&stood)));
        }
        set(&mut after, name, new)?;
    }
    Ok(after)
}

/// For each id, the days on which it was given to another visit.
struct Lives(BTreeMap<String, Vec<String>>);

impl Lives {
    fn of(lines: &[Line<'_>]) -> Self {
        let mut ended: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // The last that is known of each id, and the day since which it stands no more.
        let mut last: BTreeMap<&str, (Listed, Option<String>)> = BTreeMap::new();
        for line in lines {
            let before = last.get(line.id.as_str()).cloned();
            let (after, gone) = match (&line.op, &before) {
                (Ok(Op::Asserted(listed)), None | Some((_, Some(_)))) => (listed.clone(), None),
                (Ok(Op::Corrected(changes)), Some((listed, None))) => match corrected(listed, changes) {
                    Ok(after) => (after, None),
                    Err(_) => continue,
                },
                (Ok(Op::Removed), Some((listed, None))) => (listed.clone(), Some(line.day())),
                _ => continue,
            };
            if let Some((before, gone)) = before
                && is_another(&before, &after)
            {
                ended.entry(line.id.clone()).or_default().push(gone.unwrap_or_else(|| line.day()));
            }
            last.insert(&line.id, (after, gone));
        }
        Self(ended)
    }

    /// The record of an id in its life of this number, from 0.
    fn record(&self, id: &str, life: usize) -> String {
        match self.0.get(id).and_then(|days| days.get(life)) {
            Some(day) => format!("{}-until-{day}", visits::record(id)),
            None => visits::record(id),
        }
    }
}

/// The list as it stands after the lines read so far.
struct List<'a> {
    states: &'a States,
    lives: Lives,
    /// By id; `None` was removed.
    standing: BTreeMap<String, (Listed, bool)>,
    /// How often each id was given to another visit.
    life: BTreeMap<String, usize>,
    newest: Option<jiff::Timestamp>,
}

impl List<'_> {
    fn row(&mut self, line: &mut Line<'_>) -> Row {
        let place = line.row.place(line.file, &line.id);
        let (outcome, terms) = match self.act(line) {
            Ok((items, terms)) => (Outcome::Items(items), terms),
            Err(why) => (Outcome::Refused(why), Terms::default()),
        };
        Row { place, terms, outcome, flags: line.row.flags() }
    }

    fn act(&mut self, line: &mut Line<'_>) -> Result<(Vec<super::ImportItem>, Terms), String> {
        let op = line.op.clone()?;
        let recorded_at = self.time(&line.recorded_at)?;
        let terms = |intent, reason| Terms { recorded_at: Some(recorded_at), intent, reason };
        let before = self.standing.get(&line.id).cloned();
        let stands = before.as_ref().is_some_and(|(_, stands)| *stands);
        match (op, before) {
            (Op::Asserted(_), Some(_)) if stands => {
                Err("the id is asserted while it stands: two visits cannot share it".to_owned())
            }
            (Op::Asserted(after), before) => {
                if before.is_some_and(|(before, _)| is_another(&before, &after)) {
                    self.next_life(&line.id);
                }
                let items = self.stand(line, after)?;
                Ok((items, terms(Intent::Unspecified, RetractionReason::Unspecified)))
            }
            (Op::Corrected(changes), Some((before, true))) => {
                let after = corrected(&before, &changes)?;
                let mut items = Vec::new();
                let mut reason = RetractionReason::Unspecified;
                if is_another(&before, &after) {
                    line.row.flag("the id is given to another visit: the one that had it is withdrawn");
                    items.push(withdrawn(self.report_name(&line.id)));
                    reason = RetractionReason::SourceWithdrawn;
                    self.next_life(&line.id);
                }
                items.extend(self.stand(line, after)?);
                Ok((items, terms(Intent::Correction, reason)))
            }
            (Op::Removed, Some((before, true))) => {
                let item = withdrawn(self.report_name(&line.id));
                self.standing.insert(line.id.clone(), (before, false));
                Ok((vec![item], terms(Intent::Unspecified, RetractionReason::SourceWithdrawn)))
            }
            (Op::Corrected(_) | Op::Removed, _) => Err("no visit has this id at that time".to_owned()),
        }
    }

    fn time(&mut self, text: &str) -> Result<prost_types::Timestamp, String> {
        let time: jiff::Timestamp =
            text.parse().map_err(|_| format!("{} is no instant with an offset", name::quote(text)))?;
        if self.newest.is_some_and(|newest| time < newest) {
            return Err(format!("{text} is before the line above it"));
        }
        self.newest = Some(time);
        Ok(prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() })
    }

    fn next_life(&mut self, id: &str) {
        *self.life.entry(id.to_owned()).or_default() += 1;
    }

    fn record(&self, id: &str) -> String {
        self.lives.record(id, self.life.get(id).copied().unwrap_or_default())
    }

    fn report_name(&self, id: &str) -> String {
        format!("{}/reports/{}", self.record(id), name::id_of(&visits::source().name))
    }

    fn stand(&mut self, line: &mut Line<'_>, after: Listed) -> Result<Vec<super::ImportItem>, String> {
        let record = self.record(&line.id);
        let report = visits::report(&after, &record, self.states, Vec::new(), &mut line.row);
        self.standing.insert(line.id.clone(), (after, true));
        Ok(vec![filed(report?)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        import::{read as read_kind, report_name},
        pb::v1::{self, import_item::Item},
    };

    const ASSERTED: &str = r#"{"recorded_at":"2015-10-01T10:00:00-04:00","commit":"a","op":"asserted","id":"7","record":{"start-date":"2001-01-02","end-date":"2001-01-03","visitor":"President A","from":"France","description":"State visit."}}"#;

    fn rows(lines: &[&str]) -> Vec<Row> {
        let file = File { name: "h".into(), bytes: (lines.join("\n") + "\n").into_bytes() };
        read_kind(Kind::VisitsHistory, &[file], &States::built_in()).unwrap().rows
    }

    fn items(row: &Row) -> Vec<String> {
        let Outcome::Items(items) = &row.outcome else { panic!("{row:?}") };
        let show = |item: &v1::ImportItem| {
            let verb = if matches!(item.item, Some(Item::Report(_))) { "file" } else { "withdraw" };
            format!("{verb} {}", report_name(item, "sources/historyatstate-visits"))
        };
        items.iter().map(show).collect()
    }

    fn later(op: &str) -> String {
        format!(r#"{{"recorded_at":"2020-11-19T10:00:00-05:00","commit":"b","message":"m","id":"7",{op}}}"#)
    }

    #[test]
    fn a_correction_is_filed_as_one_at_its_time() {
        let corrected = later(r#""op":"corrected","changes":{"visitor":["President A","President Á"]}"#);
        let rows = rows(&[ASSERTED, &corrected]);
        assert_eq!(items(&rows[1]), ["file visits/us-visit-7/reports/historyatstate-visits"]);
        assert_eq!(rows[1].terms.intent, Intent::Correction);
        assert_eq!(rows[1].terms.recorded_at.unwrap().seconds, 1_605_798_000);
    }

    #[test]
    fn a_removal_withdraws_the_lists_report() {
        let rows = rows(&[ASSERTED, &later(r#""op":"removed","record":{}"#)]);
        assert_eq!(items(&rows[1]), ["withdraw visits/us-visit-7/reports/historyatstate-visits"]);
        assert_eq!(rows[1].terms.reason, RetractionReason::SourceWithdrawn);
    }

    #[test]
    fn an_id_that_is_given_to_another_visit_names_another_record() {
        let changes = r#""op":"corrected","changes":{"visitor":["President A","King B"],"from":["France","Spain"],"start-date":["2001-01-02","1990-01-02"],"end-date":["2001-01-03","1990-01-02"]}"#;
        let rows = rows(&[ASSERTED, &later(changes)]);
        assert_eq!(items(&rows[0]), ["file visits/us-visit-7-until-2020-11-19/reports/historyatstate-visits"]);
        assert_eq!(
            items(&rows[1]),
            [
                "withdraw visits/us-visit-7-until-2020-11-19/reports/historyatstate-visits",
                "file visits/us-visit-7/reports/historyatstate-visits"
            ]
        );
        assert_eq!(rows[1].flags.len(), 1);
    }

    #[test]
    fn an_id_that_comes_back_for_another_visit_names_another_record_and_for_the_same_does_not() {
        let removed = later(r#""op":"removed","record":{}"#);
        let again = ASSERTED.replace("2015-10-01", "2021-01-01");
        let same = rows(&[ASSERTED, &removed, &again]);
        assert_eq!(items(&same[0]), items(&same[2]));
        let other =
            again.replace("France", "Spain").replace("President A", "King B").replace("2001-01-02", "1990-01-02");
        let other = rows(&[ASSERTED, &removed, &other]);
        assert_eq!(items(&other[0]), ["file visits/us-visit-7-until-2020-11-19/reports/historyatstate-visits"]);
        assert_eq!(items(&other[2]), ["file visits/us-visit-7/reports/historyatstate-visits"]);
    }

    #[test]
    fn what_does_not_fit_what_stood_before_is_refused() {
        let wrong = [
            ASSERTED.to_owned(),
            later(r#""op":"corrected","changes":{"visitor":["President Z","President Á"]}"#),
            later(r#""op":"corrected","changes":{"colour":["red","blue"]}"#),
            later(r#""op":"annulled""#),
            later(r#""op":"removed","record":{}"#).replace(r#""id":"7""#, r#""id":"8""#),
            later(r#""op":"removed","record":{}"#).replace("2020", "2010"),
        ];
        for line in &wrong {
            let rows = rows(&[ASSERTED, line]);
            assert!(matches!(rows[1].outcome, Outcome::Refused(_)), "{line}");
        }
    }
}
