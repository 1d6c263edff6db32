//! The host's files: the port `Storage`.
