//! Why a configuration cannot be used.

use std::{io, path::PathBuf};

/// It cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or a folder of files could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file was read and holds a mistake.
    #[error("{}:{line}: {what}", path.display())]
    Mistake {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Which key, what is wrong with it, and what is allowed.
        what: String,
    },
    /// A default cannot be used here.
    #[error("the default of {key} cannot be used: {what}")]
    Default {
        /// Which key.
        key: &'static str,
        /// What is wrong with it.
        what: String,
    },
}
