//! Words: where they stand in a text, how they are spelt once folded, and how they sound.
//!
//! Names travel through scripts and transliterations: Жаксылыков is Zhaksylykov in English, Jaksılıkov in Azerbaijani,
//! Jaksylykow in Polish. [`sound`] maps what those conventions do differently to the same letters. It is meant to be
//! coarse: what it confuses, the ranking tells apart by the spelling.

use std::borrow::Cow;

use unicode_normalization::char::is_combining_mark;

use crate::domain::fold::fold;

/// A word in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its first code point.
    pub begin: usize,
    /// The code point after its last.
    pub end: usize,
    /// How it is spelt, folded.
    pub spelling: String,
    /// How it sounds.
    pub sound: String,
}

/// The words of a text, in order. A word of a script that has no spaces may fold to several, which share its place.
#[must_use]
pub fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    each(text, |begin, end, spelling| {
        words.push(Word { begin, end, spelling: spelling.to_owned(), sound: sound(spelling) });
    });
    words
}

/// Shows how each word of a text sounds, in order.
pub fn each_sound(text: &str, mut take: impl FnMut(&str)) {
    let mut heard = String::new();
    each(text, |_, _, spelling| {
        heard.clear();
        sound_into(spelling, &mut heard);
        take(&heard);
    });
}

/// Shows where each word of a text begins and ends, and how it is spelt, folded.
fn each(text: &str, mut take: impl FnMut(usize, usize, &str)) {
    let (mut begin, mut run) = (0, String::new());
    for (at, c) in text.chars().chain([' ']).enumerate() {
        if c.is_alphanumeric() || (!run.is_empty() && (is_combining_mark(c) || is_apostrophe(c))) {
            if run.is_empty() {
                begin = at;
            }
            run.push(c);
        } else if !run.is_empty() {
            spellings(begin, &mut run, &mut take);
            run.clear();
        }
    }
}

fn spellings(begin: usize, run: &mut String, take: &mut impl FnMut(usize, usize, &str)) {
    run.truncate(run.trim_end_matches(is_apostrophe).len());
    if run.is_empty() {
        // Some apostrophes are letters to Unicode, and begin a word.
        return;
    }
    if run.bytes().all(|b| b.is_ascii_alphanumeric()) {
        // Most words of most texts: what folding would come to.
        run.make_ascii_lowercase();
        return take(begin, begin + run.len(), run);
    }
    let end = begin + run.chars().count();
    // The Cyrillic schwa of Kazakh is a letter of names too; without this it would end the word.
    let folded = fold(&run.replace(['ә', 'Ә'], "a"));
    folded.split(' ').filter(|s| !s.is_empty()).for_each(|spelling| take(begin, end, spelling));
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '`' | '\u{2019}' | '\u{2BC}' | '\u{2BB}')
}

/// What the groups of letters sound like that begin with a letter, longest first.
fn groups(first: u8) -> &'static [(&'static str, &'static str)] {
    match first {
        b'c' => &[("ch", "k"), ("ck", "k"), ("c", "k")],
        b'd' => &[("dzh", "z"), ("dj", "z")],
        b'e' => &[("e", "a")],
        b'g' => &[("gh", "g")],
        b'j' => &[("j", "z")],
        b'k' => &[("kh", "h")],
        b'o' => &[("ou", "u"), ("oo", "u")],
        b'p' => &[("ph", "f")],
        b'q' => &[("q", "k")],
        b's' => &[("shch", "s"), ("sch", "s"), ("sh", "s")],
        b't' => &[("tch", "k"), ("th", "t")],
        b'w' => &[("w", "v")],
        b'x' => &[("x", "ks")],
        b'y' => &[("y", "i")],
        b'z' => &[("zh", "z")],
        _ => &[],
    }
}

/// How a folded word sounds: letters and digits only. A word with digits sounds as it is spelt, and one in letters that
/// no table transliterates is told by its code points.
#[must_use]
pub fn sound(spelling: &str) -> String {
    let mut heard = String::with_capacity(spelling.len());
    sound_into(spelling, &mut heard);
    heard
}

/// Adds it to a text that is empty.
fn sound_into(spelling: &str, sound: &mut String) {
    if !spelling.is_ascii() {
        sound.extend(spelling.chars().map(|c| format!("u{:x}", u32::from(c))));
        return;
    }
    let is_plain = spelling.bytes().all(|b| b.is_ascii_alphanumeric());
    let letters: Cow<'_, str> = match is_plain {
        true => spelling.into(),
        false => spelling.chars().filter(char::is_ascii_alphanumeric).collect::<String>().into(),
    };
    if letters.bytes().any(|b| b.is_ascii_digit()) {
        sound.push_str(&letters);
        return;
    }
    let mut rest = letters.as_ref();
    while let Some(&first) = rest.as_bytes().first() {
        let initial_x = sound.is_empty() && first == b'x';
        let group = match initial_x {
            true => Some(&("x", "h")),
            false => groups(first).iter().find(|(group, _)| rest.starts_with(group)),
        };
        let (length, heard) = group.map_or((1, &rest[..1]), |(g, heard)| (g.len(), *heard));
        heard.bytes().for_each(|letter| hear(sound, letter));
        rest = &rest[length..];
    }
    finish(sound);
}

