//! Weight and colour. What is printed goes through anstream, which takes them out again where the reader is no
//! terminal or NO_COLOR is set, so every width is counted before a style is put on.

use anstyle::{AnsiColor, Style};

/// Headers, and what a screen is about.
pub(super) const STRONG: Style = Style::new().bold();
/// As it should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// Keeps something back.
pub(super) const HELD: Style = AnsiColor::Yellow.on_default();
/// In the way.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Beside the point, or not known.
pub(super) const FAINT: Style = Style::new().dimmed();

/// A text in a style.
pub(super) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
