//! The closed lists of the contract, each written once: the numbers of the wire, the words of both JSONs and of
//! every screen.
//!
//! A number that this side does not know is kept as [`Wire::Unknown`] and shown as `unknown (9)`: the other side
//! may be newer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A closed list: an enum whose members have a number on the wire and a word for people.
pub trait Word: Copy + Eq + fmt::Debug + 'static {
    /// All members, in the order of their numbers.
    const ALL: &'static [Self];
    /// The word, in snake_case, as both JSONs have it.
    fn as_str(self) -> &'static str;
    /// The number in the .proto; never 0, which means "not said".
    fn number(self) -> i32;
    /// The member with this number.
    fn from_number(number: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|w| w.number() == number)
    }
}

/// A word as it came from the other side, which may know more words than this one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Wire<T> {
    /// One of this side's list.
    Known(T),
    /// A number that is not on this side's list. 0 where the other side said nothing.
    Unknown(i32),
}

impl<T: Word> Wire<T> {
    /// Reads a number from the wire.
    pub fn read(number: i32) -> Self {
        T::from_number(number).map_or(Self::Unknown(number), Self::Known)
    }

    /// The member, where this side knows it.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(word) => Some(word),
            Self::Unknown(_) => None,
        }
    }

    /// Whether it is this very member.
    pub fn is(self, word: T) -> bool {
        self == Self::Known(word)
    }
}

impl<T: Word> fmt::Display for Wire<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(word) => f.pad(word.as_str()),
            Self::Unknown(number) => f.pad(&format!("unknown ({number})")),
        }
    }
}

impl<T: Word> Serialize for Wire<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $member:ident = $number:literal $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $member,)+
        }

        impl Word for $name {
            const ALL: &'static [Self] = &[$(Self::$member),+];
            fn as_str(self) -> &'static str {
                match self { $(Self::$member => $word),+ }
            }
            fn number(self) -> i32 {
                match self { $(Self::$member => $number),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl From<$name> for i32 {
            fn from(word: $name) -> i32 {
                word.number()
            }
        }
    };
}

words! {
    /// How much of the guest's I/O a trim may take.
    Pace {
        /// Small ranges with pauses: writers come first.
        Gentle = 1 "gentle",
        /// Middling ranges, no pauses.
        Steady = 2 "steady",
        /// One pass as fast as the kernel goes.
        Full = 3 "full",
    }
}

words! {
    /// What Steer asks for.
    Action {
        /// Hand out no further range.
        Pause = 1 "pause",
        /// Go on after a pause.
        Resume = 2 "resume",
        /// End the run: no new discard within 100 ms.
        Cancel = 3 "cancel",
    }
}

words! {
    /// Where a run is.
    RunState {
        /// Ranges are being handed out.
        Running = 1 "running",
        /// No further range until resumed.
        Paused = 2 "paused",
        /// Workers were killed; the kernel has not let all of them go.
        Stopping = 3 "stopping",
        /// All filesystems have ended; the disks' counters still move.
        Settling = 4 "settling",
        /// Over.
        Ended = 5 "ended",
    }
}

words! {
    /// Why a run ended.
    StopReason {
        /// Every filesystem had its turn.
        Done = 1 "done",
        /// Someone asked for it.
        Cancelled = 2 "cancelled",
        /// No stream was attached for `linger_secs`.
        CallerGone = 3 "caller_gone",
        /// `deadline_secs` passed.
        Deadline = 4 "deadline",
        /// The agent was told to stop.
        Shutdown = 5 "shutdown",
        /// This stream's place was taken by a newer one; the run goes on there.
        Superseded = 6 "superseded",
    }
}

words! {
    /// Where one filesystem of a run is.
    FilesystemState {
        /// Its disk is busy with another filesystem, or its turn has not come.
        Waiting = 1 "waiting",
        /// A worker is at it.
        Running = 2 "running",
        /// Its worker was killed and is not gone yet.
        Stopping = 3 "stopping",
        /// Passed over whole.
        Done = 4 "done",
        /// Stopped before its end.
        Partial = 5 "partial",
        /// FITRIM or its worker failed.
        Failed = 6 "failed",
        /// Left out, for a reason.
        Skipped = 7 "skipped",
    }
}

