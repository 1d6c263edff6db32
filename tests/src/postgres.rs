//! A PostgreSQL of one's own (`tests/postgres`), empty, which ends with this value or with this process.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{netns::Net, programs};

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
        Self::by(Command::new(programs::rig_file("postgres")))
    }

    /// Starts one on the database's side of a network, where it listens on its address too.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub fn start_at(net: &Net) -> Result<Self> {
        let mut script = Command::new(programs::rig_file("postgres"));
        script.arg(net.address().to_string());
        Self::by(net.beside_the_database(&script))
    }

    fn by(mut script: Command) -> Result<Self> {
        script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().with_context(|| format!("cannot start {script:?}"))?;
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

    /// Ends it in order.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.order("stop")
    }

    /// Starts it after that.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&mut self) -> Result<()> {
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
        let output = self.psql().args(["-c", sql]).output().context("cannot run psql")?;
        ensure!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    fn psql(&self) -> Command {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "-Atq", "-U", "trimtab", "-d", "postgres", "-h"]).arg(&self.folder);
        psql
    }

    /// Takes the store's lock: each change of a worker's waits for it, inside of its transaction.
    ///
    /// # Errors
    /// There is no store.
    pub fn lock(&self) -> Result<Locked> {
        let mut psql = self.psql();
        psql.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut locked = Locked(psql.spawn().context("cannot run psql")?);
        let order = locked.0.stdin.as_mut().context("no stdin")?;
        order.write_all(b"BEGIN;\nSELECT 'locked' FROM trimtab.store FOR UPDATE;\n")?;
        let mut line = String::new();
        BufReader::new(locked.0.stdout.take().context("no stdout")?).read_line(&mut line)?;
        ensure!(line.trim() == "locked", "the store's lock cannot be had: {line:?}");
        Ok(locked)
    }

    /// Whether a call of this function waits for that lock.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn waits(&self, function: &str) -> Result<bool> {
        let many = self.query(&format!(
            "SELECT count(*) FROM pg_stat_activity \
             WHERE wait_event_type = 'Lock' AND query ~ '\\m{function}\\('"
        ))?;
        Ok(many != "0")
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

/// The store's lock, until it is dropped.
#[derive(Debug)]
pub struct Locked(Child);

impl Drop for Locked {
    fn drop(&mut self) {
        // What psql has begun is rolled back; a server that is gone has done so.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        // Nothing is left to do about a script that cannot be waited for.
        let _ = self.script.wait();
    }
}
