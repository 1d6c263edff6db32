//! The shared token: what it may look like, and where a call carries it. A guest's owner can ask for one where not
//! every process of the host is to be obeyed (each of them is CID 2).

/// The gRPC metadata key that carries it.
pub const HEADER: &str = "trimtab-token";

/// The shortest that cannot be guessed, in bytes.
pub const MIN_BYTES: usize = 16;

/// The longest, in bytes.
pub const MAX_BYTES: usize = 256;

/// Takes the token out of a file's text: all of it but the end of its only line.
///
/// # Errors
/// What a token must be. The text itself is not repeated.
pub fn parse(text: &str) -> Result<&str, &'static str> {
    let token = text.strip_suffix('\n').unwrap_or(text);
    let token = token.strip_suffix('\r').unwrap_or(token);
    if (MIN_BYTES..=MAX_BYTES).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(token)
    } else {
        Err("a token is one line of 16 to 256 visible ASCII characters; `openssl rand -hex 32` makes one")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let long = "x".repeat(MAX_BYTES);
        for (name, text, token) in [
            ("plain", "0123456789abcdef", Some("0123456789abcdef")),
            ("as echo writes it", "0123456789abcdef\n", Some("0123456789abcdef")),
            ("as Windows writes it", "0123456789abcdef\r\n", Some("0123456789abcdef")),
            ("the longest", long.as_str(), Some(long.as_str())),
            ("too long", &format!("{long}x"), None),
            ("too short", "0123456789abcde\n", None),
            ("empty", "", None),
            ("two lines", "0123456789abcdef\n0123456789abcdef\n", None),
            ("a blank", "0123456789 abcdef", None),
            ("not ASCII", "0123456789abcdéf", None),
        ] {
            assert_eq!(parse(text).ok(), token, "{name}");
        }
    }
}
