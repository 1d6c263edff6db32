//! Which kernel this is, and which boot of it.

use super::{Roots, SysError, read_text};

/// What tells this boot from all others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct System {
    /// uname -r.
    pub kernel: String,
    /// A UUID that the kernel makes at each boot.
    pub boot_id: String,
}

/// Reads both; empty where /proc does not have them.
///
/// # Errors
/// [`SysError::Read`].
pub fn read(roots: &Roots) -> Result<System, SysError> {
    let kernel = roots.proc.join("sys/kernel");
    Ok(System {
        kernel: read_text(&kernel.join("osrelease"))?.unwrap_or_default(),
        boot_id: read_text(&kernel.join("random/boot_id"))?.unwrap_or_default(),
    })
}
