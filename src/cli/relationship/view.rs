//! A relation for a person, in a hundred columns.

use std::fmt::Write as _;

use super::timeline;
use crate::{
    cli::{
        output::{bold, dim},
        words,
    },
    pb::v1::{
        AgreementGroup, AgreementSeries, AgreementStatus, AgreementSummary, Basis, Certainty, Contact, DerivedStatus,
        Dispute, Expiry, InferableDate, Instrument, LegalCharacter, Observed, Relationship, Succession, Tally,
    },
};

/// Of each status so many agreements are shown, and so many disputes.
const SHOWN: usize = 10;
/// As wide as a line may be.
const WIDTH: usize = 100;

/// Everything about a relation; of the timeline this many months up to the day, or all.
pub fn relation(relation: &Relationship, months: Option<usize>) -> String {
    let mut page = Page::default();
    page.line(bold(format_args!("{}, as of {}", relation.states.join(" – "), relation.day)));
    if !relation.from.is_empty() || relation.until != relation.day {
        page.line(format_args!("counted: {}", period(relation)));
    }
    page.visits(relation);
    for (title, tally) in [("Meetings", &relation.meetings), ("Exercises", &relation.exercises)] {
        page.section(title, tally.as_ref());
        page.nearest(tally.as_ref(), "  ");
    }
    if let Some(observed) = relation.observations.as_ref().filter(|t| t.count + t.undated + t.ahead > 0) {
        page.line(format_args!("  one took part, another observed: {}", how_many(observed)));
        page.nearest(Some(observed), "    ");
    }
    page.agreements(relation);
    page.disputes(relation);
    page.watched(relation);
    page.blank();
    page.line(timeline::draw(relation, months));
    page.text.trim_end().to_owned()
}

/// A count in words: never a bare zero for what nobody watched.
pub fn how_many(tally: &Tally) -> String {
    let dated = match (tally.count, tally.observed()) {
        (0, Observed::Yes) => "none".to_owned(),
        (0, _) => "none known".to_owned(),
        (count, Observed::Yes) => count.to_string(),
        (count, _) => format!("{count} known"),
    };
    let besides = [(tally.undated, "undated"), (tally.called_off, "called off"), (tally.ahead, "ahead")];
    let besides = besides.into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = std::iter::once(dated).chain(besides.map(|(n, what)| format!("{n} {what}"))).collect();
    parts.join(", ")
}

