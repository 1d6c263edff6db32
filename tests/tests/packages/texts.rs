//! Man pages and completions, as the debs install them: they are read by the programs that read them at a user's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::packages::{built, run};

/// The files of both debs below a directory.
fn unpacked(directory: &Path) -> Result<()> {
    for begins in ["trimtab-agent_", "trimtab_"] {
        run(Command::new("dpkg-deb").arg("-x").arg(built(begins, ".deb")?).arg(directory))?;
    }
    Ok(())
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        found.push(entry?.path());
    }
    Ok(found)
}

#[test]
fn each_man_page_is_set_without_a_warning() -> Result<()> {
    let directory = tempfile::tempdir()?;
    unpacked(directory.path())?;
    let mut pages = files(&directory.path().join("usr/share/man/man1"))?;
    pages.extend(files(&directory.path().join("usr/share/man/man5"))?);
    for name in ["trimtab.1.gz", "trimtab-trim.1.gz", "trimtab-agent.1.gz", "trimtab-agent.toml.5.gz"] {
        ensure!(pages.iter().any(|page| page.ends_with(name)), "no {name}: {pages:?}");
    }
    for page in pages {
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-Tutf8", "-Z", "-l"]).arg(&page);
        let done = man.env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80").output()?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success() && said.is_empty(), "{}: {said}", page.display());
    }
    Ok(())
}

#[test]
fn bash_completes_verbs_and_options() -> Result<()> {
    let directory = tempfile::tempdir()?;
    unpacked(directory.path())?;
    for (program, typed, offered) in [
        ("trimtab-agent", "su", "survey"),
        ("trimtab-agent", "--verb", "--verbose"),
        ("trimtab", "doc", "doctor"),
        ("trimtab", "--conn", "--connect"),
    ] {
        let file = directory.path().join("usr/share/bash-completion/completions").join(program);
        let script = "source \"$0\" && COMP_WORDS=(\"$1\" \"$2\") COMP_CWORD=1
             function=$(complete -p \"$1\" | sed 's/.*-F \\([^ ]*\\).*/\\1/')
             \"$function\" \"$1\" \"$2\" \"$1\"; echo \"${COMPREPLY[*]}\"";
        let said =
            run(Command::new("bash").args(["--norc", "-uc", script]).arg(&file).args([program, typed]))?;
        ensure!(said.split_whitespace().any(|word| word == offered), "{program} {typed}: {said}");
    }
    Ok(())
}

#[test]
fn fish_completes_verbs_and_options() -> Result<()> {
    let directory = tempfile::tempdir()?;
    unpacked(directory.path())?;
    for (program, typed, offered) in [
        ("trimtab-agent", "trimtab-agent su", "survey"),
        ("trimtab", "trimtab doc", "doctor"),
        ("trimtab", "trimtab --conn", "--connect"),
        ("trimtab", "trimtab campaign ap", "apply"),
    ] {
        let file =
            directory.path().join("usr/share/fish/vendor_completions.d").join(format!("{program}.fish"));
        let script = "source $argv[1]; complete -C $argv[2]";
        let mut fish = Command::new("fish");
        // What it keeps goes there, and nothing of this user's is read.
        fish.env("HOME", directory.path()).env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
        let said = run(fish.args(["--no-config", "-c", script]).arg(&file).arg(typed))?;
        ensure!(said.lines().any(|line| line.split('\t').next() == Some(offered)), "{typed}: {said}");
    }
    Ok(())
}

#[test]
fn zsh_knows_them_by_its_own_way() -> Result<()> {
    let directory = tempfile::tempdir()?;
    unpacked(directory.path())?;
    for program in ["trimtab-agent", "trimtab"] {
        let folder = directory.path().join("usr/share/zsh/vendor-completions");
        // compinit takes what lies in fpath by its first line; the function is loaded whole at the first use.
        let script = "fpath+=\"$1\"; autoload -Uz compinit; compinit -u -D
             print -r -- \"$_comps[$2]\"; autoload +X -U \"_$2\"; zsh -n \"$1/_$2\"";
        let mut zsh = Command::new("zsh");
        let said = run(zsh.args(["-fec", script, "zsh"]).arg(&folder).arg(program))?;
        ensure!(said.trim() == format!("_{program}"), "{program}: {said}");
    }
    Ok(())
}
