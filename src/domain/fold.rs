//! Folding of text: what makes two spellings of a name the same key.

/// The folded form: other scripts transliterated, accents dropped, lower case, single spaces, letters and digits only.
///
/// Used for keys and identities alone; texts themselves are never compared.
#[must_use]
pub fn fold(text: &str) -> String {
    let folded = if text.bytes().all(|b| b < DELETE) {
        // Most texts, of which the transliteration table changes nothing.
        letters(text)
    } else {
        // The schwa of Azerbaijani is a letter of names; the transliteration table has only its phonetic sign.
        letters(&deunicode::deunicode(&text.replace(['ə', 'Ə'], "e")))
    };
    if folded.is_empty() { text.trim().to_lowercase() } else { folded }
}

/// The one character of ASCII that the transliteration table drops.
const DELETE: u8 = 0x7f;

/// Letters and digits of ASCII in lower case, and one space for whatever stands between them.
fn letters(latin: &str) -> String {
    let (mut folded, mut parted) = (String::with_capacity(latin.len()), false);
    for c in latin.chars() {
        if c.is_ascii_alphanumeric() {
            if parted && !folded.is_empty() {
                folded.push(' ');
            }
            folded.push(c.to_ascii_lowercase());
            parted = false;
        } else {
            // An apostrophe parts nothing.
            parted |= c != '\'' && c != '`';
        }
    }
    folded
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scripts_accents_case_and_punctuation_fold_away() {
        assert_eq!(fold("  Heydər  ƏLİYEV "), fold("Heyder Eliyev"));
        assert_eq!(fold("Tête-à-tête"), "tete a tete");
        assert_eq!(fold("Руслан"), "ruslan");
    }

    proptest! {
        #[test]
        fn a_text_of_ascii_folds_as_the_transliteration_of_it_does(text in "[ -~\u{0}\u{9}\u{a}\u{7f}]{0,12}|[ab'` .-]{0,12}") {
            let latin = letters(&deunicode::deunicode(&text));
            prop_assert_eq!(fold(&text), if latin.is_empty() { text.trim().to_lowercase() } else { latin });
        }
    }

    #[test]
    fn what_folds_to_nothing_stays_itself() {
        assert_eq!(fold("—"), "—");
        assert_eq!(slug("—"), None, "which is no key");
        assert_eq!(slug("Tête-à-tête").as_deref(), Some("tete-a-tete"));
    }
}
