//! How every field is resolved: the one table of lists and comparisons.
//!
//! A field that is in no row, and a row without a field, fail a test.

use std::{collections::HashMap, sync::LazyLock};

use super::name;
use crate::pb::tree::{Field, Shape};

/// How two stated values of a singular field compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Equal agrees, else conflicts; a value refines one that is only said in words.
    Enum,
    /// EDTF: disjoint conflicts, strictly inside refines, all else agrees; a qualified date never conflicts.
    Date,
    /// A date with its basis.
    InferableDate,
    /// Bounds, compared as dates are.
    Range,
    /// Equal agrees, else conflicts.
    Exact,
    /// A code with its basis; equal codes agree.
    Grade,
    /// By record; one that only has words is refined.
    Place,
    /// By state and organization; one without organization is refined.
    Party,
    /// PLANNED is refined by what came of it; HELD and CANCELLED conflict.
    ItemStatus,
    /// By `person`; a name alone is refined by a reference.
    Person,
    /// Texts: always agree.
    Never,
}

/// What makes an element of a list the same in two reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The value itself: enums and names of records.
    Itself,
    /// Its language, script and text.
    Words,
    /// The place, else the folded text.
    Place,
    /// The record, else the folded text.
    Outcome,
    /// The field `key`.
    Key,
    /// State and organization; one without organization joins the only one of its state.
    Party,
    /// The person, else the folded name; one without person joins the only one with its folded name.
    Person,
    /// The person inside, likewise.
    PersonInside,
    /// Account and key.
    Statement,
    /// The field `kind`, else the folded words.
    Kind,
    /// The folded `name_as_stated`.
    Honour,
    /// Language and script.
    Title,
    /// The field `scheme`.
    Scheme,
    /// Type and target.
    Relation,
    /// State, organization and role.
    ExerciseParticipant,
    /// Party and person.
    Signatory,
    /// Post (or rank) and start.
    Tenure,
}

/// How one field is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Set by the registry.
    Output,
    /// Part of what identifies the element; taken from the highest-ranked report.
    Key,
    /// One value, folded within each account and across accounts.
    Value(Compare),
    /// An enum together with the words beside it, one value.
    Worded(&'static str),
    /// The words of a `Worded` field, which move with it.
    Words,
    /// A person: compared by `person`; rank, grade and post only from reports that name the same.
    Person,
    /// A message resolved field by field.
    Fields,
    /// A list whose values are united.
    Set(Identity),
    /// A list whose elements are united by key and resolved field by field.
    Keyed(Identity),
}

use Rule::{Fields, Key, Keyed, Output, Person, Set, Value, Worded, Words};

/// Rows that hold for the fields of this name in all seven kinds of record.
pub const EVERY_KIND: &str = "*";

