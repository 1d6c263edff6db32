//! Errors for people, and for programs.

use serde::Serialize;

use crate::{guest::text::safe, model::trouble::Trouble};

/// One or two lines: what happened to what, then what to do next.
pub fn for_person(what: &str, trouble: &Trouble) -> String {
    let mut lines = format!("{what}: {}", safe(&trouble.text));
    if let Some(hint) = &trouble.hint {
        lines.push_str("\n  ");
        lines.push_str(&safe(hint));
    }
    lines
}

/// The document of a command that could not begin.
#[derive(Serialize, Debug)]
pub struct ErrorDocument<'a> {
    /// "trimtab.<verb>/1".
    pub schema: String,
    /// The exit code.
    pub exit: u8,
    /// What happened.
    pub error: &'a Trouble,
}
