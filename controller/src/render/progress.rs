//! Progress on stderr: a line per VM that rewrites itself on a terminal, a line per change elsewhere.

use std::{
    collections::HashMap,
    io::{IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use trimtab_proto::words::{FilesystemState, Word};

use super::size::iec;
use crate::{guest::text::safe, trim::event::TurnEvent};

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
        bars: Arc<Mutex<HashMap<String, ProgressBar>>>,
    },
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
                let bar = bars.entry(vm.to_owned()).or_insert_with(|| {
                    let bar = screen.add(ProgressBar::new_spinner());
                    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}: {msg} ({elapsed})") {
                        bar.set_style(style);
                    }
                    bar.set_prefix(vm.to_owned());
                    bar.enable_steady_tick(Duration::from_millis(120));
                    bar
                });
                bar.set_message(sentence(event));
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
            && let Some(bar) = bars.lock().unwrap_or_else(PoisonError::into_inner).remove(vm)
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
            let sent = sent_bytes.map(|bytes| format!(", sent {}", iec(bytes))).unwrap_or_default();
            match passed_bytes {
                Some(passed) => format!("{} {} of {}{sent}", safe(mount), iec(*passed), iec(*of_bytes)),
                None => format!("{} in one pass over {}{sent}", safe(mount), iec(*of_bytes)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use trimtab_proto::words::Wire;

    use super::*;
    use crate::{layers::Layer, trim::event::Stage};

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
                "/ 0 B of 2.0 KiB",
            ),
        ];
        for (event, expected) in cases {
            assert_eq!(sentence(&event), expected);
        }
    }
}
