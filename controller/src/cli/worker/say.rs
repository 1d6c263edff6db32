//! What a worker says, in lines: on stderr, which systemd hands to the journal, and its status. A guest's words are
//! escaped.

use std::io::Write;

use super::{super::journal, notify};
use crate::{
    campaign::worker::said::{Listener, Said},
    guest::text::safe,
    render::{campaign::class, size::iec_signed},
};

/// Lines on stderr.
pub(in crate::cli) struct Lines;

impl Listener for Lines {
    fn say(&self, said: Said<'_>) {
        if let Said::Turned(vm, turn) = &said {
            journal::line(&vm.name, &[], turn);
        }
        if let Some(status) = status(&said) {
            notify::status(&status);
        }
        if let Some(line) = line(&said) {
            // Nobody reads any more: the store has it all.
            let _ = writeln!(anstream::stderr(), "{line}");
        }
    }
}

fn status(said: &Said<'_>) -> Option<String> {
    match said {
        Said::Begins(claimed) => {
            Some(format!("Campaign {}: {} began", claimed.campaign, safe(&claimed.vm.name)))
        }
        Said::Held(why) => Some(format!("Held: {}", safe(why))),
        Said::StoreTrouble(trouble) => Some(format!("The store does not answer: {}", safe(&trouble.text))),
        Said::Free | Said::StoreBack => Some("Carrying campaigns out".to_owned()),
        _ => None,
    }
}

fn line(said: &Said<'_>) -> Option<String> {
    match said {
        Said::Recovered(1) => Some("1 run of a worker before this one waits again".to_owned()),
        Said::Recovered(runs) => Some(format!("{runs} runs of a worker before this one wait again")),
        Said::Begins(claimed) => Some(format!(
            "{}: begins (campaign {}, attempt {})",
            safe(&claimed.vm.name),
            claimed.campaign,
            claimed.attempt
        )),
        // Its end follows.
        Said::Turned(..) => None,
        Said::Ended(claimed, result) => {
            let why = result.text.as_deref().map(|text| format!(": {}", safe(text))).unwrap_or_default();
            let name = safe(&claimed.vm.name);
            Some(format!(
                "{name}: {}, {} came back{why}",
                class(result.class),
                iec_signed(result.freed_bytes())
            ))
        }
        Said::PutBack(claimed, _, text) => Some(format!("{}: later: {}", safe(&claimed.vm.name), safe(text))),
        Said::Dropped(claimed) => Some(format!(
            "{}: its run is over or another worker's; nothing is counted",
            safe(&claimed.vm.name)
        )),
        Said::Held(why) => Some(format!("nothing is begun now: {}", safe(why))),
        Said::Free => Some("trims are begun again".to_owned()),
        Said::GivenUp(trims) => {
            Some(format!("trims are cancelled ({trims}): the store has not answered for most of their lease"))
        }
        Said::ToldAgain(results) => Some(format!(
            "the store was put back to an earlier state: {results} results that it had lost were told again"
        )),
        Said::Unpublished(trouble) => {
            let hint = trouble.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            Some(format!(
                "what this host has is not published: {}{hint}; it is tried again",
                safe(&trouble.text)
            ))
        }
        Said::Published => Some("what this host has is published again".to_owned()),
        Said::StoreTrouble(trouble) => {
            let hint = trouble.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            Some(format!("{}{hint}; it is tried again", safe(&trouble.text)))
        }
        Said::StoreBack => Some("the store answers again".to_owned()),
    }
}
