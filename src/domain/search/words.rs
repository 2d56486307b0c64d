//! Words: where they stand in a text, how they are spelt once folded, and how they sound.
//!
//! Names travel through scripts and transliterations: Жаксылыков is Zhaksylykov in English, Jaksılıkov in Azerbaijani,
//! Jaksylykow in Polish. [`sound`] maps what those conventions do differently to the same letters. It is meant to be
//! coarse: what it confuses, the ranking tells apart by the spelling.

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

/// The letters that most words have at most.
const MOST_LETTERS: usize = 32;

/// The words of a text, in order. A word of a script that has no spaces may fold to several, which share its place.
#[must_use]
pub fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    each(text, |begin, end, spelling| {
        words.push(Word { begin, end, spelling: spelling.to_owned(), sound: sound(spelling) });
    });
    words
}

/// Adds how each word of a text sounds to a text of sounds, in order, and shows each sound and where it begins there.
pub fn each_sound(text: &str, sounds: &mut String, mut take: impl FnMut(&str, usize)) {
    each(text, |_, _, spelling| {
        let begin = sounds.len();
        sound_into(spelling, sounds);
        take(&sounds[begin..], begin);
    });
}

/// Shows where each word of a text begins and ends, and how it is spelt, folded.
fn each(text: &str, mut take: impl FnMut(usize, usize, &str)) {
    let (mut at, mut rest, mut lower) = (0, text, String::with_capacity(MOST_LETTERS));
    while !rest.is_empty() {
        let plain = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let next = rest.as_bytes().get(plain);
        if next.is_none_or(|b| b.is_ascii() && !is_apostrophe(char::from(*b))) {
            // Most words of most texts, and what ends them.
            plain_spelling(at, &rest[..plain], &mut lower, &mut take);
            at += plain + 1;
            rest = rest.get(plain + 1..).unwrap_or_default();
            continue;
        }
        let passed = match word_bytes(rest) {
            0 => rest.chars().next().map_or(0, char::len_utf8),
            bytes => {
                spellings(at, &rest[..bytes], &mut lower, &mut take);
                bytes
            }
        };
        at += rest[..passed].chars().count();
        rest = &rest[passed..];
    }
}

/// Of a word of ASCII letters and digits: what folding would come to.
fn plain_spelling(begin: usize, word: &str, lower: &mut String, take: &mut impl FnMut(usize, usize, &str)) {
    if !word.is_empty() {
        lower.clear();
        lower.push_str(word);
        lower.make_ascii_lowercase();
        take(begin, begin + word.len(), lower);
    }
}

/// How many bytes of a text its first word has, if it begins with one; 0 if not.
fn word_bytes(text: &str) -> usize {
    if !text.starts_with(char::is_alphanumeric) {
        return 0;
    }
    text.find(|c: char| !(c.is_alphanumeric() || is_combining_mark(c) || is_apostrophe(c))).unwrap_or(text.len())
}

fn spellings(begin: usize, word: &str, lower: &mut String, take: &mut impl FnMut(usize, usize, &str)) {
    // Some apostrophes are letters to Unicode, and begin a word, which may have nothing else.
    let word = word.trim_end_matches(is_apostrophe);
    if word.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return plain_spelling(begin, word, lower, take);
    }
    let end = begin + word.chars().count();
    // The Cyrillic schwa of Kazakh is a letter of names too; without this it would end the word.
    let folded = fold(&word.replace(['ә', 'Ә'], "a"));
    folded.split(' ').filter(|s| !s.is_empty()).for_each(|spelling| take(begin, end, spelling));
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '`' | '\u{2019}' | '\u{2BC}' | '\u{2BB}')
}

/// What a letter that begins no group sounds like; 0 of one that may begin a group, or sounds like two letters.
const fn alone(letter: u8) -> u8 {
    match letter {
        b'c' | b'd' | b'g' | b'k' | b'o' | b'p' | b's' | b't' | b'x' | b'z' => 0,
        b'e' => b'a',
        b'j' => b'z',
        b'q' => b'k',
        b'w' => b'v',
        b'y' => b'i',
        other => other,
    }
}

