//! What goes wrong with the file, in a person's words: what happened, to which file, and what to do.

use std::path::Path;

use crate::model::trouble::{Kind, Trouble};

/// For who may not even read: the packages give the folder to the worker's user and its group.
const TO_READ: &str = "run this as root, or as a member of the folder's group (the packages': trimtab)";

/// Why a call did not do its work. Nothing of it was kept.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite's own.
    Sql(sqlx::Error),
    /// An answer to the caller that is about no file.
    Told(Trouble),
    /// What is in the file makes no sense.
    Damaged(String),
    /// The file is of a newer trimtab.
    Newer(i64),
    /// The file is of an older trimtab, and was opened only to read.
    Older(i64),
    /// An SQLite file of somebody else.
    Foreign,
    /// It was opened only to read.
    ReadOnly,
    /// Its folder cannot be made or read.
    Io(std::io::Error),
}

impl Fault {
    /// The result code of SQLite without its extension (sqlite.org/rescode.html), if it is SQLite's.
    pub(super) fn code(error: &sqlx::Error) -> Option<i32> {
        let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
        Some(code & 0xff)
    }

    /// For a person. `doing`: "open", "read", "write".
    pub(super) fn trouble(self, path: &Path, doing: &str) -> Trouble {
        let store = |text: String, hint: &str| Trouble::new(Kind::Store, text).hint(hint);
        let file = path.display();
        match self {
            Self::Told(trouble) => trouble,
            Self::Damaged(what) => damaged(path, &what),
            Self::Newer(version) => store(
                format!("{file}: made by a newer trimtab (version {version} of the store)"),
                "nothing was changed; use that trimtab, or name another file with --store",
            ),
            Self::Older(version) => store(
                format!("{file}: made by an older trimtab (version {version} of the store)"),
                "the worker, or any `trimtab campaign apply` by root, brings it up to date",
            ),
            Self::Foreign => store(
                format!("{file}: a database, but not a store of campaigns"),
                "nothing was changed; name another file with --store",
            ),
            Self::ReadOnly => store(
                format!("{file}: may only be read here"),
                "run this as root, or as the worker's own user, whose file it must be",
            ),
            Self::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                store(format!("{file}: cannot {doing} it: {error}"), TO_READ)
            }
            Self::Io(error) => {
                store(format!("{file}: cannot {doing} it: {error}"), "see its folder's rights")
            }
            Self::Sql(error) => by_code(path, doing, &error),
        }
    }
}

fn damaged(path: &Path, what: &str) -> Trouble {
    let text = format!("{}: the store of campaigns is damaged: {what}", path.display());
    Trouble::new(Kind::Store, text).hint(
        "stop the worker, then restore a backup, or move the file away together with its -wal and -shm: \
         its campaigns are then no longer known",
    )
}

fn by_code(path: &Path, doing: &str, error: &sqlx::Error) -> Trouble {
    let file = path.display();
    let (what, hint) = match Fault::code(error) {
        Some(5 | 6) => (
            "another process has held it all the time".to_owned(),
            "try again; `fuser -v` on the file shows who has it",
        ),
        Some(13) => (
            "its filesystem is full".to_owned(),
            "nothing was changed; make room there, and it goes on by itself",
        ),
        Some(3 | 8) => (
            "this user may not write it".to_owned(),
            "run this as root, or as the worker's own user, whose file it must be",
        ),
        Some(14) => (
            "it, its folder or its -wal file cannot be opened by this user".to_owned(),
            "see whether the folder exists and its rights; --store names another file",
        ),
        Some(10) => (
            format!("the system reports an error of input or output ({error})"),
            "nothing was changed; see the kernel's log for that filesystem",
        ),
        Some(11 | 26) => return damaged(path, &error.to_string()),
        _ => (error.to_string(), "nothing was changed"),
    };
    Trouble::new(Kind::Store, format!("{file}: cannot {doing} the store of campaigns: {what}")).hint(hint)
}
