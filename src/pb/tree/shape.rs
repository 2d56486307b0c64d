//! What a message may state: its fields, laid down once for the contract.

use std::{collections::HashMap, sync::LazyLock};

use prost_reflect::{EnumDescriptor, FieldDescriptor, MessageDescriptor};

use crate::pb;

/// The messages that are read by their fields: what a record may be, and who says so. Those inside come with them.
pub(super) const ROOTS: [&str; 8] =
    ["Visit", "Meeting", "Agreement", "Exercise", "Person", "Organization", "Place", "Source"];

/// The fields that a message may have.
#[derive(Debug)]
pub struct Shape {
    place: usize,
    name: String,
    fields: Vec<Field>,
    /// The place of a field, by its number.
    numbers: Vec<Option<usize>>,
}

/// One of them.
#[derive(Debug)]
pub struct Field {
    shape: usize,
    place: usize,
    pub(super) number: u32,
    name: String,
    kind: Kind,
    is_list: bool,
    pub(super) has_presence: bool,
}

/// What a field, or an element of its list, is.
#[derive(Debug)]
pub enum Kind {
    /// A text.
    Text,
    /// Yes or no.
    Flag,
    /// A number of 32 bits.
    Number,
    /// A number with a fraction.
    Real,
    /// A value of an enum.
    Enum(Enum),
    /// A message, by the place of its shape.
    Message(usize),
}

/// The values of an enum.
#[derive(Debug)]
pub struct Enum {
    /// Its name.
    pub name: String,
    values: Vec<EnumValue>,
}

/// One of them.
#[derive(Debug)]
pub struct EnumValue {
    /// What stands for it on the wire.
    pub number: i32,
    /// Its name in the contract.
    pub name: String,
    /// The name without the enum's prefix, in lower case.
    pub word: String,
}

impl Enum {
    fn of(descriptor: &EnumDescriptor) -> Self {
        let zero = descriptor.get_value(0).map(|v| v.name().to_owned()).unwrap_or_default();
        let prefix = zero.strip_suffix("UNSPECIFIED").unwrap_or_default();
        let word = |name: &str| name.strip_prefix(prefix).unwrap_or(name).to_lowercase();
        let values =
            descriptor.values().map(|v| EnumValue { number: v.number(), name: v.name().into(), word: word(v.name()) });
        Self { name: descriptor.name().to_owned(), values: values.collect() }
    }

    /// The value of a number.
    #[must_use]
    pub fn get(&self, number: i32) -> Option<&EnumValue> {
        // (In nearly every enum they are counted from 0.)
        let at = usize::try_from(number).ok().and_then(|at| self.values.get(at)).filter(|v| v.number == number);
        at.or_else(|| self.values.iter().find(|v| v.number == number))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &EnumValue> {
        self.values.iter()
    }
}

static SHAPES: LazyLock<Vec<Shape>> = LazyLock::new(|| {
    let mut laying = Laying::default();
    for root in ROOTS {
        laying.message(&pb::descriptor(root));
    }
    laying.shapes
});

#[derive(Default)]
struct Laying {
    shapes: Vec<Shape>,
    places: HashMap<String, usize>,
}

impl Laying {
    /// The place of a message, which is added with all that it can hold.
    fn message(&mut self, message: &MessageDescriptor) -> usize {
        if let Some(place) = self.places.get(message.full_name()) {
            return *place;
        }
        let place = self.shapes.len();
        // Known before its fields are: a message may hold itself.
        self.places.insert(message.full_name().to_owned(), place);
        self.shapes.push(Shape { place, name: message.name().to_owned(), fields: Vec::new(), numbers: Vec::new() });
        for field in message.fields().filter(|f| !is_said_by_the_registry(f)) {
            let field = self.field(place, &field);
            self.shapes[place].add(field);
        }
        place
    }

    fn field(&mut self, shape: usize, field: &FieldDescriptor) -> Field {
        let kind = match field.kind() {
            prost_reflect::Kind::String => Kind::Text,
            prost_reflect::Kind::Bool => Kind::Flag,
            prost_reflect::Kind::Int32 => Kind::Number,
            prost_reflect::Kind::Double => Kind::Real,
            prost_reflect::Kind::Enum(values) => Kind::Enum(Enum::of(&values)),
            prost_reflect::Kind::Message(inner) => Kind::Message(self.message(&inner)),
            other => panic!("{} is a {other:?}, which no record states", field.full_name()),
        };
        Field {
            shape,
            place: self.shapes[shape].fields.len(),
            number: field.number(),
            name: field.name().to_owned(),
            kind,
            is_list: field.is_list(),
            has_presence: field.supports_presence(),
        }
    }
}

/// Whether a field is what the registry says of a record, or when it learnt of a source: nobody states those.
fn is_said_by_the_registry(field: &FieldDescriptor) -> bool {
    let kind = field.kind();
    let message = kind.as_message().map(MessageDescriptor::full_name);
    matches!(message, Some("attache.v1.RecordInfo" | "google.protobuf.Timestamp"))
}

impl Shape {
    /// Of a message by its short name.
    ///
    /// # Panics
    ///
    /// If there is none: names are literals of this crate.
    #[must_use]
    pub fn of(name: &str) -> &'static Self {
        SHAPES
            .iter()
            .find(|s| s.name == name)
            .unwrap_or_else(|| panic!("{name} is a message that is read by its fields"))
    }

    /// Every shape, each at its place.
    #[must_use]
    pub fn all() -> &'static [Self] {
        &SHAPES
    }

    /// Where it stands among all, for tables that are laid down beside them.
    #[must_use]
    pub fn place(&self) -> usize {
        self.place
    }

    /// The message's short name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fields, in the order of the contract.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// A field by its name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    fn add(&mut self, field: Field) {
        let number = usize::try_from(field.number).expect("numbers of fields are small");
        if self.numbers.len() <= number {
            self.numbers.resize(number + 1, None);
        }
        self.numbers[number] = Some(field.place);
        self.fields.push(field);
    }

    pub(super) fn numbered(&self, number: u32) -> Option<&Field> {
        let place = self.numbers.get(usize::try_from(number).ok()?).copied().flatten()?;
        self.fields.get(place)
    }
}

impl Field {
    /// Where it stands among the fields of its message.
    #[must_use]
    pub fn place(&self) -> usize {
        self.place
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is, or what the elements of its list are.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether it is a list.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.is_list
    }

    /// The message that has it.
    #[must_use]
    pub fn parent(&self) -> &'static Shape {
        &SHAPES[self.shape]
    }

    /// The message that it is, or that the elements of its list are.
    #[must_use]
    pub fn message(&self) -> Option<&'static Shape> {
        if let Kind::Message(place) = self.kind { SHAPES.get(place) } else { None }
    }

    /// The values of the enum that it is.
    #[must_use]
    pub fn values(&self) -> Option<&Enum> {
        if let Kind::Enum(values) = &self.kind { Some(values) } else { None }
    }
}
