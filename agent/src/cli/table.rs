//! Pure: a small table. Columns are as wide as their widest cell; numbers stand on the right.

/// On which side of its column a cell stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Left,
    Right,
}

/// Lays out rows of cells below a head. A cell of the last column is cut to what is left of `width` columns.
pub(super) fn render<const N: usize>(head: [(&str, Side); N], rows: &[[String; N]], width: usize) -> String {
    let mut widths = head.map(|(title, _)| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let titles = head.map(|(title, _)| title.to_owned());
    let mut out = String::new();
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for ((cell, width), (_, side)) in row.iter().zip(widths).zip(head) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            match side {
                Side::Left => line.push_str(&format!("{cell:<width$}")),
                Side::Right => line.push_str(&format!("{cell:>width$}")),
            }
        }
        out.push_str(&cut(line.trim_end(), width));
        out.push('\n');
    }
    out
}

/// At most so many characters, the last of them "…" where something is missing.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Breaks a text at blanks into lines of at most `width` characters; a word that is longer stays whole.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let joined = line.chars().count().saturating_add(word.chars().count()).saturating_add(1);
        if !line.is_empty() && joined > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        let rows = [
            ["/".to_owned(), "9.5 GiB".to_owned(), "yes".to_owned()],
            ["/données".to_owned(), "12 B".to_owned(), String::new()],
        ];
        let text = render([("MOUNT", Side::Left), ("FREE", Side::Right), ("TRIM", Side::Left)], &rows, 100);
        assert_eq!(text, "MOUNT        FREE  TRIM\n/         9.5 GiB  yes\n/données     12 B\n");
        let narrow =
            render([("A", Side::Left), ("B", Side::Left)], &[["1".to_owned(), "two words".to_owned()]], 9);
        assert_eq!(narrow, "A  B\n1  two w…\n");
    }

    #[test]
    fn wrapping() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("a-word-that-is-long b", 5), ["a-word-that-is-long", "b"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
