//! A VM whose three sides are scripted: what real parts cannot be made to show on demand.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use trimtab_proto::words::{Action, FilesystemState, RunState, StopReason, Wire};

use crate::{
    layers::samples::{Sample, device, filesystem, host_disk},
    ledger::pair::PairedBy,
    model::{
        disk::{DiskCounters, VmFacts, VmState, VmmView},
        guest::{AgentInfo, GuestSurvey},
        image::{Allocation, Datastore, Image, Place, Qcow2Header},
        probe::{ProbeEvent, ProbeOrder},
        run::{FilesystemRun, RunEvent, RunReport, Sent, SteerOrder, TrimOrder},
        trouble::{Kind, Trouble},
    },
    trim::{
        look::{DiskLook, Look},
        ports::{Guest, ProbeStream, RunStream, Storage, Vmm},
    },
};

/// Samples as the disks of one VM: sda with "/", sdb with "/1", …
pub(crate) fn look_of(samples: &[Sample]) -> Look {
    let mut survey = Sample::raw().survey;
    survey.devices.clear();
    survey.filesystems.clear();
    let mut disks = Vec::new();
    for (index, sample) in samples.iter().enumerate() {
        let disk_id = format!("8:{}", 16 * index);
        let part_id = format!("8:{}", 16 * index + 1);
        let name = format!("sd{}", char::from(b'a' + u8::try_from(index).unwrap()));
        let mut disk = device(&disk_id, &name, trimtab_proto::words::DeviceKind::Disk, &[]);
        disk.identity.serial = format!("DISK{index}");
        survey.devices.push(disk);
        let mount = if index == 0 { "/".to_owned() } else { format!("/{index}") };
        survey.filesystems.push(filesystem(&part_id, &mount, &[&disk_id]));
        let mut host = sample.host.clone();
        host.device = format!("disk{index}");
        host.serial = Some(format!("DISK{index}"));
        disks.push(DiskLook {
            host,
            image: Some(sample.image.clone()),
            image_trouble: None,
            counters: sample.counters,
            guest: Some((index, PairedBy::Serial)),
            used_by_others: sample.used_by_others.clone(),
        });
    }
    Look { vm: VmFacts::default(), guest: Ok(survey), disks }
}

/// What a fake VM answers, call by call.
#[derive(Default)]
pub(crate) struct Script {
    /// One list for each call of `trim`; a stream that has no `End` breaks.
    pub(crate) streams: VecDeque<Vec<Result<RunEvent, Trouble>>>,
    /// One for each call of `get_run`.
    pub(crate) runs: VecDeque<Result<RunReport, Trouble>>,
    /// What was asked of it.
    pub(crate) orders: Vec<TrimOrder>,
    pub(crate) steered: Vec<SteerOrder>,
    /// One for each call of `steer`; then it stops.
    pub(crate) steers: VecDeque<Result<RunReport, Trouble>>,
    /// The boot that `hello` tells of.
    pub(crate) boot_id: String,
    /// Allocation, counters and free space once `trim` was called.
    pub(crate) allocated_after: u64,
    pub(crate) counters_after: DiskCounters,
    pub(crate) free_after: u64,
    pub(crate) file_after: Option<(u64, u64)>,
    pub(crate) image_gone: bool,
    pub(crate) state_after: Option<VmState>,
    pub(crate) shared: bool,
    pub(crate) corrupt_after: bool,
    pub(crate) options_after: Option<String>,
    /// The events of a probe, each 600 ms after the one before.
    pub(crate) probe: VecDeque<Result<ProbeEvent, Trouble>>,
    pub(crate) probed: Vec<ProbeOrder>,
    /// Allocation and counters before a probe, while its file is there, and after; empty: they never move.
    pub(crate) stages: Vec<(u64, DiskCounters)>,
    stage: usize,
    waited: usize,
    /// Set by `trim`: from then on what stands above as "after" is there.
    pub(crate) trimmed: bool,
}

