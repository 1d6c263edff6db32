//! Spans of time as people read them. Pure.

use jiff::{RoundMode, SignedDuration, SignedDurationRound, Unit, fmt::friendly::SpanPrinter};

/// "5h 12m": the two largest units; "0s" where clocks say that it has not come.
pub fn span(of: SignedDuration) -> String {
    let duration = of.max(SignedDuration::ZERO);
    let unit = match duration.as_secs() {
        0..3600 => Unit::Second,
        3600..86_400 => Unit::Minute,
        _ => Unit::Hour,
    };
    let round = SignedDurationRound::new().smallest(unit).mode(RoundMode::Trunc);
    SpanPrinter::new().duration_to_string(&duration.round(round).unwrap_or(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_are_enough() {
        for (secs, expected) in [
            (-5, "0s"),
            (0, "0s"),
            (59, "59s"),
            (90, "1m 30s"),
            (3599, "59m 59s"),
            (18_725, "5h 12m"),
            (86_400 + 3 * 3600 + 59, "27h"),
        ] {
            assert_eq!(span(SignedDuration::from_secs(secs)), expected);
        }
    }
}
