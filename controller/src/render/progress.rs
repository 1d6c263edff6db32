//! Progress on stderr: a line per VM that rewrites itself on a terminal, a line per change elsewhere.

use std::{
    collections::HashMap,
    io::{IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use trimtab_proto::words::{FilesystemState, Word};

use super::{rate::Rate, size::iec};
use crate::{
    guest::text::safe,
    trim::event::{Stage, TurnEvent},
};

/// Where progress goes.
#[derive(Clone, Debug)]
pub enum Progress {
    /// `-q`, `--events`.
    Hidden,
    /// Not a terminal.
    Lines,
    /// A terminal: one spinner for each VM.
    Terminal {
        /// All of them.
        screen: MultiProgress,
        /// By VM.
        bars: Arc<Mutex<HashMap<String, Bar>>>,
    },
}

/// One VM's line.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    rate: Rate,
    paused: bool,
}

impl Progress {
    /// What stderr is, unless it is to be hidden.
    pub fn new(hidden: bool) -> Self {
        match (hidden, std::io::stderr().is_terminal()) {
            (true, _) => Self::Hidden,
            (false, false) => Self::Lines,
            (false, true) => Self::Terminal { screen: MultiProgress::new(), bars: Arc::default() },
        }
    }

    /// Shows one event of one VM.
    pub fn show(&self, vm: &str, event: &TurnEvent) {
        // Not to be overwritten by the next event.
        if let TurnEvent::Warning { .. } = event {
            return self.note(&format!("{vm}: {}", sentence(event)));
        }
        match self {
            Self::Hidden => {}
            Self::Lines => {
                // A lossy progress has no place in a log; changes do.
                if !matches!(event, TurnEvent::Progress { .. }) {
                    say(&format!("{vm}: {}", sentence(event)));
                }
            }
            Self::Terminal { screen, bars } => {
                let mut bars = bars.lock().unwrap_or_else(PoisonError::into_inner);
                let Bar { bar, rate, paused } = bars.entry(vm.to_owned()).or_insert_with(|| {
                    let bar = screen.add(ProgressBar::new_spinner());
                    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}: {msg} ({elapsed})") {
                        bar.set_style(style);
                    }
                    bar.set_prefix(vm.to_owned());
                    bar.enable_steady_tick(Duration::from_millis(120));
                    Bar { bar, rate: Rate::default(), paused: false }
                });
                if let TurnEvent::Stage(stage) = event {
                    *paused = *stage == Stage::Paused;
                    // It begins anew with the next one.
                    *rate = Rate::default();
                }
                let message = match event {
                    TurnEvent::Progress { .. } if *paused => format!("paused; {}", sentence(event)),
                    TurnEvent::Progress { mount, passed_bytes, of_bytes, sent_bytes } => {
                        let lately = rate.seen(Instant::now(), mount, passed_bytes.or(*sent_bytes));
                        passed(mount, *passed_bytes, *of_bytes, *sent_bytes, lately)
                    }
                    _ => sentence(event),
                };
                bar.set_message(message);
            }
        }
    }

    /// One sentence beside the progress, for the person who waits.
    pub fn note(&self, text: &str) {
        match self {
            Self::Hidden => {}
            Self::Lines => say(text),
            Self::Terminal { screen, .. } => screen.suspend(|| say(text)),
        }
    }

    /// Takes one VM's line away.
    pub fn done(&self, vm: &str) {
        if let Self::Terminal { bars, .. } = self
            && let Some(Bar { bar, .. }) = bars.lock().unwrap_or_else(PoisonError::into_inner).remove(vm)
        {
            bar.finish_and_clear();
        }
    }
}

fn say(line: &str) {
    // Nobody to tell when stderr is gone.
    let _ = writeln!(anstream::stderr(), "{line}");
}

fn sentence(event: &TurnEvent) -> String {
    match event {
        TurnEvent::Stage(stage) => stage.as_str().to_owned(),
        TurnEvent::Warning { text, .. } => format!("note: {}", safe(text)),
        TurnEvent::Filesystem { mount, state, claimed_bytes } => {
            let word = state
                .known()
                .map_or_else(|| state.to_string(), |state: FilesystemState| state.as_str().to_owned());
            let claimed = claimed_bytes.map(|bytes| format!(", claimed {}", iec(bytes))).unwrap_or_default();
            format!("{} {word}{claimed}", safe(mount))
        }
        TurnEvent::Progress { mount, passed_bytes, of_bytes, sent_bytes } => {
            passed(mount, *passed_bytes, *of_bytes, *sent_bytes, None)
        }
    }
}

/// How long what is left will take is nobody's to know: it may be empty, or full of small pieces.
fn passed(mount: &str, passed: Option<u64>, of: u64, sent: Option<u64>, rate: Option<u64>) -> String {
    let mount = safe(mount);
    let sent = sent.map(|bytes| format!(", sent {}", iec(bytes))).unwrap_or_default();
    let rate = rate.map(|rate| format!(", {}/s", iec(rate))).unwrap_or_default();
    match passed {
        Some(passed) => {
            let left = iec(of.saturating_sub(passed));
            format!("{mount} {} of {}{rate}, {left} left{sent}", iec(passed), iec(of))
        }
        None => format!("{mount} in one pass over {}{sent}{rate}", iec(of)),
    }
}

#[cfg(test)]
mod tests {
    use trimtab_proto::words::Wire;

    use super::*;
    use crate::layers::Layer;

    #[test]
    fn sentences() {
        let cases = [
            (TurnEvent::Stage(Stage::Settling), "waiting for counters to settle"),
            (
                TurnEvent::Warning { layer: Layer::Backup, text: "sda: a bitmap\u{1b}[2J".into() },
                "note: sda: a bitmap\\x1b[2J",
            ),
            (
                TurnEvent::Filesystem {
                    mount: "/a\u{1b}[2J".into(),
                    state: Wire::Known(FilesystemState::Done),
                    claimed_bytes: Some(1024),
                },
                "/a\\x1b[2J done, claimed 1.0 KiB",
            ),
            (
                TurnEvent::Progress {
                    mount: "/".into(),
                    passed_bytes: Some(0),
                    of_bytes: 2048,
                    sent_bytes: None,
                },
                "/ 0 B of 2.0 KiB, 2.0 KiB left",
            ),
        ];
        for (event, expected) in cases {
            assert_eq!(sentence(&event), expected);
        }
    }

    #[test]
    fn a_rate_stands_where_it_is_known_and_an_end_nowhere() {
        let mib = |n: u64| n << 20;
        let ranges = passed("/a", Some(mib(512)), mib(1024), Some(mib(100)), Some(mib(64)));
        assert_eq!(ranges, "/a 512.0 MiB of 1.0 GiB, 64.0 MiB/s, 512.0 MiB left, sent 100.0 MiB");
        let one_call = passed("/b", None, mib(1024), Some(mib(100)), Some(mib(64)));
        assert_eq!(one_call, "/b in one pass over 1.0 GiB, sent 100.0 MiB, 64.0 MiB/s");
        // A filesystem may grow meanwhile.
        assert!(passed("/", Some(mib(2)), mib(1), None, None).ends_with("0 B left"));
    }
}
