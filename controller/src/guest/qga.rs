//! qemu-ga through libvirt, for a guest without an agent of ours: the port [`Guest`], as far as it goes.
//!
//! It trims everything that is mounted, at once, and says neither what it claimed nor how far it is; it cannot be
//! stopped. So a ledger over it rests on what the host itself sees.

mod survey;

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use trimtab_proto::words::{FilesystemState, RunState, StopReason, Wire};

use super::ProbeEvents;
use crate::{
    libvirt::Libvirt,
    model::{
        guest::{AgentInfo, GuestSurvey},
        probe::ProbeOrder,
        run::{FilesystemRun, RunEvent, RunReport, SteerOrder, Target, TrimOrder},
        trouble::{Kind, Trouble},
        vm::DomainId,
    },
    trim::ports::{Guest, RunStream},
};

/// The qemu-ga of a domain.
#[derive(Clone, Debug)]
pub struct Qga {
    libvirt: Libvirt,
    domain: DomainId,
}

impl Qga {
    /// Asks nobody yet.
    pub fn new(domain: DomainId) -> Self {
        Self { libvirt: Libvirt::new(domain.uri.clone()), domain }
    }
}

impl Guest for Qga {
    type Run = QgaRun;
    type Probe = ProbeEvents;

    async fn hello(&self) -> Result<AgentInfo, Trouble> {
        Ok(self.survey().await?.agent)
    }

    async fn survey(&self) -> Result<GuestSurvey, Trouble> {
        Ok(survey::of(self.libvirt.guest_info(&self.domain).await?))
    }

    async fn trim(&self, order: &TrimOrder) -> Result<QgaRun, Trouble> {
        let min_extent = order.targets.iter().map(|target| target.min_extent_bytes).max().unwrap_or(0);
        let (libvirt, domain, limit) = (self.libvirt.clone(), self.domain.clone(), order.deadline);
        let call = async move { libvirt.fs_trim(&domain, min_extent, limit).await };
        Ok(QgaRun::new(order, min_extent, Box::pin(call)))
    }

    async fn steer(&self, _: &SteerOrder) -> Result<RunReport, Trouble> {
        Err(Trouble::new(Kind::AgentRefused, "qemu-ga cannot stop a trim: the guest goes on with it")
            .hint("trim it once more to see what came back in the end"))
    }

    async fn probe(&self, _: &ProbeOrder) -> Result<ProbeEvents, Trouble> {
        Err(Trouble::new(Kind::AgentRefused, "qemu-ga cannot probe")
            .hint("install trimtab-agent in the guest"))
    }

    async fn get_run(&self, _: &str) -> Result<RunReport, Trouble> {
        Err(Trouble::new(Kind::AgentRefused, "qemu-ga remembers no trims"))
    }
}

type Call = Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send>>;

/// A trim that qemu-ga is at: its beginning, and its end.
pub struct QgaRun {
    report: RunReport,
    began: Instant,
    told_of_beginning: bool,
    /// `None` once it is over.
    call: Option<Call>,
}

impl RunStream for QgaRun {
    async fn next(&mut self) -> Option<Result<RunEvent, Trouble>> {
        // The call stays in its place while it is waited for: the caller may stop waiting and come back.
        let call = self.call.as_mut()?;
        if !self.told_of_beginning {
            self.told_of_beginning = true;
            return Some(Ok(RunEvent::State(self.report.clone())));
        }
        let result = call.as_mut().await;
        self.call = None;
        Some(result.map(|()| RunEvent::End(self.ended())))
    }
}

impl QgaRun {
    fn new(order: &TrimOrder, min_extent_bytes: u64, call: Call) -> Self {
        let filesystem = |target: &Target| FilesystemRun {
            filesystem_id: target.filesystem_id.clone(),
            state: Wire::Known(FilesystemState::Running),
            claimed_bytes: None,
            claim: None,
            passes: 1,
            passed_bytes: 0,
            min_extent_bytes,
            duration: Duration::ZERO,
            // It does not tell of them.
            calls: 0,
            longest_call: Duration::ZERO,
            skip: None,
            failure: None,
        };
        let report = RunReport {
            run_id: order.run_id.clone(),
            fence: order.fence,
            boot_id: order.boot_id.clone(),
            state: Wire::Known(RunState::Running),
            stop: None,
            duration: Duration::ZERO,
            filesystems: order.targets.iter().map(filesystem).collect(),
            sent: Vec::new(),
            settled: false,
        };
        Self { report, began: Instant::now(), told_of_beginning: false, call: Some(call) }
    }

    fn ended(&self) -> RunReport {
        let mut report = self.report.clone();
        report.state = Wire::Known(RunState::Ended);
        report.stop = Some(Wire::Known(StopReason::Done));
        report.duration = self.began.elapsed();
        for filesystem in &mut report.filesystems {
            filesystem.state = Wire::Known(FilesystemState::Done);
            filesystem.duration = report.duration;
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> TrimOrder {
        TrimOrder {
            run_id: "r".into(),
            fence: 1,
            boot_id: String::new(),
            targets: vec![Target { filesystem_id: "/".into(), min_extent_bytes: 0 }],
            pace: None,
            deadline: Duration::from_secs(60),
            linger: Duration::ZERO,
            again: false,
            also_types: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_run_survives_a_caller_that_stops_waiting() {
        let (done, wait) = tokio::sync::oneshot::channel::<()>();
        let call = Box::pin(async move { wait.await.map_err(|_| Trouble::new(Kind::AgentLost, "gone")) });
        let mut run = QgaRun::new(&order(), 0, call);
        assert!(matches!(run.next().await, Some(Ok(RunEvent::State(_)))));
        assert!(tokio::time::timeout(Duration::from_millis(20), run.next()).await.is_err(), "it goes on");
        done.send(()).unwrap();
        let Some(Ok(RunEvent::End(report))) = run.next().await else { panic!("no end") };
        assert!(report.filesystems[0].state.is(FilesystemState::Done));
        assert_eq!(report.filesystems[0].claimed_bytes, None, "qemu-ga's bytes do not reach us");
        assert!(run.next().await.is_none());
    }

    #[tokio::test]
    async fn a_failure_is_the_last_word() {
        let call = Box::pin(async { Err(Trouble::new(Kind::NoAgent, "qemu-ga is not connected")) });
        let mut run = QgaRun::new(&order(), 0, call);
        assert!(run.next().await.unwrap().is_ok());
        assert_eq!(run.next().await.unwrap().unwrap_err().kind, Kind::NoAgent);
        assert!(run.next().await.is_none());
    }
}
