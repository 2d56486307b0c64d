//! Comparing two stated values: AGREES, REFINES, CONFLICTS.

use crate::domain::{
    date::{Date, Day},
    fold::fold,
    schema::Compare,
};
use crate::pb::{
    tree::{Tree, Value},
    v1::{Basis, ItineraryStatus},
};

/// How a second value stands to a first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Nothing to choose between them.
    Agrees,
    /// The second says the same, more exactly.
    Refines,
    /// Not both can be true.
    Conflicts,
}

use Relation::{Agrees, Conflicts, Refines};

/// A stated value: one field, or an enum with the words beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stated {
    /// The value; `None` if only the words are stated.
    pub value: Option<Value>,
    /// The words of an enum.
    pub words: Option<Value>,
}

impl Stated {
    /// A value without words.
    #[must_use]
    pub fn plain(value: Value) -> Self {
        Self { value: Some(value), words: None }
    }

    /// Whether the filer inferred it.
    #[must_use]
    pub fn is_inferred(&self) -> bool {
        let basis = |m: &Tree| m.named("basis").and_then(Value::as_enum);
        self.value.as_ref().and_then(Value::as_message).and_then(basis) == Some(Basis::Inferred as i32)
    }
}

/// How `second` stands to `first` under a rule of comparison.
#[must_use]
pub fn compare(rule: Compare, first: &Stated, second: &Stated) -> Relation {
    let relation = match (&first.value, &second.value) {
        (Some(a), Some(b)) => compare_values(rule, a, b),
        (None, Some(_)) => Refines,
        (_, None) => Agrees,
    };
    if relation == Conflicts && (first.is_inferred() || second.is_inferred()) { Agrees } else { relation }
}

fn compare_values(rule: Compare, first: &Value, second: &Value) -> Relation {
    match rule {
        Compare::Never => Agrees,
        Compare::Enum | Compare::Exact => equal(first == second),
        Compare::ItemStatus => item_status(first, second),
        Compare::Person => references(text(first, "person"), text(second, "person")),
        Compare::Grade => equal(part(first, "code") == part(second, "code")),
        Compare::Date => dates(text(first, "edtf"), text(second, "edtf")),
        Compare::InferableDate => match (part(first, "date"), part(second, "date")) {
            (Some(a), Some(b)) => dates(text(a, "edtf"), text(b, "edtf")),
            _ => Agrees,
        },
        Compare::Range => ranges(range(first), range(second)),
        Compare::Place => references(text(first, "place"), text(second, "place")),
        Compare::Party => match equal(text(first, "state") == text(second, "state")) {
            Agrees => references(text(first, "organization"), text(second, "organization")),
            other => other,
        },
    }
}

fn equal(same: bool) -> Relation {
    if same { Agrees } else { Conflicts }
}

/// References: equal agrees, else conflicts; a reference refines mere words.
fn references(first: Option<&str>, second: Option<&str>) -> Relation {
    match (first, second) {
        (Some(a), Some(b)) => equal(a == b),
        (None, Some(_)) => Refines,
        (_, None) => Agrees,
    }
}

/// A plan says nothing against what came of it.
fn item_status(first: &Value, second: &Value) -> Relation {
    let is_planned = |v: &Value| v.as_enum() == Some(ItineraryStatus::Planned as i32);
    match (is_planned(first), is_planned(second)) {
        (true, false) => Refines,
        (_, true) => Agrees,
        (false, false) => equal(first == second),
    }
}

/// Whether two references name the same person: by record, or where one has none, by folded name.
#[must_use]
pub fn same_person(first: &Tree, second: &Tree) -> bool {
    let name = |m: &Tree| m.text("name_as_stated").map(fold);
    match (first.text("person"), second.text("person")) {
        (Some(a), Some(b)) => a == b,
        _ => name(first).is_some() && name(first) == name(second),
    }
}

