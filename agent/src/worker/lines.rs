//! What a worker and its parent say to each other, a line each.

use std::io;

use nix::errno::Errno;

use crate::kernel::{fiemap::Extent, fitrim::Range};

/// The first line of a worker whose filesystem is ready to be trimmed.
const READY: &str = "ready";

/// A line that the parent sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// "START LEN MINLEN": one FITRIM.
    Trim {
        /// Where.
        range: Range,
        /// The smallest extent, bytes.
        min_extent: u64,
    },
    /// "write BYTES": a probe's file.
    Write {
        /// How large.
        bytes: u64,
    },
    /// "release KEEP …": give up the probe's file but for a block at each of these places, bytes in the file.
    Release {
        /// The places; they go when the worker ends.
        keep: Vec<u64>,
    },
}

impl Order {
    /// The line, with its newline.
    pub fn line(&self) -> String {
        match self {
            Self::Trim { range, min_extent } => format!("{} {} {min_extent}\n", range.start, range.len),
            Self::Write { bytes } => format!("write {bytes}\n"),
            Self::Release { keep } => {
                let places: String = keep.iter().map(|at| format!(" {at}")).collect();
                format!("release{places}\n")
            }
        }
    }

    /// Reads a line; `None` for one that no parent writes.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["write", bytes] => Some(Self::Write { bytes: bytes.parse().ok()? }),
            ["release", keep @ ..] => {
                Some(Self::Release { keep: keep.iter().map(|at| at.parse().ok()).collect::<Option<_>>()? })
            }
            [start, len, min_extent] => Some(Self::Trim {
                range: Range { start: start.parse().ok()?, len: len.parse().ok()? },
                min_extent: min_extent.parse().ok()?,
            }),
            _ => None,
        }
    }
}

/// A line that the worker sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The filesystem is synced; its disks' counters may be read. Also the answer to `Release`.
    Ready,
    /// FITRIM returned.
    Ok {
        /// What it says it did.
        claimed: u64,
        /// How long it took.
        micros: u64,
    },
    /// A piece of the probe's file; more follow.
    At(Extent),
    /// The probe's file is on the disk, and all its pieces were told.
    Wrote,
    /// The call failed, and whatever went before it for its sake.
    Err(Errno),
}

impl Answer {
    /// Reads a line; `None` for one that no worker writes.
    pub fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match *words.as_slice() {
            [READY] => Some(Self::Ready),
            ["wrote"] => Some(Self::Wrote),
            ["ok", claimed, micros] => {
                Some(Self::Ok { claimed: claimed.parse().ok()?, micros: micros.parse().ok()? })
            }
            ["at", logical, physical, len, trim_from] => Some(Self::At(Extent {
                logical: logical.parse().ok()?,
                physical: physical.parse().ok()?,
                len: len.parse().ok()?,
                trim_from: trim_from.parse().ok()?,
            })),
            ["err", errno] => Some(Self::Err(Errno::from_raw(errno.parse().ok()?))),
            _ => None,
        }
    }

    /// The line, with its newline.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Ready => format!("{READY}\n"),
            Self::Ok { claimed, micros } => format!("ok {claimed} {micros}\n"),
            Self::At(Extent { logical, physical, len, trim_from }) => {
                format!("at {logical} {physical} {len} {trim_from}\n")
            }
            Self::Wrote => "wrote\n".to_owned(),
            Self::Err(errno) => {
                format!("err {}\n", io::Error::from(*errno).raw_os_error().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        for order in [
            Order::Trim { range: Range::WHOLE, min_extent: 0 },
            Order::Trim { range: Range { start: 1 << 40, len: 1 << 27 }, min_extent: 65_536 },
            Order::Write { bytes: 1 << 24 },
            Order::Release { keep: vec![] },
            Order::Release { keep: vec![0, 1 << 23] },
        ] {
            assert_eq!(Order::parse(&order.line()), Some(order));
        }
        for answer in [
            Answer::Ready,
            Answer::Wrote,
            Answer::Ok { claimed: u64::MAX, micros: 0 },
            Answer::At(Extent { logical: 0, physical: 1 << 40, len: 4096, trim_from: 1 << 39 }),
            Answer::Err(Errno::EUCLEAN),
        ] {
            assert_eq!(Answer::parse(&answer.line()), Some(answer));
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for bad in [
            "",
            "1 2",
            "1 2 3 4",
            "1 2 -3",
            "a b c",
            "1 2 18446744073709551616",
            "write",
            "write x",
            "write 1 2 3",
            "release x",
        ] {
            assert_eq!(Order::parse(bad), None, "{bad:?}");
        }
        for bad in ["", "ok", "ok 1", "ok 1 2 3", "err", "err x", "READY", "ready now", "at 1 2 3", "wrote 1"]
        {
            assert_eq!(Answer::parse(bad), None, "{bad:?}");
        }
    }
}