/// What the letters that a word goes on with sound like, if [`alone`] leaves their first open, and how many they are: the
/// longest group that is known.
fn group(rest: &[u8]) -> (&[u8], usize) {
    match rest {
        [b'c', b'h' | b'k', ..] => (b"k", 2),
        [b'c', ..] => (b"k", 1),
        [b'd', b'z', b'h', ..] => (b"z", 3),
        [b'd', b'j', ..] | [b'z', b'h', ..] => (b"z", 2),
        [b'g', b'h', ..] => (b"g", 2),
        [b'k', b'h', ..] => (b"h", 2),
        [b'o', b'o' | b'u', ..] => (b"u", 2),
        [b'p', b'h', ..] => (b"f", 2),
        [b's', b'h', b'c', b'h', ..] => (b"s", 4),
        [b's', b'c', b'h', ..] => (b"s", 3),
        [b's', b'h', ..] => (b"s", 2),
        [b't', b'c', b'h', ..] => (b"k", 3),
        [b't', b'h', ..] => (b"t", 2),
        [b'x', ..] => (b"ks", 1),
        [letter, ..] => (std::slice::from_ref(letter), 1),
        [] => (b"", 0),
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

/// Adds it to the end of a text.
fn sound_into(spelling: &str, sound: &mut String) {
    if spelling.bytes().all(|b| b.is_ascii_lowercase()) {
        return letters_into(spelling.as_bytes(), sound);
    }
    if !spelling.is_ascii() {
        sound.extend(spelling.chars().map(|c| format!("u{:x}", u32::from(c))));
        return;
    }
    let plain: String = spelling.chars().filter(char::is_ascii_alphanumeric).collect();
    if plain.bytes().any(|b| b.is_ascii_digit()) {
        sound.push_str(&plain);
    } else {
        letters_into(plain.as_bytes(), sound);
    }
}

fn letters_into(letters: &[u8], sound: &mut String) {
    let begin = sound.len();
    let (mut ear, mut rest) = (Ear { sound, before: 0, last: 0 }, letters);
    if let [b'x', after @ ..] = rest {
        ear.hear(b'h');
        rest = after;
    }
    while let [letter, after @ ..] = rest {
        match alone(*letter) {
            0 => {
                let (heard, letters) = group(rest);
                heard.iter().for_each(|letter| ear.hear(*letter));
                rest = &rest[letters..];
            }
            heard => {
                ear.hear(heard);
                rest = after;
            }
        }
    }
    finish(sound, begin);
}

/// A sound that is being heard, and the last two letters of it; zeros while there are none.
struct Ear<'s> {
    sound: &'s mut String,
    before: u8,
    last: u8,
}

impl Ear<'_> {
    /// Adds a letter: doubles are one, and an `i` that only glides from vowel to vowel is silent.
    fn hear(&mut self, letter: u8) {
        let is_vowel = |c: u8| matches!(c, b'a' | b'i' | b'o' | b'u');
        if self.last == b'i' && letter != b'i' && is_vowel(letter) && is_vowel(self.before) {
            self.sound.pop();
            // (What was before that is asked for after an `i` alone.)
            self.last = self.before;
        }
        if self.last != letter {
            self.sound.push(char::from(letter));
            (self.before, self.last) = (self.last, letter);
        }
    }
}

/// Endings that conventions write differently: -ov and -off, Yeltsin and Eltsin; of the sound that begins there.
fn finish(sounds: &mut String, begin: usize) {
    if sounds.len() <= begin + 2 {
        return;
    }
    if sounds.ends_with('f') {
        sounds.pop();
        sounds.push('v');
    }
    if sounds[begin..].starts_with("ia") {
        sounds.remove(begin);
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
    use proptest::prelude::*;

    use super::*;

    fn sounds(text: &str) -> Vec<String> {
        words(text).into_iter().map(|w| w.sound).collect()
    }

    /// Where words lie, in code points, by the rule alone.
    fn places(text: &str) -> Vec<(usize, usize)> {
        let (mut places, mut open) = (Vec::new(), None::<(usize, usize)>);
        for (at, c) in text.chars().enumerate() {
            open = match open {
                None if c.is_alphanumeric() => Some((at, if is_apostrophe(c) { at } else { at + 1 })),
                // An apostrophe at the end is not of the word.
                Some(word) if is_apostrophe(c) => Some(word),
                Some((begin, _)) if c.is_alphanumeric() || is_combining_mark(c) => Some((begin, at + 1)),
                ended => {
                    places.extend(ended);
                    None
                }
            };
        }
        places.into_iter().chain(open).filter(|(begin, end)| begin < end).collect()
    }

    proptest! {
        #[test]
        fn words_lie_where_the_rule_says(text in "[aB3 .'\u{301}\u{2bc}\u{2019}éж京]{0,24}") {
            let mut found: Vec<(usize, usize)> = words(&text).iter().map(|w| (w.begin, w.end)).collect();
            found.dedup();
            prop_assert_eq!(found, places(&text));
        }
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
    fn letters_that_conventions_write_for_one_sound_are_heard_as_it() {
        let heard = [
            ("chch", "k"),
            ("ckc", "k"),
            ("dzhdj", "z"),
            ("ghg", "g"),
            ("khh", "h"),
            ("ououoo", "u"),
            ("phf", "f"),
            ("shchschsh", "s"),
            ("tchk", "k"),
            ("tht", "t"),
            ("wv", "v"),
            ("axa", "aksa"),
            ("xa", "ha"),
            ("xx", "hks"),
            ("zhj", "z"),
            ("ei", "ai"),
            ("aya", "a"),
            ("poff", "pov"),
            ("d", "d"),
            ("", ""),
        ];
        for (spelling, expected) in heard {
            assert_eq!(sound(spelling), expected, "{spelling}");
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
