//! How a record came to its values, as the contract shows it.

use std::collections::BTreeMap;

use prost_reflect::DynamicMessage;
use prost_types::value::Kind as Json;

use crate::{
    domain::resolve::{Claim, Leaf, Resolution, compare::Stated},
    pb::{
        self,
        tree::{Field, Value},
        v1,
    },
};

/// Every resolved field by path.
pub(super) fn fields(resolution: &Resolution) -> Vec<v1::FieldExplanation> {
    resolution.leaves.iter().map(|leaf| field(leaf, &resolution.reports)).collect()
}

fn field(leaf: &Leaf, reports: &[String]) -> v1::FieldExplanation {
    let resolved = leaf.resolved();
    v1::FieldExplanation {
        path: leaf.path.clone(),
        value: Some(value(leaf, resolved)),
        report: reports[resolved.report].clone(),
        account: resolved.account.to_string(),
        disputed: leaf.disputed,
        accounts: leaf.claims.iter().map(|claim| account(leaf, claim, reports)).collect(),
    }
}

fn account(leaf: &Leaf, claim: &Claim, reports: &[String]) -> v1::AccountValue {
    v1::AccountValue {
        account: claim.account.to_string(),
        report: reports[claim.report].clone(),
        value: Some(value(leaf, claim)),
        verdict: claim.verdict.into(),
        considered: claim.considered,
    }
}

fn value(leaf: &Leaf, claim: &Claim) -> prost_types::Value {
    let Stated { value, words } = &claim.stated;
    let plain = value.as_ref().map(|v| json(v, leaf.field));
    let Some(words) = words else { return wrap(plain.unwrap_or(serde_json::Value::Null)) };
    let mut object = serde_json::Map::new();
    object.extend(plain.map(|v| ("value".to_owned(), v)));
    object.insert("asStated".to_owned(), json(words, leaf.field));
    wrap(serde_json::Value::Object(object))
}

/// A value as it stands in the canonical JSON of its message.
fn json(value: &Value, field: &Field) -> serde_json::Value {
    match value {
        Value::Enum(number) => {
            let word = field.values().and_then(|words| words.get(*number));
            word.map_or_else(|| (*number).into(), |v| v.name.as_str().into())
        }
        Value::Message(tree) => {
            let message = DynamicMessage::decode(pb::descriptor(tree.shape().name()), tree.encode().as_slice());
            message.ok().and_then(|m| serde_json::to_value(m).ok()).unwrap_or(serde_json::Value::Null)
        }
        Value::List(items) => items.iter().map(|item| json(item, field)).collect(),
        Value::Text(text) => text.as_ref().into(),
        Value::Flag(flag) => (*flag).into(),
        Value::Number(number) => (*number).into(),
        Value::Real(number) => (*number).into(),
    }
}

fn wrap(value: serde_json::Value) -> prost_types::Value {
    let kind = match value {
        serde_json::Value::Null => Json::NullValue(0),
        serde_json::Value::Bool(flag) => Json::BoolValue(flag),
        serde_json::Value::Number(number) => Json::NumberValue(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Json::StringValue(text),
        serde_json::Value::Array(items) => {
            Json::ListValue(prost_types::ListValue { values: items.into_iter().map(wrap).collect() })
        }
        serde_json::Value::Object(fields) => {
            let fields: BTreeMap<_, _> = fields.into_iter().map(|(k, v)| (k, wrap(v))).collect();
            Json::StructValue(prost_types::Struct { fields })
        }
    };
    prost_types::Value { kind: Some(kind) }
}
