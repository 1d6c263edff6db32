//! Drift: in what the host is no longer as a plan says. Pure.
//!
//! Looked at are the VMs, their images and where these lie: what decides whose turn it is and whose caps it counts on.
//! Sizes and slack move all the time and are no drift; neither is a VM that is off or paused now, which its turn will
//! find out. A disk that is new is drift: nobody has read what stands in its way. So is what now stands in the way of all
//! disks of a VM and does not pass by itself, where its host sees it: a plan of now would leave that VM out.

use std::collections::BTreeSet;

use super::{Plan, PlanDisk, PlanVm};
use crate::{
    campaign::seen::Out,
    model::trouble::{Kind, Trouble},
};

/// A VM as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// As the inventory has it.
    pub name: String,
    /// Its host's machine id.
    pub host: String,
    /// libvirt's.
    pub uuid: Option<String>,
    /// Its disks with an image on its host, `None` where nobody has looked at them; or why they could not be read.
    pub disks: Result<Option<Vec<PlanDisk>>, Trouble>,
    /// Why a plan of now would leave it out.
    pub left_out: Option<Out>,
}

/// One thing that is different.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drift {
    /// Whose.
    pub vm: String,
    /// Where the VM stands in the plan.
    pub line: usize,
    /// What is different, in one line.
    pub text: String,
}

/// Everything in which the host differs from the plan, in the plan's order.
pub fn drift(plan: &Plan, found: &[Found]) -> Vec<Drift> {
    let mut all = Vec::new();
    let names = plan.host_names();
    for vm in &plan.vms {
        let now = found.iter().find(|now| now.name == vm.name && now.host == vm.host);
        let elsewhere =
            || found.iter().find(|now| now.uuid.is_some() && now.uuid == vm.uuid && now.host != vm.host);
        let texts = match now {
            None => vec![match elsewhere() {
                Some(now) => format!("it is on host {} now, called {}", names.called(&now.host), now.name),
                None => "no VM of this name is known here".to_owned(),
            }],
            Some(now) => of_vm(vm, now),
        };
        all.extend(texts.into_iter().map(|text| Drift { vm: vm.name.clone(), line: vm.line, text }));
    }
    all
}

fn of_vm(vm: &PlanVm, now: &Found) -> Vec<String> {
    if vm.uuid != now.uuid {
        let said = |uuid: &Option<String>| uuid.as_deref().unwrap_or("none").to_owned();
        return vec![format!(
            "another VM has this name now: uuid {}, not {}",
            said(&now.uuid),
            said(&vm.uuid)
        )];
    }
    let disks = match &now.disks {
        Ok(Some(disks)) => disks,
        Ok(None) => return Vec::new(),
        Err(trouble) => return vec![format!("its disks could not be read: {}", trouble.text)],
    };
    let mut texts = Vec::new();
    for planned in &vm.disks {
        match disks.iter().find(|disk| disk.image == planned.image) {
            None => texts.push(format!("its disk {} is gone", planned.image)),
            Some(disk) if disk.datastore != planned.datastore => texts.push(format!(
                "its disk {} lies on {} now, not on {}",
                planned.image,
                place(disk),
                place(planned)
            )),
            Some(disk) if disk.inode != planned.inode => {
                texts.push(format!("its disk {} is another file now", planned.image));
            }
            Some(_) => {}
        }
    }
    let known: BTreeSet<&str> = vm.disks.iter().map(|disk| disk.image.as_str()).collect();
    let new = disks.iter().filter(|disk| !known.contains(disk.image.as_str()));
    texts.extend(new.map(|disk| format!("its disk {} is new", disk.image)));
    // Where a disk is another one, that says it all.
    if let Some(out) = now.left_out.as_ref().filter(|_| texts.is_empty()) {
        texts.push(format!("it would be left out now, {}: {}", out.reason.as_str(), out.text));
    }
    texts
}

fn place(disk: &PlanDisk) -> &str {
    disk.datastore.as_deref().unwrap_or("a volume of its own")
}

/// The refusal of a plan that the host has drifted from.
pub fn refusal(path: &std::path::Path, drift: &[Drift]) -> Trouble {
    let lines: Vec<String> = drift
        .iter()
        .map(|one| format!("{}:{}: {}: {}", path.display(), one.line, one.vm, one.text))
        .collect();
    let text = format!("the host is no longer as the plan says: {}", lines.join("; "));
    Trouble::new(Kind::Drifted, text)
        .hint("plan anew, or take these VMs out of the plan; nothing was taken on")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::plan::{Reason, samples};

    /// The host as the sample's plan says.
    fn unchanged() -> Vec<Found> {
        let found = |vm: &PlanVm| Found {
            name: vm.name.clone(),
            host: vm.host.clone(),
            uuid: vm.uuid.clone(),
            disks: Ok(Some(vm.disks.clone())),
            left_out: None,
        };
        samples::plan().vms.iter().map(found).collect()
    }

    #[test]
    fn a_host_that_has_not_changed() {
        let mut host = unchanged();
        assert_eq!(drift(&samples::plan(), &host), []);
        host.push(Found {
            name: "new".into(),
            host: samples::HOST.into(),
            uuid: None,
            disks: Ok(None),
            left_out: None,
        });
        host.reverse();
        assert_eq!(drift(&samples::plan(), &host), [], "other VMs and their order do not matter");
    }

    #[test]
    fn every_change_is_told() {
        type Change = fn(&mut Vec<Found>);
        fn disk(found: &mut [Found]) -> &mut PlanDisk {
            &mut found[0].disks.as_mut().unwrap().as_mut().unwrap()[0]
        }
        let cases: [(Change, &str); 10] = [
            (|found| drop(found.remove(0)), "no VM of this name"),
            (|found| found[0].host = "node2".into(), "it is on host node2 now, called web-1"),
            (
                |found| found[0].uuid = Some("u2".into()),
                "another VM has this name now: uuid u2, not uuid-of-web-1",
            ),
            (|found| found[0].uuid = None, "another VM has this name now: uuid none"),
            (|found| disk(found).inode = 99, "is another file now"),
            (|found| disk(found).datastore = Some("nas".into()), "lies on nas now, not on ext4:uuid@host"),
            (|found| disk(found).datastore = None, "lies on a volume of its own now"),
            (
                |found| found[0].disks = Err(Trouble::new(Kind::NoQmp, "nobody answers")),
                "could not be read: nobody answers",
            ),
            (|found| found[0].disks = Ok(Some(Vec::new())), "/guests/web-1.img is gone"),
            (
                |found| {
                    let text = "vda: drive: no discard= on this disk".into();
                    found[0].left_out = Some(Out { reason: Reason::Cut, text, paste: None });
                },
                "it would be left out now, cut: vda: drive: no discard=",
            ),
        ];
        for (change, expected) in cases {
            let mut host = unchanged();
            change(&mut host);
            let found = drift(&samples::plan(), &host);
            let [one] = found.as_slice() else { panic!("{expected}: {found:?}") };
            assert!(one.vm == "web-1" && one.text.contains(expected), "{one:?}");
        }
        let mut host = unchanged();
        disk(&mut host).image = "/guests/other.img".into();
        let texts: Vec<_> = drift(&samples::plan(), &host).into_iter().map(|one| one.text).collect();
        assert_eq!(texts, ["its disk /guests/web-1.img is gone", "its disk /guests/other.img is new"]);
        let told = refusal(std::path::Path::new("p.toml"), &drift(&samples::plan(), &host));
        assert!(told.kind == Kind::Drifted && told.text.contains("p.toml:0: web-1: its disk"), "{told}");
    }
}
