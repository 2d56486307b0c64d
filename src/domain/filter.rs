//! The filter: one predicate for lists, watches and events.

use prost_reflect::{EnumDescriptor, Kind};

use super::{
    check,
    constraints::Constraint,
    date::{Answer, Date, Day},
    error::{Error, Reason, Result, Violation},
    facets::{Facets, Tag, Term},
};
use crate::{
    limits::{MAX_FILTER_VALUES, MAX_FILTERS},
    pb::{
        self,
        v1::{self, RecordKind},
    },
};

/// How the values of a field are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// At least one of the values is among the record's.
    Any,
    /// All values are among the record's.
    All,
    /// All of the record's values are among these, and there is one.
    Only,
}

/// One field of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// What it asks for.
    pub tag: Tag,
    /// How.
    pub mode: Mode,
    /// The values, sorted.
    pub values: Vec<String>,
}

/// A range of days, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// `None` is open.
    pub from: Option<Day>,
    /// `None` is open.
    pub until: Option<Day>,
    /// Whether "maybe" is not enough.
    pub definite_only: bool,
}

/// One filter: clauses and range are ANDed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The fields stated.
    pub clauses: Vec<Clause>,
    /// When it occurred.
    pub occurred: Option<Range>,
    /// Whether records that are probes match too.
    pub include_probes: bool,
}

/// The filters of a request: ORed, none is all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters(pub Vec<Filter>);

impl Clause {
    fn matches(&self, facets: &Facets) -> bool {
        let has = |value: &String| facets.has(self.tag, value);
        match self.mode {
            Mode::Any => self.values.iter().any(has),
            Mode::All => self.values.iter().all(has),
            Mode::Only => {
                let mut own = facets.values(self.tag).peekable();
                own.peek().is_some() && own.all(|v| self.values.iter().any(|w| w == v))
            }
        }
    }
}

impl Filter {
    /// Whether a record with these facets matches.
    #[must_use]
    pub fn matches(&self, facets: &Facets) -> bool {
        self.clauses.iter().all(|c| c.matches(facets))
            && self.occurred.is_none_or(|r| r.matches(facets))
            && (self.include_probes || !facets.is_probe())
    }

    /// Terms one of which every matching record has, of tags that are `indexed`: what an index looks up. `None` if only
    /// the date narrows it.
    #[must_use]
    pub fn narrowest(&self, indexed: impl Fn(Tag) -> bool) -> Option<Vec<Term>> {
        let selectivity = |c: &&Clause| match c.tag {
            Tag::Name => 0,
            Tag::Person | Tag::Organization | Tag::Place => 1,
            Tag::State | Tag::Host | Tag::Guest | Tag::ObserverState => 2,
            Tag::Topic | Tag::VisitType | Tag::VisitLevel | Tag::Instrument | Tag::Domain => 3,
            Tag::Status | Tag::AgreementStatus => 3,
            Tag::Successor => 1,
            Tag::Kind => 4,
            Tag::Disputed => 5,
        };
        let clause = self.clauses.iter().filter(|c| indexed(c.tag)).min_by_key(selectivity)?;
        let values = if clause.mode == Mode::All { &clause.values[..1] } else { &clause.values[..] };
        Some(values.iter().map(|v| (clause.tag, v.clone())).collect())
    }
}

impl Range {
    fn matches(self, facets: &Facets) -> bool {
        facets.occurred.is_some_and(|span| match span.within(self.from, self.until) {
            Answer::Yes => true,
            Answer::Maybe => !self.definite_only,
            Answer::No => false,
        })
    }
}

impl Filters {
    /// Reads the filters of a request; `at` is the path of the field.
    ///
    /// # Errors
    ///
    /// `FILTER_INVALID` with field paths, `TOO_LARGE` for too many filters or values.
    pub fn parse(filters: &[v1::Filter], at: &str) -> Result<Self> {
        if filters.len() > MAX_FILTERS {
            return Err(too_large(at, filters.len(), "filters", MAX_FILTERS));
        }
        let mut violations = Vec::new();
        let mut parsed = Vec::with_capacity(filters.len());
        for (index, filter) in filters.iter().enumerate() {
            parsed.push(parse(filter, &format!("{at}[{index}]"), &mut violations)?);
        }
        if violations.is_empty() { Ok(Self(parsed)) } else { Err(Error::violations(Reason::FilterInvalid, violations)) }
    }

