//! Facets: what filters ask of a record, as a set of terms and a span of days.
//!
//! Lists, watches, the interest index and the store's indexes all work on these, so that they cannot disagree.

use prost::Message as _;

use super::{
    date::{self, Span},
    name::RecordName,
    record,
    said::{self, Said},
    status,
};
use crate::pb::v1::{self, ExerciseRole, RecordKind, record::Kind};

/// What a term is about. The numbers are stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Tag {
    /// The kind of record.
    Kind = 1,
    /// The record's name, and those merged into it.
    Name = 2,
    /// A state taking part.
    State = 3,
    /// A state observing.
    ObserverState = 4,
    /// A host state.
    Host = 5,
    /// A guest state.
    Guest = 6,
    /// A topic.
    Topic = 7,
    /// The type of a visit.
    VisitType = 8,
    /// The level of a visit.
    VisitLevel = 9,
    /// The form of an agreement.
    Instrument = 10,
    /// The domain of an exercise.
    Domain = 11,
    /// A person referred to.
    Person = 12,
    /// An organization referred to.
    Organization = 13,
    /// A place referred to.
    Place = 14,
    /// Whether fields are disputed: `true` or `false`.
    Disputed = 15,
    /// The derived status of a visit, meeting or exercise.
    Status = 16,
    /// The derived status of an agreement.
    AgreementStatus = 17,
    /// An agreement that this one supersedes or renews.
    Successor = 18,
}

impl Tag {
    /// The tag of a stored number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        const ALL: [Tag; 18] = [
            Tag::Kind,
            Tag::Name,
            Tag::State,
            Tag::ObserverState,
            Tag::Host,
            Tag::Guest,
            Tag::Topic,
            Tag::VisitType,
            Tag::VisitLevel,
            Tag::Instrument,
            Tag::Domain,
            Tag::Person,
            Tag::Organization,
            Tag::Place,
            Tag::Disputed,
            Tag::Status,
            Tag::AgreementStatus,
            Tag::Successor,
        ];
        ALL.into_iter().find(|t| *t as u8 == number)
    }
}

/// One term: a tag and its value; enum values by number.
pub type Term = (Tag, String);

/// The facets of one version of a record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facets {
    /// Every term once, sorted: they are few, are asked for more than they are made, and most are looked through.
    terms: Vec<Term>,
    /// When it occurred, if it has a date.
    pub occurred: Option<Span>,
}

impl Facets {
    /// Of terms, in any order.
    #[must_use]
    pub fn new(terms: Vec<Term>, occurred: Option<Span>) -> Self {
        let mut facets = Self { terms, occurred };
        facets.sort();
        facets
    }

    /// The facets of a record as the registry holds it.
    #[must_use]
    pub fn of(record: &v1::Record) -> Self {
        let mut references = Vec::new();
        let bytes = record.encode_to_vec();
        let seen = said::each(&bytes, &mut |said| {
            if let Said::Reference(name) = said {
                references.extend(reference(name));
            }
        });
        debug_assert!(seen.is_some(), "a record that was just encoded can be read");
        Self::with_references(record, references)
    }

    /// The facets of a record whose references are known.
    #[must_use]
    pub fn with_references(record: &v1::Record, references: impl IntoIterator<Item = Term>) -> Self {
        let mut facets = Self::without_references(record);
        facets.terms.extend(references);
        facets.sort();
        facets
    }

    /// The facets of a record, but for the persons, organizations and places it refers to: for those the whole record has
    /// to be read.
    #[must_use]
    pub fn without_references(record: &v1::Record) -> Self {
        let occurred = record::said_occurred(record).map(|d| date::span_of(&d));
        let mut facets = Self { terms: Vec::with_capacity(16), occurred };
        let kind = record::kind(record);
        facets.add(Tag::Kind, (kind as i32).to_string());
        facets.add(Tag::Name, record::name_of(record));
        for merged in record::info(record).iter().flat_map(|i| &i.merged_names) {
            facets.add(Tag::Name, merged);
        }
        let disputed = record::info(record).is_some_and(|i| !i.disputed_fields.is_empty());
        facets.add(Tag::Disputed, disputed.to_string());
        facets.set_status(record::info(record).and_then(|i| i.status.as_ref()));
        match &record.kind {
            Some(Kind::Visit(m)) => facets.visit(m),
            Some(Kind::Meeting(m)) => {
                facets.sides(&m.hosts, Some(Tag::Host));
                facets.sides(&m.participants, None);
                facets.numbers(Tag::Topic, &m.topics);
            }
            Some(Kind::Agreement(m)) => {
                m.parties.iter().for_each(|p| facets.add(Tag::State, &p.state));
                facets.numbers(Tag::Topic, &m.topics);
                facets.number(Tag::Instrument, m.instrument);
                status::succeeded(m).for_each(|(_, target)| facets.add(Tag::Successor, target));
            }
            Some(Kind::Exercise(m)) => facets.exercise(m),
            Some(Kind::Person(m)) => {
                m.postings.iter().filter_map(|p| p.state.as_ref()).for_each(|s| facets.add(Tag::State, s));
            }
            Some(Kind::Organization(m)) => m.state.iter().for_each(|s| facets.add(Tag::State, s)),
            Some(Kind::Place(m)) => m.state.iter().for_each(|s| facets.add(Tag::State, s)),
            None => {}
        }
        facets.sort();
        facets
    }

