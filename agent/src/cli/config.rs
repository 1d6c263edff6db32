//! `trimtab-agent config`: what is in force, as a file that could be read again, with where each line came from.

use std::{fmt::Write, process::ExitCode};

use serde_json::json;

use crate::config::{Config, Setting};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// One JSON document: "schema": "trimtab-agent.config/1"
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, config: &Config) -> anyhow::Result<ExitCode> {
    super::put(&if args.json { document(config)? } else { page(config)? })?;
    Ok(ExitCode::SUCCESS)
}

fn document(config: &Config) -> serde_json::Result<String> {
    let setting = |setting: Setting| {
        let (file, line) = setting.origin.map(|origin| (origin.file, origin.line)).unzip();
        json!({ "key": setting.key, "value": setting.value, "file": file, "line": line })
    };
    let document = json!({
        "schema": "trimtab-agent.config/1",
        "files": config.files,
        "settings": config.settings().into_iter().map(setting).collect::<Vec<_>>(),
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&document)?))
}

fn page(config: &Config) -> Result<String, std::fmt::Error> {
    let settings = config.settings();
    let lines: Vec<(Option<&str>, String, String)> = settings
        .iter()
        .map(|setting| {
            let (table, key) = match setting.key.split_once('.') {
                Some((table, key)) => (Some(table), key),
                None => (None, setting.key),
            };
            let origin = match &setting.origin {
                Some(origin) => format!("{}:{}", origin.file.display(), origin.line),
                None => "default".to_owned(),
            };
            (table, format!("{key} = {}", setting.value), origin)
        })
        .collect();
    let width = lines.iter().map(|(_, text, _)| text.chars().count()).max().unwrap_or_default();
    let mut out = String::new();
    if config.files.is_empty() {
        writeln!(out, "# there is no agent.toml: these are the defaults")?;
    }
    for file in &config.files {
        writeln!(out, "# read: {}", file.display())?;
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
    use crate::{config::load, sys::Roots};

    fn example() -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::under(dir.path());
        let folder = roots.etc.join("trimtab/agent.toml.d");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("10-site.toml"), "[trim]\nexclude = [\"/a b\", \"/c\\u0007\"]\n").unwrap();
        let config = load(&roots, None).unwrap();
        (dir, config)
    }

    #[test]
    fn defaults() {
        let text = page(&Config::default()).unwrap();
        assert!(text.starts_with("# there is no agent.toml"), "{text}");
        assert!(text.contains("listen = \"vsock:874\"   # default\n"), "{text}");
        assert!(text.contains("\n[trim]\npace = \"steady\""), "{text}");
    }

    #[test]
    fn where_each_came_from_and_it_could_be_read_again() {
        let (dir, config) = example();
        let text = page(&config).unwrap();
        let file = dir.path().join("etc/trimtab/agent.toml.d/10-site.toml");
        assert!(text.starts_with(&format!("# read: {}\n", file.display())), "{text}");
        assert!(
            text.contains(&format!("exclude = [\"/a b\",\"/c\\u0007\"]  # {}:2\n", file.display())),
            "{text}"
        );
        let again = dir.path().join("again.toml");
        std::fs::write(&again, &text).unwrap();
        let again = load(&Roots::under(dir.path()), Some(&again)).unwrap();
        let values = |config: &Config| config.settings().into_iter().map(|s| s.value).collect::<Vec<_>>();
        assert_eq!(values(&again), values(&config));
    }

    #[test]
    fn as_json() {
        let (dir, config) = example();
        let document: serde_json::Value = serde_json::from_str(&document(&config).unwrap()).unwrap();
        assert_eq!(document["schema"], "trimtab-agent.config/1");
        let file = dir.path().join("etc/trimtab/agent.toml.d/10-site.toml").display().to_string();
        assert_eq!(document["files"], json!([file]));
        let settings = document["settings"].as_array().unwrap();
        let of = |key: &str| settings.iter().find(|s| s["key"] == key).unwrap();
        assert_eq!(
            *of("trim.exclude"),
            json!({ "key": "trim.exclude", "value": ["/a b", "/c\u{7}"], "file": file, "line": 2 })
        );
        assert_eq!(*of("token"), json!({ "key": "token", "value": "none", "file": null, "line": null }));
    }
}
