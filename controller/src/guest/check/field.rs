//! One bound each for the kinds of fields.

use std::{collections::HashSet, time::Duration};

use super::{MAX_BYTES, MAX_MILLIS, MAX_WORD_BYTES, Nonsense};
use crate::guest::text::safe_within;

type Checked<T> = Result<T, Nonsense>;

/// How much of a wrong value an error shows, in characters.
const SHOWN_CHARS: usize = 40;

/// Text for people, or a name that may hold anything.
pub(super) fn text(field: &str, value: String, max_bytes: usize) -> Checked<String> {
    if value.len() > max_bytes {
        return Err(Nonsense::new(field, format!("{} bytes, at most {max_bytes}", value.len())));
    }
    Ok(value)
}

/// A word for machines: visible ASCII, or nothing.
pub(super) fn word_or_none(field: &str, value: String) -> Checked<String> {
    let value = text(field, value, MAX_WORD_BYTES)?;
    if !value.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(wrong(field, &value, "not visible ASCII"));
    }
    Ok(value)
}

/// A word for machines that has to be there.
pub(super) fn word(field: &str, value: String) -> Checked<String> {
    if value.is_empty() {
        return Err(Nonsense::new(field, "empty"));
    }
    word_or_none(field, value)
}

/// A list of words.
pub(super) fn words(field: &str, values: Vec<String>, max: usize) -> Checked<Vec<String>> {
    count(field, values.len(), max)?;
    list(field, values, |value| word("", value))
}

/// "8:1", as the kernel writes it: two numbers without leading zeros.
pub(super) fn id(field: &str, value: String) -> Checked<String> {
    let number = |part: &str| part.parse::<u32>().is_ok_and(|n| n.to_string() == part);
    match value.split_once(':') {
        Some((major, minor)) if number(major) && number(minor) => Ok(value),
        _ => Err(wrong(field, &value, "not a device number like \"8:1\"")),
    }
}

/// The same, or nothing.
pub(super) fn id_or_none(field: &str, value: String) -> Checked<String> {
    if value.is_empty() { Ok(value) } else { id(field, value) }
}

/// A list of ids, each once.
pub(super) fn ids(field: &str, values: Vec<String>, max: usize) -> Checked<Vec<String>> {
    count(field, values.len(), max)?;
    let values = list(field, values, |value| id("", value))?;
    each_once(field, values.iter().map(String::as_str))?;
    Ok(values)
}

/// A size, an offset or a counter.
pub(super) fn bytes(field: &str, value: u64) -> Checked<u64> {
    if value > MAX_BYTES {
        return Err(Nonsense::new(field, format!("{value} bytes, more than a kernel can address")));
    }
    Ok(value)
}

/// The same, where it may be unknown.
pub(super) fn bytes_or_none(field: &str, value: Option<u64>) -> Checked<Option<u64>> {
    value.map(|value| bytes(field, value)).transpose()
}

/// A duration.
pub(super) fn millis(field: &str, value: u64) -> Checked<Duration> {
    if value > MAX_MILLIS {
        return Err(Nonsense::new(field, format!("{value} ms, more than a year")));
    }
    Ok(Duration::from_millis(value))
}

/// How many.
pub(super) fn count(field: &str, is: usize, max: usize) -> Checked<()> {
    if is > max { Err(Nonsense::new(field, format!("{is} of them, at most {max}"))) } else { Ok(()) }
}

/// A message that has to be there.
pub(super) fn required<T>(field: &str, value: Option<T>) -> Checked<T> {
    value.ok_or_else(|| Nonsense::new(field, "missing"))
}

/// No id twice.
pub(super) fn each_once<'a>(field: &str, ids: impl Iterator<Item = &'a str>) -> Checked<HashSet<&'a str>> {
    let mut seen = HashSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(wrong(field, id, "named twice"));
        }
    }
    Ok(seen)
}

/// Checks each member of a list; an error says which.
pub(super) fn list<A, B>(field: &str, values: Vec<A>, check: impl Fn(A) -> Checked<B>) -> Checked<Vec<B>> {
    let nth = |(index, value)| check(value).map_err(|error| error.within_nth(field, index));
    values.into_iter().enumerate().map(nth).collect()
}

/// A wrong value, shown.
pub(super) fn wrong(field: &str, value: &str, problem: &str) -> Nonsense {
    Nonsense::new(field, format!("\"{}\" is {problem}", safe_within(value, SHOWN_CHARS)))
}