    /// With the kind of a list added to every filter.
    #[must_use]
    pub fn of_kind(mut self, kind: RecordKind) -> Self {
        let clause = Clause { tag: Tag::Kind, mode: Mode::Any, values: vec![(kind as i32).to_string()] };
        if self.0.is_empty() {
            self.0.push(Filter { clauses: Vec::new(), occurred: None, include_probes: false });
        }
        for filter in &mut self.0 {
            filter.clauses.push(clause.clone());
        }
        self
    }

    /// Whether a record with these facets matches.
    #[must_use]
    pub fn matches(&self, facets: &Facets) -> bool {
        match self.0.as_slice() {
            [] => !facets.is_probe(),
            filters => filters.iter().any(|f| f.matches(facets)),
        }
    }

    /// The days that every matching record may have occurred on, both inclusive; `None` if dates do not narrow it.
    #[must_use]
    pub fn days(&self) -> Option<(Option<Day>, Option<Day>)> {
        let ranges = self.0.iter().map(|f| f.occurred).collect::<Option<Vec<_>>>().filter(|r| !r.is_empty())?;
        let from = ranges.iter().map(|r| r.from).collect::<Option<Vec<_>>>().and_then(|d| d.into_iter().min());
        let until = ranges.iter().map(|r| r.until).collect::<Option<Vec<_>>>().and_then(|d| d.into_iter().max());
        Some((from, until))
    }

    /// Terms one of which every matching record has, of tags that are indexed; `None` if there are none such.
    #[must_use]
    pub fn narrowest(&self, indexed: impl Fn(Tag) -> bool) -> Option<Vec<Term>> {
        if self.0.is_empty() {
            return None;
        }
        let mut terms = Vec::new();
        for filter in &self.0 {
            terms.extend(filter.narrowest(&indexed)?);
        }
        terms.sort();
        terms.dedup();
        Some(terms)
    }
}

fn too_large(at: &str, count: usize, what: &str, limit: usize) -> Error {
    Error::field(Reason::TooLarge, at, format!("has {count} {what}; at most {limit} are allowed")).with("limit", limit)
}

/// Collects the clauses of one filter.
struct Parser<'a> {
    at: &'a str,
    clauses: Vec<Clause>,
    violations: &'a mut Vec<Violation>,
}

impl Parser<'_> {
    fn texts(&mut self, field: &str, tag: Tag, mode: Mode, values: &[String], rule: Constraint) {
        for (index, value) in values.iter().enumerate() {
            if let Err(description) = check::check_text(value, &[rule]) {
                self.violations.push(Violation { field: format!("{}.{field}[{index}]", self.at), description });
            }
        }
        self.clause(tag, mode, values.to_vec());
    }

    fn enums(&mut self, field: &str, tag: Tag, values: &[i32]) {
        let known = |number: i32| number != 0 && vocabulary(field).is_some_and(|e| e.get_value(number).is_some());
        for (index, number) in values.iter().enumerate().filter(|(_, n)| !known(**n)) {
            let description = format!("{number} is not a value to ask for");
            self.violations.push(Violation { field: format!("{}.{field}[{index}]", self.at), description });
        }
        self.clause(tag, Mode::Any, values.iter().map(ToString::to_string).collect());
    }

    fn clause(&mut self, tag: Tag, mode: Mode, mut values: Vec<String>) {
        if !values.is_empty() {
            values.sort();
            values.dedup();
            self.clauses.push(Clause { tag, mode, values });
        }
    }
}

fn vocabulary(field: &str) -> Option<EnumDescriptor> {
    match pb::descriptor("Filter").get_field_by_name(field)?.kind() {
        Kind::Enum(descriptor) => Some(descriptor),
        _ => None,
    }
}

