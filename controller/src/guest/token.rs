//! The shared token that an agent may want with each call, read from its file and never shown.
//!
//! It is read for each call, so that a new one needs no restart, and whoever calls no guest need not be able to read it.

use std::{fs, io, os::unix::fs::MetadataExt, time::Duration};

use tonic::metadata::{Ascii, MetadataValue};
use trimtab_proto::token::{self, MAX_BYTES};

use crate::{
    blocking,
    model::{
        token::TokenFile,
        trouble::{Kind, Trouble},
    },
};

/// A file of one line on this host's own disk.
const LIMIT: Duration = Duration::from_secs(3);

/// Its value in a call, which the transport neither logs nor keeps.
///
/// # Errors
/// `no_permission` where this user may not read it; `config` where it is missing, no token, or for all to read.
pub(super) async fn read(file: &TokenFile) -> Result<MetadataValue<Ascii>, Trouble> {
    let own = file.clone();
    match blocking::within(LIMIT, move || read_now(&own)).await {
        Ok(read) => read,
        Err(error) => Err(wrong(file, format_args!("cannot be read: {error}"))),
    }
}

fn read_now(file: &TokenFile) -> Result<MetadataValue<Ascii>, Trouble> {
    let TokenFile(path) = file;
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => Trouble::new(
            Kind::NoPermission,
            format!("this user may not read the agents' token in {}", path.display()),
        )
        .hint("run as root, or as a user of the file's group"),
        _ => wrong(file, format_args!("cannot be read: {error}"))
            .hint("`token` in trimtab.toml or the inventory names the file"),
    };
    let found = fs::metadata(path).map_err(failed)?;
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(2);
    if !found.is_file() || found.len() > most {
        return Err(wrong(file, "is none: not a file of one line"));
    }
    if found.mode() & 0o004 != 0 {
        return Err(wrong(file, "is no secret: everybody on this host may read it")
            .hint("take that right away (chmod o-r); whoever has read it by now knows it"));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let mut value = token::parse(&text)
        .and_then(|token| MetadataValue::try_from(token).map_err(|_| "it cannot stand in a call"))
        .map_err(|what| wrong(file, format_args!("is none: {what}")))?;
    value.set_sensitive(true);
    Ok(value)
}

fn wrong(TokenFile(path): &TokenFile, what: impl std::fmt::Display) -> Trouble {
    Trouble::new(Kind::Config, format!("the agents' token in {} {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = TokenFile(dir.path().join("token"));
        let secret = "correct-horse-battery-staple";
        for (name, text, mode, expected) in [
            ("a token", format!("{secret}\n"), 0o600, None),
            ("for a group", secret.to_owned(), 0o640, None),
            ("for all", secret.to_owned(), 0o644, Some("chmod o-r")),
            ("short", "horse".to_owned(), 0o600, Some("16 to 256 visible")),
            ("a novel", secret.repeat(100), 0o600, Some("not a file of one line")),
        ] {
            fs::write(&file.0, text).unwrap();
            fs::set_permissions(&file.0, fs::Permissions::from_mode(mode)).unwrap();
            match (read_now(&file), expected) {
                (Ok(token), None) => {
                    assert_eq!(token, secret, "{name}");
                    assert!(!format!("{token:?}").contains("horse"), "{name}");
                }
                (Err(trouble), Some(expected)) => {
                    let said = format!("{trouble} {}", trouble.hint.clone().unwrap_or_default());
                    assert!(trouble.kind == Kind::Config && said.contains(expected), "{name}: {said}");
                    assert!(!said.contains("horse"), "{name}: {said}");
                }
                (found, expected) => panic!("{name}: {found:?}, expected {expected:?}"),
            }
        }
        fs::remove_file(&file.0).unwrap();
        assert_eq!(read_now(&file).unwrap_err().kind, Kind::Config);
    }
}
