//! The whole way by the command line: plan, apply and carry out, report.

use std::process::Output;

use trimtab_tests::sim::{killing::Rig, punching::KEPT_BYTES};

fn trimtab(rig: &Rig, words: &[&str]) -> Output {
    rig.command(words).unwrap().output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_plan_to_report() {
    let rig = Rig::new(5).unwrap();
    let mut inventory = std::fs::read_to_string(rig.path("fleet.toml")).unwrap();
    inventory.push_str(&format!(
        "[[vm]]\nname = \"silent\"\nagent = \"unix:{}\"\n[[vm.disk]]\nimage = \"{}\"\nformat = \"raw\"\n",
        rig.path("no.vsock").display(),
        rig.path("silent.img").display()
    ));
    std::fs::write(rig.path("silent.img"), vec![1; 1 << 20]).unwrap();
    std::fs::write(rig.path("fleet.toml"), inventory).unwrap();
    let plan = rig.path("plan.toml").display().to_string();
    let planned = trimtab(&rig, &["campaign", "plan", "-o", &plan]);
    let text = std::fs::read_to_string(&plan).unwrap_or_default();
    assert!(planned.status.success() && text.contains("silent"), "{planned:?}\n{text}");
    let applied = trimtab(&rig, &["campaign", "apply", &plan, "--follow"]);
    assert!(applied.status.success(), "{applied:?}\n{text}");
    let told = String::from_utf8_lossy(&applied.stderr);
    assert!(told.ends_with("by the store  done: every run has ended\n"), "{told}");
    assert_eq!(told.matches("  counted: reclaimed, ").count(), rig.vms.len(), "{told}");
    for vm in &rig.vms {
        assert_eq!(vm.allocated_bytes().unwrap(), KEPT_BYTES, "{}: {applied:?}", vm.name());
    }
    let reported = trimtab(&rig, &["campaign", "report", "1", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&reported.stdout).unwrap();
    let lost: u64 = rig.before.iter().map(|before| before - KEPT_BYTES).sum();
    let told = report["campaign"]["freed_bytes"].as_u64();
    assert_eq!(told, Some(lost), "{report:#}");
}

#[test]
fn what_has_come_in_the_way_since_the_plan_is_drift() {
    let rig = Rig::new(2).unwrap();
    let plan = rig.path("plan.toml").display().to_string();
    let planned = trimtab(&rig, &["campaign", "plan", "-o", &plan]);
    assert!(planned.status.success(), "{planned:?}");
    let filled = rig.vms[0].fill().unwrap();
    let applied = trimtab(&rig, &["campaign", "apply", &plan, "--dry-run"]);
    let told = String::from_utf8_lossy(&applied.stderr);
    assert!(
        !applied.status.success() && told.contains("vm-0: it would be left out now, guarded: "),
        "{told}"
    );
    assert_eq!(rig.vms[0].allocated_bytes().unwrap(), filled, "apply has changed it");
}
