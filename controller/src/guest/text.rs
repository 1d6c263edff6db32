//! Guest text for a person's eyes: the one function that every text of a guest passes before it meets a terminal, a
//! log or an error.
//!
//! It keeps what a reader can see and shows the rest as an escape: control characters (ESC begins every terminal
//! trick), line breaks (one text stays on one line), and characters that have no width or turn the direction of
//! what follows. A backslash is left alone, so that passing a text through twice changes nothing.

/// The longest text that [`safe`] gives back, in characters.
pub const MAX_SAFE_CHARS: usize = 240;

/// What stands for the part that was cut off.
const CUT: char = '…';

/// A guest's text on one line without anything that a terminal obeys, at most [`MAX_SAFE_CHARS`] long.
pub fn safe(text: &str) -> String {
    safe_within(text, MAX_SAFE_CHARS)
}

/// The same with a length of the caller's: at most `max_chars` characters, the last one "…" where it was cut.
pub fn safe_within(text: &str, max_chars: usize) -> String {
    let mut shown: Vec<char> = Vec::new();
    // Where the text ends if it has to be cut: before the last whole character that leaves room for the mark.
    let mut room_for_mark = 0;
    for c in text.chars() {
        if shown.len() < max_chars {
            room_for_mark = shown.len();
        }
        if is_unseen(c) {
            shown.extend(escape(c).chars());
        } else {
            shown.push(c);
        }
        if shown.len() > max_chars {
            shown.truncate(room_for_mark);
            if max_chars > 0 {
                shown.push(CUT);
            }
            break;
        }
    }
    shown.into_iter().collect()
}

/// Without a glyph of its own, or with power over its neighbours: Unicode's categories Cc, Cf, Zl and Zp, the
/// letters that are blank, and noncharacters.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}'                                // soft hyphen, grapheme joiner
            | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
            | '\u{115f}'..='\u{1160}' | '\u{3164}' | '\u{ffa0}' // Hangul fillers
            | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'                           // zero widths, directional marks
            | '\u{2028}'..='\u{202e}'                           // separators, directional overrides
            | '\u{2060}'..='\u{206f}'                           // word joiner, directional isolates
            | '\u{2800}'                                        // blank braille
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'              // variation selectors, byte order mark
            | '\u{fdd0}'..='\u{fdef}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}') // tags, more variation selectors
}

fn escape(c: char) -> String {
    match c {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        c if u32::from(c) < 0x100 => format!("\\x{:02x}", u32::from(c)),
        c => format!("\\u{{{:x}}}", u32::from(c)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_person_sees() {
        for (name, text, expected) in [
            ("plain", "/srv/data", "/srv/data"),
            ("empty", "", ""),
            ("other scripts", "/srv/größe/数据/данные", "/srv/größe/数据/данные"),
            ("emoji", "disk 💾", "disk 💾"),
            ("backslash", r"a\x1b", r"a\x1b"),
            ("colour", "\u{1b}[31mred\u{1b}[0m", r"\x1b[31mred\x1b[0m"),
            ("window title", "\u{1b}]0;owned\u{7}", r"\x1b]0;owned\x07"),
            ("8-bit CSI", "\u{9b}31m", r"\x9b31m"),
            ("line breaks", "a\nb\r\nc\td", r"a\nb\r\nc\td"),
            ("other line breaks", "a\u{2028}b\u{85}c\u{b}", r"a\u{2028}b\x85c\x0b"),
            ("backspace over it", "ok\u{8}\u{8}no\u{7f}", r"ok\x08\x08no\x7f"),
            ("bidi override", "/a\u{202e}gpj.exe", r"/a\u{202e}gpj.exe"),
            ("bidi isolate", "\u{2066}x\u{2069}", r"\u{2066}x\u{2069}"),
            ("zero width", "ro\u{200b}ot\u{feff}", r"ro\u{200b}ot\u{feff}"),
            ("tag", "\u{e0041}", r"\u{e0041}"),
            ("nul", "\0", r"\x00"),
        ] {
            assert_eq!(safe(text), expected, "{name}");
        }
    }

    #[test]
    fn cuts_on_whole_characters_and_whole_escapes() {
        for (text, max, expected) in [
            ("abcdef", 6, "abcdef"),
            ("abcdefg", 6, "abcde…"),
            ("größeres", 5, "größ…"),
            ("ab\u{1b}", 6, r"ab\x1b"),
            ("ab\u{1b}c", 6, "ab…"),
            ("ab\u{1b}", 5, "ab…"),
            ("\u{1b}", 3, "…"),
            ("abc", 1, "…"),
            ("abc", 0, ""),
        ] {
            assert_eq!(safe_within(text, max), expected, "{text:?} in {max}");
        }
        assert_eq!(safe(&"x".repeat(1 << 20)).chars().count(), MAX_SAFE_CHARS);
    }

    proptest! {
        #[test]
        fn nothing_unseen_is_left(text in any::<String>(), max in 0..50_usize) {
            let shown = safe_within(&text, max);
            prop_assert!(!shown.chars().any(is_unseen), "{shown:?}");
            prop_assert!(shown.chars().count() <= max);
            prop_assert_eq!(safe_within(&shown, max), shown);
        }

        #[test]
        fn harmless_text_stays(text in "[ -~à-ÿ]{0,200}") {
            prop_assert_eq!(safe(&text.replace('\u{ad}', "")), text.replace('\u{ad}', ""));
        }
    }
}
