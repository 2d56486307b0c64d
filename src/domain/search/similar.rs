//! Words with typing errors, and names that may be the same.

use super::{
    rank::Term,
    words::{Word, errors_forgiven, words},
};

/// A share in thousandths.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1000 before")]
pub fn per_mille(share: f64) -> u32 {
    (share.clamp(0.0, 1.0) * 1000.0).round() as u32
}

/// Whether a sound is that of a word but for typing errors. Numbers are never.
#[must_use]
pub fn is_similar(term: &Term, sound: &str) -> bool {
    distance(term, sound).is_some()
}

/// How many typing errors make one of the other; `None` if more than are forgiven, or none.
#[must_use]
pub fn distance(term: &Term, sound: &str) -> Option<usize> {
    let forgiven = errors_forgiven(term.spelling.len());
    let has_digits = |text: &str| text.bytes().any(|b| b.is_ascii_digit());
    if term.sound.len().abs_diff(sound.len()) > forgiven || has_digits(&term.sound) || has_digits(sound) {
        return None;
    }
    let distance = strsim::osa_distance(&term.sound, sound);
    (1..=forgiven).contains(&distance).then_some(distance)
}

/// Whether a sound is one of a word that may have errors: not too short, and no number.
#[must_use]
pub fn may_have_errors(sound: &str) -> bool {
    sound.len() >= 3 && !sound.bytes().any(|b| b.is_ascii_digit())
}

/// How alike two names are, from 0 to 1: the words of the shorter are looked for in the longer, in any order; an initial
/// stands for a word that begins with it.
#[must_use]
pub fn names_alike(a: &str, b: &str) -> f64 {
    let (a, b) = (words(a), words(b));
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if short.is_empty() {
        return 0.0;
    }
    let count = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    let mut left: Vec<&Word> = long.iter().collect();
    let mut sum = 0.0;
    for word in &short {
        let likeness = left.iter().map(|other| words_alike(word, other)).enumerate();
        if let Some((index, best)) = likeness.max_by(|x, y| x.1.total_cmp(&y.1)) {
            left.swap_remove(index);
            sum += best;
        }
    }
    // A name without its first name may be another's.
    sum / count(short.len()) * (0.75 + 0.25 * count(short.len()) / count(long.len()))
}

fn words_alike(a: &Word, b: &Word) -> f64 {
    if a.spelling == b.spelling {
        return 1.0;
    }
    if a.sound == b.sound {
        return 0.97;
    }
    let initial = |x: &Word, y: &Word| x.spelling.len() == 1 && y.sound.starts_with(&x.sound);
    if initial(a, b) || initial(b, a) {
        return 0.85;
    }
    let likeness = strsim::jaro_winkler(&a.sound, &b.sound);
    let has_digits = |w: &Word| w.sound.bytes().any(|b| b.is_ascii_digit());
    if likeness < 0.85 || has_digits(a) || has_digits(b) { 0.0 } else { likeness * 0.95 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::search::rank::Query;

    fn similar(a: &str, b: &str) -> bool {
        is_similar(&Query::of(a).terms[0], &Query::of(b).terms[0].sound)
    }

    #[test]
    fn errors_are_forgiven_by_the_length_of_the_word() {
        assert!(similar("Zkahsylykov", "Zhaksylykov"), "letters swapped");
        assert!(similar("Zaksilykv", "Zhaksylykov"), "a letter left out");
        assert!(similar("Hasnov", "Hasanov") && !similar("Hsnov", "Hasanov"));
        assert!(!similar("Aze", "Ase") && !similar("2023", "2024"));
        assert!(!similar("Hasanov", "Həsənov"), "the same sound is no error");
    }

    #[test]
    fn names_are_alike_however_they_are_written_and_others_are_not() {
        for (a, b, least) in [
            ("Ruslan Zhaksylykov", "Жаксылыков Руслан", 0.99),
            ("Ruslan Zhaksylykov", "Ruslan Jaksilikov", 0.97),
            ("Ruslan Zhaksylykov", "R. Zhaksylykov", 0.9),
            ("Ruslan Zhaksylykov", "Zhaksylykov", 0.85),
        ] {
            assert!(names_alike(a, b) >= least, "{a} {b} {}", names_alike(a, b));
        }
        for (a, b) in [("Ruslan Zhaksylykov", "Ruslan Ermekbayev"), ("Zakir Hasanov", "Ali Hasanov"), ("", "x")] {
            assert!(names_alike(a, b) < 0.7, "{a} {b} {}", names_alike(a, b));
        }
    }
}
