//! Words of the vocabularies as people type and read them; the descriptors say which there are.

use prost_reflect::EnumDescriptor;

use crate::pb;

/// Words this alike (Jaro-Winkler) may be meant for each other: typing errors are, other words of a vocabulary are not.
const NEAR: f64 = 0.85;

/// A parser for clap: the number of a word of this vocabulary.
pub fn parser(vocabulary: &'static str) -> impl Fn(&str) -> Result<i32, String> + Clone + Send + Sync + 'static {
    move |word| number(vocabulary, word)
}

/// The number of a word: short or full, in any case, with `-`, `_` or spaces.
///
/// # Errors
///
/// The words there are.
pub fn number(vocabulary: &str, word: &str) -> Result<i32, String> {
    let descriptor = descriptor(vocabulary);
    let prefix = prefix(&descriptor);
    let wanted = word.trim().to_uppercase().replace(['-', ' '], "_");
    let found = descriptor
        .values()
        .find(|value| value.number() != 0 && (value.name() == wanted || short_name(&prefix, value.name()) == wanted));
    found.map(|value| value.number()).ok_or_else(|| expected(word, &all(vocabulary)))
}

/// What to say about a word that is none of these.
fn expected(word: &str, words: &[String]) -> String {
    let meant = nearest(word, words.iter().map(String::as_str));
    let meant = meant.map(|word| format!("; did you mean {word}?")).unwrap_or_default();
    format!("one of {} is expected{meant}", words.join(", "))
}

/// The word that was probably meant, if one is near enough; case and separators do not count.
#[must_use]
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |word: &str| word.to_lowercase().replace(['-', '_', ' '], "");
    let wanted = plain(word);
    let scored = words.into_iter().map(|word| (strsim::jaro_winkler(&wanted, &plain(word)), word));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score >= NEAR).map(|(_, word)| word)
}

/// Every word of a vocabulary as one types it: `official-working`.
#[must_use]
pub fn all(vocabulary: &str) -> Vec<String> {
    let descriptor = descriptor(vocabulary);
    let stated = descriptor.values().filter(|value| value.number() != 0);
    stated.map(|value| typed(&descriptor, value.name())).collect()
}

/// The word of a number, for people: `official working`; empty if not stated.
#[must_use]
pub fn human(vocabulary: &str, number: i32) -> String {
    let descriptor = descriptor(vocabulary);
    match descriptor.get_value(number) {
        _ if number == 0 => String::new(),
        Some(value) => human_name(&descriptor, value.name()),
        None => number.to_string(),
    }
}

/// The word of a full name such as `VISIT_TYPE_OFFICIAL_WORKING`, for people: `official working`.
#[must_use]
pub fn human_name(descriptor: &EnumDescriptor, name: &str) -> String {
    let short = short_name(&prefix(descriptor), name);
    // Codes of NATO are written like this: OF-9.
    if descriptor.name() == "NatoCode" { short.replace('_', "-") } else { short.to_lowercase().replace('_', " ") }
}

/// The word of a full name as one types it: `official-working`.
#[must_use]
pub fn typed(descriptor: &EnumDescriptor, name: &str) -> String {
    human_name(descriptor, name).replace(' ', "-")
}

/// The word of a full name of whatever vocabulary, for people; `None` if no vocabulary has it.
#[must_use]
pub fn human_anywhere(name: &str) -> Option<String> {
    let mut vocabularies = pb::POOL.all_enums().filter(|e| e.package_name() == "attache.v1");
    let vocabulary = vocabularies.find(|e| e.values().any(|value| value.name() == name))?;
    Some(human_name(&vocabulary, name))
}

/// What every name of the vocabulary begins with: `VISIT_TYPE_`.
#[must_use]
pub fn prefix(descriptor: &EnumDescriptor) -> String {
    let zero = descriptor.default_value();
    zero.name().strip_suffix("UNSPECIFIED").unwrap_or_default().to_owned()
}

/// A state code as the contract spells it: `az` is `AZ`; the project's own codes (`x-hawaii`) are lower case.
///
/// # Errors
///
/// Says what a code looks like.
pub fn state(code: &str) -> Result<String, String> {
    let code = code.trim();
    let own = code.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"));
    match code {
        _ if own && code.len() > 2 => Ok(code.to_lowercase()),
        _ if matches!(code.len(), 2 | 4) && code.chars().all(|c| c.is_ascii_alphabetic()) => Ok(code.to_uppercase()),
        _ => Err("a state code is expected: AZ, SUHH, or one of the project's own such as x-hawaii".into()),
    }
}

fn descriptor(vocabulary: &str) -> EnumDescriptor {
    pb::POOL
        .get_enum_by_name(&format!("attache.v1.{vocabulary}"))
        .unwrap_or_else(|| panic!("attache.v1.{vocabulary} is a vocabulary of the contract"))
}

fn short_name<'a>(prefix: &str, name: &'a str) -> &'a str {
    name.strip_prefix(prefix).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::v1::{EventType, VisitType};

    #[test]
    fn words_are_taken_short_or_full_in_any_case_with_any_separator() {
        let expected = VisitType::OfficialWorking as i32;
        for word in ["official-working", "OFFICIAL_WORKING", "Official Working", "visit_type_official_working"] {
            assert_eq!(number("VisitType", word), Ok(expected), "{word}");
        }
        assert_eq!(number("EventType", "agreement-signed"), Ok(EventType::AgreementSigned as i32));
        assert_eq!(number("NatoCode", "of-5"), Ok(5));
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_words_there_are() {
        let error = number("ItineraryStatus", "done").unwrap_err();
        assert_eq!(error, "one of planned, held, cancelled is expected");
        assert!(number("VisitType", "unspecified").is_err(), "absent is not a word");
    }

    #[test]
    fn a_word_that_is_nearly_one_is_answered_with_that_one() {
        assert!(number("VisitType", "oficial-working").unwrap_err().ends_with("; did you mean official-working?"));
        assert_eq!(nearest("visitTpye", ["visitType", "visitLevel"]), Some("visitType"));
        assert_eq!(nearest("ship", ["visit", "hosts"]), None);
    }

    #[test]
    fn words_are_shown_to_people_without_prefix() {
        assert_eq!(human("VisitType", VisitType::OfficialWorking as i32), "official working");
        assert_eq!(human("VisitType", 0), "");
        assert_eq!(human("VisitType", 4711), "4711");
        assert_eq!(human("NatoCode", 9), "OF-9", "as NATO writes it");
        assert_eq!(human_anywhere("ACTION_TYPE_SIGNED").as_deref(), Some("signed"));
        assert_eq!(human_anywhere("SIGNED"), None);
    }

    #[test]
    fn state_codes_get_their_usual_case() {
        assert_eq!(state("az"), Ok("AZ".into()));
        assert_eq!(state("suhh"), Ok("SUHH".into()));
        assert_eq!(state("X-Hawaii"), Ok("x-hawaii".into()));
        assert!(state("Azerbaijan").is_err());
    }
}
