//! What is seen while it runs, on stderr: one line that is rewritten on a terminal, a line for each change elsewhere.

use std::io::{self, IsTerminal, Write};

use trimtab_proto::words::FilesystemState;

use super::super::table::cut;
use crate::{
    model::{DevNum, Survey},
    text::{shown, size},
    trim::report::{Sent, What},
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
                let passed = match progress.passed {
                    Some(passed) => format!("{} of {}, ", size(Some(passed)), size(Some(progress.of))),
                    None => String::new(),
                };
                let mount = mount(survey, progress.filesystem_id);
                self.write(&format!("{mount}: {passed}{} sent", size(sent(&progress.sent))));
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

/// Bytes on all disks; not known as soon as one disk does not count them.
fn sent(disks: &[Sent]) -> Option<u64> {
    disks.iter().try_fold(0_u64, |sum, disk| Some(sum.saturating_add(disk.discarded?)))
}

fn mount(survey: &Survey, id: DevNum) -> String {
    survey.filesystems.iter().find(|fs| fs.id == id).map_or_else(|| id.to_string(), |fs| shown(&fs.mount))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_counted_is_not_0() {
        for (name, disks, expected) in [
            ("each disk counts", vec![Some(1), Some(2)], Some(3)),
            ("one does not", vec![Some(1), None], None),
            ("none does, as before Linux 4.18", vec![None], None),
        ] {
            let disk =
                |discarded| Sent { device_id: DevNum { major: 8, minor: 0 }, discarded, written: None };
            let disks: Vec<Sent> = disks.into_iter().map(disk).collect();
            assert_eq!(sent(&disks), expected, "{name}");
        }
    }
}
