//! Whether this process may call FITRIM at all.

use crate::sys::Roots;

/// include/uapi/linux/capability.h.
const CAP_SYS_ADMIN: u32 = 21;

/// Whether CAP_SYS_ADMIN is among the effective capabilities. In a user namespace it can be there and still not do:
/// FITRIM then says EPERM, and the report does.
pub fn may_trim(roots: &Roots) -> bool {
    std::fs::read_to_string(roots.proc.join("self/status")).is_ok_and(|status| has_sys_admin(&status))
}

/// proc_pid_status(5): CapEff is a mask in hexadecimal.
fn has_sys_admin(status: &str) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .and_then(|mask| mask.checked_shr(CAP_SYS_ADMIN))
        .is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        for (name, status, expected) in [
            ("root", "Name:\tx\nCapEff:\t000001ffffffffff\n", true),
            ("only it", "CapEff:\t0000000000200000\n", true),
            ("a container's", "CapInh:\t0000000000200000\nCapEff:\t00000000a80425fb\n", false),
            ("nobody", "CapEff:\t0000000000000000\n", false),
            ("no line", "Name:\tx\n", false),
        ] {
            assert_eq!(has_sys_admin(status), expected, "{name}");
        }
    }
}
