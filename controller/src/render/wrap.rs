//! Sentences on lines that fit.

use super::COLUMNS;

/// Breaks `text` at spaces so that each line fits with `first` before the first line and `rest` before the others. A
/// word that is longer than a line stands on a line of its own.
pub(super) fn wrap(first: &str, rest: &str, text: &str) -> String {
    let mut out = String::from(first);
    let mut column = first.chars().count();
    let mut line_is_empty = true;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if !line_is_empty && column.saturating_add(1).saturating_add(width) > COLUMNS {
            out.push('\n');
            out.push_str(rest);
            column = rest.chars().count();
            line_is_empty = true;
        }
        if !line_is_empty {
            out.push(' ');
            column = column.saturating_add(1);
        }
        out.push_str(word);
        column = column.saturating_add(width);
        line_is_empty = false;
    }
    out
}

/// `left`, then `right` ending at the last column; at least two spaces between them.
pub(super) fn both_ends(left: &str, right: &str) -> String {
    let used = left.chars().count().saturating_add(right.chars().count());
    let gap = COLUMNS.saturating_sub(used).max(2);
    format!("{left}{}{right}", " ".repeat(gap))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_lose_no_word() {
        let text = "word ".repeat(80);
        let wrapped = wrap("  format: ", "          ", &text);
        assert!(wrapped.lines().all(|line| line.chars().count() <= COLUMNS));
        assert!(wrapped.lines().skip(1).all(|line| line.starts_with("          word")));
        assert_eq!(wrapped.matches("word").count(), 80);
        let long = "x".repeat(150);
        assert_eq!(wrap("a ", "b ", &format!("y {long}")), format!("a y\nb {long}"));
    }

    #[test]
    fn right_ends_at_the_last_column() {
        assert_eq!(both_ends("a", "b").chars().count(), COLUMNS);
        assert_eq!(both_ends(&"a".repeat(100), "b").chars().count(), 103);
    }
}
