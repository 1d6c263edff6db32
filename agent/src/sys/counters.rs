//! A block device's own counters, from sysfs `stat` (Documentation/block/stat.rst in the kernel).

use std::path::Path;

use super::{Roots, SysError, read_text};
use crate::model::DevNum;

/// The kernel counts sectors of this size, whatever the device's own are.
const SECTOR_BYTES: u64 = 512;

/// What a device has done since it appeared. Counters only rise while the device stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiskCounters {
    /// Bytes discarded. `None` before Linux 4.18, which does not count them.
    pub discarded_bytes: Option<u64>,
    /// Bytes written.
    pub written_bytes: Option<u64>,
    /// Requests that the device has not answered yet.
    pub in_flight: Option<u64>,
    /// Discards done. `None` before Linux 4.18.
    pub discards: Option<u64>,
    /// What they took, ms, each counted by itself. `None` before Linux 4.18.
    pub discard_ms: Option<u64>,
}

/// Reads the counters of a disk or partition.
///
/// # Errors
/// [`SysError::Read`] where the device has gone, [`SysError::Format`] where a counter is no number.
pub fn read(roots: &Roots, id: DevNum) -> Result<DiskCounters, SysError> {
    let path = roots.sys.join("dev/block").join(id.to_string()).join("stat");
    let text = std::fs::read_to_string(&path).map_err(SysError::read(&path))?;
    parse(&path, &text)
}

/// Reads the counters below a device's own directory; nothing is known of a device that has gone.
pub(crate) fn read_in(dir: &Path) -> Result<DiskCounters, SysError> {
    let path = dir.join("stat");
    read_text(&path)?.map_or_else(|| Ok(DiskCounters::default()), |text| parse(&path, &text))
}

fn parse(path: &Path, text: &str) -> Result<DiskCounters, SysError> {
    let mut fields = Vec::with_capacity(17);
    for word in text.split_ascii_whitespace() {
        fields.push(word.parse::<u64>().map_err(|_| SysError::Format {
            path: path.to_owned(),
            text: word.to_owned(),
            expected: "a counter",
        })?);
    }
    // stat.rst counts from 1: 7 is sectors written, 9 is in flight; 12 is discards, 14 their sectors, 15 their ms.
    let field = |number: usize| fields.get(number.checked_sub(1)?).copied();
    Ok(DiskCounters {
        discarded_bytes: field(14).map(|sectors| sectors.saturating_mul(SECTOR_BYTES)),
        written_bytes: field(7).map(|sectors| sectors.saturating_mul(SECTOR_BYTES)),
        in_flight: field(9),
        discards: field(12),
        discard_ms: field(15),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Result<DiskCounters, SysError> {
        parse(Path::new("stat"), text)
    }

    #[test]
    fn fields_by_kernel() {
        struct Case(&'static str, &'static str, DiskCounters);
        let cases = [
            Case(
                "Linux 6.18, virtio-blk",
                "    5128       73   337842     1500    16612    15391  2158056    45023        3    14876    46543      712        0  9876544       20        0        0",
                DiskCounters {
                    discarded_bytes: Some(9_876_544 * 512),
                    written_bytes: Some(2_158_056 * 512),
                    in_flight: Some(3),
                    discards: Some(712),
                    discard_ms: Some(20),
                },
            ),
            Case(
                "Linux 4.17: eleven fields",
                "1 2 3 4 5 6 7 8 9 10 11\n",
                DiskCounters { written_bytes: Some(7 * 512), in_flight: Some(9), ..DiskCounters::default() },
            ),
            Case("a stacked device that counts nothing", "", DiskCounters::default()),
        ];
        for Case(name, text, expected) in cases {
            assert_eq!(at(text).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn a_word_is_no_counter() {
        let error = at("1 2 3 x").unwrap_err();
        assert_eq!(error.to_string(), "stat: \"x\" is not a counter");
    }

    #[test]
    fn a_device_that_has_gone_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = read(&Roots::under(dir.path()), DevNum { major: 8, minor: 0 }).unwrap_err();
        assert!(error.to_string().ends_with("sys/dev/block/8:0/stat"), "{error}");
    }
}