    /// Every term once, sorted.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The values of one tag, sorted.
    pub fn values(&self, tag: Tag) -> impl Iterator<Item = &str> {
        let from = self.terms.partition_point(|(t, _)| *t < tag);
        self.terms[from..].iter().take_while(move |(t, _)| *t == tag).map(|(_, v)| v.as_str())
    }

    /// Whether the record is a probe, which a check of the service filed.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.values(Tag::Name).any(super::name::is_probe)
    }

    /// Puts another derived status in place of the one it has.
    pub fn set_status(&mut self, status: Option<&v1::DerivedStatus>) {
        self.terms.retain(|(tag, _)| !matches!(tag, Tag::Status | Tag::AgreementStatus));
        if let Some(status) = status {
            self.number(Tag::Status, status.status);
            self.number(Tag::AgreementStatus, status.agreement_status);
            self.sort();
        }
    }

    /// Whether it has this term.
    #[must_use]
    pub fn has(&self, tag: Tag, value: &str) -> bool {
        self.terms.binary_search_by(|(t, v)| (*t, v.as_str()).cmp(&(tag, value))).is_ok()
    }

    fn add(&mut self, tag: Tag, value: impl Into<String>) {
        self.terms.push((tag, value.into()));
    }

    fn sort(&mut self) {
        self.terms.sort_unstable();
        self.terms.dedup();
    }

    fn number(&mut self, tag: Tag, number: i32) {
        if number != 0 {
            self.add(tag, number.to_string());
        }
    }

    fn numbers(&mut self, tag: Tag, numbers: &[i32]) {
        numbers.iter().for_each(|n| self.number(tag, *n));
    }

    fn sides(&mut self, sides: &[v1::Side], also: Option<Tag>) {
        for side in sides {
            self.add(Tag::State, &side.state);
            if let Some(tag) = also {
                self.add(tag, &side.state);
            }
        }
    }

    fn visit(&mut self, visit: &v1::Visit) {
        self.sides(&visit.hosts, Some(Tag::Host));
        self.sides(&visit.guests, Some(Tag::Guest));
        self.numbers(Tag::Topic, &visit.topics);
        self.number(Tag::VisitType, visit.r#type);
        self.number(Tag::VisitLevel, visit.level);
    }

    fn exercise(&mut self, exercise: &v1::Exercise) {
        for participant in &exercise.participants {
            match participant.role() {
                ExerciseRole::Observer => self.add(Tag::ObserverState, &participant.state),
                ExerciseRole::Host => {
                    self.add(Tag::State, &participant.state);
                    self.add(Tag::Host, &participant.state);
                }
                _ => self.add(Tag::State, &participant.state),
            }
        }
        self.numbers(Tag::Domain, &exercise.domains);
    }
}

/// The term of a reference, if it is one to a person, organization or place.
#[must_use]
pub(super) fn reference(name: &str) -> Option<Term> {
    let kind = name.parse::<RecordName>().ok()?.kind();
    Some((reference_tag(kind)?, name.to_owned()))
}

/// Facets in their stored form.
#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(message, repeated, tag = "1")]
    terms: Vec<StoredTerm>,
    #[prost(bool, tag = "2")]
    dated: bool,
    #[prost(int32, optional, tag = "3")]
    earliest: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    latest: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredTerm {
    #[prost(uint32, tag = "1")]
    tag: u32,
    #[prost(string, tag = "2")]
    value: String,
}

impl Facets {
    /// The stored form.
    #[must_use]
    pub fn to_stored(&self) -> Vec<u8> {
        let term = |(tag, value): &Term| StoredTerm { tag: u32::from(*tag as u8), value: value.clone() };
        let span = self.occurred;
        let stored = Stored {
            terms: self.terms.iter().map(term).collect(),
            dated: span.is_some(),
            earliest: span.and_then(|s| s.earliest),
            latest: span.and_then(|s| s.latest),
        };
        stored.encode_to_vec()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn from_stored(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let stored = Stored::decode(bytes)?;
        let tag = |number: u32| u8::try_from(number).ok().and_then(Tag::from_number);
        let terms = stored.terms.into_iter().filter_map(|t| Some((tag(t.tag)?, t.value))).collect();
        let occurred = stored.dated.then_some(Span { earliest: stored.earliest, latest: stored.latest });
        Ok(Self::new(terms, occurred))
    }
}

fn reference_tag(kind: RecordKind) -> Option<Tag> {
    match kind {
        RecordKind::Person => Some(Tag::Person),
        RecordKind::Organization => Some(Tag::Organization),
        RecordKind::Place => Some(Tag::Place),
        _ => None,
    }
}
