//! A fix as a person reads it: the sentence wrapped, each line to paste whole on a line of its own.

use super::wrap::wrap;
use crate::{
    guest::text::{safe, safe_within},
    layers::Fix,
};

/// The lines of a fix behind `indent`, without a line break at their end.
pub(super) fn lines(indent: &str, fix: &Fix) -> String {
    let text = wrap(&format!("{indent}fix  "), &format!("{indent}     "), &safe(&fix.text));
    // A line that was cut or broken would be another command.
    let paste = fix.paste.iter().map(|line| format!("{indent}     {}", safe_within(line, usize::MAX)));
    std::iter::once(text).chain(paste).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_to_paste_stay_whole() {
        let long = format!("virsh snapshot-list {}", "x".repeat(300));
        let mut fix = Fix::new("word ".repeat(30));
        fix.paste = vec![long.clone(), "echo \u{1b}[2J".to_owned()];
        let said = lines("  ", &fix);
        let said: Vec<&str> = said.lines().collect();
        assert_eq!(said.len(), 4);
        assert_eq!(said[2], format!("       {long}"));
        assert!(!said[3].contains('\u{1b}'), "{}", said[3]);
    }
}
