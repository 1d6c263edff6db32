//! Where the shared token of a guest's agent lies.

use std::{path::PathBuf, str::FromStr};

/// "file:/PATH", as in the guest's agent.toml.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenFile(pub PathBuf);

impl FromStr for TokenFile {
    type Err = &'static str;

    /// The text is not repeated in the error: somebody may have written the secret itself there.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("file:") {
            Some(path) if path.starts_with('/') => Ok(Self(path.into())),
            _ => Err("it says where the agents' token lies, and must be \"file:/PATH\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_it() {
        assert_eq!("file:/etc/trimtab/token".parse(), Ok(TokenFile("/etc/trimtab/token".into())));
        for wrong in ["correct-horse-battery-staple", "file:token", "/etc/token", ""] {
            let error = wrong.parse::<TokenFile>().unwrap_err();
            assert!(!error.contains("horse"), "{error}");
        }
    }
}
