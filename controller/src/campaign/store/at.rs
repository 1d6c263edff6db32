//! Where a store is: a file of this host, or a fleet's database.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::postgres::url::{DatabaseUrl, is_database};
use crate::model::trouble::{Kind, Trouble};

/// Where the worker's lock lies when campaigns are in a database; systemd says STATE_DIRECTORY instead (systemd.exec(5)).
const STATE: &str = "/var/lib/trimtab";

/// Where campaigns are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum At {
    /// SQLite's file.
    File(PathBuf),
    /// PostgreSQL.
    Database(DatabaseUrl),
}

impl At {
    /// What a person, the environment or trimtab.toml has written.
    ///
    /// # Errors
    /// It is a URL, and not one of a PostgreSQL database. It is not repeated, since it may hold a password.
    pub fn read(written: OsString) -> Result<Self, Trouble> {
        match written.to_str() {
            Some(text) if is_database(text) => Ok(Self::Database(text.parse()?)),
            Some(text) if text.contains("://") => Err(Trouble::new(
                Kind::Usage,
                "a store is a file, or a PostgreSQL database: postgres://ROLE@HOST/DATABASE",
            )),
            _ => Ok(Self::File(written.into())),
        }
    }

    /// The file beside which this host's worker has its lock.
    pub fn lock(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Database(_) => {
                let folder = std::env::var("STATE_DIRECTORY").ok();
                let folder = folder.as_deref().and_then(|folders| folders.split(':').next());
                Path::new(folder.filter(|folder| !folder.is_empty()).unwrap_or(STATE)).join("fleet")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_or_a_database() {
        assert_eq!(At::read("/var/x.db".into()), Ok(At::File("/var/x.db".into())));
        assert_eq!(At::read("x:y".into()), Ok(At::File("x:y".into())));
        assert!(matches!(At::read("postgresql://db/x".into()), Ok(At::Database(_))));
        for wrong in ["mysql://me:secret@db/x", "sqlite:///x"] {
            let trouble = At::read(wrong.into()).unwrap_err();
            assert!(trouble.kind == Kind::Usage && !trouble.text.contains("secret"), "{trouble}");
        }
    }
}
