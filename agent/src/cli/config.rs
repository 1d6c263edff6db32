//! `trimtab-agent config`: the configuration as a file that could be read again, with where each line came from.

use std::{fmt::Write, process::ExitCode};

use crate::config::Config;

pub(super) fn run(config: &Config) -> anyhow::Result<ExitCode> {
    super::put(&render(config)?)?;
    Ok(ExitCode::SUCCESS)
}

fn render(config: &Config) -> Result<String, std::fmt::Error> {
    let file = config.file.as_ref().map(|path| path.display().to_string());
    let settings = config.settings();
    let line = |key: &str, value: &Option<String>| match value {
        Some(value) => format!("{key} = {value}"),
        None => format!("# {key} is not set"),
    };
    let lines: Vec<(Option<&str>, String, String)> = settings
        .iter()
        .map(|setting| {
            let (table, key) = match setting.key.split_once('.') {
                Some((table, key)) => (Some(table), key),
                None => (None, setting.key),
            };
            let origin = match (setting.line, &file) {
                (Some(line), Some(file)) => format!("{file}:{line}"),
                _ => "default".to_owned(),
            };
            (table, line(key, &setting.value), origin)
        })
        .collect();
    let width = lines.iter().map(|(_, text, _)| text.chars().count()).max().unwrap_or_default();
    let mut out = String::new();
    match &file {
        Some(file) => writeln!(out, "# read from {file}")?,
        None => writeln!(out, "# there is no /etc/trimtab/agent.toml: these are the defaults")?,
    }
    let mut open = None;
    for (table, text, origin) in &lines {
        if *table != open {
            open = *table;
            writeln!(out, "\n[{}]", table.unwrap_or_default())?;
        }
        writeln!(out, "{text:width$}  # {origin}")?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let text = render(&Config::default()).unwrap();
        assert!(text.contains("listen = \"vsock:874\"         # default\n"), "{text}");
        assert!(text.contains("# idle_exit_secs is not set  # default\n"), "{text}");
        assert!(text.contains("\n[trim]\npace = \"steady\""), "{text}");
        assert!(text.parse::<toml::Table>().is_ok(), "it could be read again");
    }
}