fn period(relation: &Relationship) -> String {
    match (relation.from.as_str(), relation.until.as_str()) {
        (from, "") => format!("from {from} on"),
        ("", until) => format!("up to {until}"),
        (from, until) => format!("{from} to {until}"),
    }
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, text: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{text}");
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }

    fn section(&mut self, title: &str, tally: Option<&Tally>) {
        self.blank();
        let count = tally.map(how_many).unwrap_or_default();
        self.line(format_args!("{}  {count}", bold(title)));
    }

    fn visits(&mut self, relation: &Relationship) {
        self.section("Visits", relation.visits.as_ref());
        let many = relation.directions.len() > 2;
        for direction in &relation.directions {
            let Some(visits) = direction.visits.as_ref() else { continue };
            // Of many states the ways that nobody took would hide those that somebody did.
            if many && visits.count + visits.undated + visits.called_off + visits.ahead == 0 {
                continue;
            }
            self.line(format_args!("  {} to {}: {}", direction.guest, direction.host, how_many(visits)));
            self.nearest(Some(visits), "    ");
        }
    }

    /// The last and the next of what there is.
    fn nearest(&mut self, tally: Option<&Tally>, indent: &str) {
        let Some(tally) = tally.filter(|t| t.last.is_some() || t.next.is_some()) else { return };
        for (word, contact) in [("last", &tally.last), ("next", &tally.next)] {
            match contact {
                Some(contact) => self.line(contact_line(word, contact, indent)),
                None => self.line(format_args!("{indent}{word}  none known")),
            }
        }
    }

    fn agreements(&mut self, relation: &Relationship) {
        self.section("Agreements", relation.agreements.as_ref());
        if let Some(expiry) = &relation.next_expiry {
            self.expiry(expiry);
        }
        for group in &relation.agreement_groups {
            self.group(group);
        }
        for series in &relation.series {
            self.line(cut(&chain(series), "  "));
        }
        for succession in relation.successions.iter().filter(|s| !is_in_chain(s, &relation.series)) {
            let how = words::human("RelationType", succession.relation);
            self.line(cut(&format!("{} {how} {}", succession.later, succession.earlier), "  "));
        }
    }

    fn expiry(&mut self, expiry: &Expiry) {
        let day = expiry.last_day.as_ref().map(dated).unwrap_or_default();
        let left = match expiry.days_left {
            0 => "today is its last day".to_owned(),
            1 => "in 1 day".to_owned(),
            days => format!("in {days} days"),
        };
        let when = format!(" on {day}, {left}");
        let room = WIDTH.saturating_sub(when.chars().count() + "  expires next: ".len());
        self.line(format_args!("  {} {}{when}", bold("expires next:"), shortened(&expiry.label, room)));
        let followed = match &expiry.followed_by[..] {
            [] => "nothing known follows it".to_owned(),
            names => format!("followed by {}", names.join(", ")),
        };
        self.line(cut(&format!("{}; {followed}", expiry.name), "    "));
    }

    fn group(&mut self, group: &AgreementGroup) {
        let mut words: Vec<String> = group.agreements.iter().map(status_word).collect();
        words.sort();
        words.dedup();
        let status = words.join(" or ");
        let status = if status.is_empty() { "status not derived" } else { &status };
        self.line(format_args!("  {status} ({})", group.count));
        for agreement in group.agreements.iter().take(SHOWN) {
            self.line(agreement_lines(agreement));
        }
        let more = usize::try_from(group.count).unwrap_or(usize::MAX).saturating_sub(SHOWN);
        if more > 0 {
            self.line(format_args!(
                "    and {more} more: attache list agreements --all with --state for each shows them"
            ));
        }
    }

    fn disputes(&mut self, relation: &Relationship) {
        if relation.disputes.is_empty() {
            return;
        }
        self.blank();
        let records = if relation.dispute_count == 1 { "record" } else { "records" };
        self.line(format_args!("{}  {} {records}", bold("Disputed"), relation.dispute_count));
        for Dispute { name, fields, .. } in relation.disputes.iter().take(SHOWN) {
            self.line(cut(&format!("{name}: {}", fields.join(", ")), "  "));
        }
        let more = usize::try_from(relation.dispute_count).unwrap_or(usize::MAX).saturating_sub(SHOWN);
        if more > 0 {
            self.line(format_args!("  and {more} more: attache list visits --disputed and the like show them"));
        }
    }

    /// Who watched, and what nobody claims to have watched.
    fn watched(&mut self, relation: &Relationship) {
        let all = [
            ("visits", &relation.visits),
            ("meetings", &relation.meetings),
            ("agreements", &relation.agreements),
            ("exercises", &relation.exercises),
        ];
        let tallies = || all.iter().filter_map(|(what, tally)| tally.as_ref().map(|t| (*what, t)));
        self.blank();
        self.line(bold("Observed"));
        for (what, tally) in tallies().filter(|(_, t)| t.observed() == Observed::Yes || !t.watched_by.is_empty()) {
            let how = if tally.observed() == Observed::Yes { "watched" } else { "partly watched" };
            self.line(cut(&format!("{what}: {how} by {}", sources(&tally.watched_by, tally.watched_by_more)), "  "));
        }
        let not: Vec<&str> = tallies()
            .filter(|(_, t)| t.observed() != Observed::Yes && t.watched_by.is_empty())
            .map(|(w, _)| w)
            .collect();
        if !not.is_empty() {
            self.line(format_args!("  nobody claims to have watched {}: there may be more", not.join(", ")));
        }
    }
}

/// The sources that watched.
pub fn sources(names: &[String], more: u32) -> String {
    let listed = names.join(", ");
    if more == 0 { listed } else { format!("{listed} and {more} more") }
}

fn contact_line(word: &str, contact: &Contact, indent: &str) -> String {
    let when = contact.occurred.as_ref().map(|d| d.edtf.as_str()).unwrap_or_default();
    let line = format!("{indent}{word}  {when:<10}  {}", contact.name);
    let room = WIDTH.saturating_sub(line.chars().count() + 2);
    if contact.label == contact.name || room < 10 {
        return line;
    }
    format!("{line}  {}", dim(shortened(&contact.label, room)))
}

