//! Messages of the contract by their fields, for what is done with all of them alike: checking, resolving, comparing.
//!
//! A message of `prost-reflect` counts references for every field that is looked at, and keeps each in a tree: half of what
//! a filing cost its server. Here a field is laid down once, what is stated lies in a row, and to state it again
//! copies no text.

mod code;
mod shape;

use std::{fmt, sync::Arc};

pub use self::shape::{Enum, EnumValue, Field, Kind, Shape};

/// A value that is stated. To clone one copies no text and no message.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// A text.
    Text(Arc<str>),
    /// Yes or no.
    Flag(bool),
    /// A number.
    Number(i32),
    /// A number with a fraction.
    Real(f64),
    /// A value of an enum, by its number.
    Enum(i32),
    /// A message.
    Message(Arc<Tree>),
    /// A list.
    List(Vec<Value>),
}

impl Value {
    /// A message.
    #[must_use]
    pub fn message(tree: Tree) -> Self {
        Self::Message(Arc::new(tree))
    }

    /// The text that it is.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The number that it is.
    #[must_use]
    pub fn as_number(&self) -> Option<i32> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The number of the enum's value that it is.
    #[must_use]
    pub fn as_enum(&self) -> Option<i32> {
        if let Self::Enum(number) = self { Some(*number) } else { None }
    }

    /// The message that it is.
    #[must_use]
    pub fn as_message(&self) -> Option<&Tree> {
        if let Self::Message(tree) = self { Some(tree) } else { None }
    }

    /// The message that it is, to be changed.
    pub fn as_message_mut(&mut self) -> Option<&mut Tree> {
        if let Self::Message(tree) = self { Some(Arc::make_mut(tree)) } else { None }
    }

    /// Its elements, if it is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// Its elements, if it is a list, to be changed.
    pub fn as_list_mut(&mut self) -> Option<&mut Vec<Self>> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// Whether a field without presence that has it is not stated.
    fn is_default(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Flag(flag) => !flag,
            Self::Number(number) | Self::Enum(number) => *number == 0,
            Self::Real(number) => *number == 0.0,
            Self::List(items) => items.is_empty(),
            Self::Message(_) => false,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::Number(number) | Self::Enum(number) => number.fmt(f),
            Self::Real(number) => number.fmt(f),
            Self::Message(tree) => tree.fmt(f),
            Self::List(items) => items.fmt(f),
        }
    }
}

/// A message, as the fields that are stated.
#[derive(Clone)]
pub struct Tree {
    shape: &'static Shape,
    /// By number.
    stated: Vec<(&'static Field, Value)>,
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        self.shape.place() == other.shape.place()
            && self.stated.len() == other.stated.len()
            && self.stated.iter().zip(&other.stated).all(|((f, a), (g, b))| f.number == g.number && a == b)
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct(self.shape.name());
        self.stated.iter().for_each(|(field, value)| {
            shown.field(field.name(), value);
        });
        shown.finish()
    }
}

impl Tree {
    /// A message that states nothing.
    #[must_use]
    pub fn new(shape: &'static Shape) -> Self {
        Self { shape, stated: Vec::new() }
    }

    /// The fields of a message of the generated code.
    ///
    /// # Panics
    ///
    /// If the message is not of this shape.
    #[must_use]
    pub fn of<M: prost::Message>(shape: &'static Shape, message: &M) -> Self {
        code::read(shape, &message.encode_to_vec()).expect("generated code and descriptors come from the same build")
    }

    /// The same as a message of the generated code.
    ///
    /// # Panics
    ///
    /// If that is of another shape.
    #[must_use]
    pub fn to<M: prost::Message + Default>(&self) -> M {
        M::decode(self.encode().as_slice()).expect("generated code and descriptors come from the same build")
    }