/// Adds a letter: doubles are one, and an `i` that only glides from vowel to vowel is silent.
fn hear(sound: &mut String, letter: u8) {
    let is_vowel = |c: u8| matches!(c, b'a' | b'i' | b'o' | b'u');
    if let [.., before, b'i'] = sound.as_bytes()
        && is_vowel(letter)
        && letter != b'i'
        && is_vowel(*before)
    {
        sound.pop();
    }
    if sound.as_bytes().last() != Some(&letter) {
        sound.push(char::from(letter));
    }
}

/// Endings that conventions write differently: -ov and -off, Yeltsin and Eltsin.
fn finish(sound: &mut String) {
    if sound.len() > 2 && sound.ends_with('f') {
        sound.pop();
        sound.push('v');
    }
    if sound.len() > 2 && sound.starts_with("ia") {
        sound.remove(0);
    }
}

/// The fewest letters of a beginning that stands for the word.
pub const MIN_PREFIX: usize = 3;

/// How many typing errors a word of so many letters may have: letters left out, added, changed, or two swapped.
#[must_use]
pub fn errors_forgiven(letters: usize) -> usize {
    match letters {
        0..4 => 0,
        4..8 => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sounds(text: &str) -> Vec<String> {
        words(text).into_iter().map(|w| w.sound).collect()
    }

    #[test]
    fn an_apostrophe_alone_is_no_word() {
        for text in ["'", "\u{2019}", "\u{2bc}", "\u{2bb}\u{2bc}", "- \u{2bc} -"] {
            assert!(words(text).is_empty(), "{text}");
        }
        assert_eq!(sounds("\u{2bc}oglu"), sounds("oglu"));
    }

    #[test]
    fn spellings_of_one_name_sound_alike() {
        let families: &[&[&str]] = &[
            &["Жаксылыков", "Zhaksylykov", "Jaksilykov", "Jaksılıkov", "Zhaksylykof", "Jaksylykow", "Žaksylykov"],
            &["Həsənov", "Hasanov", "Hesenov", "HASANOW", "Khasanov", "Хасанов"],
            &["Алиев", "Aliyev", "Aliev", "Əliyev", "Aliyeff"],
            &["Çavuşoğlu", "Cavusoglu", "Chavushoghlu"],
            &["Джаббаров", "Dzhabbarov", "Jabbarov", "Djabbarof"],
            &["Ельцин", "Yeltsin", "Eltsin"],
            &["Xəzər", "Khazar", "Hazar"],
            &["Кәрім", "Kərim", "Karim"],
            &["Aleksandr", "Alexandr", "Александр"],
        ];
        for family in families {
            for spelling in *family {
                assert_eq!(sounds(spelling), sounds(family[0]), "{spelling} and {}", family[0]);
            }
        }
    }

    #[test]
    fn groups_begin_with_their_letter_and_longer_ones_come_first() {
        for first in b'a'..=b'z' {
            let groups = groups(first);
            assert!(groups.iter().all(|(group, _)| group.as_bytes()[0] == first), "{groups:?}");
            assert!(groups.is_sorted_by(|(a, _), (b, _)| a.len() >= b.len()), "{groups:?}");
        }
    }

    #[test]
    fn names_that_differ_sound_different() {
        let names = ["Zhaksylykov", "Hasanov", "Abbasov", "Kerimov", "Valiyev", "Nurlan", "Ruslan", "Baku", "Astana"];
        let mut heard: Vec<_> = names.iter().flat_map(|n| sounds(n)).collect();
        heard.sort();
        heard.dedup();
        assert_eq!(heard.len(), names.len(), "{heard:?}");
    }

    #[test]
    fn places_are_counted_in_code_points_of_the_text_as_it_is() {
        let found = words("Р. Жаксылыков, d'Orazio’s «Tête-à-tête»");
        let shown: Vec<_> = found.iter().map(|w| (w.begin, w.end, w.spelling.as_str())).collect();
        let expected = [
            (0, 1, "r"),
            (3, 13, "zhaksylykov"),
            (15, 25, "dorazios"),
            (27, 31, "tete"),
            (32, 33, "a"),
            (34, 38, "tete"),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn accents_that_stand_alone_belong_to_their_letter() {
        let found = words("Te\u{302}te");
        assert_eq!((found.len(), found[0].end, found[0].spelling.as_str()), (1, 5, "tete"));
    }

    #[test]
    fn any_text_sounds_of_ascii_letters_and_digits_alone() {
        for text in
            ["\"a\" OR b*", "北京", "\u{E000}\u{E001}", "col:umn^2", "Ω≈ç√", "日本 2023", "-", "", "\u{10FFFF}x"]
        {
            for word in words(text) {
                assert!(!word.sound.is_empty() && word.sound.bytes().all(|b| b.is_ascii_alphanumeric()), "{word:?}");
            }
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        assert_eq!(sounds("2023 Q4115189 1000"), ["2023", "q4115189", "1000"]);
    }
}
