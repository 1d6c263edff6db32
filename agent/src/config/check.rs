//! Pure: what values are allowed, each alone and all together.

use super::{Config, ConfigError};
use crate::select::TRUSTED_TYPES;

/// Linux has fewer types that know FITRIM.
const MOST_TYPES: usize = 64;
const MOST_TYPE_BYTES: usize = 64;

/// A number in bounds.
pub(super) fn within(number: u32, least: u32, most: u32) -> Result<u32, String> {
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(format!("{number} is not from {least} to {most}"))
    }
}

/// Names of filesystem types, as mountinfo has them.
pub(super) fn types(texts: Vec<String>) -> Result<Vec<String>, String> {
    if texts.len() > MOST_TYPES {
        return Err(format!("{} types, at most {MOST_TYPES}", texts.len()));
    }
    let is_none = |text: &&String| {
        !(1..=MOST_TYPE_BYTES).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_graphic())
    };
    match texts.iter().find(is_none) {
        Some(text) => Err(format!("{text:?} is no filesystem type; /proc/filesystems lists them")),
        None => Ok(texts),
    }
}

/// Mount points, or patterns of them.
pub(super) fn patterns(texts: Vec<String>) -> Result<Vec<glob::Pattern>, String> {
    texts
        .into_iter()
        .map(|text| {
            if !text.starts_with(['/', '*']) {
                return Err(format!("{text:?} matches no mount point: begin it with / or *"));
            }
            if text.len() > 1 && text.ends_with('/') {
                return Err(format!("{text:?} matches no mount point: end it without the /"));
            }
            glob::Pattern::new(&text).map_err(|e| format!("{text:?}: {}", e.msg))
        })
        .collect()
}

/// What each value allows and all together do not.
pub(super) fn together(config: &Config) -> Result<(), ConfigError> {
    let trim = &config.trim;
    let trusted = |name: &String| TRUSTED_TYPES.contains(&name.as_str()) || trim.also_types.contains(name);
    if let Some(name) = trim.types.iter().find(|name| !trusted(name)) {
        let list = TRUSTED_TYPES.join(", ");
        let what = format!("{name:?} is never trimmed: name it in also_types too, or take one of {list}");
        return Err(config.refuse("trim.types", &what));
    }
    if config.allow_cids.is_empty() {
        return Err(config.refuse("allow_cids", "nobody may call; 2 is the host"));
    }
    Ok(())
}
