//! `make guest`: a throwaway guest with a shell on this terminal. `make domain`: one in a throwaway libvirtd, which lives
//! until its input ends.

use trimtab_tests::GIB;
use trimtab_tests::guest::{DiskSpec, FrontEnd, GuestSpec, run_on_this_terminal};
use trimtab_tests::libvirt::Libvirt;

fn main() -> anyhow::Result<()> {
    let spec = GuestSpec::new("guest")
        .disk(DiskSpec::new("raw", 4 * GIB))
        .disk(DiskSpec::new("qcow2", 4 * GIB).qcow2());
    match std::env::args().nth(1).as_deref() {
        Some("--libvirt") => hold_a_domain(spec.disk(DiskSpec::new("blk", 4 * GIB).on(FrontEnd::VirtioBlk))),
        _ => run_on_this_terminal(&spec),
    }
}

/// Runs each line of its input in the guest.
#[allow(clippy::print_stdout, reason = "it talks to who called it")]
fn hold_a_domain(spec: GuestSpec) -> anyhow::Result<()> {
    let domain = Libvirt::start()?.boot(spec.with_qemu_ga()?)?;
    domain.start_agent("")?;
    domain.start_qemu_ga()?;
    let inventory = domain.write_inventory()?;
    println!("trimtab --connect \"{}\" --inventory {} survey", domain.libvirt().uri(), inventory.display());
    for line in std::io::stdin().lines() {
        match domain.sh(&line?) {
            Ok(said) => print!("{said}"),
            Err(error) => println!("{error:#}"),
        }
    }
    Ok(())
}
