//! A report: what one source states about one record, checked and in its stored form.

use std::{
    cmp::Reverse,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use prost::Message as _;

use super::{
    check,
    error::{Error, Reason, Result, Violation},
    fold::{fold, slug},
    name::{self, RecordName, ReportName},
    resolve::{Resolution, resolve},
};
use crate::{
    limits::MAX_REPORT_BYTES,
    pb::{
        tree::{Shape, Tree, Value},
        v1::{self, RecordKind, Reliability, SourceKind, record::Kind, report::Content},
    },
};

/// A report that was checked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Report(Arc<Checked>);

/// What a [`Report`] is.
#[derive(Debug)]
pub struct Checked {
    /// Its name.
    pub name: ReportName,
    /// The source block it was filed with.
    pub source: v1::Source,
    /// Whose words it carries.
    pub account: Arc<str>,
    /// When its source was published; `None` is unknown.
    pub published: Option<jiff::Timestamp>,
    /// What it states, without name and info.
    pub content: Tree,
    /// The accounts that a ruling has considered.
    pub considered: Vec<String>,
    /// See [`Report::stored`].
    stored: OnceLock<v1::Report>,
    /// See [`Report::alone`].
    alone: OnceLock<Arc<Resolution>>,
}

impl Deref for Report {
    type Target = Checked;

    fn deref(&self) -> &Checked {
        &self.0
    }
}

/// A day in microseconds.
const GRACE_US: i64 = 86_400_000_000;

/// The rank of a report, highest first; see `product.md`, resolution rule 1.
pub type Rank = (u8, u8, Reverse<Option<jiff::Timestamp>>, String, String);

impl Report {
    /// Checks a report as it was sent; `at` is its path in the request.
    ///
    /// # Errors
    ///
    /// `FIELD_INVALID` with every wrong field, `TOO_LARGE` if it exceeds the bound of a report.
    pub fn parse(report: &v1::Report, shared: Option<&v1::Source>, at: &str) -> Result<Self> {
        check_size(report, at)?;
        let mut violations = Vec::new();
        let path = |name: &str| check::join(at, name);
        let v1::Report { record, source, content, considered, .. } = report;
        let record_name = parse_record(record, path("record"), &mut violations);
        let source = match source.as_ref().or(shared) {
            Some(source) => Some(parse_source(source, &path("source"), &mut violations)),
            None => {
                violations.push(violation(path("source"), "is required, because the request names none for all"));
                None
            }
        };
        if let (Some(record), Some(source)) = (&record_name, &source) {
            check_probe(record, source, at, &mut violations);
        }
        let content = parse_content(content.as_ref(), record_name.as_ref(), at, &mut violations);
        check_considered(considered, source.as_ref(), &path("considered"), &mut violations);
        match (record_name, source, content) {
            (Some(record), Some(source), Some(content)) if violations.is_empty() => {
                let name = ReportName { record, source: source.name.clone() };
                Ok(Self::assemble(name, source, content, considered.clone()))
            }
            _ => Err(Error::violations(Reason::FieldInvalid, violations)),
        }
    }

    fn assemble(name: ReportName, source: v1::Source, content: Tree, mut considered: Vec<String>) -> Self {
        considered.sort();
        considered.dedup();
        let published = source.published.as_deref().and_then(|p| super::date::published(p).ok());
        let account = source.account.as_str().into();
        let (stored, alone) = (OnceLock::new(), OnceLock::new());
        Self(Arc::new(Checked { name, account, published, source, content, considered, stored, alone }))
    }

    /// A report of an account that states `content`, for comparing records: it has no name or source of its own.
    ///
    /// # Panics
    ///
    /// Never: the name is a literal.
    #[must_use]
    pub fn of_account(account: &str, content: Tree) -> Self {
        let name = "visits/x/reports/x".parse().expect("a literal name");
        let source = v1::Source { account: account.to_owned(), ..v1::Source::default() };
        Self::assemble(name, source, content, Vec::new())
    }

    /// Computes what the writer will ask of it, so that its one thread need not.
    pub fn prepare(&self) {
        let _ = (self.stored(), self.alone().facets(), self.alone().indexable());
    }

    /// Reads a report in its stored form.
    ///
    /// # Errors
    ///
    /// `ENTRY_CORRUPT` if it is not one.
    pub fn from_stored(report: v1::Report) -> Result<Self> {
        let corrupt = || Error::new(Reason::EntryCorrupt, "a stored report cannot be read");
        let name: ReportName = report.name.parse().map_err(|_| corrupt())?;
        let content = report.content.as_ref().map(fields).ok_or_else(corrupt)?;
        Ok(Self::assemble(name, report.source.ok_or_else(corrupt)?, content, report.considered))
    }

    /// The stored form, with name, account and etag.
    #[must_use]
    pub fn stored(&self) -> &v1::Report {
        self.stored.get_or_init(|| {
            let mut stored = v1::Report {
                name: self.name.to_string(),
                record: self.name.record.to_string(),
                source: Some(self.source.clone()),
                considered: self.considered.clone(),
                account: self.account.to_string(),
                content: Some(typed(self.name.record.kind(), &self.content)),
                ..v1::Report::default()
            };
            stored.etag = etag(&stored.encode_to_vec());
            stored
        })
    }

    /// What it states as a record, if its stored form was asked for before.
    #[must_use]
    pub fn said(&self) -> Option<v1::Record> {
        let kind = match self.stored.get()?.content.clone()? {
            Content::Visit(m) => Kind::Visit(m),
            Content::Meeting(m) => Kind::Meeting(m),
            Content::Agreement(m) => Kind::Agreement(m),
            Content::Exercise(m) => Kind::Exercise(m),
            Content::Person(m) => Kind::Person(m),
            Content::Organization(m) => Kind::Organization(m),
            Content::Place(m) => Kind::Place(m),
        };
        Some(v1::Record { kind: Some(kind) })
    }

    /// What its record is as long as no other report is about it.
    ///
    /// # Panics
    ///
    /// Never: one report resolves to a record.
    #[must_use]
    pub fn alone(&self) -> &Arc<Resolution> {
        self.alone.get_or_init(|| Arc::new(resolve(std::slice::from_ref(self)).expect("one report makes a record")))
    }

    /// Its rank among the reports of a record, highest first.
    #[must_use]
    pub fn rank(&self) -> Rank {
        let kind = match self.source.kind() {
            SourceKind::Editor => 0,
            SourceKind::OfficialRegister => 1,
            SourceKind::PrimaryOfficial => 2,
            SourceKind::Secondary => 3,
            SourceKind::Dataset => 4,
            SourceKind::SyndicatedCopy | SourceKind::Unspecified => 5,
        };
        let reliability = match self.source.reliability() {
            Reliability::A => 0,
            Reliability::B => 1,
            Reliability::C => 2,
            Reliability::F | Reliability::Unspecified => 3,
            Reliability::D => 4,
            Reliability::E => 5,
        };
        (kind, reliability, Reverse(self.published), self.source.name.clone(), self.name.record.to_string())
    }

    /// Whether its source was published after a moment. It would win over every other of its account. A day of grace:
    /// days are those of the publisher.
    #[must_use]
    pub fn is_of_the_future(&self, now_us: i64) -> bool {
        self.published.is_some_and(|p| p.as_microsecond() > now_us.saturating_add(GRACE_US))
    }

    /// Whether it is a ruling.
    #[must_use]
    pub fn is_ruling(&self) -> bool {
        self.source.kind() == SourceKind::Editor
    }

    /// Whether its source copies or translates another.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.source.kind() == SourceKind::SyndicatedCopy || self.source.derived_from.is_some()
    }
}