/// A fake VM with one disk: a [`Sample`].
#[derive(Clone)]
pub(crate) struct FakeVm {
    pub(crate) survey: GuestSurvey,
    pub(crate) view: VmmView,
    pub(crate) before: DiskCounters,
    pub(crate) allocation: Allocation,
    pub(crate) header: Option<Qcow2Header>,
    pub(crate) place: Place,
    pub(crate) script: Arc<Mutex<Script>>,
}

impl FakeVm {
    pub(crate) fn new(sample: Sample) -> Self {
        let mut survey = sample.survey;
        survey.devices[0].identity.serial = "DISK0".into();
        let mut host = host_disk("disk0", "/guests/a.img");
        host.image = sample.host.image;
        host.discard = sample.host.discard;
        host.serial = Some("DISK0".into());
        let script = Script {
            boot_id: survey.agent.boot_id.clone(),
            allocated_after: sample.image.allocation.allocated_bytes.unwrap_or(0),
            free_after: sample.image.place.datastore.as_ref().map_or(0, |store| store.free_bytes),
            ..Script::default()
        };
        Self {
            survey,
            view: VmmView { vm: sample.vm, disks: vec![host] },
            before: sample.counters,
            allocation: sample.image.allocation,
            header: sample.image.header,
            place: sample.image.place,
            script: Arc::new(Mutex::new(script)),
        }
    }

    pub(crate) fn script<R>(&self, change: impl FnOnce(&mut Script) -> R) -> R {
        change(&mut self.script.lock().unwrap())
    }
}

/// A report of "/" that ended well.
pub(crate) fn report(state: RunState, sent: u64) -> RunReport {
    RunReport {
        run_id: "r".into(),
        fence: 1,
        boot_id: "b".into(),
        state: Wire::Known(state),
        stop: (state == RunState::Ended).then_some(Wire::Known(StopReason::Done)),
        duration: std::time::Duration::from_secs(1),
        filesystems: vec![FilesystemRun {
            filesystem_id: "8:1".into(),
            state: Wire::Known(FilesystemState::Done),
            claimed_bytes: Some(sent),
            claim: Some(Wire::Known(trimtab_proto::words::ClaimKind::Submitted)),
            passes: 1,
            passed_bytes: 40 << 30,
            min_extent_bytes: 0,
            calls: 1,
            longest_call: std::time::Duration::from_millis(10),
            duration: std::time::Duration::from_secs(1),
            skip: None,
            failure: None,
        }],
        sent: vec![Sent { device_id: "8:0".into(), discarded_bytes: Some(sent), written_bytes: Some(0) }],
        settled: true,
    }
}

/// The events of a [`FakeVm`]'s run.
pub(crate) struct FakeRun {
    events: VecDeque<Result<RunEvent, Trouble>>,
    script: Arc<Mutex<Script>>,
}

