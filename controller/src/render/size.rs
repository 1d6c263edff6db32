//! Sizes for people, in IEC units with one digit, as `ls -h` and `du -h` count.

use bytesize::ByteSize;

/// "19.4 GiB", "512 B".
pub fn iec(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// The same, "?" where it is not known.
pub fn iec_or_unknown(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "?".to_owned(), iec)
}

/// A signed size: growth is negative.
pub fn iec_signed(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "" };
    format!("{sign}{}", iec(bytes.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            (0, "0 B"),
            (512, "512 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (20_830_591_385, "19.4 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(iec(bytes), expected);
        }
        assert_eq!(iec_signed(-(5 << 20)), "-5.0 MiB");
        assert_eq!(iec_signed(i64::MIN), "-8.0 EiB");
        assert_eq!(iec_or_unknown(None), "?");
    }
}