/// A short digest that changes with the bytes.
#[must_use]
pub fn etag(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..16].to_owned()
}

/// Reads what is known of a record, as it would be filed; record and source may be missing.
///
/// # Errors
///
/// As of [`Report::parse`]; also if the content states nothing.
pub fn parse_partial(report: &v1::Report, at: &str) -> Result<v1::Record> {
    check_size(report, at)?;
    let mut violations = Vec::new();
    let v1::Report { record, content, .. } = report;
    let kind = content.as_ref().map_or(RecordKind::Unspecified, kind_of);
    let named =
        (!record.is_empty()).then(|| parse_record(record, check::join(at, "record"), &mut violations)).flatten();
    let content = parse_content(content.as_ref(), named.as_ref(), at, &mut violations);
    match content {
        Some(content) if violations.is_empty() && content.is_empty() => {
            let field = check::join(at, &name::message(kind).to_lowercase());
            Err(Error::field(Reason::FieldInvalid, field, "states nothing to compare"))
        }
        Some(content) if violations.is_empty() => Ok(super::record::from_tree(kind, &content)),
        _ => Err(Error::violations(Reason::FieldInvalid, violations)),
    }
}

fn check_size(report: &v1::Report, at: &str) -> Result<()> {
    let size = report.encoded_len();
    if size <= MAX_REPORT_BYTES {
        return Ok(());
    }
    let description = format!("is {size} bytes; a report has at most {MAX_REPORT_BYTES}");
    Err(Error::field(Reason::TooLarge, at, description).with("limit", MAX_REPORT_BYTES))
}

