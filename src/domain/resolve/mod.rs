//! Resolution: what a record is, as a pure function of its active reports.
//!
//! The rules are `product.md`'s, declared in `domain::schema`; this is the one algorithm that reads the table. Reports
//! are put in rank order first, so that nothing depends on the order in which they were filed.

pub mod compare;
mod fold;
pub mod identity;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use prost::Message as _;

use self::{
    compare::{Stated, same_person},
    fold::{Candidate, Folded},
    identity::Element,
};
use super::{
    facets::Facets,
    indexable::Indexable,
    name, record,
    report::Report,
    schema::{self, Compare, Identity, Rule},
};
use crate::pb::{
    tree::{Field, Shape, Tree, Value},
    v1::{self, Verdict},
};

/// The version of these rules, written into every entry of the log.
pub const RESOLVER_VERSION: u32 = 1;

/// What one account says of one field.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The account.
    pub account: Arc<str>,
    /// The report the value comes from, an index into [`Resolution::reports`].
    pub report: usize,
    /// The value.
    pub stated: Stated,
    /// How it compares with the resolved value.
    pub verdict: Verdict,
    /// Whether a ruling that states the field has considered this account.
    pub considered: bool,
}

/// One resolved field: a singular value, an element of a set, or an element of a list that has nothing but its key.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Its path, such as `actions[concluded].type`.
    pub path: String,
    /// The field, or the list that the element is of.
    pub field: &'static Field,
    /// The rule its values are compared by.
    pub compare: Compare,
    /// Every account's value, the resolved one first, then by rank.
    pub claims: Vec<Claim>,
    /// Whether another account conflicts that no ruling has considered.
    pub disputed: bool,
}

impl Leaf {
    /// The resolved value and where it comes from.
    ///
    /// # Panics
    ///
    /// Never: a leaf is made of at least one claim.
    #[must_use]
    pub fn resolved(&self) -> &Claim {
        self.claims.first().expect("a leaf is made of at least one claim")
    }
}

/// A record as its reports make it.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// The resolved fields, without name and info.
    pub record: Tree,
    /// The same as a record.
    pub content: v1::Record,
    /// Every resolved field with its claims, sorted by path.
    pub leaves: Vec<Leaf>,
    /// The accounts the record rests on, sorted.
    pub accounts: Vec<String>,
    /// The names of the reports in rank order.
    pub reports: Vec<String>,
    /// See [`Resolution::facets`].
    facets: OnceLock<Facets>,
    /// See [`Resolution::indexable`].
    indexable: OnceLock<Arc<Indexable>>,
}

/// What records resolved to, by name.
pub type Resolved = BTreeMap<String, Arc<Resolution>>;

impl Resolution {
    /// The paths of disputed fields, sorted.
    pub fn disputed(&self) -> impl Iterator<Item = &str> {
        self.leaves.iter().filter(|l| l.disputed).map(|l| l.path.as_str())
    }

    /// What filters ask of what is stated, but for references: of neither the name nor what the registry says of the record.
    #[must_use]
    pub fn facets(&self) -> &Facets {
        self.facets.get_or_init(|| Facets::without_references(&self.content))
    }

    /// What the store's indexes ask of it.
    ///
    /// # Panics
    ///
    /// Never: what was encoded is a record.
    #[must_use]
    pub fn indexable(&self) -> &Arc<Indexable> {
        self.indexable.get_or_init(|| {
            let indexable = Indexable::of(&self.content.encode_to_vec());
            Arc::new(indexable.expect("a record that was just encoded can be read"))
        })
    }
}