words! {
    /// What the number that FITRIM returned means.
    ClaimKind {
        /// Bytes submitted to the disk.
        Submitted = 1 "submitted",
        /// The range asked for, whatever was free in it (XFS since 6.11).
        RangeEcho = 2 "range_echo",
    }
}

words! {
    /// What a block device is.
    DeviceKind {
        /// A disk.
        Disk = 1 "disk",
        /// A partition of a disk.
        Partition = 2 "partition",
        /// dm-crypt.
        Crypt = 3 "crypt",
        /// A logical volume.
        Lvm = 4 "lvm",
        /// Software RAID.
        Md = 5 "md",
        /// dm-multipath.
        Multipath = 6 "multipath",
        /// A loop device over a file.
        Loop = 7 "loop",
        /// Another device-mapper target.
        Mapped = 8 "mapped",
    }
}

words! {
    /// What a block device serves.
    DeviceUse {
        /// A filesystem is mounted from it.
        Mounted = 1 "mounted",
        /// Swap.
        Swap = 2 "swap",
        /// An LVM physical volume.
        LvmMember = 3 "lvm_member",
        /// Part of an md array.
        MdMember = 4 "md_member",
        /// Below dm-crypt.
        CryptMember = 5 "crypt_member",
        /// Nothing that the kernel knows of.
        Unused = 6 "unused",
        /// It has partitions.
        Partitioned = 7 "partitioned",
        /// A path of a multipath device.
        MultipathMember = 8 "multipath_member",
        /// Below another device-mapper target.
        MappedMember = 9 "mapped_member",
    }
}

words! {
    /// Why a filesystem is left out of a trim.
    SkipReason {
        /// It has no disk: proc, tmpfs, overlay, …
        Pseudo = 1 "pseudo",
        /// Its disk is on another machine.
        Network = 2 "network",
        /// Its superblock is read-only.
        ReadOnly = 3 "read_only",
        /// Its type is not on the list of types whose FITRIM is trusted.
        Type = 4 "type",
        /// Something below it cannot discard.
        NoDiscard = 5 "no_discard",
        /// Its owner said so: X-fstrim.notrim, or the agent's configuration.
        OptedOut = 6 "opted_out",
        /// Another mount or a file covers it.
        OverMounted = 7 "over_mounted",
        /// This kernel is known to harm data when it discards there.
        Kernel = 8 "kernel",
        /// The request did not name it.
        NotAsked = 9 "not_asked",
        /// A backup has frozen it.
        Frozen = 10 "frozen",
    }
}

words! {
    /// How a filesystem's trim failed.
    FailureKind {
        /// EOPNOTSUPP, ENOTTY, …: no FITRIM here.
        Unsupported = 1 "unsupported",
        /// EUCLEAN, EBADMSG: the filesystem needs fsck.
        Damaged = 2 "damaged",
        /// EPERM, EACCES: no CAP_SYS_ADMIN in the initial user namespace.
        Permission = 3 "permission",
        /// EIO and its kin.
        Io = 4 "io",
        /// No answer and no counter that moves.
        Stuck = 5 "stuck",
        /// The worker process died by itself.
        Worker = 6 "worker",
        /// It was unmounted, or another filesystem is mounted there now.
        Gone = 7 "gone",
        /// ENOSPC, EDQUOT, or too little free to begin with: there is no room for a probe's file.
        NoRoom = 8 "no_room",
    }
}

/// The `reason` of a `google.rpc.ErrorInfo`: why the agent refused a call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Refusal {
    /// A caller with a higher fence has this run.
    StaleFence,
    /// The guest has booted again since the survey.
    Rebooted,
    /// The guest's policy wants more time between two runs.
    TooSoon,
    /// A target names no filesystem of this guest.
    NoSuchFilesystem,
    /// The same run id with other parameters.
    RunIdReused,
    /// The agent lacks CAP_SYS_ADMIN.
    NotPrivileged,
    /// Another trim is under way in this guest.
    Busy,
    /// The guest's owner does not allow it.
    Vetoed,
    /// A probe of a filesystem that a trim would leave out; the text says why.
    Skipped,
    /// The guest's owner wants a token, and the call brought none.
    TokenMissing,
    /// The call brought another token than the guest's.
    TokenWrong,
}

