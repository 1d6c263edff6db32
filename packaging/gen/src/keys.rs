//! The page of a configuration file, from the file as it is installed: its first comment says what it is, and each
//! key stands commented out with its default, below what it means. A table that is an example stands so as a whole.

use std::path::Path;

use anyhow::{Context, bail};
use clap_mangen::roff::{Roff, bold, roman};

use crate::pages::day;

/// A configuration file as it is installed.
pub(crate) struct File {
    /// The page's name, without its section.
    page: &'static str,
    /// Where it is installed.
    path: &'static str,
    text: &'static str,
    see: &'static str,
}

pub(crate) const AGENT: File = File {
    page: "trimtab-agent.toml",
    path: "/etc/trimtab/agent.toml",
    text: include_str!("../../agent.toml"),
    see: "trimtab-agent(1), trimtab-agent-config(1)",
};

pub(crate) const TRIMTAB: File = File {
    page: "trimtab.toml",
    path: "/etc/trimtab/trimtab.toml",
    text: include_str!("../../trimtab.toml"),
    see: "trimtab(1), trimtab-campaign(1), trimtab-worker(1)",
};

/// A key, or an example of a table, with what the file says of it.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    /// Of the table it stands in; empty at the top.
    table: String,
    /// As in the file, one or more lines: `pace = "steady"`.
    lines: Vec<String>,
    meaning: String,
}

/// Writes the page of `file` to `dir`.
///
/// # Errors
/// The file is not made as [this module](self) says, or the page could not be written.
pub(crate) fn write(dir: &Path, file: &File, date: i64) -> anyhow::Result<()> {
    let (about, keys) = parse(file.text).with_context(|| format!("the text of {}", file.path))?;
    let path = dir.join(format!("{}.5", file.page));
    let text = page(file, &about, &keys, &day(date)?);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn page(file: &File, about: &[String], keys: &[Key], day: &str) -> String {
    let source = format!("trimtab {}", env!("CARGO_PKG_VERSION"));
    let mut roff = Roff::new();
    roff.control("TH", [file.page, "5", day, &source, "trimtab"]);
    let mut paragraphs = about.iter();
    let what = paragraphs.next().map_or("", String::as_str);
    let what = what.strip_prefix(file.path).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(what);
    let name = format!("{} - {}", file.page, what.trim_end_matches('.'));
    roff.control("SH", ["NAME"]).text([roman(name)]);
    roff.control("SH", ["SYNOPSIS"]).text([bold(file.path)]);
    roff.control("SH", ["DESCRIPTION"]);
    for paragraph in paragraphs {
        roff.control("PP", []).text([roman(paragraph)]);
    }
    let mut table = None;
    for key in keys {
        if table != Some(&key.table) {
            let title = if key.table.is_empty() { "KEYS".to_owned() } else { format!("[{}]", key.table) };
            roff.control("SH", [title.as_str()]);
            table = Some(&key.table);
        }
        for (number, line) in key.lines.iter().enumerate() {
            roff.control(if number == 0 { "TP" } else { "TQ" }, []).text([bold(line)]);
        }
        roff.text([roman(&key.meaning)]);
    }
    roff.control("SH", ["SEE ALSO"]).text([roman(file.see)]);
    roff.render()
}

/// The paragraphs at the top, and the keys.
fn parse(text: &str) -> anyhow::Result<(Vec<String>, Vec<Key>)> {
    let mut blocks = text.split("\n\n");
    let about = paragraphs(blocks.next().unwrap_or_default());
    let mut table = String::new();
    let mut keys = Vec::new();
    for block in blocks {
        let (mut meaning, mut lines) = (Vec::new(), Vec::new());
        for line in block.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                name.clone_into(&mut table);
            } else if let Some(words) = line.strip_prefix("# ").filter(|_| lines.is_empty()) {
                meaning.push(words);
            } else if let Some(shown) = line.strip_prefix('#').filter(|line| !line.starts_with([' ', '#'])) {
                lines.push(shown.to_owned());
            } else {
                bail!(
                    "{line:?} is neither a comment above a key, nor a key that is commented out, nor a table"
                );
            }
        }
        match (meaning.is_empty(), lines.is_empty()) {
            (true, true) => {}
            (false, false) => keys.push(Key { table: table.clone(), lines, meaning: meaning.join(" ") }),
            (true, false) => bail!("nothing is said of {lines:?}"),
            (false, true) => bail!("no key below {meaning:?}"),
        }
    }
    Ok((about, keys))
}

/// Comment lines as paragraphs; an empty comment stands between two.
fn paragraphs(comment: &str) -> Vec<String> {
    comment
        .split("\n#\n")
        .map(|part| part.lines().map(|line| line.trim_start_matches("# ")).collect::<Vec<_>>().join(" "))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_table_default_and_meaning() {
        let text = "# /x: what.\n#\n# More\n# of it.\n\n# One\n# thing.\n#a = 1\n\n\
            [t]\n# Two.\n#b = \"c\"\n\n# Three.\n#[[e]]\n#d = 1\n";
        let (about, keys) = parse(text).unwrap();
        assert_eq!(about, ["/x: what.", "More of it."]);
        let key = |table: &str, lines: &[&str], meaning: &str| Key {
            table: table.to_owned(),
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
            meaning: meaning.to_owned(),
        };
        let example = key("t", &["[[e]]", "d = 1"], "Three.");
        assert_eq!(keys, [key("", &["a = 1"], "One thing."), key("t", &["b = \"c\""], "Two."), example]);
    }

    #[test]
    fn what_the_page_could_not_show_is_refused() {
        for (text, what) in [
            ("# x\n\n#a = 1", "nothing is said"),
            ("# x\n\n# Said.\na = 1", "neither"),
            ("# x\n\n# Said.\n", "no key"),
        ] {
            assert!(parse(text).unwrap_err().to_string().contains(what), "{text:?}");
        }
    }

    #[test]
    fn the_installed_files_can_be_shown() {
        for (file, key) in [(AGENT, "host_may_trim"), (TRIMTAB, "connect")] {
            let (about, keys) = parse(file.text).unwrap();
            assert!(keys.iter().any(|found| found.lines[0].starts_with(key)), "{key}: {keys:?}");
            assert!(about[0].starts_with(file.path), "{about:?}");
        }
    }
}
