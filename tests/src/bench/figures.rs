//! What the tables are made of: medians, and targets that are met or not.

use std::time::Duration;

use serde_json::{Value, json};

use crate::MIB;

/// A target of one pace on one filesystem.
#[derive(Debug)]
pub(super) struct Target {
    /// Whose it is: a pace.
    pub(super) pace: &'static str,
    /// What is compared.
    pub(super) what: &'static str,
    /// The bound is the least, not the most.
    pub(super) least: bool,
    pub(super) bound: f64,
    /// What was measured; not a number where nothing was.
    pub(super) found: f64,
}

impl Target {
    fn is_met(&self) -> bool {
        if self.least { self.found >= self.bound } else { self.found <= self.bound }
    }

    /// "xfs steady: worst fsync against fstrim 0.07, at most 0.20: met".
    pub(super) fn line(&self, filesystem: &str) -> String {
        let Self { pace, what, bound, found, .. } = self;
        let (limit, verdict) =
            (if self.least { "at least" } else { "at most" }, if self.is_met() { "met" } else { "NOT MET" });
        format!("{filesystem} {pace}: {what} {found:.2}, {limit} {bound:.2}: {verdict}\n")
    }

    pub(super) fn json(&self) -> Value {
        let Self { pace, what, bound, found, .. } = self;
        json!({ "pace": pace, "what": what, "bound": bound, "found": found, "met": self.is_met() })
    }
}

/// The middle one; of two the mean.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len().div_euclid(2);
    let upper = values.get(middle).copied().unwrap_or_default();
    match values.len().checked_rem(2) {
        Some(0) => (upper + values.get(middle.saturating_sub(1)).copied().unwrap_or(upper)) / 2.0,
        _ => upper,
    }
}

/// A time in milliseconds.
pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Whole mebibytes.
pub(super) fn mib(bytes: u64) -> f64 {
    count(bytes.div_euclid(MIB))
}

/// Exact below 2^32, far above what is counted here.
pub(super) fn count(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one() {
        for (values, middle) in
            [(vec![], 0.0), (vec![3.0], 3.0), (vec![9.0, 1.0], 5.0), (vec![3.0, 9.0, 1.0], 3.0)]
        {
            assert!((median(values.clone()) - middle).abs() < 1e-9, "{values:?}");
        }
    }
}
