//! `[[datastore]]`: what datastores are called on this host. Pure.

use globset::GlobMatcher;

use crate::model::image::Datastore;

/// Patterns with the names of what fits them, in the file's order.
#[derive(Clone, Debug, Default)]
pub struct DatastoreNames(pub(super) Vec<(GlobMatcher, String)>);

impl DatastoreNames {
    /// What plans and stores know a datastore by: the name of the first pattern that its identity or its mount point
    /// fits, else its identity. Hosts that give one name to one storage share its limits.
    pub fn of(&self, datastore: &Datastore) -> String {
        let fits = |pattern: &GlobMatcher| {
            pattern.is_match(&datastore.identity) || pattern.is_match(&datastore.path)
        };
        let named = self.0.iter().find(|(pattern, _)| fits(pattern)).map(|(_, name)| name);
        named.unwrap_or(&datastore.identity).clone()
    }
}
