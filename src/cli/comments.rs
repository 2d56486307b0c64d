//! The contract's own comments, from its descriptors.

use prost_reflect::{FieldDescriptor, FileDescriptor, MessageDescriptor};

/// What the contract says about a message.
#[must_use]
pub fn of_message(message: &MessageDescriptor) -> String {
    of(&message.parent_file(), message.path())
}

/// What the contract says about a field.
#[must_use]
pub fn of_field(field: &FieldDescriptor) -> String {
    of(&field.parent_message().parent_file(), field.path())
}

/// Whether the server alone fills the field.
#[must_use]
pub fn is_output_only(field: &FieldDescriptor) -> bool {
    of_field(field).starts_with("Output only.")
}

fn of(file: &FileDescriptor, path: &[i32]) -> String {
    let proto = file.file_descriptor_proto();
    let locations = proto.source_code_info.iter().flat_map(|info| &info.location);
    let comment = locations
        .into_iter()
        .find(|location| location.path == path)
        .map(prost_types::source_code_info::Location::leading_comments);
    comment.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb;

    #[test]
    fn comments_of_the_contract_are_found() {
        let visit = pb::descriptor("Visit");
        assert_eq!(of_message(&visit), "A visit of one side to another.");
        assert_eq!(of_field(&visit.get_field_by_name("itinerary").unwrap()), "The programme.");
        assert!(is_output_only(&visit.get_field_by_name("info").unwrap()));
    }
}
