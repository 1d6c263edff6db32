//! What libvirt is asked and says, in plain types. Pure; the numbers are those of libvirt's headers, which promise never
//! to change them.

use std::ffi::c_int;

use crate::model::disk::VmState;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    /// Open to every user by default (libvirtd.conf, unix_sock_ro_perms); libvirt refuses what would change something.
    ReadOnly,
    /// root, the group libvirt, or whoever polkit lets in.
    ReadWrite,
}

/// Which description of a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Which {
    /// Of the running one; of one that is off, its configuration.
    Current,
    /// What the next start will take.
    Inactive,
    /// The same with passwords in it, which takes a read-write connection.
    InactiveWithSecrets,
}

/// A call that failed (virError).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Refused {
    /// virErrorNumber.
    pub(super) code: c_int,
    /// `int1`: the errno where the code is [`SYSTEM_ERROR`].
    pub(super) errno: c_int,
    /// libvirt's sentence.
    pub(super) text: String,
}

/// No virErrorNumber: there is no libvirt in this program.
pub(super) const NOT_BUILT_IN: c_int = -1;
/// VIR_ERR_NO_SUPPORT: the driver lacks this call.
pub(super) const NO_SUPPORT: c_int = 3;
/// VIR_ERR_NO_CONNECT: no driver for that URI.
pub(super) const NO_CONNECT: c_int = 5;
/// VIR_ERR_OPERATION_DENIED: not on a read-only connection.
pub(super) const OPERATION_DENIED: c_int = 29;
/// VIR_ERR_SYSTEM_ERROR: a system call failed.
pub(super) const SYSTEM_ERROR: c_int = 38;
/// VIR_ERR_NO_DOMAIN: it is not there (any more).
pub(super) const NO_DOMAIN: c_int = 42;
/// VIR_ERR_AUTH_FAILED.
pub(super) const AUTH_FAILED: c_int = 45;
/// VIR_ERR_OPERATION_INVALID: not in this state, as a domain that is off.
pub(super) const OPERATION_INVALID: c_int = 55;
/// VIR_ERR_OPERATION_TIMEOUT: another call holds the domain.
pub(super) const OPERATION_TIMEOUT: c_int = 68;
/// VIR_ERR_ARGUMENT_UNSUPPORTED: the domain has no channel for qemu-ga.
pub(super) const ARGUMENT_UNSUPPORTED: c_int = 74;
/// VIR_ERR_AUTH_CANCELLED.
pub(super) const AUTH_CANCELLED: c_int = 79;
/// VIR_ERR_AGENT_UNRESPONSIVE: qemu-ga is not connected, or does not answer.
pub(super) const AGENT_UNRESPONSIVE: c_int = 86;
/// VIR_ERR_ACCESS_DENIED: polkit's rules for single calls.
pub(super) const ACCESS_DENIED: c_int = 88;
/// VIR_ERR_AUTH_UNAVAILABLE: polkit has nobody to ask.
pub(super) const AUTH_UNAVAILABLE: c_int = 94;

/// VIR_ERR_AGENT_UNSYNCED: qemu-ga answers what nobody asked.
pub(super) const AGENT_UNSYNCED: c_int = 97;

/// virDomainBlockJobInfo.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BlockJob {
    /// virDomainBlockJobType.
    pub(super) kind: c_int,
}

impl BlockJob {
    /// In a word, as virsh has it.
    pub(super) fn word(self) -> &'static str {
        match self.kind {
            1 => "pulling",
            2 => "copying",
            3 => "committing",
            4 => "committing the active layer",
            5 => "backing up",
            _ => "running",
        }
    }
}

/// A typed parameter: a number, or a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Number {
    /// "block.0.capacity".
    pub(super) name: String,
    /// Where it is a number that is not negative.
    pub(super) value: Option<u64>,
    /// Where it is a text.
    pub(super) text: Option<String>,
}

/// A snapshot of a domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Snapshot {
    /// Unique in its domain.
    pub(super) name: String,
    /// <domainsnapshot>.
    pub(super) xml: String,
}

/// A virDomainState and its reason, as far as it matters to a trim.
pub(super) fn state(state: c_int, reason: c_int) -> Option<VmState> {
    Some(match state {
        // Running; and blocked, which is running that waits for something.
        1 | 2 => VmState::Running,
        // virDomainPausedReason.
        3 => VmState::Stopped(
            match reason {
                2 => "paused for a migration",
                3 => "paused while it is saved",
                4 => "paused while it is dumped",
                5 => "io-error",
                6 => "paused by its watchdog",
                7 | 9 => "paused for a snapshot",
                8 => "shutting down",
                10 => "guest-panicked",
                11 => "starting up",
                12..=14 => "paused after something failed",
                _ => "paused",
            }
            .to_owned(),
        ),
        4 => VmState::Stopped("shutting down".to_owned()),
        // Shut off; and crashed, of which no process is left.
        5 | 6 => VmState::Off,
        7 => VmState::Stopped("suspended by the guest".to_owned()),
        _ => return None,
    })
}

