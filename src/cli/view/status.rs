//! Derived status in words.

use prost_reflect::Kind as FieldKind;
use serde_json::Value;

use super::text;
use crate::{
    cli::{error::CliError, kinds::Kind, words},
    pb,
};

/// Whether records of this kind have a status.
#[must_use]
pub fn of_kind(kind: Kind) -> bool {
    matches!(kind, Kind::Visit | Kind::Meeting | Kind::Agreement | Kind::Exercise)
}

/// The day that status is asked for.
///
/// # Errors
///
/// [`CliError::Usage`] for a day where there is no status.
pub fn day_for(kind: Kind, day: Option<&String>) -> Result<Option<String>, CliError> {
    match day {
        Some(_) if !of_kind(kind) => Err(CliError::Usage(format!("--valid-at: {} have no status", kind.collection()))),
        _ => Ok(day.cloned()),
    }
}

/// `in force (inferred)`; empty if the registry derived none.
#[must_use]
pub fn short(record: &Value) -> String {
    let Some(status) = status(record) else { return String::new() };
    let word = match (word(status, "status"), word(status, "agreement_status")) {
        (status, agreement) if agreement.is_empty() => status,
        // What does not bind cannot be in force.
        (_, agreement) if agreement == "in force" && !binds(record) => "in effect".to_owned(),
        (_, agreement) => agreement,
    };
    match word_of_certainty(status) {
        certainty if certainty.is_empty() || certainty == "definite" || word.is_empty() => word,
        certainty => format!("{word} ({certainty})"),
    }
}

/// `in force (inferred): its validity has begun`.
#[must_use]
pub fn with_reason(record: &Value) -> String {
    let short = short(record);
    match status(record).map(|status| text(status, "reason")).unwrap_or_default() {
        reason if reason.is_empty() || short.is_empty() => short,
        reason => format!("{short}: {reason}"),
    }
}

fn status(record: &Value) -> Option<&Value> {
    record.get("info")?.get("status")
}

fn word_of_certainty(status: &Value) -> String {
    word(status, "certainty")
}

fn word(status: &Value, field: &str) -> String {
    let Some(field) = pb::descriptor("DerivedStatus").get_field_by_name(field) else { return String::new() };
    match field.kind() {
        FieldKind::Enum(vocabulary) => match text(status, field.json_name()) {
            "" => String::new(),
            name => words::human_name(&vocabulary, name),
        },
        _ => String::new(),
    }
}

/// As stated; where nobody states it, plans, declarations and the like are taken for what they usually are.
fn binds(agreement: &Value) -> bool {
    match text(agreement, "legalCharacter") {
        "LEGAL_CHARACTER_BINDING" => true,
        "LEGAL_CHARACTER_NON_BINDING" | "LEGAL_CHARACTER_POLITICALLY_BINDING" => false,
        _ => !matches!(
            text(agreement, "instrument"),
            "INSTRUMENT_MEMORANDUM_OF_UNDERSTANDING"
                | "INSTRUMENT_ARRANGEMENT"
                | "INSTRUMENT_AGREED_MINUTE"
                | "INSTRUMENT_LETTER_OF_INTENT"
                | "INSTRUMENT_JOINT_DECLARATION"
                | "INSTRUMENT_COOPERATION_PLAN"
                | "INSTRUMENT_ROADMAP"
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn agreement(character: &str) -> Value {
        let status = json!({"agreementStatus": "AGREEMENT_STATUS_IN_FORCE", "certainty": "CERTAINTY_INFERRED",
                            "reason": "its validity has begun"});
        json!({"legalCharacter": character, "info": {"status": status}})
    }

    #[test]
    fn a_status_says_how_sure_it_is_and_why() {
        let treaty = agreement("LEGAL_CHARACTER_BINDING");
        assert_eq!(short(&treaty), "in force (inferred)");
        assert_eq!(with_reason(&treaty), "in force (inferred): its validity has begun");
        let visit = json!({"info": {"status": {"status": "STATUS_TOOK_PLACE", "certainty": "CERTAINTY_DEFINITE"}}});
        assert_eq!(with_reason(&visit), "took place");
        assert_eq!(with_reason(&json!({"info": {}})), "");
    }

    #[test]
    fn what_does_not_bind_is_in_effect() {
        assert_eq!(short(&agreement("LEGAL_CHARACTER_NON_BINDING")), "in effect (inferred)");
        assert_eq!(short(&agreement("LEGAL_CHARACTER_POLITICALLY_BINDING")), "in effect (inferred)");
    }

    #[test]
    fn a_plan_of_which_nobody_says_whether_it_binds_is_in_effect() {
        let mut plan = agreement("");
        plan["instrument"] = json!("INSTRUMENT_COOPERATION_PLAN");
        assert_eq!(short(&plan), "in effect (inferred)");
        plan["legalCharacter"] = json!("LEGAL_CHARACTER_BINDING");
        assert_eq!(short(&plan), "in force (inferred)");
        plan["legalCharacter"] = json!("");
        plan["instrument"] = json!("INSTRUMENT_TREATY");
        assert_eq!(short(&plan), "in force (inferred)");
    }

    #[test]
    fn a_day_is_for_kinds_that_have_a_status() {
        let day = "2024-06-01".to_owned();
        assert_eq!(day_for(Kind::Visit, Some(&day)).unwrap(), Some(day.clone()));
        assert!(day_for(Kind::Person, Some(&day)).unwrap_err().to_string().starts_with("--valid-at"));
        assert!(day_for(Kind::Person, None).is_ok());
    }

    #[test]
    fn kinds_with_a_status_are_those_that_are_asked_for_a_day() {
        for kind in Kind::ALL {
            let request = pb::descriptor(&format!("Get{}Request", kind.message()));
            assert_eq!(request.get_field_by_name("valid_at").is_some(), of_kind(kind), "{kind:?}");
        }
    }
}