impl Refusal {
    /// All members.
    pub const ALL: &'static [Self] = &[
        Self::StaleFence,
        Self::Rebooted,
        Self::TooSoon,
        Self::NoSuchFilesystem,
        Self::RunIdReused,
        Self::NotPrivileged,
        Self::Busy,
        Self::Vetoed,
        Self::Skipped,
        Self::TokenMissing,
        Self::TokenWrong,
    ];

    /// The word in ErrorInfo.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StaleFence => "STALE_FENCE",
            Self::Rebooted => "REBOOTED",
            Self::TooSoon => "TOO_SOON",
            Self::NoSuchFilesystem => "NO_SUCH_FILESYSTEM",
            Self::RunIdReused => "RUN_ID_REUSED",
            Self::NotPrivileged => "NOT_PRIVILEGED",
            Self::Busy => "BUSY",
            Self::Vetoed => "VETOED",
            Self::Skipped => "SKIPPED",
            Self::TokenMissing => "TOKEN_MISSING",
            Self::TokenWrong => "TOKEN_WRONG",
        }
    }

    /// The member with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|r| r.as_str() == word)
    }
}

/// The words of `HelloReply.features`.
pub mod feature {
    /// Steer's pause and resume work.
    pub const PAUSE: &str = "pause";
    /// `TrimRequest.again` works.
    pub const AGAIN: &str = "again";
    /// Probe is answered, where the policy allows it.
    pub const PROBE: &str = "probe";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;

    /// The generated enum names its member `PREFIX_WORD` for our `word`, with the same number, and has no other.
    fn same_list<W: Word>(prefix: &str, name_of: impl Fn(i32) -> Option<&'static str>) {
        for word in W::ALL {
            let expected = format!("{prefix}_{}", word.as_str().to_uppercase());
            assert_eq!(name_of(word.number()), Some(expected.as_str()), "{word:?}");
        }
        let members = (1..1000).filter(|n| name_of(*n).is_some()).count();
        assert_eq!(members, W::ALL.len(), "{prefix}: a member of the .proto is missing in words.rs");
    }

    macro_rules! same_list {
        ($($word:ident $prefix:literal),+ $(,)?) => {
            $(same_list::<$word>($prefix, |n| v1::$word::try_from(n).ok().map(|v| v.as_str_name()));)+
        };
    }

    #[test]
    fn words_are_the_protos() {
        same_list!(
            Pace "PACE",
            Action "ACTION",
            RunState "RUN_STATE",
            StopReason "STOP_REASON",
            FilesystemState "FILESYSTEM_STATE",
            ClaimKind "CLAIM_KIND",
            DeviceKind "DEVICE_KIND",
            DeviceUse "DEVICE_USE",
            SkipReason "SKIP_REASON",
            FailureKind "FAILURE_KIND",
        );
    }

    #[test]
    fn unknown_numbers_are_shown() {
        assert_eq!(Wire::<Pace>::read(9).to_string(), "unknown (9)");
        assert_eq!(serde_json::to_string(&Wire::<Pace>::read(9)).unwrap(), "\"unknown (9)\"");
        assert_eq!(Wire::<Pace>::read(1), Wire::Known(Pace::Gentle));
        assert_eq!(Wire::<Pace>::read(0).known(), None);
        assert!(Wire::<Pace>::read(3).is(Pace::Full));
    }

    #[test]
    fn serde_and_as_str_agree() {
        for word in SkipReason::ALL {
            assert_eq!(serde_json::to_string(word).unwrap(), format!("\"{word}\""));
        }
        for refusal in Refusal::ALL {
            assert_eq!(serde_json::to_string(refusal).unwrap(), format!("\"{}\"", refusal.as_str()));
            assert_eq!(Refusal::parse(refusal.as_str()), Some(*refusal));
        }
    }
}