/// The job of a whole domain, in a word: a virDomainJobType with its VIR_DOMAIN_JOB_OPERATION.
pub(super) fn job(kind: c_int, numbers: &[Number]) -> Option<String> {
    // 1 and 2 are under way; 3 to 5 are over.
    if !matches!(kind, 1 | 2) {
        return None;
    }
    let operation = numbers.iter().find(|number| number.name == "operation").and_then(|number| number.value);
    let word = match operation {
        Some(1) => "a start",
        Some(2) => "a save to a file",
        Some(3) => "a restore",
        Some(4) => "a migration to this host",
        Some(5) => "a migration to another host",
        Some(6) => "a snapshot",
        Some(7) => "a return to a snapshot",
        Some(8) => "a dump",
        Some(9) => "a backup",
        Some(10) => "the deletion of a snapshot",
        _ => "a job of libvirt's",
    };
    Some(word.to_owned())
}

/// What virDomainListGetStats() says of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct BlockStats {
    /// What the guest sees.
    pub(super) capacity_bytes: Option<u64>,
    /// What the guest wrote since the device began.
    pub(super) written_bytes: Option<u64>,
}

/// The disk with this target in "block.N.name", "block.N.capacity", …
pub(super) fn block_stats(numbers: &[Number], target: &str) -> BlockStats {
    let prefix = numbers.iter().find_map(|number| {
        let prefix = number.name.strip_suffix("name")?;
        (prefix.starts_with("block.") && number.text.as_deref() == Some(target)).then_some(prefix)
    });
    let value = |name: &str| {
        let name = format!("{}{name}", prefix?);
        numbers.iter().find(|number| number.name == name)?.value
    };
    BlockStats { capacity_bytes: value("capacity"), written_bytes: value("wr.bytes") }
}

/// Typed parameters, as tests write them.
#[cfg(test)]
pub(super) mod samples {
    use super::Number;

    pub(in crate::libvirt) fn number(name: &str, value: u64) -> Number {
        Number { name: name.into(), value: Some(value), text: None }
    }

    pub(in crate::libvirt) fn text(name: &str, text: &str) -> Number {
        Number { name: name.into(), value: None, text: Some(text.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        samples::{number, text},
        *,
    };

    #[test]
    fn states() {
        for (raw, expected) in [
            ((0, 0), None),
            ((1, 1), Some(VmState::Running)),
            ((2, 0), Some(VmState::Running)),
            ((3, 1), Some(VmState::Stopped("paused".into()))),
            ((3, 5), Some(VmState::Stopped("io-error".into()))),
            ((3, 99), Some(VmState::Stopped("paused".into()))),
            ((5, 0), Some(VmState::Off)),
            ((6, 0), Some(VmState::Off)),
            ((7, 0), Some(VmState::Stopped("suspended by the guest".into()))),
            ((42, 0), None),
        ] {
            assert_eq!(state(raw.0, raw.1), expected, "{raw:?}");
        }
    }

    #[test]
    fn jobs() {
        let operation = |value| [number("operation", value)];
        assert_eq!(job(0, &operation(9)), None, "none");
        assert_eq!(job(3, &operation(9)), None, "it is over");
        assert_eq!(job(1, &operation(5)).as_deref(), Some("a migration to another host"));
        assert_eq!(job(2, &operation(9)).as_deref(), Some("a backup"));
        assert_eq!(job(2, &[]).as_deref(), Some("a job of libvirt's"));
        assert_eq!(BlockJob { kind: 2 }.word(), "copying");
        assert_eq!(BlockJob { kind: 77 }.word(), "running");
    }

    #[test]
    fn stats_go_by_target() {
        let numbers = [
            number("block.count", 2),
            text("block.0.name", "vda"),
            number("block.0.capacity", 1),
            number("block.0.wr.bytes", 2),
            text("block.1.name", "sda"),
            number("block.1.capacity", 3),
            text("net.0.name", "vdb"),
            number("net.0.capacity", 4),
        ];
        let said = |target| block_stats(&numbers, target);
        assert_eq!(said("vda"), BlockStats { capacity_bytes: Some(1), written_bytes: Some(2) });
        assert_eq!(said("sda"), BlockStats { capacity_bytes: Some(3), written_bytes: None });
        assert_eq!(said("vdb"), BlockStats::default());
        assert_eq!(said("vdc"), BlockStats::default());
    }
}
