//! /proc/pressure/io: how long tasks waited for I/O (Documentation/accounting/psi.rst; Linux 4.20, where it is not off).

use super::{Roots, SysError};
use crate::pace::Pressure;

/// Reads its line `some`.
///
/// # Errors
/// [`SysError::Read`] where it is not there, is off (EOPNOTSUPP) or may not be read; [`SysError::Format`] where it looks
/// different.
pub fn read(roots: &Roots) -> Result<Pressure, SysError> {
    let path = roots.proc.join("pressure/io");
    let text = std::fs::read_to_string(&path).map_err(SysError::read(&path))?;
    parse(&text).ok_or(SysError::Format {
        path,
        text,
        expected: "a line like \"some avg10=0.00 avg60=0.00 avg300=0.00 total=0\"",
    })
}

fn parse(text: &str) -> Option<Pressure> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let field = |name: &str| line.split_ascii_whitespace().find_map(|word| word.strip_prefix(name));
    // Hundredths of a percent: "12.34".
    let (whole, hundredths) = field("avg10=")?.split_once('.')?;
    let percent: u64 = whole.parse().ok()?;
    let tenths: u64 = hundredths.get(..1)?.parse().ok()?;
    Some(Pressure {
        recent: percent.checked_mul(10)?.checked_add(tenths)?,
        total: field("total=")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let read = |recent, total| Some(Pressure { recent, total });
        for (name, text, expected) in [
            (
                "Linux 6.18",
                "some avg10=12.34 avg60=1.69 avg300=2.42 total=600528797\nfull avg10=0.00 avg60=0.76 avg300=1.75 total=1\n",
                read(123, 600_528_797),
            ),
            ("idle", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", read(0, 0)),
            ("always", "some avg10=100.00 avg60=0.00 avg300=0.00 total=9\n", read(1000, 9)),
            ("empty", "", None),
            ("another word", "some avg10=x avg60=0.00 avg300=0.00 total=9\n", None),
            ("without a total", "some avg10=0.00\n", None),
        ] {
            assert_eq!(parse(text), expected, "{name}");
        }
    }

    #[test]
    fn where_it_is_off() {
        let dir = tempfile::tempdir().unwrap();
        let error = read(&Roots::under(dir.path())).unwrap_err();
        assert!(error.to_string().ends_with("proc/pressure/io"), "{error}");
    }
}