/// Resolves the record of this kind from its active reports; `None` without any.
#[must_use]
pub fn resolve(reports: &[Report]) -> Option<Resolution> {
    let mut ranked: Vec<&Report> = reports.iter().collect();
    ranked.sort_by_cached_key(|r| r.rank());
    let shape = ranked.first()?.content.shape();
    let contributions: Vec<Contribution<'_>> =
        ranked.iter().enumerate().map(|(report, r)| Contribution { report, message: &r.content }).collect();
    let mut resolver = Resolver { reports: &ranked, leaves: Vec::new() };
    let record = resolver.message(shape, &contributions, "");
    let mut leaves = resolver.leaves;
    leaves.sort_by(|a, b| a.path.cmp(&b.path));
    let mut accounts: Vec<String> = ranked.iter().map(|r| r.account.to_string()).collect();
    accounts.sort();
    accounts.dedup();
    // What one report states most often is the record, word for word.
    let said = match ranked.as_slice() {
        [only] if only.content == record => only.said(),
        _ => None,
    };
    let content = said.unwrap_or_else(|| record::from_tree(name::of_message(shape.name()), &record));
    let reports = ranked.iter().map(|r| r.name.to_string()).collect();
    Some(Resolution { record, content, leaves, accounts, reports, facets: OnceLock::new(), indexable: OnceLock::new() })
}

/// What one report says at the place that is being resolved.
#[derive(Clone, Copy)]
struct Contribution<'r> {
    report: usize,
    message: &'r Tree,
}

struct Resolver<'a> {
    /// In rank order.
    reports: &'a [&'a Report],
    leaves: Vec<Leaf>,
}

