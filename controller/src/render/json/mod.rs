//! One document a verb: bytes as integers, unknown as `null`, times as RFC 3339 UTC. The schemas are in docs/schema.

pub mod campaign;
pub mod doctor;
pub mod list;
pub mod plan;
pub mod survey;
pub mod trim;

use serde::Serialize;

use crate::{
    layers::{Finding, State},
    ledger::slack::Slack,
    model::guest::Skip,
};

/// A document on one line or many, ready to print.
pub fn text<T: Serialize>(document: &T, pretty: bool) -> String {
    let text = if pretty { serde_json::to_string_pretty(document) } else { serde_json::to_string(document) };
    // Serializing own structs of strings and numbers cannot fail; should it ever, the reader sees why.
    text.unwrap_or_else(|error| format!("{{\"error\":{{\"kind\":\"internal\",\"text\":\"{error}\"}}}}"))
}

/// A finding as every verb shows it.
#[derive(Serialize, Debug)]
pub struct FindingJson {
    layer: &'static str,
    state: State,
    held_bytes: Option<u64>,
    text: String,
    fix: Option<String>,
    paste: Vec<String>,
}

impl From<&Finding> for FindingJson {
    fn from(finding: &Finding) -> Self {
        Self {
            layer: finding.layer.as_str(),
            state: finding.state,
            held_bytes: finding.held_bytes,
            text: finding.text.clone(),
            fix: finding.fix.as_ref().map(|fix| fix.text.clone()),
            paste: finding.fix.iter().flat_map(|fix| fix.paste.clone()).collect(),
        }
    }
}

/// Why a filesystem was left out.
#[derive(Serialize, Debug)]
pub struct SkipJson {
    reason: String,
    text: String,
}

impl From<&Skip> for SkipJson {
    fn from(skip: &Skip) -> Self {
        Self { reason: skip.reason.to_string(), text: skip.text.clone() }
    }
}

/// [min, max].
fn interval(slack: Option<Slack>) -> Option<[u64; 2]> {
    slack.map(|slack| [slack.min_bytes, slack.max_bytes])
}
