//! What the host does, or has done, to an image.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use trimtab_tests::GIB;
use trimtab_tests::guest::{Discard, DiskSpec};
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk};

use super::{Case, deleted};

pub(super) const CASES: [Case; 4] = [
    // The first, so that it is over before the others' trims: QMP does not say which disk a job is of.
    Case {
        name: "a backup that runs",
        finding: ("job", "note"),
        build: |guest| {
            let walk = deleted(Walk::add(guest, Kind::Ext4, DiskSpec::new("busy", GIB))?)?;
            let sink = json!({ "driver": "null-co", "node-name": "sink", "size": GIB });
            guest.qmp("blockdev-add", sink)?;
            let job = json!({
                "job-id": "backup", "device": "busy", "target": "sink", "sync": "full", "speed": 1
            });
            guest.qmp("blockdev-backup", job)?;
            Ok(walk)
        },
        others: &[],
        before_mib: None,
        mended_by: "the backup is over",
        mend: |walk| {
            walk.guest.qmp("block-job-cancel", json!({ "device": "backup", "force": true }))?;
            while walk.guest.qmp("query-block-jobs", json!({}))? != json!([]) {
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            Ok(walk)
        },
        trim: &[],
        after_mib: DELETED_MIB,
    },
    Case {
        name: "an image that was given all of its space",
        finding: ("preallocation", "note"),
        build: |guest| {
            let walk = deleted(Walk::add(guest, Kind::Ext4, DiskSpec::new("thick", GIB))?)?;
            run("fallocate", &["-l", &GIB.to_string(), &walk.disk.image.display().to_string()])?;
            Ok(walk)
        },
        others: &[],
        before_mib: None,
        mended_by: "its owner agrees: `--anyway=preallocation`",
        mend: |walk| Ok(walk),
        trim: &["--anyway=preallocation"],
        after_mib: DELETED_MIB,
    },
    Case {
        name: "a dirty bitmap of a backup",
        finding: ("backup", "note"),
        build: |guest| {
            let walk = deleted(Walk::add(guest, Kind::Ext4, DiskSpec::new("bitmap", GIB).qcow2())?)?;
            guest.qmp("block-dirty-bitmap-add", json!({ "node": "bitmap", "name": "since-monday" }))?;
            Ok(walk)
        },
        others: &[],
        before_mib: None,
        mended_by: "the backup taken, its bitmap removed",
        mend: |walk| {
            let bitmap = json!({ "node": "bitmap", "name": "since-monday" });
            walk.guest.qmp("block-dirty-bitmap-remove", bitmap)?;
            Ok(walk)
        },
        trim: &[],
        after_mib: DELETED_MIB,
    },
    Case {
        name: "ext4 remembers a trim that QEMU dropped",
        finding: ("filesystem", "note"),
        build: |guest| {
            let spec = DiskSpec::new("memory", GIB).discard(Discard::Ignore);
            let walk = deleted(Walk::add(guest, Kind::Ext4, spec)?)?;
            guest.sh(&format!("fstrim {}", walk.mount))?;
            // As after a migration to a host that has it right: the filesystem stays mounted.
            let file = json!({
                "driver": "file", "node-name": "memory-file", "filename": walk.disk.image, "discard": "unmap"
            });
            let top = json!({
                "driver": "raw", "node-name": "memory", "file": "memory-file", "discard": "unmap"
            });
            guest.qmp("blockdev-reopen", json!({ "options": [file, top] }))?;
            Ok(walk)
        },
        others: &[],
        before_mib: Some(0),
        mended_by: "`trimtab trim --again`",
        mend: |walk| Ok(walk),
        trim: &["--again"],
        after_mib: DELETED_MIB,
    },
];

pub(super) fn run(program: &str, words: &[&str]) -> Result<()> {
    let done = Command::new(program).args(words).output().with_context(|| format!("cannot run {program}"))?;
    ensure!(done.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}
