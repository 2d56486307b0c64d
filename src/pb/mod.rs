//! Generated code and descriptors of the contract (`attache.v1`) and of the log (`attache.log.v1`).

// The generated code finds its way between the packages by their modules' places.
#[allow(clippy::all, clippy::pedantic, missing_docs, rustdoc::all)]
mod attache {
    pub mod v1 {
        tonic::include_proto!("attache.v1");
    }
    pub mod log {
        pub mod v1 {
            tonic::include_proto!("attache.log.v1");
        }
    }
}

pub mod tree;
pub mod wire;

/// The log's own messages.
pub use attache::log::v1 as log;
/// The contract.
pub use attache::v1;

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage as _};

/// The file descriptor set of both packages, with comments, as `attache descriptors` prints it.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/attache.binpb"));

/// The descriptors, decoded once.
pub static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("the descriptors were written by the build"));

/// The descriptor of a message of the contract, by its short name.
///
/// # Panics
///
/// If there is no such message: names are literals of this crate.
#[must_use]
pub fn descriptor(short: &str) -> MessageDescriptor {
    POOL.get_message_by_name(&format!("attache.v1.{short}"))
        .unwrap_or_else(|| panic!("attache.v1.{short} is a message of the contract"))
}

/// A message by its short name, with the fields of a generated one.
///
/// # Panics
///
/// If `message` is not of the type that `short` names.
pub fn to_dynamic<M: prost::Message>(short: &str, message: &M) -> DynamicMessage {
    let mut dynamic = DynamicMessage::new(descriptor(short));
    dynamic.transcode_from(message).expect("generated code and descriptors come from the same build");
    dynamic
}

/// Canonical proto JSON of a message: absent fields left out, names in lowerCamelCase.
///
/// # Panics
///
/// If `message` is not of the type that `short` names.
pub fn to_json<M: prost::Message>(short: &str, message: &M) -> serde_json::Value {
    serde_json::to_value(to_dynamic(short, message)).expect("a message of the contract has a JSON form")
}

/// Reads a message from canonical proto JSON; unknown fields are errors.
///
/// # Errors
///
/// The position and the reason, in words.
pub fn from_json<M: prost::Message + Default>(short: &str, json: &str) -> Result<M, String> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let dynamic = DynamicMessage::deserialize(descriptor(short), &mut deserializer).map_err(|e| e.to_string())?;
    deserializer.end().map_err(|e| e.to_string())?;
    debug_assert_eq!(dynamic.descriptor().name(), short);
    dynamic.transcode_to().map_err(|e| e.to_string())
}
