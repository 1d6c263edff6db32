//! A man page for each program and each of its verbs. What stands in them is what `--help` says; to the programs' own
//! pages come the files they read and where to read on.

use std::path::Path;

use anyhow::Context;
use clap::{Command, Id};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

/// What clap does not know of a program.
pub(crate) struct About {
    /// Path, and what is in it.
    files: &'static [(&'static str, &'static str)],
    /// Pages of others.
    see: &'static [&'static str],
}

pub(crate) const AGENT: About = About {
    files: &[
        ("/etc/trimtab/agent.toml", "What the guest's owner wants; see trimtab-agent.toml(5)."),
        ("/run/trimtab-agent", "The reports of this boot's runs, and the lock that keeps two trims apart."),
    ],
    see: &["trimtab-agent.toml(5)", "fstrim(8)", "systemd.socket(5)"],
};

pub(crate) const TRIMTAB: About = About {
    files: &[
        ("/etc/trimtab/trimtab.toml", "What holds for every command on this host; see trimtab.toml(5)."),
        ("/etc/trimtab/fleet.toml", "VMs that libvirt does not know."),
        ("/var/lib/trimtab/trimtab.db", "Campaigns and their accounts."),
    ],
    see: &["trimtab.toml(5)", "virsh(1)", "fstrim(8)"],
};

/// The day in a page's foot, of a time in seconds since 1970, UTC.
///
/// # Errors
/// No calendar has that day.
pub(crate) fn day(date: i64) -> anyhow::Result<String> {
    let time = jiff::Timestamp::from_second(date).with_context(|| format!("{date} is no date"))?;
    Ok(time.strftime("%Y-%m-%d").to_string())
}

/// Writes the pages of `command` and of its verbs to `dir`.
///
/// # Errors
/// A file could not be written.
pub(crate) fn write(dir: &Path, command: &Command, about: &About, date: i64) -> anyhow::Result<()> {
    let mut command = command.clone().disable_help_subcommand(true);
    command.build();
    let program = command.get_name().to_owned();
    let source = format!("trimtab {}", command.get_version().unwrap_or_default());
    let global: Vec<Id> = command.get_arguments().map(|arg| arg.get_id().clone()).collect();
    let foot = Foot { program: &program, source: &source, day: &day(date)?, global: &global, about };
    write_with_verbs(dir, &command, &foot)
}

struct Foot<'a> {
    program: &'a str,
    source: &'a str,
    day: &'a str,
    /// What the program itself takes. Options of a verb that its own verbs take too are not every command's.
    global: &'a [Id],
    about: &'a About,
}

fn write_with_verbs(dir: &Path, command: &Command, foot: &Foot<'_>) -> anyhow::Result<()> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        write_with_verbs(dir, verb, foot)?;
    }
    let mut command = command.clone();
    if command.get_name() != foot.program {
        command = command.mut_args(|arg| {
            let is_everyones = arg.is_global_set() && foot.global.contains(arg.get_id());
            if is_everyones { arg.help_heading("Options of every command") } else { arg }
        });
    }
    let man = Man::new(command.clone()).date(foot.day).source(foot.source).manual("trimtab");
    let path = dir.join(man.get_filename());
    let text = page(&man, &command, foot).context("cannot render a page")?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn page(man: &Man, command: &Command, foot: &Foot<'_>) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    Man::new(command.clone().override_usage(usage)).render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if command.get_subcommands().any(|verb| !verb.is_hide_set()) {
        man.render_subcommands_section(&mut out)?;
    }
    let mut rest = Roff::new();
    if let Some(text) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        below(&mut rest, &text.to_string());
    }
    let mut see: Vec<&str> = Vec::new();
    let own = format!("{}(1)", foot.program);
    if command.get_name() == foot.program {
        rest.control("SH", ["FILES"]);
        for (path, what) in foot.about.files {
            rest.control("TP", []).text([bold(*path)]).text([roman(*what)]);
        }
        see.extend(foot.about.see);
    } else {
        see.push(&own);
    }
    rest.control("SH", ["SEE ALSO"]).text([roman(see.join(", "))]);
    rest.to_writer(&mut out)?;
    Ok(out)
}

/// What stands below the options of `--help`: titles that end in a colon, each with lines that stay as they are.
fn below(roff: &mut Roff, text: &str) {
    for part in text.split("\n\n") {
        let (title, lines) = match part.split_once(":\n") {
            Some((title, lines)) if !title.contains('\n') => (title, lines),
            _ => ("NOTES", part),
        };
        roff.control("SH", [title.to_uppercase().as_str()]).control("nf", []);
        for line in lines.lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn each_program_and_verb_has_its_page() {
        let dir = std::env::temp_dir().join(format!("trimtab-gen-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        write(&dir, &trimtab_agent::cli::Cli::command(), &AGENT, 0).unwrap();
        write(&dir, &trimtab_controller::cli::args::Cli::command(), &TRIMTAB, 0).unwrap();
        for page in ["trimtab.1", "trimtab-trim.1", "trimtab-agent.1", "trimtab-agent-serve.1"] {
            let text = std::fs::read_to_string(dir.join(page)).unwrap();
            assert!(text.contains("1970-01-01") && text.contains(".SH NAME"), "{page}: {text}");
        }
        let worker = std::fs::read_to_string(dir.join("trimtab-worker.1")).unwrap();
        let (own, everyones) = worker.split_once(".SH \"OPTIONS OF EVERY COMMAND\"").unwrap();
        assert!(own.contains("store") && !everyones.contains("store"), "{worker}");
        // The agent starts its workers by itself.
        assert!(!dir.join("trimtab-agent-worker.1").exists());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn examples_keep_their_lines() {
        let mut roff = Roff::new();
        below(&mut roff, "Examples:\n  a  one\n  b  two\n\nExit codes:\n  0 good");
        let text = roff.to_roff();
        assert!(text.contains(".SH EXAMPLES\n.nf\n  a  one\n  b  two\n.fi\n.SH \"EXIT CODES\""), "{text}");
    }
}
