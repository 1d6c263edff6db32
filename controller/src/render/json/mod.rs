//! One document a verb: bytes as integers, unknown as `null`, times as RFC 3339 UTC. The schemas are in docs/schema.

pub mod campaign;
pub mod doctor;
pub mod list;
pub mod plan;
pub mod store;
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

/// A schema of docs/schema.
#[cfg(test)]
pub(crate) fn schema(file: &str) -> jsonschema::Validator {
    let path = format!("{}/../docs/schema/{file}", env!("CARGO_MANIFEST_DIR"));
    let schema = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

/// Holds what is printed of a document against its schema.
#[cfg(test)]
pub(crate) fn check<D: Serialize>(file: &str, document: &D) {
    let document = serde_json::from_str(&text(document, true)).unwrap();
    let schema = schema(file);
    let errors: Vec<String> = schema.iter_errors(&document).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{document:#}");
}