    /// The same as bytes, fields by number.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut into = Vec::with_capacity(1024);
        code::write(self, &mut into);
        into
    }

    /// Its shape.
    #[must_use]
    pub fn shape(&self) -> &'static Shape {
        self.shape
    }

    /// What is stated, by the fields' numbers.
    pub fn fields(&self) -> impl Iterator<Item = (&'static Field, &Value)> {
        self.stated.iter().map(|(field, value)| (*field, value))
    }

    /// The same, to be changed.
    pub fn fields_mut(&mut self) -> impl Iterator<Item = (&'static Field, &mut Value)> {
        self.stated.iter_mut().map(|(field, value)| (*field, value))
    }

    /// Whether nothing is stated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stated.is_empty()
    }

    /// What is stated of a field.
    #[must_use]
    pub fn get(&self, field: &Field) -> Option<&Value> {
        self.at(field.number).ok().map(|at| &self.stated[at].1)
    }

    /// What is stated of the field of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Value> {
        self.stated.iter().find(|(field, _)| field.name() == name).map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub fn named_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.stated.iter_mut().find(|(field, _)| field.name() == name).map(|(_, value)| value)
    }

    /// A text that is stated.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.named(name).and_then(Value::as_text).filter(|text| !text.is_empty())
    }

    /// The word of a value of an enum that is stated.
    #[must_use]
    pub fn word(&self, name: &str) -> Option<&'static str> {
        let (field, value) = self.stated.iter().find(|(field, _)| field.name() == name)?;
        let number = value.as_enum().filter(|number| *number != 0)?;
        field.values()?.get(number).map(|v| v.word.as_str())
    }

    /// States a field anew.
    pub fn set(&mut self, field: &'static Field, value: Value) {
        if !field.has_presence && value.is_default() {
            return self.clear(field);
        }
        match self.at(field.number) {
            Ok(at) => self.stated[at].1 = value,
            Err(at) => self.stated.insert(at, (field, value)),
        }
    }

    /// States the field of this name anew.
    ///
    /// # Panics
    ///
    /// If the message has none: names are literals of this crate.
    pub fn set_named(&mut self, name: &str, value: Value) {
        let field = self.shape.field(name).unwrap_or_else(|| panic!("{} has a field {name}", self.shape.name()));
        self.set(field, value);
    }

    /// Does not state a field any more.
    pub fn clear(&mut self, field: &Field) {
        if let Ok(at) = self.at(field.number) {
            self.stated.remove(at);
        }
    }

    /// Does not state the field of this name any more.
    pub fn clear_named(&mut self, name: &str) {
        self.stated.retain(|(field, _)| field.name() != name);
    }

    /// Where a field stands, or would stand.
    fn at(&self, number: u32) -> Result<usize, usize> {
        match self.stated.last() {
            // Fields come in their order, mostly.
            Some((last, _)) if last.number < number => Err(self.stated.len()),
            None => Err(0),
            Some(_) => self.stated.binary_search_by_key(&number, |(field, _)| field.number),
        }
    }

    /// Takes a value that was read: the next of a list, or what a field states.
    fn take(&mut self, field: &'static Field, value: Value) {
        if !field.is_list() {
            return self.set(field, value);
        }
        match self.at(field.number) {
            Ok(at) => {
                if let Value::List(items) = &mut self.stated[at].1 {
                    items.push(value);
                }
            }
            Err(at) => self.stated.insert(at, (field, Value::List(vec![value]))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use prost_reflect::DynamicMessage;

    use super::{code::read, shape::ROOTS, *};
    use crate::pb::v1;

    /// Makes messages of what is drawn.
    struct Maker {
        drawn: std::vec::IntoIter<u32>,
    }

    impl Maker {
        fn draw(&mut self) -> u32 {
            self.drawn.next().unwrap_or_default()
        }

        fn tree(&mut self, shape: &'static Shape, depth: u32) -> Tree {
            let mut tree = Tree::new(shape);
            for field in shape.fields().iter().rev() {
                if depth > 0 && !self.draw().is_multiple_of(3) {
                    let value = self.field(field, depth - 1);
                    tree.set(field, value);
                }
            }
            tree
        }

        fn field(&mut self, field: &'static Field, depth: u32) -> Value {
            match field.is_list() {
                true => Value::List((0..self.draw() % 4).map(|_| self.single(field, depth)).collect()),
                false => self.single(field, depth),
            }
        }

        #[allow(clippy::cast_possible_wrap)]
        fn single(&mut self, field: &'static Field, depth: u32) -> Value {
            let drawn = self.draw();
            match field.kind() {
                Kind::Text => Value::Text("Жə x".repeat(drawn as usize % 60).into()),
                Kind::Flag => Value::Flag(drawn % 2 == 1),
                Kind::Number => Value::Number(drawn as i32),
                Kind::Real => Value::Real(f64::from(drawn as i32) / 8.0),
                Kind::Enum(_) => Value::Enum(drawn as i32 % 12),
                Kind::Message(inner) => Value::message(self.tree(&Shape::all()[*inner], depth)),
            }
        }
    }

    /// What the generated code makes of a message.
    fn typed(tree: &Tree) -> Vec<u8> {
        match tree.shape().name() {
            "Visit" => tree.to::<v1::Visit>().encode_to_vec(),
            "Meeting" => tree.to::<v1::Meeting>().encode_to_vec(),
            "Agreement" => tree.to::<v1::Agreement>().encode_to_vec(),
            "Exercise" => tree.to::<v1::Exercise>().encode_to_vec(),
            "Person" => tree.to::<v1::Person>().encode_to_vec(),
            "Organization" => tree.to::<v1::Organization>().encode_to_vec(),
            "Place" => tree.to::<v1::Place>().encode_to_vec(),
            _ => tree.to::<v1::Source>().encode_to_vec(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_message_by_its_fields_is_what_it_is_to_generated_code_and_to_reflection(
            root in proptest::sample::select(ROOTS.to_vec()),
            drawn in proptest::collection::vec(any::<u32>(), 0..600),
        ) {
            let tree = Maker { drawn: drawn.into_iter() }.tree(Shape::of(root), 4);
            let bytes = typed(&tree);
            prop_assert_eq!(read(tree.shape, &bytes), Some(tree.clone()), "as generated code writes it");
            let reflected = DynamicMessage::decode(crate::pb::descriptor(root), bytes.as_slice()).unwrap();
            prop_assert_eq!(read(tree.shape, &reflected.encode_to_vec()), Some(tree.clone()), "as reflection writes it");
            let numbers: Vec<u32> = reflected.fields().map(|(field, _)| field.number()).collect();
            prop_assert_eq!(numbers, tree.fields().map(|(field, _)| field.number).collect::<Vec<_>>(), "what is stated");
        }
    }

    #[test]
    fn what_is_stated_again_is_what_holds_and_a_default_is_not_stated() {
        let visit = v1::Visit { summary: Some(String::new()), ..v1::Visit::default() };
        let mut tree = Tree::of(Shape::of("Visit"), &visit);
        assert_eq!(tree.named("summary"), Some(&Value::Text("".into())), "a field with presence states what is empty");
        tree.set_named("name", Value::Text("visits/a".into()));
        tree.set_named("name", Value::Text("visits/b".into()));
        assert_eq!(tree.text("name"), Some("visits/b"));
        tree.set_named("name", Value::Text("".into()));
        tree.set_named("topics", Value::List(Vec::new()));
        tree.clear_named("summary");
        assert!(tree.is_empty(), "{tree:?}");
    }

    #[test]
    fn bytes_that_are_no_message_are_told() {
        let visit = Shape::of("Visit");
        for bad in [&[0x0a, 5, b'x'][..], &[0x0a, 1, 0xff], &[0x80], &[0x0b], &[0x08, 1], &[0x0d, 1, 0, 0, 0]] {
            assert!(read(visit, bad).is_none(), "{bad:?}");
        }
        assert!(read(visit, &[0xf8, 0xff, 0x07, 1]).is_some_and(|t| t.is_empty()), "an unknown field is passed over");
    }

    #[test]
    fn the_word_of_a_value_is_its_name_without_that_of_its_enum() {
        let words = Shape::all().iter().flat_map(Shape::fields).filter_map(Field::values);
        for value in words.clone().flat_map(Enum::iter) {
            let name = value.name.to_lowercase();
            assert!(name.len() > value.word.len() && name.ends_with(&format!("_{}", value.word)), "{value:?}");
        }
        let visit_type = Shape::of("Visit").field("type").and_then(Field::values).unwrap();
        assert_eq!(visit_type.get(v1::VisitType::Official as i32).map(|v| v.word.as_str()), Some("official"));
        assert!(words.count() > 10);
    }
}
