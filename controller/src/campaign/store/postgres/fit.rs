//! What a guest, a hypervisor or a gate said, made to fit what the database keeps of a host's word
//! (`migrations/0001-said.sql`): nothing of it keeps a run from its end, or a host from being seen. Pure.

use serde::Serialize;
use serde_json::Value;

use super::{
    fault::Fault,
    words::{figure, signed},
};
use crate::campaign::run::{DiskResult, RunResult};

/// Of one text, in bytes.
const MOST: usize = 4000;

/// At most so many bytes of it, as whole characters, and no NUL, which a text of PostgreSQL's cannot have.
pub(super) fn line(text: &str) -> String {
    let mut line = text.replace('\0', "\u{fffd}");
    if line.len() > MOST {
        line.truncate(line.floor_char_boundary(MOST));
        line.push('…');
    }
    line
}

/// A document, each of its texts as [`line`] has it.
pub(super) fn document(value: &impl Serialize) -> Result<String, Fault> {
    let defect = |error: serde_json::Error| Fault::defect(error.to_string());
    let text = serde_json::to_string(value).map_err(defect)?;
    if text.len() <= MOST && !text.contains("\\u0000") {
        return Ok(text);
    }
    let mut value = serde_json::to_value(value).map_err(defect)?;
    shorten(&mut value);
    Ok(value.to_string())
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > MOST || text.contains('\0') => *text = line(text),
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(values) => values.values_mut().for_each(shorten),
        _ => {}
    }
}

/// A result whose figures sums can hold.
pub(super) fn result(result: &RunResult) -> Result<String, Fault> {
    let disk = |disk: &DiskResult| DiskResult {
        freed_bytes: disk.freed_bytes.map(signed),
        held_bytes: disk.held_bytes.map(figure).and_then(|held| u64::try_from(held).ok()),
        ..disk.clone()
    };
    let duration_ms = u64::try_from(figure(result.duration_ms)).unwrap_or(0);
    document(&RunResult { disks: result.disks.iter().map(disk).collect(), duration_ms, ..result.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_end_and_no_text_has_a_nul() {
        assert_eq!(line("a\0b"), "a\u{fffd}b");
        let cut = line(&"ü".repeat(3000));
        assert!(cut.len() <= MOST + 3 && cut.ends_with("ü…"), "{}", cut.len());
        let told = serde_json::json!({"a": ["x\0", 7, {"b": "y".repeat(9000)}], "c": null});
        let kept: Value = serde_json::from_str(&document(&told).ok().unwrap()).unwrap();
        assert_eq!((&kept["a"][0], &kept["a"][1]), (&"x\u{fffd}".into(), &7.into()));
        assert_eq!(kept["a"][2]["b"].as_str().unwrap().len(), MOST + 3);
    }
}
