//! The shared token that calls must bring, where the guest's owner asks for one. It is read when the agent starts, compared
//! in constant time, and never shown.

use std::{
    fmt, fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use constant_time_eq::constant_time_eq;
use trimtab_proto::token::{self, MAX_BYTES};

use crate::config::TokenSource;

/// systemd's name for it, in the unit and in every credential store.
const CREDENTIAL: &str = "trimtab.token";

/// The secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What a call brought is not it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It brought none.
    Missing,
    /// It brought another.
    Wrong,
}

impl Token {
    /// Reads the secret from where the configuration says. `credentials` is `$CREDENTIALS_DIRECTORY`.
    ///
    /// # Errors
    /// Why it cannot be had, and what to do.
    pub fn load(source: &TokenSource, credentials: Option<&Path>) -> Result<Option<Self>, String> {
        match source {
            TokenSource::None => {
                if credentials.is_some_and(|folder| folder.join(CREDENTIAL).exists()) {
                    tracing::warn!(
                        "there is a credential {CREDENTIAL}, and calls need none: set token = \"credential\" in agent.toml"
                    );
                }
                Ok(None)
            }
            TokenSource::Credential => {
                let missing = || {
                    format!(
                        "systemd handed over no credential {CREDENTIAL}: give the VM one (fw_cfg, \
                         opt/io.systemd.credentials/{CREDENTIAL}), or put it into /etc/credstore/{CREDENTIAL} (both take \
                         systemd 252), or use \"file:/PATH\""
                    )
                };
                let path = credentials.ok_or_else(missing)?.join(CREDENTIAL);
                match read(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
                    text => Self::new(&path, text).map(Some),
                }
            }
            TokenSource::File(path) => {
                let token = Self::new(path, read(path))?;
                if fs::metadata(path).is_ok_and(|found| found.mode() & 0o077 != 0) {
                    tracing::warn!("{} can be read by others than root: chmod 600 it", path.display());
                }
                Ok(Some(token))
            }
        }
    }

    fn new(path: &Path, text: io::Result<String>) -> Result<Self, String> {
        let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let token = token::parse(&text).map_err(|what| format!("{}: {what}", path.display()))?;
        Ok(Self(token.to_owned()))
    }

    /// Whether a call that brought this may pass.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn judge(&self, brought: Option<&[u8]>) -> Result<(), Refused> {
        match brought {
            None => Err(Refused::Missing),
            Some(brought) if constant_time_eq(brought, self.0.as_bytes()) => Ok(()),
            Some(_) => Err(Refused::Wrong),
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(3);
    // Looked at first, since a pipe would never end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    fs::File::open(path)?.take(most).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "correct-horse-battery-staple";

    fn token() -> Token {
        Token(SECRET.to_owned())
    }

    #[test]
    fn who_passes() {
        let longer = format!("{SECRET}x");
        for (name, brought, expected) in [
            ("the same", Some(SECRET), Ok(())),
            ("none", None, Err(Refused::Missing)),
            ("empty", Some(""), Err(Refused::Wrong)),
            ("its beginning", Some("correct-horse"), Err(Refused::Wrong)),
            ("longer", Some(longer.as_str()), Err(Refused::Wrong)),
            ("another of its length", Some("correct-horse-battery-stapl3"), Err(Refused::Wrong)),
        ] {
            assert_eq!(token().judge(brought.map(str::as_bytes)), expected, "{name}");
        }
    }

    #[test]
    fn it_is_never_shown() {
        assert!(!format!("{:?}", Some(token())).contains("horse"));
    }

    #[test]
    fn from_where() {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad) = (dir.path().join(CREDENTIAL), dir.path().join("bad"));
        fs::write(&good, format!("{SECRET}\n")).unwrap();
        fs::write(&bad, "horse\n").unwrap();
        let empty = tempfile::tempdir().unwrap();
        let file = |path: &Path| TokenSource::File(path.to_owned());
        let (here, there) = (Some(dir.path()), Some(empty.path()));
        for (name, source, credentials, expected) in [
            ("none wanted", TokenSource::None, here, Ok(None)),
            ("a credential", TokenSource::Credential, here, Ok(Some(token()))),
            ("no such credential", TokenSource::Credential, there, Err("no credential trimtab.token")),
            ("no credentials at all", TokenSource::Credential, None, Err("no credential trimtab.token")),
            ("a file", file(&good), None, Ok(Some(token()))),
            ("no file", file(Path::new("/nonexistent")), here, Err("cannot read /nonexistent: No such file")),
            ("a folder", file(dir.path()), None, Err("it is not a file")),
            ("too short", file(&bad), None, Err("16 to 256 visible")),
        ] {
            match (Token::load(&source, credentials), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{name}"),
                (Err(said), Err(expected)) => {
                    assert!(said.contains(expected) && !said.contains("horse"), "{name}: {said}");
                }
                (found, expected) => panic!("{name}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
