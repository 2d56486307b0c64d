//! Text within the width of a page.

use super::output;

/// Lines of at most this many characters, unless a single word is longer.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A text behind what its first line begins with; later lines are indented by so many characters. On the page where
/// the answer is printed, less what stands left of it.
#[must_use]
pub fn hanging(first: &str, text: &str, indent: usize, left: usize) -> String {
    let width = output::width().saturating_sub(left + indent).max(MIN_WIDTH);
    let mut lines = wrap(text, width);
    // A label that is longer than the indent takes its room from the first line.
    let taken = first.chars().count().saturating_sub(indent);
    if taken > 0 && lines.first().is_some_and(|line| line.chars().count() + taken > width) {
        lines.insert(0, String::new());
    }
    let between = format!("\n{}", " ".repeat(indent));
    let text = lines.join(&between);
    format!("{first}{text}").trim_end().replace(" \n", "\n")
}

/// Narrower than this nothing can be read.
const MIN_WIDTH: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_count_characters() {
        assert_eq!(wrap("визит министра обороны", 14), ["визит министра", "обороны"]);
        assert_eq!(wrap("unbreakable", 3), ["unbreakable"]);
        assert!(wrap(" \n ", 10).is_empty());
    }

    #[test]
    fn later_lines_stand_below_the_text_of_the_first() {
        let text = "word ".repeat(30);
        let shown = hanging("  label: ", &text, 9, 0);
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with("  label: word"), "{shown}");
        assert!(lines[1].starts_with("         word") && lines.iter().all(|l| l.chars().count() <= 100), "{shown}");
    }

    #[test]
    fn a_label_that_is_too_long_has_a_line_of_its_own_where_it_must() {
        let label = format!("{} ", "l".repeat(60));
        assert_eq!(hanging(&label, "short", 30, 0), format!("{label}short"));
        let shown = hanging(&label, &"word ".repeat(12), 30, 0);
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[0], label.trim_end(), "{shown}");
        assert!(lines[1].starts_with(&" ".repeat(30)), "{shown}");
    }
}
