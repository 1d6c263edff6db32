//! fstrim.timer, the distribution's own weekly trim: both will trim, so both should be known.
//!
//! Read from the unit files. When it elapses next is known to systemd alone and stays unknown here.

use super::Roots;
use crate::model::Timer;

const UNIT: &str = "fstrim.timer";

/// Looks for the unit and for what enables it.
pub fn read(roots: &Roots) -> Timer {
    let etc = roots.etc.join("systemd/system");
    let installed = roots
        .lib
        .iter()
        .map(|lib| lib.join("systemd/system"))
        .chain([etc.clone()])
        .any(|dir| dir.join(UNIT).exists());
    // `systemctl mask` puts a link to /dev/null there, which wins over everything.
    let masked = std::fs::read_link(etc.join(UNIT)).is_ok_and(|target| target.ends_with("dev/null"));
    let enabled = std::fs::symlink_metadata(etc.join("timers.target.wants").join(UNIT)).is_ok();
    Timer { installed: installed && !masked, active: installed && enabled && !masked, next_unix_secs: None }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn unit_files() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::under(dir.path());
        let is = |installed, active| Timer { installed, active, next_unix_secs: None };
        assert_eq!(read(&roots), is(false, false), "nothing there");

        fs::create_dir_all(dir.path().join("usr/lib/systemd/system")).unwrap();
        fs::write(dir.path().join("usr/lib/systemd/system/fstrim.timer"), "[Timer]\n").unwrap();
        assert_eq!(read(&roots), is(true, false), "installed");

        let etc = dir.path().join("etc/systemd/system");
        fs::create_dir_all(etc.join("timers.target.wants")).unwrap();
        symlink("/usr/lib/systemd/system/fstrim.timer", etc.join("timers.target.wants/fstrim.timer"))
            .unwrap();
        assert_eq!(read(&roots), is(true, true), "enabled; the link need not resolve from here");

        symlink("/dev/null", etc.join("fstrim.timer")).unwrap();
        assert_eq!(read(&roots), is(false, false), "masked");
    }
}