/// The table: message, field, rule.
pub const TABLE: &[(&str, &str, Rule)] = &[
    (EVERY_KIND, "name", Output),
    (EVERY_KIND, "info", Output),
    (EVERY_KIND, "titles", Keyed(Identity::Title)),
    (EVERY_KIND, "summary", Value(Compare::Never)),
    (EVERY_KIND, "external_ids", Keyed(Identity::Scheme)),
    (EVERY_KIND, "note", Value(Compare::Never)),
    ("Title", "language", Key),
    ("Title", "script", Key),
    ("Title", "text", Value(Compare::Never)),
    ("ExternalId", "scheme", Key),
    ("ExternalId", "id", Value(Compare::Exact)),
    ("Party", "state", Key),
    ("Party", "organization", Key),
    ("Side", "state", Key),
    ("Side", "organization", Key),
    ("Side", "head", Person),
    ("Speaker", "kind", Value(Compare::Enum)),
    ("Speaker", "person", Person),
    ("Speaker", "side", Value(Compare::Party)),
    ("Statement", "key", Key),
    ("Statement", "account", Output),
    ("Statement", "speaker", Fields),
    ("Statement", "on_behalf_of", Value(Compare::Party)),
    ("Statement", "act", Worded("act_as_stated")),
    ("Statement", "act_as_stated", Words),
    ("Statement", "topic", Worded("topic_as_stated")),
    ("Statement", "topic_as_stated", Words),
    ("Statement", "subject", Value(Compare::Exact)),
    ("Statement", "item", Value(Compare::Exact)),
    ("Statement", "summary", Value(Compare::Never)),
    ("Progress", "key", Key),
    ("Progress", "type", Worded("type_as_stated")),
    ("Progress", "type_as_stated", Words),
    ("Progress", "date", Value(Compare::Date)),
    ("Progress", "stated_as_of", Value(Compare::Date)),
    ("Component", "kind", Worded("kind_as_stated")),
    ("Component", "kind_as_stated", Words),
    ("Component", "persons", Keyed(Identity::Person)),
    ("Honour", "name_as_stated", Value(Compare::Never)),
    ("Honour", "person", Value(Compare::Exact)),
    ("ItemParticipant", "person", Person),
    ("ItemParticipant", "role", Worded("role_as_stated")),
    ("ItemParticipant", "role_as_stated", Words),
    ("ItineraryItem", "key", Key),
    ("ItineraryItem", "kind", Worded("kind_as_stated")),
    ("ItineraryItem", "kind_as_stated", Words),
    ("ItineraryItem", "status", Value(Compare::ItemStatus)),
    ("ItineraryItem", "components", Keyed(Identity::Kind)),
    ("ItineraryItem", "place", Value(Compare::Place)),
    ("ItineraryItem", "host", Value(Compare::Party)),
    ("ItineraryItem", "date", Value(Compare::Date)),
    ("ItineraryItem", "day", Value(Compare::Exact)),
    ("ItineraryItem", "honours", Keyed(Identity::Honour)),
    ("ItineraryItem", "participants", Keyed(Identity::PersonInside)),
    ("ItineraryItem", "format", Worded("format_as_stated")),
    ("ItineraryItem", "format_as_stated", Words),
    ("ItineraryItem", "note", Value(Compare::Never)),
    ("Delegation", "members", Keyed(Identity::Person)),
    ("Delegation", "size", Value(Compare::Range)),
    ("Visit", "type", Worded("type_as_stated")),
    ("Visit", "type_as_stated", Words),
    ("Visit", "level", Worded("level_as_stated")),
    ("Visit", "level_as_stated", Words),
    ("Visit", "hosts", Keyed(Identity::Party)),
    ("Visit", "guests", Keyed(Identity::Party)),
    ("Visit", "delegation", Fields),
    ("Visit", "planned_start", Value(Compare::Date)),
    ("Visit", "planned_end", Value(Compare::Date)),
    ("Visit", "start", Value(Compare::Date)),
    ("Visit", "end", Value(Compare::Date)),
    ("Visit", "duration_days", Value(Compare::Range)),
    ("Visit", "places", Set(Identity::Place)),
    ("Visit", "itinerary", Keyed(Identity::Key)),
    ("Visit", "topics", Set(Identity::Itself)),
    ("Visit", "topics_as_stated", Set(Identity::Words)),
    ("Visit", "statements", Keyed(Identity::Statement)),
    ("Visit", "outcomes", Set(Identity::Outcome)),
    ("Visit", "mentions", Set(Identity::Itself)),
    ("Visit", "invited_by", Keyed(Identity::Person)),
    ("Visit", "part_of", Value(Compare::Exact)),
    ("Visit", "progress", Keyed(Identity::Key)),
    ("Meeting", "kind", Worded("kind_as_stated")),
    ("Meeting", "kind_as_stated", Words),
    ("Meeting", "hosts", Keyed(Identity::Party)),
    ("Meeting", "participants", Keyed(Identity::Party)),
    ("Meeting", "planned_start", Value(Compare::Date)),
    ("Meeting", "planned_end", Value(Compare::Date)),
    ("Meeting", "start", Value(Compare::Date)),
    ("Meeting", "end", Value(Compare::Date)),
    ("Meeting", "places", Set(Identity::Place)),
    ("Meeting", "topics", Set(Identity::Itself)),
    ("Meeting", "topics_as_stated", Set(Identity::Words)),
    ("Meeting", "statements", Keyed(Identity::Statement)),
    ("Meeting", "outcomes", Set(Identity::Outcome)),
    ("Meeting", "part_of", Value(Compare::Exact)),
    ("Meeting", "progress", Keyed(Identity::Key)),
    ("Signatory", "party", Key),
    ("Signatory", "person", Person),
    ("AgreementAction", "key", Key),
    ("AgreementAction", "type", Worded("verb_as_stated")),
    ("AgreementAction", "verb_as_stated", Words),
    ("AgreementAction", "parties", Keyed(Identity::Party)),
    ("AgreementAction", "date", Value(Compare::Date)),
    ("AgreementAction", "effective_date", Value(Compare::Date)),
    ("AgreementAction", "place", Value(Compare::Place)),
    ("AgreementAction", "signatories", Keyed(Identity::Signatory)),
    ("AgreementAction", "occasion", Value(Compare::Exact)),
    ("Validity", "start", Value(Compare::InferableDate)),
    ("Validity", "end", Value(Compare::InferableDate)),
    ("Renewal", "kind", Worded("kind_as_stated")),
    ("Renewal", "kind_as_stated", Words),
    ("Renewal", "period_months", Value(Compare::Exact)),
    ("AgreementRelation", "type", Worded("type_as_stated")),
    ("AgreementRelation", "type_as_stated", Words),
    ("AgreementRelation", "target", Key),
    ("Registration", "register", Value(Compare::Never)),
    ("Registration", "number", Value(Compare::Exact)),
    ("Registration", "date", Value(Compare::Date)),
    ("Agreement", "instrument", Worded("instrument_as_stated")),
    ("Agreement", "instrument_as_stated", Words),
    ("Agreement", "level", Worded("level_as_stated")),
    ("Agreement", "level_as_stated", Words),
    ("Agreement", "legal_character", Worded("legal_character_as_stated")),
    ("Agreement", "legal_character_as_stated", Words),
    ("Agreement", "parties", Keyed(Identity::Party)),
    ("Agreement", "actions", Keyed(Identity::Key)),
    ("Agreement", "validity", Fields),
    ("Agreement", "renewal", Fields),
    ("Agreement", "series", Value(Compare::Exact)),
    ("Agreement", "relations", Keyed(Identity::Relation)),
    ("Agreement", "topics", Set(Identity::Itself)),
    ("Agreement", "topics_as_stated", Set(Identity::Words)),
    ("Agreement", "registration", Fields),
    ("Agreement", "text_uri", Value(Compare::Never)),
    ("Agreement", "languages", Set(Identity::Itself)),
    ("ExerciseParticipant", "state", Key),
    ("ExerciseParticipant", "organization", Key),
    ("ExerciseParticipant", "role", Key),
    ("ExerciseParticipant", "role_as_stated", Set(Identity::Words)),
    ("ExerciseParticipant", "forces", Set(Identity::Words)),
    ("ExerciseStage", "key", Key),
    ("ExerciseStage", "title", Value(Compare::Never)),
    ("ExerciseStage", "start", Value(Compare::Date)),
    ("ExerciseStage", "end", Value(Compare::Date)),
    ("ExerciseStage", "area", Value(Compare::Place)),
    ("Exercise", "series", Value(Compare::Exact)),
    ("Exercise", "edition", Value(Compare::Never)),
    ("Exercise", "forms", Set(Identity::Itself)),
    ("Exercise", "forms_as_stated", Set(Identity::Words)),
    ("Exercise", "domains", Set(Identity::Itself)),
    ("Exercise", "domains_as_stated", Set(Identity::Words)),
    ("Exercise", "focus", Set(Identity::Words)),
    ("Exercise", "participants", Keyed(Identity::ExerciseParticipant)),
    ("Exercise", "planned_start", Value(Compare::Date)),
    ("Exercise", "planned_end", Value(Compare::Date)),
    ("Exercise", "start", Value(Compare::Date)),
    ("Exercise", "end", Value(Compare::Date)),
    ("Exercise", "areas", Set(Identity::Place)),
    ("Exercise", "stages", Keyed(Identity::Key)),
    ("Exercise", "basis", Value(Compare::Exact)),
    ("Exercise", "basis_as_stated", Set(Identity::Words)),
    ("Exercise", "progress", Keyed(Identity::Key)),
    ("Posting", "organization", Value(Compare::Exact)),
    ("Posting", "post", Key),
    ("Posting", "state", Value(Compare::Exact)),
    ("Posting", "start", Key),
    ("Posting", "end", Value(Compare::Date)),
    ("RankHeld", "rank", Key),
    ("RankHeld", "nato", Value(Compare::Grade)),
    ("RankHeld", "start", Key),
    ("Person", "names", Set(Identity::Words)),
    ("Person", "postings", Keyed(Identity::Tenure)),
    ("Person", "ranks", Keyed(Identity::Tenure)),
    ("Organization", "names", Set(Identity::Words)),
    ("Organization", "kind", Worded("kind_as_stated")),
    ("Organization", "kind_as_stated", Words),
    ("Organization", "state", Value(Compare::Exact)),
    ("Organization", "parent", Value(Compare::Exact)),
    ("Place", "names", Set(Identity::Words)),
    ("Place", "kind", Worded("kind_as_stated")),
    ("Place", "kind_as_stated", Words),
    ("Place", "state", Value(Compare::Exact)),
    ("Place", "within", Value(Compare::Exact)),
    ("Place", "coordinates", Value(Compare::Exact)),
];

