//! A TOML file that a person wrote: what is wrong in it is said with file, line and key.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;

use crate::model::trouble::{Kind, Trouble};

/// One file while it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TomlText<'a> {
    pub(crate) path: &'a Path,
    pub(crate) text: &'a str,
}

impl TomlText<'_> {
    /// The file as tables.
    ///
    /// # Errors
    /// `config`, with the line and key that TOML or serde did not understand.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Trouble> {
        toml::from_str(self.text).map_err(|error| self.not_understood(&error))
    }

    /// What TOML or serde says of it.
    fn not_understood(&self, error: &toml::de::Error) -> Trouble {
        let start = error.span().map_or(0, |span| span.start);
        let (before, after) = self.text.split_at_checked(start).unwrap_or((self.text, ""));
        // The first line says what is wrong; the rest is a picture of the file.
        let what = error.message().lines().next().unwrap_or_default();
        // "invalid type" names no key: it stands at the beginning of the line.
        let begun = before.rsplit('\n').next().unwrap_or_default();
        let whole = format!("{begun}{}", after.lines().next().unwrap_or_default());
        let key = whole.split_once('=').map(|(key, _)| key.trim()).filter(|key| !key.is_empty());
        let key = key.filter(|key| !what.contains(&format!("`{key}`"))).map(|key| format!("{key}: "));
        self.trouble(start, format_args!("{}{what}", key.unwrap_or_default()))
    }

    /// Counted from 1.
    pub(crate) fn line_at(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1)
    }

    /// What is wrong with the value of a key.
    pub(crate) fn error<T>(&self, at: &Spanned<T>, key: &str, what: impl std::fmt::Display) -> Trouble {
        self.trouble(at.span().start, format_args!("{key}: {what}"))
    }

    fn trouble(&self, offset: usize, what: std::fmt::Arguments<'_>) -> Trouble {
        let line = self.line_at(offset);
        Trouble::new(Kind::Config, format!("{}:{line}: {what}", self.path.display()))
    }
}

/// What a label may be: one term of `--select`, which can be shown.
pub(crate) fn is_label(text: &str) -> bool {
    let fits = |c: char| !c.is_control() && !c.is_whitespace();
    !text.is_empty() && text.chars().all(fits)
}
