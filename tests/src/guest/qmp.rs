//! A QMP client of a few lines: one command, its answer, and waiting for an event.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::shell::connect;

/// QEMU answers at once, save where it drains I/O first.
const LIMIT: Duration = Duration::from_secs(30);

/// A connection in command mode.
#[derive(Debug)]
pub(super) struct Qmp {
    reader: BufReader<UnixStream>,
    /// Events that came while an answer was awaited.
    events: Vec<Value>,
}

impl Qmp {
    /// Connects and leaves negotiation mode.
    pub(super) fn connect(path: &Path) -> Result<Self> {
        let stream = connect(path, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut qmp = Self { reader: BufReader::new(stream), events: Vec::new() };
        qmp.read().context("QMP sent no greeting")?;
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs one command; an error of QEMU's is an error here, with its text.
    pub(super) fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        self.reader.get_mut().write_all(line.as_bytes()).with_context(|| format!("QMP {command}"))?;
        loop {
            let mut message = self.read().with_context(|| format!("QMP {command}"))?;
            if let Some(error) = message.get("error") {
                bail!("QMP {command} {arguments}: {error}");
            }
            if let Some(answer) = message.get_mut("return") {
                return Ok(answer.take());
            }
            self.events.push(message);
        }
    }

    /// Waits for event `name` whose data has `key` = `value`, past ones included.
    pub(super) fn wait_for(&mut self, name: &str, key: &str, value: &str) -> Result<()> {
        let start = Instant::now();
        let wanted = |event: &Value| event["event"] == name && event["data"][key] == value;
        loop {
            if let Some(found) = self.events.iter().position(wanted) {
                self.events.remove(found);
                return Ok(());
            }
            if start.elapsed() > LIMIT {
                bail!("no event {name} for {value}");
            }
            let event = self.read().with_context(|| format!("no event {name} for {value}"))?;
            self.events.push(event);
        }
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            bail!("QEMU closed the QMP socket");
        }
        Ok(serde_json::from_str(&line)?)
    }
}