impl Resolver<'_> {
    fn message(&mut self, shape: &'static Shape, from: &[Contribution<'_>], at: &str) -> Tree {
        let mut resolved = Tree::new(shape);
        for (field, rule) in schema::fields(shape) {
            let field = *field;
            // An enum may be stated in words alone; whatever else nobody states is left out.
            if !matches!(rule, Rule::Worded(_)) && stated(from, field).next().is_none() {
                continue;
            }
            let path = super::check::join(at, field.name());
            match rule {
                Rule::Output | Rule::Words => {}
                Rule::Key => {
                    if let Some(value) = stated(from, field).next().map(|(_, v)| v.clone()) {
                        resolved.set(field, value);
                    }
                }
                Rule::Value(compare) => self.value(&mut resolved, field, *compare, from, path),
                Rule::Worded(words) => self.worded(&mut resolved, field, words, from, path),
                Rule::Person => self.person(&mut resolved, field, from, &path),
                Rule::Fields => self.fields(&mut resolved, field, from, &path),
                Rule::Set(identity) => self.set(&mut resolved, field, *identity, from, &path),
                Rule::Keyed(identity) => self.keyed(&mut resolved, field, *identity, from, &path),
            }
        }
        resolved
    }

    fn value(
        &mut self,
        into: &mut Tree,
        field: &'static Field,
        compare: Compare,
        from: &[Contribution<'_>],
        path: String,
    ) {
        let candidates: Vec<Candidate> =
            stated(from, field).map(|(report, v)| Candidate { report, stated: Stated::plain(v.clone()) }).collect();
        let folded = fold::across(self.reports, candidates, |a, b| compare::compare(compare, a, b));
        if let Some(folded) = folded {
            set_stated(into, field, folded.resolved().value.clone());
            self.leaf(path, field, compare, folded);
        }
    }

    fn worded(&mut self, into: &mut Tree, field: &'static Field, words: &str, from: &[Contribution<'_>], path: String) {
        let words = field.parent().field(words).expect("the table names fields of the message");
        let candidates: Vec<Candidate> = from
            .iter()
            .map(|c| Candidate {
                report: c.report,
                stated: Stated { value: c.message.get(field).cloned(), words: c.message.get(words).cloned() },
            })
            .filter(|c| c.stated.value.is_some() || c.stated.words.is_some())
            .collect();
        if let Some(folded) = fold::across(self.reports, candidates, |a, b| compare::compare(Compare::Enum, a, b)) {
            set_stated(into, field, folded.resolved().value.clone());
            set_stated(into, words, folded.resolved().words.clone());
            self.leaf(path, field, Compare::Enum, folded);
        }
    }

    /// Rule 5: the person by reference; rank, grade and post only from reports that name the same person.
    fn person(&mut self, into: &mut Tree, field: &'static Field, from: &[Contribution<'_>], path: &str) {
        let inner: Vec<Contribution<'_>> = messages(from, field).collect();
        if let Some(person) = self.person_of(field, &inner, path) {
            into.set(field, Value::message(person));
        }
    }

    fn person_of(&mut self, field: &'static Field, from: &[Contribution<'_>], path: &str) -> Option<Tree> {
        let shape = from.first()?.message.shape();
        let candidates = from
            .iter()
            .map(|c| Candidate { report: c.report, stated: Stated::plain(Value::message(reference(c.message))) });
        let folded = fold::across(self.reports, candidates.collect(), |a, b| compare::compare(Compare::Person, a, b))?;
        let mut person = message_of(folded.resolved())?.clone();
        self.leaf(path.to_owned(), field, Compare::Person, folded);
        let same: Vec<Contribution<'_>> = from.iter().filter(|c| same_person(&person, c.message)).copied().collect();
        for (name, compare) in
            [("rank_as_stated", Compare::Never), ("nato", Compare::Grade), ("post_as_stated", Compare::Never)]
        {
            let field = shape.field(name).expect("a field of PersonRef");
            self.value(&mut person, field, compare, &same, super::check::join(path, name));
        }
        Some(person)
    }

    fn fields(&mut self, into: &mut Tree, field: &'static Field, from: &[Contribution<'_>], path: &str) {
        let inner: Vec<Contribution<'_>> = messages(from, field).collect();
        if let Some(first) = inner.first() {
            let resolved = self.message(first.message.shape(), &inner, path);
            into.set(field, Value::message(resolved));
        }
    }

    fn set(
        &mut self,
        into: &mut Tree,
        field: &'static Field,
        identity: Identity,
        from: &[Contribution<'_>],
        path: &str,
    ) {
        let mut values = Vec::new();
        for (key, elements) in self.grouped(field, identity, from) {
            let candidates = elements
                .iter()
                .map(|e| Candidate { report: e.report, stated: Stated::plain(e.value.clone()) })
                .collect();
            // What only one account mentions is not disputed: elements of a set agree or are absent.
            if let Some(folded) = fold::across(self.reports, candidates, |_, _| compare::Relation::Agrees) {
                values.extend(folded.resolved().value.clone());
                self.leaf(format!("{path}[{key}]"), field, Compare::Never, folded);
            }
        }
        if !values.is_empty() {
            into.set(field, Value::List(values));
        }
    }

    fn keyed(
        &mut self,
        into: &mut Tree,
        field: &'static Field,
        identity: Identity,
        from: &[Contribution<'_>],
        path: &str,
    ) {
        let mut values = Vec::new();
        for (key, elements) in self.grouped(field, identity, from) {
            let element_path = format!("{path}[{key}]");
            let leaves_before = self.leaves.len();
            let inner: Vec<Contribution<'_>> = elements
                .iter()
                .filter_map(|e| Some(Contribution { report: e.report, message: e.value.as_message()? }))
                .collect();
            let Some(resolved) = self.element(field, identity, &key, &inner, &element_path) else { continue };
            values.push(Value::message(resolved));
            if self.leaves.len() > leaves_before {
                continue;
            }
            let whole = elements.iter();
            let whole = whole.map(|e| Candidate { report: e.report, stated: Stated::plain(e.value.clone()) }).collect();
            if let Some(folded) = fold::across(self.reports, whole, |_, _| compare::Relation::Agrees) {
                self.leaf(element_path, field, Compare::Never, folded);
            }
        }
        if !values.is_empty() {
            into.set(field, Value::List(values));
        }
    }

    fn element(
        &mut self,
        list: &'static Field,
        identity: Identity,
        key: &str,
        from: &[Contribution<'_>],
        path: &str,
    ) -> Option<Tree> {
        if identity == Identity::Person {
            return self.person_of(list, from, path);
        }
        let mut resolved = self.message(from.first()?.message.shape(), from, path);
        if identity == Identity::Statement {
            let local = resolved.text("key").unwrap_or_default();
            let account = key.strip_suffix(local).and_then(|k| k.strip_suffix(':')).unwrap_or_default();
            let account = Value::Text(account.into());
            resolved.set_named("account", account);
        }
        Some(resolved)
    }

    /// The elements of a list by key, in the order of rule 4.
    fn grouped<'r>(
        &self,
        field: &'static Field,
        identity: Identity,
        from: &[Contribution<'r>],
    ) -> Vec<(String, Vec<Element<'r>>)>
    where
        Self: 'r,
    {
        let elements: Vec<Element<'r>> = stated(from, field)
            .flat_map(|(report, list)| {
                let account = self.reports[report].account.as_ref();
                list.as_list().unwrap_or_default().iter().map(move |value| Element { report, account, value })
            })
            .collect();
        let keys = identity::keys(identity, field, &elements);
        let mut groups: Vec<Group<'r>> = Vec::new();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        let (mut first, mut last): (Option<usize>, Option<usize>) = (None, None);
        let mut previous: Option<(usize, usize)> = None;
        // Of names and titles the first is shown: the highest-ranked.
        let is_shown = matches!(identity, Identity::Words | Identity::Title);
        for (element, key) in elements.into_iter().zip(keys) {
            // Where the element before this one in the same report stands.
            let after = previous.filter(|(report, _)| *report == element.report).map(|(_, place)| place);
            let after = after.or(last.filter(|_| is_shown));
            let report = element.report;
            let place = match places.get(&key) {
                Some(place) => {
                    groups[*place].elements.push(element);
                    *place
                }
                None => {
                    let place = groups.len();
                    let next = after.map_or(first, |a| groups[a].next);
                    match after {
                        Some(after) => groups[after].next = Some(place),
                        None => first = Some(place),
                    }
                    if next.is_none() {
                        last = Some(place);
                    }
                    places.insert(key.clone(), place);
                    groups.push(Group { key, elements: vec![element], next });
                    place
                }
            };
            previous = Some((report, place));
        }
        in_order(groups, first)
    }

    fn leaf(&mut self, path: String, field: &'static Field, compare: Compare, folded: Folded) {
        self.leaves.push(Leaf { path, field, compare, disputed: folded.disputed, claims: folded.claims });
    }
}

/// The elements of one key, and the group that comes after it in the list.
struct Group<'r> {
    key: String,
    elements: Vec<Element<'r>>,
    next: Option<usize>,
}

/// The groups as they are linked.
fn in_order(groups: Vec<Group<'_>>, first: Option<usize>) -> Vec<(String, Vec<Element<'_>>)> {
    let mut waiting: Vec<Option<Group<'_>>> = groups.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(waiting.len());
    let mut next = first;
    while let Some(group) = next.and_then(|place| waiting[place].take()) {
        next = group.next;
        ordered.push((group.key, group.elements));
    }
    ordered
}

/// The reports that state a field, with what they state.
fn stated<'r>(from: &[Contribution<'r>], field: &Field) -> impl Iterator<Item = (usize, &'r Value)> {
    from.iter().filter_map(move |c| Some((c.report, c.message.get(field)?)))
}

fn messages<'r>(from: &[Contribution<'r>], field: &Field) -> impl Iterator<Item = Contribution<'r>> {
    stated(from, field).filter_map(|(report, value)| Some(Contribution { report, message: value.as_message()? }))
}

fn message_of(stated: &Stated) -> Option<&Tree> {
    stated.value.as_ref().and_then(Value::as_message)
}

/// A person reference without what rule 5 takes from other reports.
fn reference(person: &Tree) -> Tree {
    let mut reference = person.clone();
    for name in ["rank_as_stated", "nato", "post_as_stated"] {
        reference.clear_named(name);
    }
    reference
}

fn set_stated(into: &mut Tree, field: &'static Field, value: Option<Value>) {
    if let Some(value) = value {
        into.set(field, value);
    }
}
