use super::*;
use crate::MIB;
use crate::bench::guest::run::Pair;
use crate::bench::guest::witness::{Fsyncs, Testimony};

fn run(filesystem: &str, tool: &str, wall_secs: f64, freed_mib: u64, worst_ms: f64) -> Run {
    let fsyncs = |p99_ms| Fsyncs { count: 500, p50_ms: 1.0, p99_ms, worst_ms: 9.0 };
    Run {
        filesystem: filesystem.to_owned(),
        tool: tool.to_owned(),
        command_secs: wall_secs + 1.0,
        cpu_secs: 0.5,
        freed_bytes: freed_mib.saturating_mul(MIB),
        others_busy: if tool == "full" { 1.26 } else { 0.1 },
        seen: Testimony {
            wall_ms: wall_secs * 1000.0,
            alone: fsyncs(2.0),
            during: fsyncs(worst_ms / 10.0),
            worst_ms,
            busy_alone: 0.5,
            busy_during: 0.875,
            ..Testimony::default()
        },
    }
}

fn pair(way: Way, wall_secs: f64) -> Pair {
    Pair {
        filesystem: "xfs".to_owned(),
        way: way.name().to_owned(),
        wall_ms: wall_secs * 1000.0,
        freed_bytes: 0,
    }
}

fn measured() -> Measured {
    let mut runs = vec![
        run("xfs", "fstrim", 10.0, 1000, 800.0),
        run("xfs", "fstrim", 12.0, 1000, 1000.0),
        run("xfs", "full", 11.55, 1000, 900.0),
        run("xfs", "gentle", 30.0, 980, 41.0),
        run("ext4", "fstrim", 9.0, 500, 50.0),
        run("ext4", "steady", 9.0, 500, 50.0),
    ];
    runs.extend([1.0, 2.0, 180.0, 999.0, 190.0].map(|worst| run("xfs", "steady", 20.0, 1000, worst)));
    Measured {
        machine: "a machine".to_owned(),
        runs,
        pairs: vec![pair(Way::Fstrim, 20.0), pair(Way::SideBySide, 12.5)],
        ..Measured::default()
    }
}

#[test]
fn both_tables() {
    let expected = "\
a machine

| | | wall, s | command, s | freed, MiB | CPU, s | guest busy, % | fsync p50, ms | p99 | worst | fsyncs/s |
|---|---|---|---|---|---|---|---|---|---|---|
| ext4 | the writer alone | | | | | 50 | 1.0 | 2.0 | 9 | |
| ext4 | fstrim | 9.0 (1.00) | 10.0 | 500 (1.00) | 0.50 (1.00) | 88 | 1.0 | 5.0 | 50 (1.00) | 56 |
| ext4 | steady | 9.0 (1.00) | 10.0 | 500 (1.00) | 0.50 (1.00) | 88 | 1.0 | 5.0 | 50 (1.00) | 56 |
| xfs | the writer alone | | | | | 50 | 1.0 | 2.0 | 9 | |
| xfs | fstrim | 11.0 (1.00) | 12.0 | 1000 (1.00) | 0.50 (1.00) | 88 | 1.0 | 90.0 | 900 (1.00) | 46 |
| xfs | full | 11.6 (1.05) | 12.6 | 1000 (1.00) | 0.50 (1.00) | 88 | 1.0 | 90.0 | 900 (1.00) | 43 |
| xfs | steady | 20.0 (1.82) | 21.0 | 1000 (1.00) | 0.50 (1.00) | 88 | 1.0 | 18.0 | 180 (0.20) | 25 |
| xfs | gentle | 30.0 (2.73) | 31.0 | 980 (0.98) | 0.50 (1.00) | 88 | 1.0 | 4.1 | 41 (0.05) | 17 |

| two disks, wall, s | fstrim -a | trimtab, one after the other | trimtab, side by side |
|---|---|---|---|
| xfs | 20.0 (1.00) | – | 12.5 (0.62) |

ext4 steady: freed against fstrim 1.00, at least 0.99: met
xfs full: freed against fstrim 1.00, at least 0.99: met
xfs full: wall against fstrim 1.05, at most 1.05: met
xfs steady: freed against fstrim 1.00, at least 0.99: met
xfs steady: worst fsync against fstrim 0.20, at most 0.20: met
xfs gentle: freed against fstrim 0.98, at least 0.99: NOT MET
xfs gentle: fsync p99 against the writer alone 2.05, at most 2.00: NOT MET
xfs full: two disks side by side, wall against fstrim -a 0.62, at most 0.60: NOT MET
ext4: fstrim had 9.0 s of work, and less than 10 s are mostly noise
ext4 steady: worst fsync against fstrim is judged from 5 rounds on; so far 1
xfs: other work kept up to 1.3 of the host's processors busy: what took long may have waited for it
";
    assert_eq!(markdown(&measured(), &["ext4", "xfs", "btrfs"]), expected);
}

#[test]
fn what_is_kept_can_be_added_to() {
    let measured = measured();
    let document = json(&measured, &["ext4", "xfs", "btrfs"]).unwrap();
    assert_eq!(document["filesystems"].as_array().unwrap().len(), 2, "none of btrfs was measured");
    assert_eq!(document["filesystems"][1]["tools"][1]["wall_secs"], 11.55);
    let again: Measured = serde_json::from_value(document).unwrap();
    assert_eq!(again.runs.len(), measured.runs.len());
    assert_eq!(markdown(&again, &["xfs"]), markdown(&measured, &["xfs"]));
}
