//! What a hostile guest can make the controller keep in memory: the client in a process of its own, its peak read
//! from /proc.

use std::process::Command;

use trimtab_tests::hostile::{HostileAgent, Misdeed};

/// The promise is 64 MiB for the whole program.
const MOST_KIB: u64 = 64 * 1024;

#[test]
fn stays_small() {
    for (misdeed, rpc) in [
        (Misdeed::Flood, "trim"),
        (Misdeed::Nothings, "survey"),
        (Misdeed::Nothings, "trim"),
        (Misdeed::HugeString, "survey"),
        (Misdeed::Message(1024 * 1024), "survey"),
        (Misdeed::Message(u32::MAX), "survey"),
        (Misdeed::Pings, "hello"),
        (Misdeed::EndlessHeaders, "hello"),
        (Misdeed::EndlessOk, "hello"),
        (Misdeed::Garbage, "hello"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let serving = HostileAgent(misdeed).serve(&folder.path().join("vsock")).unwrap();
        let asked =
            Command::new(env!("CARGO_BIN_EXE_trimtab-ask")).args([&serving.address(), rpc]).output().unwrap();
        let said = String::from_utf8(asked.stdout).unwrap();
        let (outcome, peak) =
            said.trim().split_once("\nVmHWM ").unwrap_or_else(|| panic!("{misdeed:?}: {said}"));
        assert!(outcome.starts_with("AgentNonsense"), "{misdeed:?}, {rpc}: {outcome}");
        let peak: u64 = peak.trim().parse().unwrap();
        println!("{misdeed:?}, {rpc}: {peak} KiB");
        assert!(peak <= MOST_KIB, "{misdeed:?}, {rpc}: {peak} KiB");
    }
}
