//! stdout and stderr of one command.

use std::io::Write;

use serde::Serialize;

use super::{args::Global, exit};
use crate::{
    model::trouble::{Kind, Trouble},
    render::{
        error::{ErrorDocument, for_person},
        json,
    },
};

/// How a command's result is printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    json: bool,
    events: bool,
}

impl Output {
    pub(super) fn new(global: &Global) -> Self {
        Self { json: global.json, events: global.events }
    }

    /// Events go to stdout as they happen.
    pub(super) fn wants_events(self) -> bool {
        self.events
    }

    /// The result: a document for programs, or a text for people.
    pub(super) fn result<D: Serialize>(self, document: &D, text: impl FnOnce() -> String) {
        match (self.events, self.json) {
            (true, _) => self.line(document),
            (false, true) => print(&format!("{}\n", json::text(document, true))),
            (false, false) => print(&text()),
        }
    }

    /// One line of NDJSON.
    pub(super) fn line<D: Serialize>(self, document: &D) {
        print(&format!("{}\n", json::text(document, false)));
    }

    /// Something to know beside the result: on stderr for people, an event where events are asked for.
    pub(super) fn note(self, text: &str) {
        match self.events {
            true => {
                let time = jiff::Timestamp::now().to_string();
                self.line(&serde_json::json!({ "time": time, "vm": null, "event": "note", "text": text }));
            }
            false => drop(writeln!(anstream::stderr(), "trimtab: note: {text}")),
        }
    }

    /// A command that could not begin.
    pub(super) fn failed(self, verb: &str, trouble: &Trouble) -> u8 {
        let exit = match trouble.kind {
            Kind::Usage | Kind::Config | Kind::UnknownVm | Kind::UnknownCampaign | Kind::Drifted => {
                exit::USAGE
            }
            Kind::Interrupted => exit::INTERRUPTED,
            _ => exit::INTERNAL,
        };
        if self.json || self.events {
            self.result(
                &ErrorDocument { schema: format!("trimtab.{verb}/1"), exit, error: trouble },
                String::new,
            );
        } else {
            let _ = writeln!(anstream::stderr(), "{}", for_person("trimtab", trouble));
        }
        exit
    }
}

/// A reader that has gone away (`| head`) is no error of ours.
fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
