//! The shared token that calls must bring, where the guest's owner asks for one. It is read when the agent starts, compared
//! in constant time, and never shown.

use std::{
    fmt, fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use constant_time_eq::constant_time_eq;
use trimtab_proto::token::{self, MAX_BYTES};

use crate::{config::TokenSource, sys::Roots};

/// systemd's name for it, in every credential store.
const CREDENTIAL: &str = "trimtab.token";

/// Where the credential may lie, by systemd's own order: what a unit was handed, what the host gave the VM, the stores
/// (systemd.exec(5), LoadCredential; systemd.io/CREDENTIALS). Looked at from here, since a unit that names a credential
/// that is not there does not start under every systemd.
fn places(roots: &Roots, handed: Option<&Path>) -> Vec<PathBuf> {
    let known = [
        roots.run.join("credentials/@system"),
        roots.etc.join("credstore"),
        roots.run.join("credstore"),
        roots.lib[0].join("credstore"),
    ];
    let folders = handed.map(Path::to_owned).into_iter().chain(known);
    folders.map(|folder| folder.join(CREDENTIAL)).collect()
}

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
    /// Reads the secret from where the configuration says. `handed` is `$CREDENTIALS_DIRECTORY`.
    ///
    /// # Errors
    /// Why it cannot be had, and what to do.
    pub fn load(source: &TokenSource, roots: &Roots, handed: Option<&Path>) -> Result<Option<Self>, String> {
        let credential = || places(roots, handed).into_iter().find(|path| path.exists());
        match source {
            TokenSource::None => {
                if let Some(path) = credential() {
                    tracing::warn!(
                        "there is {}, and calls need no token: set token = \"credential\" in agent.toml",
                        path.display()
                    );
                }
                Ok(None)
            }
            TokenSource::Credential => match credential() {
                Some(path) => Self::new(&path, read(&path)).map(Some),
                None => Err(format!(
                    "there is no credential {CREDENTIAL}: give the VM one (fw_cfg, \
                     opt/io.systemd.credentials/{CREDENTIAL}; systemd 252), or put it into /etc/credstore/{CREDENTIAL}, or use \
                     \"file:/PATH\""
                )),
            },
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
        let from_host = tempfile::tempdir().unwrap();
        let stored = tempfile::tempdir().unwrap();
        for (root, folder) in [(&from_host, "run/credentials/@system"), (&stored, "etc/credstore")] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
            fs::write(root.path().join(folder).join(CREDENTIAL), SECRET).unwrap();
        }
        let file = |path: &Path| TokenSource::File(path.to_owned());
        let handed = Some(dir.path());
        let missing = Err("there is no credential trimtab.token");
        for (name, source, root, handed, expected) in [
            ("none wanted", TokenSource::None, &stored, handed, Ok(None)),
            ("handed by the unit", TokenSource::Credential, &empty, handed, Ok(Some(token()))),
            ("given by the host", TokenSource::Credential, &from_host, None, Ok(Some(token()))),
            ("in a store", TokenSource::Credential, &stored, Some(empty.path()), Ok(Some(token()))),
            ("nowhere", TokenSource::Credential, &empty, None, missing),
            ("a file", file(&good), &empty, None, Ok(Some(token()))),
            (
                "no file",
                file(Path::new("/nonexistent")),
                &empty,
                handed,
                Err("cannot read /nonexistent: No such file"),
            ),
            ("a folder", file(dir.path()), &empty, None, Err("it is not a file")),
            ("too short", file(&bad), &empty, None, Err("16 to 256 visible")),
        ] {
            let roots = Roots::under(root.path());
            match (Token::load(&source, &roots, handed), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{name}"),
                (Err(said), Err(expected)) => {
                    assert!(said.contains(expected) && !said.contains("horse"), "{name}: {said}");
                }
                (found, expected) => panic!("{name}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
