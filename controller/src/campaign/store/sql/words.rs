//! Between the store's columns and the nouns: numbers, times and words.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

use super::fault::Fault;

/// No figure of one run is kept above this (512 TiB), so that no sum of a campaign's can run over.
const MOST: i64 = 1 << 49;

/// A figure of bytes or of time as a column takes it.
pub(super) fn figure(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(MOST).min(MOST)
}

/// A signed figure, likewise.
pub(super) fn signed(value: i64) -> i64 {
    value.clamp(MOST.saturating_neg(), MOST)
}

/// A count as a column takes it.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count out of a column.
pub(super) fn count(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}

/// A figure out of a column; what is below 0 is 0.
pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// Microseconds of a span.
pub(super) fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(MOST).min(MOST)
}

/// The span from one time to another; none where that is past.
pub(super) fn until(now: i64, then: i64) -> Duration {
    Duration::from_micros(unsigned(then.saturating_sub(now)))
}

/// A time out of a column.
pub(super) fn time(micros: i64) -> Result<Timestamp, Fault> {
    Timestamp::from_microsecond(micros).map_err(|_| Fault::damaged(format!("{micros} is no time")))
}

/// The word of one of the closed lists.
pub(super) fn word(value: &impl Serialize) -> Result<String, Fault> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        other => Err(Fault::defect(format!("no word: {other:?}"))),
    }
}

/// Reads a word.
pub(super) fn noun<T: DeserializeOwned>(word: String) -> Result<T, Fault> {
    serde_json::from_value(serde_json::Value::String(word)).map_err(|error| Fault::damaged(error.to_string()))
}

/// A document of a column.
pub(super) fn json(value: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::defect(error.to_string()))
}

/// Reads a document.
pub(super) fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::damaged(error.to_string()))
}

/// The datastores of a place.
pub(super) fn datastores(place: &str) -> Vec<String> {
    place.lines().map(ToOwned::to_owned).collect()
}
