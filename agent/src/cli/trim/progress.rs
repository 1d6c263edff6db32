//! What is seen while it runs, on stderr: one line that is rewritten on a terminal, a line for each change elsewhere.

use std::io::{self, IsTerminal, Write};

use trimtab_proto::words::FilesystemState;

use super::super::table::cut;
use crate::{
    model::{DevNum, Survey},
    text::{shown, size},
    trim::report::What,
};

/// Columns of the line that is rewritten: nobody's terminal is narrower, and a line that wraps cannot be.
const WIDTH: usize = 79;

pub(super) struct Progress {
    quiet: bool,
    terminal: bool,
    drawn: bool,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, terminal: io::stderr().is_terminal(), drawn: false }
    }

    /// Shows an event.
    pub(super) fn show(&mut self, what: &What, survey: &Survey) {
        if self.quiet {
            return;
        }
        match what {
            What::Filesystem(run) => {
                let mount = mount(survey, run.filesystem_id);
                match run.state {
                    FilesystemState::Running => self.write(&format!("{mount}: trimming")),
                    FilesystemState::Stopping => self.write(&format!("{mount}: stopping")),
                    state => self.write(&format!("{mount}: {state}, {} claimed", size(run.claimed))),
                }
            }
            What::Progress(progress) if self.terminal => {
                let sent: u64 =
                    progress.sent.iter().filter_map(|disk| disk.discarded).fold(0, u64::saturating_add);
                let passed = match progress.passed {
                    Some(passed) => format!("{} of {}, ", size(Some(passed)), size(Some(progress.of))),
                    None => String::new(),
                };
                let mount = mount(survey, progress.filesystem_id);
                self.write(&format!("{mount}: {passed}{} sent", size(Some(sent))));
            }
            What::State(_) | What::Progress(_) | What::End(_) => {}
        }
    }

    /// Takes the rewritten line away.
    pub(super) fn clear(&mut self) {
        if self.drawn {
            // Whoever has closed stderr sees nothing of it anyway.
            let _ = write!(io::stderr(), "\r\x1b[K");
            self.drawn = false;
        }
    }

    fn write(&mut self, line: &str) {
        let mut stderr = io::stderr().lock();
        let written = if self.terminal {
            self.drawn = true;
            write!(stderr, "\r\x1b[K{}", cut(line, WIDTH)).and_then(|()| stderr.flush())
        } else {
            writeln!(stderr, "{line}")
        };
        if written.is_err() {
            self.quiet = true;
        }
    }
}

fn mount(survey: &Survey, id: DevNum) -> String {
    survey.filesystems.iter().find(|fs| fs.id == id).map_or_else(|| id.to_string(), |fs| shown(&fs.mount))
}