fn violation(field: String, description: impl Into<String>) -> Violation {
    Violation { field, description: description.into() }
}

fn parse_record(record: &str, path: String, violations: &mut Vec<Violation>) -> Option<RecordName> {
    match record.parse::<RecordName>() {
        Ok(name) => Some(name),
        Err(error) => {
            violations.push(violation(path, error.to_string()));
            None
        }
    }
}

/// A probe is an organization, which no relation of states counts, and its source is one too: nobody files one by accident.
fn check_probe(record: &RecordName, source: &v1::Source, at: &str, violations: &mut Vec<Violation>) {
    let (is_probe, is_probes) = (name::is_probe(record.as_str()), name::is_probe(&source.name));
    let reserved = "ids that begin with probe- are reserved for checks of the service";
    if is_probe && (!is_probes || record.kind() != RecordKind::Organization) {
        violations.push(violation(check::join(at, "record"), reserved));
    } else if is_probes && !is_probe {
        violations.push(violation(check::join(at, "source.name"), reserved));
    }
}

/// Checks a source block and computes its account.
///
/// # Panics
///
/// Never: generated code and descriptors come from the same build.
pub fn parse_source(source: &v1::Source, at: &str, violations: &mut Vec<Violation>) -> v1::Source {
    let mut fields = Tree::of(Shape::of("Source"), source);
    check::message(&mut fields, at, violations);
    let mut source: v1::Source = fields.to();
    source.account = account(&source);
    source
}

/// Whose words a source carries: see `Source.account` in the contract.
fn account(source: &v1::Source) -> String {
    if source.kind() == SourceKind::Editor {
        return source.name.clone();
    }
    let whose = source.origin.as_ref().or_else(|| source.attributed_to.last()).or(source.publisher.as_ref());
    whose.map(attribution_key).unwrap_or_default()
}

/// The organization, else `named/` and the folded name.
#[must_use]
pub fn attribution_key(whose: &v1::Attribution) -> String {
    match (&whose.organization, &whose.name_as_stated) {
        (Some(organization), _) => organization.clone(),
        (None, name) => format!("named/{}", fold(name.as_deref().unwrap_or_default())),
    }
}

fn parse_content(
    content: Option<&Content>,
    record: Option<&RecordName>,
    at: &str,
    violations: &mut Vec<Violation>,
) -> Option<Tree> {
    let Some(content) = content else {
        violations.push(violation(
            at.to_owned(),
            "one of visit, meeting, agreement, exercise, person, organization, place is required",
        ));
        return None;
    };
    let kind = kind_of(content);
    let mut content = fields(content);
    let path = check::join(at, &name::message(kind).to_lowercase());
    if let Some(record) = record {
        if record.kind() != kind {
            violations.push(violation(path.clone(), format!("is not what {record} is about")));
        }
        if content.text("name").is_some_and(|n| n != record.as_str()) {
            violations.push(violation(check::join(&path, "name"), format!("is not {record}, the report's record")));
        }
    }
    check::message(&mut content, &path, violations);
    content.clear_named("name");
    default_keys(&mut content, &path, violations);
    Some(content)
}

fn check_considered(considered: &[String], source: Option<&v1::Source>, path: &str, violations: &mut Vec<Violation>) {
    if !considered.is_empty() && source.is_some_and(|s| s.kind() != SourceKind::Editor) {
        violations.push(violation(path.to_owned(), "is for sources of kind EDITOR only"));
    }
    if considered.len() > super::constraints::MAX_ITEMS {
        violations
            .push(violation(path.to_owned(), format!("has more than {} elements", super::constraints::MAX_ITEMS)));
    }
    for (index, account) in considered.iter().enumerate() {
        if let Err(why) = check::check_text(account, &[]) {
            violations.push(violation(format!("{path}[{index}]"), why));
        }
    }
}

