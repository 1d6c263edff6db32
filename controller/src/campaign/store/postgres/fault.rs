//! What goes wrong with the database, in a person's words: what happened, to which one, and what to do.

use std::{borrow::Cow, time::Duration};

use super::held::Holder;
use crate::model::trouble::{Kind, Trouble};

/// For a way on which nothing comes back.
const REACH: &str = "see whether the database runs and this host reaches it";

/// Why a call did not do its work. Nothing of it was kept.
#[derive(Debug)]
pub(super) enum Fault {
    /// The database's own, or of the way to it.
    Sql(sqlx::Error),
    /// An answer to the caller that is about no database.
    Told(Trouble),
    /// What is in the store makes no sense.
    Damaged(String),
    /// No answer came in that time.
    Silent(Duration),
    /// Nor will one, as long as somebody holds the store's lock.
    Held(Holder),
    /// The server is another one, or was started since; what it may have lost comes first.
    StartedAnew,
    /// The store is of a newer trimtab.
    Newer(i64),
    /// The store is of an older trimtab.
    Older(i64),
}

impl Fault {
    /// Whether it was waited for something, and in vain.
    pub(super) fn is_a_wait(&self) -> bool {
        match self {
            Self::Silent(_) => true,
            // lock_not_available, query_canceled
            Self::Sql(error) => matches!(state(error).as_deref(), Some("55P03" | "57014")),
            _ => false,
        }
    }

    /// For a person. `doing`: "open", "read", "write", "use", "set up".
    pub(super) fn trouble(self, shown: &str, doing: &str) -> Trouble {
        let store = |text: String, hint: &str| Trouble::new(Kind::Store, text).hint(hint);
        match self {
            Self::Told(trouble) => trouble,
            Self::Damaged(what) => store(
                format!("{shown}: the store of campaigns is damaged: {what}"),
                "stop the workers, then restore a backup of the schema trimtab",
            ),
            Self::Newer(version) => store(
                format!("{shown}: made by a newer trimtab (version {version} of the store)"),
                "nothing was changed; use that trimtab",
            ),
            Self::Older(version) => store(
                format!("{shown}: made by an older trimtab (version {version} of the store)"),
                "trimtab store init brings it up to date; workers of that version end then",
            ),
            Self::Silent(limit) => store(
                format!(
                    "{shown}: cannot {doing} the store of campaigns: no answer within {} s",
                    limit.as_secs()
                ),
                REACH,
            ),
            Self::Held(holder) => {
                let (what, hint) = holder.told();
                store(format!("{shown}: cannot {doing} the store of campaigns: {what}"), &hint)
            }
            Self::StartedAnew => store(
                format!("{shown}: the database was started anew"),
                "it is told first what it may have lost",
            ),
            Self::Sql(error) => by_state(shown, doing, &error),
        }
    }
}

/// Why the database refused it: the classes of PostgreSQL's manual, appendix A.
pub(super) fn state(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(|told| told.code())
}

fn by_state(shown: &str, doing: &str, error: &sqlx::Error) -> Trouble {
    let told = error.as_database_error();
    let message = told.map_or_else(|| error.to_string(), |told| told.message().to_owned());
    let (kind, hint) = match state(error).as_deref() {
        Some("TT001" | "TT002") => {
            (Kind::NoPermission, "trimtab store grant HOST, by an operator, gives a host its role")
        }
        Some("TT003") => {
            (Kind::Store, "of one host at most 5000 VMs are kept, of 64 KiB each, and 32 MiB in all")
        }
        Some("TT006") => (Kind::Internal, "nothing of it was kept; is that role's password in other hands?"),
        Some("TT005") => (
            Kind::Store,
            "nothing was changed; give this host the trimtab that the store was brought up to date with",
        ),
        Some("TT004") => (Kind::Busy, "one worker per host; one that is gone is forgotten after its lease"),
        Some("42501") => (
            Kind::NoPermission,
            "operators are members of the role that owns the schema trimtab; a host's role may only work for its host",
        ),
        Some("28000" | "28P01") => (
            Kind::NoPermission,
            "see the role, its password (passfile= in the URL, PGPASSWORD, ~/.pgpass) and pg_hba.conf",
        ),
        Some("3D000") => (Kind::Store, "see the name of the database in --store"),
        Some("3F000" | "42P01" | "42883") => (
            Kind::Store,
            "it has no store that this role may use: trimtab store init makes one, trimtab store grant lets a host's role in",
        ),
        Some("57P01" | "57P02" | "57P03" | "53300") => {
            (Kind::Store, "the database is being started or stopped, or has no room for one more; try again")
        }
        Some("55P03") => (Kind::Store, "somebody else changes it, and takes long; try again"),
        Some("57014") => (Kind::Store, "it took too long; see what else the database does"),
        Some(_) => (Kind::Store, "nothing was changed"),
        None if matches!(error, sqlx::Error::Tls(_)) => (
            Kind::Store,
            "see sslmode= and sslrootcert= in the URL, and whether the server has TLS (ssl = on)",
        ),
        None => (Kind::Store, REACH),
    };
    Trouble::new(kind, format!("{shown}: cannot {doing} the store of campaigns: {message}")).hint(hint)
}