/// Its name; below it the term, how sure its status is unless it is beyond doubt, and its title.
fn agreement_lines(agreement: &AgreementSummary) -> String {
    let certainty = agreement.status.as_ref().map_or(Certainty::Unspecified, DerivedStatus::certainty);
    let doubt = match certainty {
        Certainty::Definite | Certainty::Unspecified => String::new(),
        doubt => format!("status {}", words::human("Certainty", doubt.into())),
    };
    let term = match (&agreement.start, &agreement.end) {
        (Some(start), Some(end)) => format!("{} to {}", edtf(start), dated(end)),
        (Some(start), None) => format!("from {}", dated(start)),
        (None, Some(end)) => format!("until {}", dated(end)),
        (None, None) => agreement.concluded.as_ref().map(|d| format!("concluded {}", d.edtf)).unwrap_or_default(),
    };
    let mut facts: Vec<String> = [term, doubt].into_iter().filter(|part| !part.is_empty()).collect();
    let room = (WIDTH - 6).saturating_sub(facts.iter().map(|f| f.chars().count() + 2).sum());
    if !label(agreement).is_empty() && room >= 10 {
        facts.push(dim(shortened(label(agreement), room)));
    }
    let below = if facts.is_empty() { String::new() } else { format!("\n      {}", facts.join("  ")) };
    format!("    {}{below}", agreement.name)
}

/// The status in a word. What is in force is in effect unless it binds: by what is stated, else by its form.
fn status_word(agreement: &AgreementSummary) -> String {
    let status = agreement.status.as_ref().map_or(AgreementStatus::Unspecified, DerivedStatus::agreement_status);
    let binds = match agreement.legal_character() {
        LegalCharacter::Binding => true,
        LegalCharacter::Unspecified => {
            use Instrument::{Agreement, Convention, ExchangeOfLetters, ExchangeOfNotes, Protocol, Treaty};
            [Treaty, Convention, Agreement, Protocol, ExchangeOfNotes, ExchangeOfLetters]
                .contains(&agreement.instrument())
        }
        _ => false,
    };
    match status {
        AgreementStatus::InForce if !binds => "in effect".to_owned(),
        _ => words::human("AgreementStatus", status.into()),
    }
}

fn label(agreement: &AgreementSummary) -> &str {
    if agreement.label == agreement.name { "" } else { &agreement.label }
}

fn edtf(date: &InferableDate) -> &str {
    date.date.as_ref().map(|d| d.edtf.as_str()).unwrap_or_default()
}

/// A date that says if it is inferred.
fn dated(date: &InferableDate) -> String {
    let inferred = if date.basis() == Basis::Inferred { " (inferred)" } else { "" };
    format!("{}{inferred}", edtf(date))
}

/// A series: its key, and its agreements by what tells them apart.
fn chain(series: &AgreementSeries) -> String {
    let id = |agreement: &AgreementSummary| {
        let id = agreement.name.split_once('/').map_or("", |(_, id)| id).to_owned();
        let rest = id.strip_prefix(&series.series).map(|rest| rest.trim_start_matches('-').to_owned());
        rest.filter(|rest| !rest.is_empty()).unwrap_or(id)
    };
    let links = series.agreements.iter().map(|agreement| match status_word(agreement) {
        none if none.is_empty() => id(agreement),
        status => format!("{} ({status})", id(agreement)),
    });
    let hidden = usize::try_from(series.count).unwrap_or(usize::MAX).saturating_sub(series.agreements.len());
    let before = (hidden > 0).then(|| format!("{hidden} earlier"));
    format!("{}: {}", series.series, before.into_iter().chain(links).collect::<Vec<_>>().join(" → "))
}

/// Whether a chain shows it already.
fn is_in_chain(succession: &Succession, series: &[AgreementSeries]) -> bool {
    series.iter().any(|s| {
        let mut pairs = s.agreements.iter().zip(s.agreements.iter().skip(1));
        pairs.any(|(a, b)| a.name == succession.earlier && b.name == succession.later)
    })
}

/// Indented, and folded at spaces where it is too wide; what follows is indented more.
fn cut(text: &str, indent: &str) -> String {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ') {
        let width = indent.len() + if lines.is_empty() { 0 } else { 4 } + line.chars().count();
        if !line.trim().is_empty() && width + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() || word.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    let more = format!("\n{indent}    ");
    format!("{indent}{}", lines.iter().map(|l| l.trim_end()).collect::<Vec<_>>().join(&more))
}

