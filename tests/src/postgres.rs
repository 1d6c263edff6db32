//! A PostgreSQL of one's own (`tests/postgres`), empty, which ends with this value or with this process.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::programs;

/// A server.
#[derive(Debug)]
pub struct Postgres {
    /// Ends when its standard input does.
    script: Child,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
}

impl Postgres {
    /// Starts one.
    ///
    /// # Errors
    /// PostgreSQL is not installed (`make test` does that), or does not start.
    pub fn start() -> Result<Self> {
        let script = programs::rig_file("postgres");
        let mut child = Command::new(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", script.display()))?;
        let mut line = String::new();
        let mut answers = BufReader::new(child.stdout.take().context("no stdout")?);
        answers.read_line(&mut line)?;
        ensure!(!line.is_empty(), "no PostgreSQL could be started; `make test` installs what it needs");
        Ok(Self { script: child, answers, folder: line.trim().into() })
    }

    /// Its database as this role; `trimtab` is the superuser. Every role is let in without a password.
    pub fn url(&self, role: &str) -> String {
        format!("postgres://{role}@localhost/postgres?host={}&sslmode=disable", self.folder.display())
    }

    /// The socket that it listens on.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// Ends the server's processes at once, and starts it again.
    ///
    /// # Errors
    /// It does not start.
    pub fn crash(&mut self) -> Result<()> {
        self.order("crash")?;
        self.order("start")
    }

    /// Keeps a copy of what it has now, while it is down for a moment.
    ///
    /// # Errors
    /// It cannot be stopped, copied or started.
    pub fn copy(&mut self) -> Result<()> {
        ["stop", "copy", "start"].iter().try_for_each(|word| self.order(word))
    }

    /// Puts it back to the copy: all that was committed since is lost, as in a failover to a server that was behind.
    ///
    /// # Errors
    /// There is no copy, or it does not start.
    pub fn put_back(&mut self) -> Result<()> {
        ["crash", "back", "start"].iter().try_for_each(|word| self.order(word))
    }

    fn order(&mut self, word: &str) -> Result<()> {
        writeln!(self.script.stdin.as_mut().context("it has ended")?, "{word}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(answer.trim() == word, "tests/postgres: {word}: {answer:?}");
        Ok(())
    }

    /// What a query by the superuser answers, a row a line.
    ///
    /// # Errors
    /// It is refused.
    pub fn query(&self, sql: &str) -> Result<String> {
        let output = Command::new("psql")
            .args(["--no-psqlrc", "-Atq", "-U", "trimtab", "-d", "postgres", "-h"])
            .arg(&self.folder)
            .args(["-c", sql])
            .output()
            .context("cannot run psql")?;
        ensure!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// The process that all others of the server are children of.
    ///
    /// # Errors
    /// It is gone.
    pub fn pid(&self) -> Result<u32> {
        let file = self.folder.join("data/postmaster.pid");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(text.lines().next().unwrap_or_default().parse()?)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        // Nothing is left to do about a script that cannot be waited for.
        let _ = self.script.wait();
    }
}
