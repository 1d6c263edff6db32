//! `--events`: NDJSON, one object per event; the `--json` document is the last line.

use serde::Serialize;
use trimtab_proto::words::{FilesystemState, Wire};

use crate::trim::event::{Stage, TurnEvent};

/// One line.
#[derive(Serialize, Debug)]
pub struct EventLine<'a> {
    time: String,
    vm: &'a str,
    #[serde(flatten)]
    event: EventJson,
}

#[derive(Serialize, Debug)]
#[serde(tag = "event", rename_all = "snake_case")]
enum EventJson {
    Stage { stage: &'static str },
    Warning { layer: &'static str, text: String },
    Filesystem { mount: String, state: Wire<FilesystemState>, claimed_bytes: Option<u64> },
    Progress { mount: String, passed_bytes: Option<u64>, of_bytes: u64, sent_bytes: Option<u64> },
}

impl<'a> EventLine<'a> {
    /// Of one VM's event.
    pub fn new(vm: &'a str, event: TurnEvent, time: jiff::Timestamp) -> Self {
        let event = match event {
            TurnEvent::Stage(stage) => EventJson::Stage { stage: word(stage) },
            TurnEvent::Warning { layer, text } => EventJson::Warning { layer: layer.as_str(), text },
            TurnEvent::Filesystem { mount, state, claimed_bytes } => {
                EventJson::Filesystem { mount, state, claimed_bytes }
            }
            TurnEvent::Progress { mount, passed_bytes, of_bytes, sent_bytes } => {
                EventJson::Progress { mount, passed_bytes, of_bytes, sent_bytes }
            }
        };
        Self { time: time.to_string(), vm, event }
    }
}

fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Looking => "looking",
        Stage::Probing => "probing",
        Stage::Trimming => "trimming",
        Stage::Reconnecting => "reconnecting",
        Stage::Paused => "paused",
        Stage::Cancelling => "cancelling",
        Stage::Settling => "settling",
    }
}
