//! Messages by their fields, as bytes: what generated code writes and reads.

use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

use super::{Field, Kind, Shape, Tree, Value};
use crate::pb::wire::{each_whole_field, put_sized};

/// Reads a message as generated code and reflection write it; `None` if the bytes are none of this shape. (Of a message that
/// stands twice in a field the later one counts, and a list in pieces is one: nobody writes the former.)
pub(super) fn read(shape: &'static Shape, bytes: &[u8]) -> Option<Tree> {
    let mut tree = Tree::new(shape);
    each_whole_field(bytes, |number, mut whole, content| {
        let Some(field) = shape.numbered(number) else { return Some(()) };
        let Some(mut content) = content else {
            let (_, wire_type) = decode_key(&mut whole).ok()?;
            if wire_type != number_type(field) {
                return None;
            }
            tree.take(field, read_number(field, &mut whole)?);
            return Some(());
        };
        match field.kind() {
            Kind::Text => tree.take(field, Value::Text(std::str::from_utf8(content).ok()?.into())),
            Kind::Message(inner) => tree.take(field, Value::message(read(&Shape::all()[*inner], content)?)),
            // A list of numbers lies packed.
            Kind::Flag | Kind::Number | Kind::Real | Kind::Enum(_) => {
                while !content.is_empty() {
                    tree.take(field, read_number(field, &mut content)?);
                }
            }
        }
        Some(())
    })?;
    Some(tree)
}

/// How a number lies on the wire.
fn number_type(field: &Field) -> WireType {
    if let Kind::Real = field.kind() { WireType::SixtyFourBit } else { WireType::Varint }
}

fn read_number(field: &Field, bytes: &mut &[u8]) -> Option<Value> {
    if let Kind::Real = field.kind() {
        let (number, rest) = bytes.split_first_chunk::<8>()?;
        *bytes = rest;
        return Some(Value::Real(f64::from_le_bytes(*number)));
    }
    // (Negative numbers are extended to 64 bits on the wire: what is cut off are their signs.)
    #[allow(clippy::cast_possible_truncation)]
    let number = decode_varint(bytes).ok()? as i32;
    match field.kind() {
        Kind::Flag => Some(Value::Flag(number != 0)),
        Kind::Number => Some(Value::Number(number)),
        Kind::Enum(_) => Some(Value::Enum(number)),
        _ => None,
    }
}

pub(super) fn write(tree: &Tree, into: &mut Vec<u8>) {
    for (field, value) in tree.fields() {
        match value {
            // A list of numbers is packed.
            Value::List(items) if !matches!(field.kind(), Kind::Text | Kind::Message(_)) => {
                encode_key(field.number, WireType::LengthDelimited, into);
                put_sized(into, |into| items.iter().for_each(|item| write_number(item, into)));
            }
            Value::List(items) => items.iter().for_each(|item| write_field(field, item, into)),
            single => write_field(field, single, into),
        }
    }
}

fn write_field(field: &Field, value: &Value, into: &mut Vec<u8>) {
    let wire_type = match value {
        Value::Text(_) | Value::Message(_) | Value::List(_) => WireType::LengthDelimited,
        Value::Flag(_) | Value::Number(_) | Value::Enum(_) => WireType::Varint,
        Value::Real(_) => WireType::SixtyFourBit,
    };
    encode_key(field.number, wire_type, into);
    match value {
        Value::Text(text) => {
            encode_varint(text.len() as u64, into);
            into.extend_from_slice(text.as_bytes());
        }
        Value::Message(inner) => put_sized(into, |into| write(inner, into)),
        number => write_number(number, into),
    }
}

fn write_number(value: &Value, into: &mut Vec<u8>) {
    match value {
        Value::Flag(flag) => into.push(u8::from(*flag)),
        // (As prost does: extended to 64 bits.)
        #[allow(clippy::cast_sign_loss)]
        Value::Number(number) | Value::Enum(number) => encode_varint(i64::from(*number) as u64, into),
        Value::Real(number) => into.extend_from_slice(&number.to_le_bytes()),
        Value::Text(_) | Value::Message(_) | Value::List(_) => {}
    }
}
