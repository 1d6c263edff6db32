//! Pure: texts for people. What came from a disk (a label, a mount's name) may hold anything, escape sequences of a
//! terminal too, so it passes [`shown`] before it meets one.

use std::{ffi::OsStr, fmt::Write};

/// A text as it may be shown on a terminal: control characters, characters that turn the writing direction, and
/// bytes that are not UTF-8 are escaped.
pub fn shown(text: impl AsRef<OsStr>) -> String {
    let mut out = String::new();
    for chunk in text.as_ref().as_encoded_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || is_invisible(c) {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            // A String takes every write.
            let _infallible = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Direction marks, zero-width characters and line separators.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A size in IEC units with one decimal, "?" where it is not known.
pub fn size(bytes: Option<u64>) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let Some(bytes) = bytes else { return "?".to_owned() };
    let mut unit = "B";
    // Tenths of the unit, so that no floating point is needed.
    let mut tenths = u128::from(bytes).saturating_mul(10);
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths = tenths.saturating_add(512) / 1024;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{}.{} {unit}", tenths / 10, tenths % 10) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn escapes() {
        for (text, expected) in [
            (&b"/srv/data"[..], "/srv/data"),
            ("/données".as_bytes(), "/données"),
            (b"/a\x1b[2Jb\n", "/a\\u{1b}[2Jb\\n"),
            (b"caf\xe9", "caf\\xe9"),
            ("\u{202e}gpj.exe\u{9b}31m".as_bytes(), "\\u{202e}gpj.exe\\u{9b}31m"),
        ] {
            assert_eq!(shown(OsStr::from_bytes(text)), expected);
        }
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_575, "1.0 MiB"),
            (20 << 30, "20.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(Some(bytes)), text);
        }
        assert_eq!(size(None), "?");
    }
}
