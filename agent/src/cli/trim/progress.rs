//! What is seen while it runs, on stderr: one line that is rewritten on a terminal, a line for each change elsewhere.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Write},
};

use trimtab_proto::words::FilesystemState;

use super::super::table::cut;
use crate::{
    model::{DevNum, Survey},
    text::{shown, size},
    trim::report::{Event, Progress, Sent, What},
};

/// Columns of the line that is rewritten: nobody's terminal is narrower, and a line that wraps cannot be.
const WIDTH: usize = 79;

pub(super) struct Shown {
    quiet: bool,
    terminal: bool,
    drawn: bool,
    rate: Rate,
}

impl Shown {
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, terminal: io::stderr().is_terminal(), drawn: false, rate: Rate::default() }
    }

    /// Says a line that stays.
    pub(super) fn say(&mut self, line: &str) {
        if self.quiet {
            return;
        }
        self.clear();
        if writeln!(io::stderr(), "{line}").is_err() {
            self.quiet = true;
        }
    }

    /// Shows an event.
    pub(super) fn show(&mut self, event: &Event, survey: &Survey) {
        if self.quiet {
            return;
        }
        match &event.what {
            What::Filesystem(run) => {
                let mount = mount(survey, run.filesystem_id);
                match run.state {
                    FilesystemState::Running => self.write(&format!("{mount}: trimming")),
                    FilesystemState::Stopping => self.write(&format!("{mount}: stopping")),
                    state => self.write(&format!("{mount}: {state}, {} claimed", size(run.claimed))),
                }
            }
            What::Progress(progress) if self.terminal => {
                let rate = self.rate.seen(progress, event.elapsed_ms);
                let mount = mount(survey, progress.filesystem_id);
                self.write(&format!("{mount}: {}", line(progress, rate)));
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

/// How fast it was lately; how long what is left will take is nobody's to know: it may be empty or full of pieces.
fn line(progress: &Progress, rate: Option<u64>) -> String {
    let rate = rate.map_or_else(String::new, |rate| format!(", {}/s", size(Some(rate))));
    let sent = size(sent(&progress.sent));
    match progress.passed {
        Some(passed) => {
            let left = size(Some(progress.of.saturating_sub(passed)));
            format!("{} of {}{rate}, {left} left; {sent} sent", size(Some(passed)), size(Some(progress.of)))
        }
        // One call does it all, and says nothing until its end.
        None => format!("{sent} sent{rate}"),
    }
}

/// How fast the filesystem that is told of is passed, or its disks are sent discards, over the last seconds.
#[derive(Default)]
struct Rate {
    seen: VecDeque<(u64, DevNum, u64)>,
}

/// At most two are told a second.
const EVENTS: usize = 16;

impl Rate {
    /// Bytes per second; `None` until something moved.
    fn seen(&mut self, progress: &Progress, at_ms: u64) -> Option<u64> {
        let bytes = progress.passed.or_else(|| sent(&progress.sent))?;
        let id = progress.filesystem_id;
        if self.seen.len() >= EVENTS {
            self.seen.pop_front();
        }
        self.seen.push_back((at_ms, id, bytes));
        let (from_ms, _, from) = self.seen.iter().find(|(_, of, _)| *of == id)?;
        let moved = bytes.checked_sub(*from).filter(|moved| *moved > 0)?;
        u128::from(moved)
            .checked_mul(1000)?
            .checked_div(at_ms.saturating_sub(*from_ms).into())
            .and_then(|rate| u64::try_from(rate).ok())
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

    const DISK: DevNum = DevNum { major: 8, minor: 0 };

    fn progress(passed: Option<u64>, discarded: u64) -> Progress {
        let sent = vec![Sent { device_id: DISK, discarded: Some(discarded << 20), written: None }];
        Progress { filesystem_id: DISK, passed: passed.map(|mib| mib << 20), of: 100 << 20, sent }
    }

    #[test]
    fn a_rate_and_what_is_left() {
        let mut rate = Rate::default();
        let mut lines = |steps: &[(u64, Option<u64>, u64)]| -> String {
            let shown = steps.iter().map(|(at, passed, sent)| {
                let progress = progress(*passed, *sent);
                line(&progress, rate.seen(&progress, *at))
            });
            shown.last().unwrap()
        };
        let ranges = lines(&[(0, Some(10), 1), (2000, Some(50), 4)]);
        assert_eq!(ranges, "50.0 MiB of 100.0 MiB, 20.0 MiB/s, 50.0 MiB left; 4.0 MiB sent");
        rate = Rate::default();
        let first = progress(Some(0), 0);
        assert_eq!(line(&first, rate.seen(&first, 500)), "0 B of 100.0 MiB, 100.0 MiB left; 0 B sent");
        rate = Rate::default();
        for at in [0_u64, 1000, 2000] {
            let one_call = progress(None, at / 10);
            let text = line(&one_call, rate.seen(&one_call, at));
            assert!(!text.contains("left"), "{text}");
            assert!(at == 0 || text.ends_with(", 100.0 MiB/s"), "{text}");
        }
    }

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
