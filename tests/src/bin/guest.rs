//! `make guest`: a throwaway guest with a shell on this terminal.

use trimtab_tests::GIB;
use trimtab_tests::guest::{DiskSpec, GuestSpec, run_on_this_terminal};

fn main() -> anyhow::Result<()> {
    let spec = GuestSpec::new("guest")
        .disk(DiskSpec::new("raw", 4 * GIB))
        .disk(DiskSpec::new("qcow2", 4 * GIB).qcow2());
    run_on_this_terminal(&spec)
}
