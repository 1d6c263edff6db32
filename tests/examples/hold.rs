//! scratch
use std::io::BufRead;
use trimtab_tests::GIB;
use trimtab_tests::guest::{Discard, DiskSpec, FrontEnd, Guest, GuestSpec};
fn main() -> anyhow::Result<()> {
    let spec = GuestSpec::new("hold")
        .disk(DiskSpec::new("raw", 4 * GIB))
        .disk(DiskSpec::new("qcow2", 4 * GIB).qcow2());
    let guest = Guest::boot(spec)?;
    println!("inventory {}", guest.write_inventory()?.display());
    guest.start_agent("")?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if line == "plug-ignore" {
            println!(
                "{:?}",
                guest
                    .add_disk(DiskSpec::new("ign", GIB).on(FrontEnd::VirtioBlk).discard(Discard::Ignore))
                    .map(|d| d.device.clone())
            );
            continue;
        }
        match guest.sh(&line) {
            Ok(o) => println!("{o}"),
            Err(e) => println!("ERR {e:#}"),
        }
        println!("--done");
    }
    Ok(())
}