/// The text, or its beginning.
fn shortened(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::v1::{EdtfDate, RelationType, VisitDirection};

    fn tally(count: u32, undated: u32, observed: Observed) -> Tally {
        Tally { count, undated, observed: observed.into(), ..Default::default() }
    }

    fn agreement(year: &str, status: AgreementStatus) -> AgreementSummary {
        let status = DerivedStatus {
            agreement_status: status.into(),
            certainty: Certainty::Inferred.into(),
            ..Default::default()
        };
        let day = |day: &str| InferableDate {
            date: Some(EdtfDate { edtf: format!("{year}-{day}"), ..Default::default() }),
            basis: Basis::Inferred.into(),
        };
        AgreementSummary {
            name: format!("agreements/az-kz-plan-{year}"),
            label: "A plan with a title that goes on and on, as those of plans between ministries tend to".repeat(2),
            status: Some(status),
            start: Some(day("01-01")),
            end: Some(day("12-31")),
            series: Some("az-kz-plan".into()),
            ..Default::default()
        }
    }

    #[test]
    fn zero_is_said_in_words_that_say_whether_anybody_watched() {
        assert_eq!(how_many(&tally(0, 0, Observed::Yes)), "none");
        assert_eq!(how_many(&tally(0, 0, Observed::Partly)), "none known");
        assert_eq!(how_many(&tally(0, 2, Observed::No)), "none known, 2 undated");
        assert_eq!(how_many(&tally(3, 0, Observed::Yes)), "3");
        assert_eq!(how_many(&tally(3, 0, Observed::Partly)), "3 known");
    }

    #[test]
    fn what_expires_next_and_its_series_are_shown_in_a_hundred_columns() {
        let plans = [agreement("2025", AgreementStatus::Expired), agreement("2026", AgreementStatus::InForce)];
        let next = Expiry {
            name: plans[1].name.clone(),
            label: plans[1].label.clone(),
            last_day: plans[1].end.clone(),
            days_left: 38,
            followed_by: vec![],
        };
        let succession = Succession {
            earlier: plans[0].name.clone(),
            later: plans[1].name.clone(),
            relation: RelationType::NextInSeries.into(),
            basis: Basis::Stated.into(),
        };
        let group = |plan: &AgreementSummary| AgreementGroup {
            status: plan.status.as_ref().unwrap().agreement_status,
            count: 1,
            agreements: vec![plan.clone()],
        };
        let watched = Tally { watched_by: vec!["sources/desk".into()], ..tally(0, 0, Observed::Yes) };
        let way = VisitDirection { guest: "AZ".into(), host: "KZ".into(), visits: Some(watched.clone()) };
        let shown = relation(
            &Relationship {
                states: vec!["AZ".into(), "KZ".into()],
                day: "2026-11-23".into(),
                until: "2026-11-23".into(),
                visits: Some(watched),
                directions: vec![way],
                meetings: Some(tally(0, 0, Observed::No)),
                agreements: Some(tally(2, 0, Observed::Partly)),
                agreement_groups: vec![group(&plans[1]), group(&plans[0])],
                next_expiry: Some(next),
                series: vec![AgreementSeries { series: "az-kz-plan".into(), count: 2, agreements: plans.into() }],
                successions: vec![succession],
                ..Default::default()
            },
            None,
        );
        let plain = anstream::adapter::strip_str(&shown).to_string();
        assert!(plain.lines().all(|line| line.chars().count() <= WIDTH), "{plain}");
        assert!(plain.contains("on 2026-12-31 (inferred), in 38 days"), "{plain}");
        assert!(plain.contains("az-kz-plan: 2025 (expired) → 2026 (in effect)"), "{plain}");
        assert!(!plain.contains("next in series"), "the chain shows it already: {plain}");
        assert!(plain.contains("visits: watched by sources/desk"), "{plain}");
        assert!(plain.contains("nobody claims to have watched meetings, agreements: there may be more"), "{plain}");
        assert!(plain.contains("AZ to KZ: none\n"), "{plain}");
    }

    #[test]
    fn what_does_not_bind_is_in_effect_and_what_does_in_force() {
        let mut treaty = agreement("2026", AgreementStatus::InForce);
        treaty.instrument = Instrument::Treaty.into();
        assert_eq!(status_word(&treaty), "in force");
        treaty.legal_character = LegalCharacter::NonBinding.into();
        assert_eq!(status_word(&treaty), "in effect");
        let plan = AgreementSummary { instrument: Instrument::CooperationPlan.into(), ..treaty };
        assert_eq!(status_word(&AgreementSummary { legal_character: 0, ..plan.clone() }), "in effect");
        assert_eq!(status_word(&AgreementSummary { legal_character: 1, ..plan }), "in force");
        assert_eq!(status_word(&agreement("2025", AgreementStatus::Expired)), "expired");
    }

    #[test]
    fn what_is_too_wide_is_folded_and_nothing_is_lost() {
        let words = "agreements/some-name: ".to_owned() + &"fields[of].the.record, ".repeat(20);
        let folded = cut(words.trim(), "  ");
        assert!(folded.lines().all(|line| line.chars().count() <= WIDTH), "{folded}");
        let joined = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(joined(&folded), joined(&words));
    }
}