/// The fields of a message with their rules, in the order of the contract.
pub type Fieldset = Vec<(&'static Field, Rule)>;

/// By the place of the message's shape; `None` is not resolved field by field.
static FIELDSETS: LazyLock<Vec<Option<Fieldset>>> = LazyLock::new(|| {
    let rows: HashMap<(&str, &str), Rule> = TABLE.iter().map(|(m, f, r)| ((*m, *f), *r)).collect();
    let mut sets = vec![None; Shape::all().len()];
    for kind in name::KINDS {
        collect(Shape::of(name::message(kind)), true, &rows, &mut sets);
    }
    sets
});

fn collect(message: &'static Shape, is_kind: bool, rows: &HashMap<(&str, &str), Rule>, sets: &mut [Option<Fieldset>]) {
    if sets[message.place()].is_some() {
        return;
    }
    let rule_of = |field: &Field| {
        rows.get(&(message.name(), field.name()))
            .or_else(|| is_kind.then(|| rows.get(&(EVERY_KIND, field.name()))).flatten())
            .copied()
    };
    let fields: Fieldset = message.fields().iter().filter_map(|f| rule_of(f).map(|r| (f, r))).collect();
    sets[message.place()] = Some(fields.clone());
    for (field, rule) in fields {
        let nested = matches!(rule, Fields | Keyed(_));
        if let (true, Some(inner)) = (nested, field.message())
            && inner.name() != "PersonRef"
        {
            collect(inner, false, rows, sets);
        }
    }
}

/// The fields of a message that is resolved field by field.
///
/// # Panics
///
/// If the message is none: a test walks all that are reached.
#[must_use]
pub fn fields(message: &Shape) -> &'static Fieldset {
    let fields = FIELDSETS[message.place()].as_ref();
    fields.unwrap_or_else(|| panic!("{} is resolved field by field", message.name()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::pb;

    fn sets() -> impl Iterator<Item = (&'static Shape, &'static Fieldset)> {
        Shape::all().iter().zip(FIELDSETS.iter()).filter_map(|(shape, fields)| Some((shape, fields.as_ref()?)))
    }

    #[test]
    fn every_field_that_is_resolved_has_exactly_one_row_and_every_row_a_field() {
        let mut used = BTreeSet::new();
        for message in sets().map(|(shape, _)| shape.name()) {
            let descriptor = pb::descriptor(message);
            let is_kind = name::is_kind(message);
            for field in descriptor.fields() {
                let rows: Vec<_> = TABLE
                    .iter()
                    .filter(|(m, f, _)| (*m == message || (is_kind && *m == EVERY_KIND)) && *f == field.name())
                    .collect();
                assert_eq!(rows.len(), 1, "{message}.{}", field.name());
                used.insert((rows[0].0, rows[0].1));
            }
        }
        let stale: Vec<_> = TABLE.iter().map(|(m, f, _)| (*m, *f)).filter(|row| !used.contains(row)).collect();
        assert!(stale.is_empty(), "{stale:?}");
    }

    #[test]
    fn a_list_is_united_and_a_singular_field_is_not() {
        for (shape, fields) in sets() {
            for (field, rule) in fields {
                let list_rule = matches!(rule, Rule::Set(_) | Rule::Keyed(_) | Rule::Words | Rule::Output);
                assert!(!field.is_list() || list_rule, "{}.{}", shape.name(), field.name());
                let is_united = matches!(rule, Rule::Set(_) | Rule::Keyed(_));
                assert!(field.is_list() || !is_united, "{}.{}", shape.name(), field.name());
            }
        }
    }
}