impl RunStream for FakeRun {
    async fn next(&mut self) -> Option<Result<RunEvent, Trouble>> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        // A stream without an end waits for a cancel and then ends cancelled.
        loop {
            let cancelled = |order: &SteerOrder| order.action == Action::Cancel;
            if self.script.lock().unwrap().steered.iter().any(cancelled) {
                let mut ended = report(RunState::Ended, 0);
                ended.stop = Some(Wire::Known(StopReason::Cancelled));
                ended.filesystems[0].state = Wire::Known(FilesystemState::Partial);
                return Some(Ok(RunEvent::End(ended)));
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

/// The events of a [`FakeVm`]'s probe.
pub(crate) struct FakeProbe(Arc<Mutex<Script>>);

impl ProbeStream for FakeProbe {
    async fn next(&mut self) -> Option<Result<ProbeEvent, Trouble>> {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            let mut script = self.0.lock().unwrap();
            script.waited += 1;
            if script.waited.is_multiple_of(3) {
                script.stage += 1;
                return script.probe.pop_front();
            }
        }
    }
}

impl Guest for FakeVm {
    type Run = FakeRun;
    type Probe = FakeProbe;

    async fn probe(&self, order: &ProbeOrder) -> Result<FakeProbe, Trouble> {
        self.script(|s| s.probed.push(order.clone()));
        Ok(FakeProbe(Arc::clone(&self.script)))
    }

    async fn hello(&self) -> Result<AgentInfo, Trouble> {
        Ok(AgentInfo { boot_id: self.script(|s| s.boot_id.clone()), ..self.survey.agent.clone() })
    }

    async fn survey(&self) -> Result<GuestSurvey, Trouble> {
        Ok(self.survey.clone())
    }

    async fn trim(&self, order: &TrimOrder) -> Result<FakeRun, Trouble> {
        let events = self.script(|s| {
            s.orders.push(order.clone());
            s.trimmed = true;
            s.streams.pop_front().unwrap_or_default()
        });
        if let Some(Err(refused)) = events.first().filter(|_| events.len() == 1)
            && refused.kind != Kind::AgentLost
        {
            return Err(refused.clone());
        }
        Ok(FakeRun { events: events.into(), script: Arc::clone(&self.script) })
    }

    async fn steer(&self, order: &SteerOrder) -> Result<RunReport, Trouble> {
        self.script(|s| {
            s.steered.push(order.clone());
            s.steers.pop_front()
        })
        .unwrap_or_else(|| Ok(report(RunState::Stopping, 0)))
    }

    async fn get_run(&self, _run_id: &str) -> Result<RunReport, Trouble> {
        self.script(|s| s.runs.pop_front())
            .unwrap_or_else(|| Err(Trouble::new(Kind::AgentRefused, "no such run")))
    }
}

impl Vmm for FakeVm {
    async fn look(&self) -> Result<VmmView, Trouble> {
        let state =
            self.script(|s| s.state_after.clone().filter(|_| s.trimmed)).or(self.view.vm.state.clone());
        let vm = VmFacts { state, ..self.view.vm.clone() };
        Ok(VmmView { vm, ..self.view.clone() })
    }

    async fn counters(&self) -> Result<Vec<(String, DiskCounters)>, Trouble> {
        let counters = self
            .script(|s| s.trimmed.then_some(s.counters_after).or_else(|| Some(s.stages.get(s.stage)?.1)))
            .unwrap_or(self.before);
        Ok(vec![("disk0".into(), counters)])
    }
}

impl Storage for FakeVm {
    async fn allocation(&self, _: &Image) -> Result<Allocation, Trouble> {
        self.script(|s| match (s.trimmed, s.image_gone) {
            (true, true) => Err(Trouble::new(Kind::Image, "/guests/a.img: no such file")),
            (true, false) => Ok(Allocation {
                allocated_bytes: Some(s.allocated_after),
                file: s.file_after.unwrap_or(self.allocation.file),
                ..self.allocation
            }),
            (false, _) => Ok(match s.stages.get(s.stage) {
                Some((allocated, _)) => Allocation { allocated_bytes: Some(*allocated), ..self.allocation },
                None => self.allocation,
            }),
        })
    }

    async fn qcow2_header(&self, _: &Image) -> Result<Qcow2Header, Trouble> {
        let is_corrupt = self.script(|s| s.trimmed && s.corrupt_after);
        let header = self.header.map(|header| Qcow2Header { is_corrupt, ..header });
        header.ok_or_else(|| Trouble::new(Kind::Image, "not a qcow2 image"))
    }

    async fn place(&self, _: &Image) -> Result<Place, Trouble> {
        Ok(self.place.clone())
    }

    async fn datastore(&self, _: &Image) -> Result<Option<Datastore>, Trouble> {
        let before = self.place.datastore.clone();
        Ok(self.script(|s| match s.trimmed {
            true => before.map(|before| Datastore {
                free_bytes: s.free_after,
                options: s.options_after.clone().unwrap_or(before.options.clone()),
                ..before
            }),
            false => before,
        }))
    }

    async fn shares_extents(&self, _: &Image) -> Option<bool> {
        Some(self.script(|s| s.shared))
    }

    async fn settle(&self, _: &Image) -> Result<(), Trouble> {
        Ok(())
    }
}
