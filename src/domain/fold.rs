//! Folding of text: what makes two spellings of a name the same key.

/// The folded form: other scripts transliterated, accents dropped, lower case, single spaces, letters and digits only.
///
/// Used for keys and identities alone; texts themselves are never compared.
#[must_use]
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    // The schwa of Azerbaijani is a letter of names; the transliteration table has only its phonetic sign.
    let latin = text.replace(['ə', 'Ə'], "e");
    for c in deunicode::deunicode(&latin).chars() {
        if c.is_ascii_alphanumeric() {
            folded.push(c.to_ascii_lowercase());
        } else if !folded.is_empty() && !folded.ends_with(' ') && c != '\'' && c != '`' {
            folded.push(' ');
        }
    }
    folded.truncate(folded.trim_end().len());
    if folded.is_empty() { text.trim().to_lowercase() } else { folded }
}

/// The folded form as a key: spaces become hyphens, at most 63 characters; `None` if the text has no letter or digit that
/// a key could be made of.
#[must_use]
pub fn slug(text: &str) -> Option<String> {
    let mut slug = fold(text).replace(' ', "-");
    if !slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return None;
    }
    slug.truncate(63);
    Some(slug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_accents_case_and_punctuation_fold_away() {
        assert_eq!(fold("  Heydər  ƏLİYEV "), fold("Heyder Eliyev"));
        assert_eq!(fold("Tête-à-tête"), "tete a tete");
        assert_eq!(fold("Руслан"), "ruslan");
    }

    #[test]
    fn what_folds_to_nothing_stays_itself() {
        assert_eq!(fold("—"), "—");
        assert_eq!(slug("—"), None, "which is no key");
        assert_eq!(slug("Tête-à-tête").as_deref(), Some("tete-a-tete"));
    }
}
