//! `trimtab.store_init/1`, `trimtab.store_grant/1` and `trimtab.store_revoke/1`: docs/schema/store.json.

use serde::Serialize;

use crate::campaign::store::postgres::Done;

/// The document.
#[derive(Serialize, Debug)]
pub struct StoreDocument<'a> {
    schema: String,
    exit: u8,
    /// The database, without a password.
    store: &'a str,
    /// What was done, one a line.
    done: &'a [String],
}

impl<'a> StoreDocument<'a> {
    /// `schema`: "trimtab.<verb>/1".
    pub fn new(schema: String, done: &'a Done) -> Self {
        Self { schema, exit: 0, store: &done.store, done: &done.said }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::json::check;

    #[test]
    fn what_the_schema_promises() {
        let done = Done { store: "postgres://op@db:5432/x".into(), said: vec!["made it".into()] };
        for verb in ["store_init", "store_grant", "store_revoke"] {
            check("store.json", &StoreDocument::new(format!("trimtab.{verb}/1"), &done));
        }
    }
}
