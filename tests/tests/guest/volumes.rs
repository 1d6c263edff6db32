//! Logical volumes as images: a guest plays the host, since the machine that runs the tests may have no device-mapper.
//! What the controller's library says there is compared with what was done.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trimtab_tests::guest::{DiskSpec, Guest, GuestSpec};
use trimtab_tests::{GIB, MIB};

const PLACE: &str = "/usr/bin/trimtab-place";

/// A guest with the program.
fn host() -> Result<Guest> {
    let program = Path::new(env!("CARGO_BIN_EXE_trimtab-place"));
    Guest::boot(GuestSpec::new("lvm").without_agent().program(program, PLACE)?)
}

fn place(host: &Guest, path: &str) -> Result<Value> {
    let said = host.sh(&format!("{PLACE} {path}"))?;
    serde_json::from_str(&said).with_context(|| said)
}

fn number(said: &Value, key: &str) -> Result<u64> {
    said[key].as_u64().with_context(|| format!("{key} in {said:#}"))
}

#[test]
fn logical_volumes_as_the_controller_sees_them() -> Result<()> {
    let host = host()?;
    let disk = host.add_disk(DiskSpec::new("pv", 2 * GIB))?;
    host.sh(&format!(
        "pvcreate -q {0} && vgcreate -q vg-0 {0}
         lvcreate -q -L 512M -c 128k -T vg-0/pool && lvcreate -q -V 1G -T vg-0/pool -n web-1
         lvcreate -q -V 1G -T vg-0/pool -n db && lvcreate -q -L 64M -n thick vg-0
         dd if=/dev/urandom of=/dev/vg-0/web-1 bs=1M count=64 status=none && sync",
        disk.device
    ))?;

    let thin = place(&host, "/dev/vg-0/web-1")?;
    ensure!(number(&thin, "allocated_bytes")? == 64 * MIB, "{thin:#}");
    ensure!(thin["volume"]["kind"] == "thin" && thin["volume"]["pool"] == "vg--0-pool-tpool", "{thin:#}");
    ensure!(number(&thin["volume"], "chunk_bytes")? == 128 << 10, "{thin:#}");
    ensure!(thin["volume"]["discards"] == "passed down" && thin["volume"]["trouble"].is_null(), "{thin:#}");
    ensure!(thin["volume"]["relatives"] == serde_json::json!([]) && thin["is_shared"] == false, "{thin:#}");
    let store = &thin["datastore"];
    ensure!(store["type"] == "thin-pool" && number(store, "size_bytes")? == 512 * MIB, "{store:#}");
    let full = number(store, "free_bytes")?;
    ensure!(full == 448 * MIB, "{store:#}");

    // Another volume of the same pool is on the same datastore; an empty one maps nothing.
    let other = place(&host, "/dev/vg-0/db")?;
    ensure!(other["datastore"]["id"] == store["id"] && number(&other, "allocated_bytes")? == 0, "{other:#}");

    // What a guest discards comes free in the pool, in whole chunks.
    host.sh("blkdiscard -o 0 -l 16M /dev/vg-0/web-1 && blkdiscard -o 33554432 -l 65536 /dev/vg-0/web-1")?;
    let freed = place(&host, "/dev/vg-0/web-1")?;
    ensure!(number(&freed, "allocated_bytes")? == 48 * MIB, "{freed:#}");
    ensure!(number(&freed["datastore"], "free_bytes")? == full + 16 * MIB, "{freed:#}");

    // A snapshot shares the blocks: the volume maps less after a discard, and the pool gains nothing.
    host.sh("lvcreate -q -s -n before-upgrade vg-0/web-1 && blkdiscard -o 16M -l 16M /dev/vg-0/web-1")?;
    let held = place(&host, "/dev/vg-0/web-1")?;
    ensure!(held["volume"]["relatives"] == serde_json::json!(["vg-0/before-upgrade"]), "{held:#}");
    ensure!(held["is_shared"] == true && number(&held, "allocated_bytes")? == 32 * MIB, "{held:#}");
    ensure!(number(&held["datastore"], "free_bytes")? == full + 16 * MIB, "{held:#}");

    let thick = place(&host, "/dev/vg-0/thick")?;
    ensure!(
        thick["volume"] == serde_json::json!({ "kind": "logical volume", "name": "vg--0-thick" }),
        "{thick:#}"
    );
    ensure!(thick["allocated_bytes"].is_null() && thick["datastore"].is_null(), "{thick:#}");
    let whole = place(&host, &disk.device)?;
    ensure!(whole["volume"]["kind"] == "disk" && whole["allocated_bytes"].is_null(), "{whole:#}");

    // Without the rights or the program nothing is made up.
    let denied = host.sh(&format!("setpriv --reuid 1000 --clear-groups {PLACE} /dev/vg-0/web-1"))?;
    let denied: Value = serde_json::from_str(&denied)?;
    ensure!(denied["volume"]["kind"] == "unknown" && denied["allocated_bytes"].is_null(), "{denied:#}");
    ensure!(
        denied["volume"]["why"].as_str().is_some_and(|why| why.contains("Permission denied")),
        "{denied:#}"
    );
    Ok(())
}

#[test]
fn pools_that_must_be_left_alone() -> Result<()> {
    let host = host()?;
    let disk = host.add_disk(DiskSpec::new("pv", GIB))?;
    host.sh(&format!(
        "pvcreate -q {0} && vgcreate -q vg {0}
         lvcreate -q -L 64M -T vg/pool --discards ignore && lvcreate -q -V 256M -T vg/pool -n over",
        disk.device
    ))?;
    let ignoring = place(&host, "/dev/vg/over")?;
    ensure!(ignoring["volume"]["discards"] == "ignored", "{ignoring:#}");
    // More than the pool has: it runs out of data space, and says so.
    host.sh("lvchange -q --errorwhenfull y vg/pool
         ! dd if=/dev/zero of=/dev/vg/over bs=1M count=96 oflag=direct status=none")?;
    let full = place(&host, "/dev/vg/over")?;
    ensure!(full["volume"]["trouble"] == "is out of data space", "{full:#}");
    ensure!(number(&full["datastore"], "free_bytes")? == 0, "{full:#}");
    Ok(())
}
