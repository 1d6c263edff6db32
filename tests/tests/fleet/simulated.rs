//! A simulated fleet whose workers are processes of their own over one database.

use std::{num::NonZeroU32, path::Path};

use trimtab_controller::campaign::limits::{Limits, Share};
use trimtab_tests::{
    bench::fleet::play,
    sim::{apart::Apart, fleet::FleetSpec},
};

/// Twelve hosts in four processes; a third of all VMs has a datastore in common with each of the others, which takes two.
/// That caps hold, that no VM is trimmed twice at once, and that each byte is told once, `play` checks from outside.
#[tokio::test]
async fn caps_hold_over_all_hosts_and_every_byte_is_told_once() {
    let at_most = |number| NonZeroU32::new(number).unwrap();
    let limits = Limits {
        at_once: at_most(12),
        per_host: Some(at_most(2)),
        per_datastore: at_most(2),
        ramp: Vec::new(),
        failure_budget: Share::Percent(100),
        ..Limits::default()
    };
    let fleet = FleetSpec { seed: 20_260_101, vms: 60, datastores: 3, odd_percent: 0, first_percent: 20 };
    let apart = Apart { fleet, hosts: 12, faster: 1000 };
    let program = Path::new(env!("CARGO_BIN_EXE_bench-fleet"));
    let figures = play(program, apart, 4, &limits).await.unwrap();
    let all: i64 = apart.vms().map(|(_, vm)| i64::try_from(vm.garbage_bytes).unwrap()).sum();
    let grown: i64 = apart.vms().map(|(_, vm)| i64::try_from(vm.growth_bytes).unwrap()).sum();
    assert_eq!(figures.freed, all - grown);
    assert!(figures.makespan >= figures.bound, "{figures:?}");
}
