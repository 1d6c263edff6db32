//! What `lvs --reportformat json` prints of a volume group: which volumes may share blocks with one. Pure.

use std::collections::HashMap;

use serde::Deserialize;

/// The columns that [`relatives`] reads.
pub(super) const COLUMNS: &str = "lv_name,pool_lv,origin";

#[derive(Deserialize)]
struct Report {
    report: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    lv: Vec<Line>,
}

/// A logical volume. Names in brackets are LVM's own.
#[derive(Deserialize)]
struct Line {
    lv_name: String,
    #[serde(default)]
    pool_lv: String,
    #[serde(default)]
    origin: String,
}

/// The volumes that `volume` may share blocks with: all that are tied to it by being snapshots of each other, in the
/// same pool. An origin that was deleted ties no more, though its snapshots may go on sharing. `None` where the text is
/// no report, or does not have the volume.
pub(super) fn relatives(said: &[u8], volume: &str) -> Option<Vec<String>> {
    let report: Report = serde_json::from_slice(said).ok()?;
    let lines: Vec<Line> = report.report.into_iter().flat_map(|part| part.lv).collect();
    let pool = &lines.iter().find(|line| line.lv_name == volume)?.pool_lv;
    let mut ties: HashMap<&str, Vec<&str>> = HashMap::new();
    for line in lines.iter().filter(|line| line.pool_lv == *pool && !line.origin.is_empty()) {
        ties.entry(&line.lv_name).or_default().push(&line.origin);
        ties.entry(&line.origin).or_default().push(&line.lv_name);
    }
    let mut seen = vec![volume];
    let mut next = 0_usize;
    while let Some(one) = seen.get(next).copied() {
        for other in ties.get(one).into_iter().flatten() {
            if !seen.contains(other) {
                seen.push(other);
            }
        }
        next = next.saturating_add(1);
    }
    Some(seen.into_iter().skip(1).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAID: &[u8] = br#"{ "report": [ { "lv": [
        {"lv_name":"pool", "pool_lv":"", "origin":""},
        {"lv_name":"web", "pool_lv":"pool", "origin":""},
        {"lv_name":"web-before", "pool_lv":"pool", "origin":"web"},
        {"lv_name":"web-older", "pool_lv":"pool", "origin":"web-before"},
        {"lv_name":"db", "pool_lv":"pool", "origin":""},
        {"lv_name":"other", "pool_lv":"pool2", "origin":"web"}
    ] } ] }"#;

    #[test]
    fn who_shares_with_whom() {
        for (volume, expected) in [
            ("web", Some(vec!["web-before", "web-older"])),
            ("web-older", Some(vec!["web-before", "web"])),
            ("db", Some(vec![])),
            ("gone", None),
        ] {
            let expected = expected.map(|names| names.into_iter().map(str::to_owned).collect());
            assert_eq!(relatives(SAID, volume), expected, "{volume}");
        }
        assert_eq!(relatives(b"no json", "web"), None);
    }

    #[test]
    fn a_ring_of_origins_ends() {
        let ring = br#"{"report":[{"lv":[{"lv_name":"a","origin":"b"},{"lv_name":"b","origin":"a"}]}]}"#;
        assert_eq!(relatives(ring, "a"), Some(vec!["b".to_owned()]));
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(said in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = relatives(&said, "web");
        }
    }
}