fn parse(filter: &v1::Filter, at: &str, violations: &mut Vec<Violation>) -> Result<Filter> {
    let v1::Filter {
        kinds,
        names,
        states_any,
        states_all,
        states_only,
        observer_states,
        hosts,
        guests,
        topics,
        visit_types,
        visit_levels,
        instruments,
        exercise_domains,
        persons,
        organizations,
        places,
        occurred,
        disputed,
        statuses,
        agreement_statuses,
        include_probes,
    } = filter;
    let texts =
        [names, states_any, states_all, states_only, observer_states, hosts, guests, persons, organizations, places];
    let enums = [kinds, topics, visit_types, visit_levels, instruments, exercise_domains, statuses, agreement_statuses];
    let values = texts.iter().map(|l| l.len()).sum::<usize>() + enums.iter().map(|l| l.len()).sum::<usize>();
    if values > MAX_FILTER_VALUES {
        return Err(too_large(at, values, "values", MAX_FILTER_VALUES));
    }
    let range = occurred.as_ref().map(|range| parse_range(range, &format!("{at}.occurred"), violations));
    let mut parser = Parser { at, clauses: Vec::new(), violations };
    parser.enums("kinds", Tag::Kind, kinds);
    parser.texts("names", Tag::Name, Mode::Any, names, Constraint::AnyRecord);
    parser.texts("states_any", Tag::State, Mode::Any, states_any, Constraint::State);
    parser.texts("states_all", Tag::State, Mode::All, states_all, Constraint::State);
    parser.texts("states_only", Tag::State, Mode::Only, states_only, Constraint::State);
    parser.texts("observer_states", Tag::ObserverState, Mode::Any, observer_states, Constraint::State);
    parser.texts("hosts", Tag::Host, Mode::Any, hosts, Constraint::State);
    parser.texts("guests", Tag::Guest, Mode::Any, guests, Constraint::State);
    parser.enums("topics", Tag::Topic, topics);
    parser.enums("visit_types", Tag::VisitType, visit_types);
    parser.enums("visit_levels", Tag::VisitLevel, visit_levels);
    parser.enums("instruments", Tag::Instrument, instruments);
    parser.enums("exercise_domains", Tag::Domain, exercise_domains);
    parser.enums("statuses", Tag::Status, statuses);
    parser.enums("agreement_statuses", Tag::AgreementStatus, agreement_statuses);
    parser.texts("persons", Tag::Person, Mode::Any, persons, Constraint::Record(RecordKind::Person));
    parser.texts(
        "organizations",
        Tag::Organization,
        Mode::Any,
        organizations,
        Constraint::Record(RecordKind::Organization),
    );
    parser.texts("places", Tag::Place, Mode::Any, places, Constraint::Record(RecordKind::Place));
    parser.clause(Tag::Disputed, Mode::Any, disputed.iter().map(ToString::to_string).collect());
    let clauses = parser.clauses;
    if clauses.is_empty() && range.is_none() && !include_probes {
        violations
            .push(Violation { field: at.to_owned(), description: "is empty; leave it out to select all".to_owned() });
    }
    Ok(Filter { clauses, occurred: range, include_probes: *include_probes })
}

fn parse_range(range: &v1::OccurredRange, at: &str, violations: &mut Vec<Violation>) -> Range {
    let mut bound = |text: &str, field: &str, pick: fn(&Date) -> Option<Day>| {
        if text.is_empty() {
            return None;
        }
        match Date::parse(text) {
            Ok(date) => pick(&date),
            Err(error) => {
                violations.push(Violation { field: format!("{at}.{field}"), description: error.to_string() });
                None
            }
        }
    };
    let from = bound(&range.from, "from", |d| d.span().earliest);
    let until = bound(&range.until, "until", |d| d.span().latest);
    if range.from.is_empty() && range.until.is_empty() {
        violations
            .push(Violation { field: at.to_owned(), description: "one of from and until is required".to_owned() });
    }
    if let (Some(from), Some(until)) = (from, until)
        && until < from
    {
        violations.push(Violation { field: format!("{at}.until"), description: "is before from".to_owned() });
    }
    Range { from, until, definite_only: range.definite_only }
}