/// Fills in the keys of elements that have none, as the contract states them beside each `key`.
fn default_keys(content: &mut Tree, at: &str, violations: &mut Vec<Violation>) {
    for list in ["itinerary", "actions", "statements", "stages", "progress"] {
        let Some(elements) = content.named_mut(list).and_then(Value::as_list_mut) else { continue };
        let mut taken: Vec<String> = Vec::new();
        for (index, element) in elements.iter().enumerate() {
            let Some(key) = element.as_message().and_then(|m| m.text("key")) else { continue };
            if taken.iter().any(|t| t == key) {
                let path = format!("{}[{index}].key", check::join(at, list));
                violations.push(violation(path, format!("{key:?} is used twice in this list")));
            }
            taken.push(key.to_owned());
        }
        for element in elements.iter_mut().filter_map(Value::as_message_mut) {
            if element.text("key").is_none() {
                let key = free_key(&default_key(element), &taken);
                element.set_named("key", Value::Text(key.as_str().into()));
                taken.push(key);
            }
        }
    }
}

/// The key itself, or with -2, -3 if it is taken.
fn free_key(key: &str, taken: &[String]) -> String {
    let is_free = |candidate: &String| !taken.contains(candidate);
    (1..).map(|n| if n == 1 { key.to_owned() } else { format!("{key}-{n}") }).find(is_free).unwrap_or_default()
}

fn default_key(element: &Tree) -> String {
    let word = |name: &str| element.word(name).map(|w| w.replace('_', "-"));
    match element.shape().name() {
        "AgreementAction" => match word("type").as_deref() {
            Some(
                "adopted"
                | "signed"
                | "signed-subject-to-ratification"
                | "signed-ad-referendum"
                | "endorsed"
                | "notes-exchanged",
            ) => "concluded".to_owned(),
            Some(other) => other.to_owned(),
            None => "action".to_owned(),
        },
        "ItineraryItem" => {
            let kind = word("kind").unwrap_or_else(|| "item".to_owned());
            let place = element.named("place").and_then(Value::as_message).and_then(|p| {
                p.text("place").map(|n| name::id_of(n).to_owned()).or_else(|| p.text("as_stated").and_then(slug))
            });
            place.map_or_else(|| kind.clone(), |place| format!("{kind}-{place}"))
        }
        "Statement" => word("act").unwrap_or_else(|| "statement".to_owned()),
        "ExerciseStage" => {
            let title = element.named("title").and_then(Value::as_message).and_then(|t| t.text("text"));
            title.and_then(slug).unwrap_or_else(|| "stage".to_owned())
        }
        _ => word("type").unwrap_or_else(|| "stage".to_owned()),
    }
}

/// The kind of a content.
#[must_use]
pub fn kind_of(content: &Content) -> RecordKind {
    match content {
        Content::Visit(_) => RecordKind::Visit,
        Content::Meeting(_) => RecordKind::Meeting,
        Content::Agreement(_) => RecordKind::Agreement,
        Content::Exercise(_) => RecordKind::Exercise,
        Content::Person(_) => RecordKind::Person,
        Content::Organization(_) => RecordKind::Organization,
        Content::Place(_) => RecordKind::Place,
    }
}

/// What a content states.
fn fields(content: &Content) -> Tree {
    let shape = Shape::of(name::message(kind_of(content)));
    match content {
        Content::Visit(m) => Tree::of(shape, m),
        Content::Meeting(m) => Tree::of(shape, m),
        Content::Agreement(m) => Tree::of(shape, m),
        Content::Exercise(m) => Tree::of(shape, m),
        Content::Person(m) => Tree::of(shape, m),
        Content::Organization(m) => Tree::of(shape, m),
        Content::Place(m) => Tree::of(shape, m),
    }
}

/// # Panics
///
/// If the content is not of this kind.
fn typed(kind: RecordKind, content: &Tree) -> Content {
    match kind {
        RecordKind::Visit => Content::Visit(content.to()),
        RecordKind::Meeting => Content::Meeting(content.to()),
        RecordKind::Agreement => Content::Agreement(content.to()),
        RecordKind::Exercise => Content::Exercise(content.to()),
        RecordKind::Person => Content::Person(content.to()),
        RecordKind::Organization => Content::Organization(content.to()),
        RecordKind::Place | RecordKind::Unspecified => Content::Place(content.to()),
    }
}

/// The path of a report in a request: `reports[3]`.
#[must_use]
pub fn path_in_request(index: usize) -> String {
    format!("reports[{index}]")
}