fn dates(first: Option<&str>, second: Option<&str>) -> Relation {
    let parse = |text: Option<&str>| text.and_then(|t| Date::parse(t).ok());
    let (Some(a), Some(b)) = (parse(first), parse(second)) else { return Agrees };
    let bounds = |d: &Date| (d.span().earliest, d.span().latest);
    match ranges(bounds(&a), bounds(&b)) {
        Conflicts if a.is_qualified() || b.is_qualified() => Agrees,
        Refines if b.is_qualified() && !a.is_qualified() => Agrees,
        relation => relation,
    }
}

/// Inclusive bounds, `None` is open: disjoint conflict, strictly inside refines, all else agrees.
fn ranges(first: (Option<Day>, Option<Day>), second: (Option<Day>, Option<Day>)) -> Relation {
    let low = |d: Option<Day>| d.map_or(i64::MIN, i64::from);
    let high = |d: Option<Day>| d.map_or(i64::MAX, i64::from);
    let (a, b) = ((low(first.0), high(first.1)), (low(second.0), high(second.1)));
    if a.1 < b.0 || b.1 < a.0 {
        Conflicts
    } else if a != b && a.0 <= b.0 && b.1 <= a.1 {
        Refines
    } else {
        Agrees
    }
}

fn range(value: &Value) -> (Option<Day>, Option<Day>) {
    let bound = |name| part(value, name).and_then(Value::as_number);
    (bound("min"), bound("max"))
}

/// A stated field of a message value.
fn part<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.as_message()?.named(name)
}

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.as_message().and_then(|m| m.text(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{tree::Shape, v1};

    fn date(edtf: &str) -> Stated {
        let pb = v1::EdtfDate { edtf: edtf.into(), ..Default::default() };
        Stated::plain(Value::message(Tree::of(Shape::of("EdtfDate"), &pb)))
    }

    fn inferable(edtf: &str, basis: Basis) -> Stated {
        let date = Some(v1::EdtfDate { edtf: edtf.into(), ..Default::default() });
        let pb = v1::InferableDate { date, basis: basis.into() };
        Stated::plain(Value::message(Tree::of(Shape::of("InferableDate"), &pb)))
    }

    #[test]
    fn dates_conflict_when_disjoint_and_refine_when_strictly_inside() {
        let ask = |a, b| compare(Compare::Date, &date(a), &date(b));
        assert_eq!(ask("2023", "2023-10-06"), Refines);
        assert_eq!(ask("2023-10-06", "2023"), Agrees);
        assert_eq!(ask("2023-10-06", "2023-10-06"), Agrees);
        assert_eq!(ask("2023-10-06", "2023-10-07"), Conflicts);
        assert_eq!(ask("2023-09/2023-10", "2023-10/2023-11"), Agrees);
    }

    #[test]
    fn a_qualified_date_never_conflicts_and_never_refines_an_unqualified_one() {
        let ask = |a, b| compare(Compare::Date, &date(a), &date(b));
        assert_eq!(ask("2023-10-06", "2024~"), Agrees);
        assert_eq!(ask("2023", "2023-10-06?"), Agrees);
        assert_eq!(ask("2023~", "2023-10-06?"), Refines);
        assert_eq!(ask("2023~", "2023-10-06"), Refines);
    }

    #[test]
    fn an_inferred_value_never_conflicts() {
        let (a, b) = (inferable("2024-01-01", Basis::Inferred), inferable("2024-02-01", Basis::Stated));
        assert_eq!(compare(Compare::InferableDate, &a, &b), Agrees);
        let a = inferable("2024-01-01", Basis::Stated);
        assert_eq!(compare(Compare::InferableDate, &a, &b), Conflicts);
    }

    #[test]
    fn a_word_of_the_vocabulary_refines_mere_words() {
        let words = Stated { value: None, words: Some(Value::List(vec![])) };
        let official = Stated::plain(Value::Enum(2));
        assert_eq!(compare(Compare::Enum, &words, &official), Refines);
        assert_eq!(compare(Compare::Enum, &official, &words), Agrees);
        assert_eq!(compare(Compare::Enum, &official, &Stated::plain(Value::Enum(4))), Conflicts);
    }
}
