//! What stands in the columns of CSV: per kind of record, and of sources, reports, events and revisions. They only
//! ever grow at the end.

/// What a cell shows of a message; paths are names of fields with dots between them, and lists are walked.
#[derive(Debug, Clone, Copy)]
pub enum Cell {
    /// Everything at this path.
    All(&'static str),
    /// Of each message at the path, the first of its fields that is stated.
    Either(&'static str, &'static [&'static str]),
    /// Of each message at the path, those of its fields that are stated, a space between them.
    Each(&'static str, &'static [&'static str]),
    /// The field of the oneof that is set: `visit`.
    Which(&'static [&'static str]),
    /// The record in one line, as lists show it.
    What,
}

use Cell::{All, Each, Either, What, Which};

/// A heading, and what stands below it.
pub type Column = (&'static str, Cell);

/// Whoever is named: by the record, else in words.
const WHO: &[&str] = &["person", "name_as_stated"];
/// Wherever it is: by the record, else in words.
const WHERE: &[&str] = &["place", "as_stated"];
/// Who published: by the record, else in words.
const PUBLISHER: &[&str] = &["organization", "name_as_stated"];
const KINDS: &[&str] = &["visit", "meeting", "agreement", "exercise", "person", "organization", "place"];

/// What every record's row begins with.
pub const HEAD: &[Column] = &[("name", All("name")), ("titles", All("titles"))];
/// What a row begins with where records of several kinds come together.
pub const OVERVIEW: &[Column] = &[("name", All("name")), ("what", What)];

/// What the registry says of every record, at the end of its row.
pub const INFO: &[Column] = &[
    ("states", All("info.states")),
    ("observer_states", All("info.observer_states")),
    ("occurred", All("info.occurred")),
    ("status", Either("info.status", &["status", "agreement_status"])),
    ("certainty", All("info.status.certainty")),
    ("status_reason", All("info.status.reason")),
    ("accounts", All("info.accounts")),
    ("disputed", All("info.disputed_fields")),
    ("revision", All("info.revision")),
    ("created", All("info.create_time")),
    ("updated", All("info.update_time")),
    ("summary", All("summary")),
    ("external_ids", Each("external_ids", &["scheme", "id"])),
    ("note", All("note")),
];

/// Of visits.
pub const VISIT: &[Column] = &[
    ("type", All("type")),
    ("type_as_stated", All("type_as_stated")),
    ("level", All("level")),
    ("hosts", All("hosts.state")),
    ("host_heads", Either("hosts.head", WHO)),
    ("guests", All("guests.state")),
    ("guest_heads", Either("guests.head", WHO)),
    ("planned_start", All("planned_start")),
    ("planned_end", All("planned_end")),
    ("start", All("start")),
    ("end", All("end")),
    ("days_min", All("duration_days.min")),
    ("days_max", All("duration_days.max")),
    ("places", Either("places", WHERE)),
    ("topics", All("topics")),
    ("outcomes", Either("outcomes", &["record", "text"])),
    ("part_of", All("part_of")),
];

/// Of meetings.
pub const MEETING: &[Column] = &[
    ("kind", All("kind")),
    ("kind_as_stated", All("kind_as_stated")),
    ("hosts", All("hosts.state")),
    ("host_heads", Either("hosts.head", WHO)),
    ("participants", All("participants.state")),
    ("participant_heads", Either("participants.head", WHO)),
    ("planned_start", All("planned_start")),
    ("planned_end", All("planned_end")),
    ("start", All("start")),
    ("end", All("end")),
    ("places", Either("places", WHERE)),
    ("topics", All("topics")),
    ("outcomes", Either("outcomes", &["record", "text"])),
    ("part_of", All("part_of")),
];

/// Of agreements.
pub const AGREEMENT: &[Column] = &[
    ("instrument", All("instrument")),
    ("instrument_as_stated", All("instrument_as_stated")),
    ("level", All("level")),
    ("legal_character", All("legal_character")),
    ("parties", All("parties.state")),
    ("party_organizations", All("parties.organization")),
    ("acts", Each("actions", &["type", "date"])),
    ("valid_from", All("validity.start.date")),
    ("valid_from_basis", All("validity.start.basis")),
    ("valid_until", All("validity.end.date")),
    ("valid_until_basis", All("validity.end.basis")),
    ("renewal", All("renewal.kind")),
    ("renewal_months", All("renewal.period_months")),
    ("series", All("series")),
    ("relations", Each("relations", &["type", "target"])),
    ("topics", All("topics")),
    ("languages", All("languages")),
    ("text_uri", All("text_uri")),
];

/// Of exercises.
pub const EXERCISE: &[Column] = &[
    ("series", All("series")),
    ("edition", All("edition")),
    ("forms", All("forms")),
    ("domains", All("domains")),
    ("participants", Each("participants", &["state", "role"])),
    ("planned_start", All("planned_start")),
    ("planned_end", All("planned_end")),
    ("start", All("start")),
    ("end", All("end")),
    ("areas", Either("areas", WHERE)),
    ("basis", All("basis")),
];

/// Of persons.
pub const PERSON: &[Column] = &[
    ("names", All("names")),
    ("ranks", All("ranks.rank")),
    ("nato", All("ranks.nato.code")),
    ("posts", All("postings.post")),
    ("organizations", All("postings.organization")),
    ("post_states", All("postings.state")),
];

/// Of organizations.
pub const ORGANIZATION: &[Column] =
    &[("names", All("names")), ("kind", All("kind")), ("state", All("state")), ("parent", All("parent"))];

/// Of places.
pub const PLACE: &[Column] = &[
    ("names", All("names")),
    ("kind", All("kind")),
    ("state", All("state")),
    ("within", All("within")),
    ("latitude", All("coordinates.latitude")),
    ("longitude", All("coordinates.longitude")),
];

/// Of sources.
pub const SOURCE: &[Column] = &[
    ("name", All("name")),
    ("kind", All("kind")),
    ("publisher", Either("publisher", PUBLISHER)),
    ("published", All("published")),
    ("language", All("language")),
    ("reliability", All("reliability")),
    ("credibility", All("credibility")),
    ("account", All("account")),
    ("attributed_to", Either("attributed_to", PUBLISHER)),
    ("origin", Either("origin", PUBLISHER)),
    ("derived_from", All("derived_from")),
    ("uri", All("uri")),
    ("updated", All("update_time")),
];

/// Of reports.
pub const REPORT: &[Column] = &[
    ("name", All("name")),
    ("record", All("record")),
    ("kind", Which(KINDS)),
    ("source", All("source.name")),
    ("source_kind", All("source.kind")),
    ("publisher", Either("source.publisher", PUBLISHER)),
    ("published", All("source.published")),
    ("account", All("account")),
    ("considered", All("considered")),
    ("revision", All("revision")),
    ("created", All("create_time")),
    ("updated", All("update_time")),
    ("uri", All("source.uri")),
];

/// Of the reports of one record, with whether they stand.
pub const LISTED_REPORT: &[Column] = &[
    ("name", All("report.name")),
    ("record", All("report.record")),
    ("source", All("report.source.name")),
    ("source_kind", All("report.source.kind")),
    ("publisher", Either("report.source.publisher", PUBLISHER)),
    ("published", All("report.source.published")),
    ("account", All("report.account")),
    ("revision", All("report.revision")),
    ("active", All("active")),
    ("until_revision", All("until_revision")),
    ("uri", All("report.source.uri")),
];

/// Of events.
pub const EVENT: &[Column] = &[
    ("id", All("id")),
    ("type", All("type")),
    ("class", All("event_class")),
    ("time", All("time")),
    ("subject", All("subject")),
    ("occurred", All("occurred")),
    ("basis", All("basis")),
    ("states", All("states")),
    ("headline", All("headline")),
    ("intent", All("intent")),
    ("principal", All("principal")),
    ("reports", All("reports")),
    ("changed", All("changed_paths")),
    ("fields", All("fields")),
    ("reason", All("reason")),
    ("withdraws", All("withdraws")),
    ("revises", All("revises")),
    ("revision", All("revision")),
    ("index", All("index")),
];

/// Of the history of a record.
pub const REVISION: &[Column] = &[
    ("revision", All("revision")),
    ("time", All("time")),
    ("principal", All("principal")),
    ("events", All("events.type")),
    ("headlines", All("events.headline")),
];
