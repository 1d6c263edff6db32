//! The books of a turn: what was read before and after, what the guest reported, and the outcome of each disk drawn
//! from them.

use trimtab_proto::words::{ClaimKind, FilesystemState, StopReason, Wire, Word};

use crate::{
    layers::{self, DiskFacts},
    ledger::{
        account::{self, GuestSide, Reading},
        evidence::Evidence,
        pair::{self, Confirmation},
        slack::{self, Slack},
        verdict,
    },
    model::{
        guest::{Filesystem, GuestSurvey},
        run::{FilesystemRun, RunReport},
        trouble::Trouble,
    },
    trim::{
        choose::{Choice, Decision},
        look::{DiskLook, Look},
        outcome::{DatastoreChange, DiskOutcome},
        ports::Storage,
    },
};

/// What the readings after a run found of one disk.
pub(super) struct After {
    pub(super) reading: Reading,
    /// The image could not be read any more, or is another file now.
    pub(super) trouble: Option<Trouble>,
}

/// Everything that the outcome of the disks is drawn from.
pub(super) struct Books<'a> {
    pub(super) look: &'a Look,
    pub(super) survey: &'a GuestSurvey,
    pub(super) choice: &'a Choice,
    pub(super) report: Option<&'a RunReport>,
    pub(super) trouble: Option<&'a Trouble>,
    pub(super) before: &'a [Reading],
    pub(super) after: &'a [After],
    pub(super) datastores: &'a [DatastoreChange],
    pub(super) alone: bool,
}

impl Books<'_> {
    /// The outcome of each disk that the caller asked for.
    pub(super) async fn disks<S: Storage>(&self, storage: &S) -> Vec<DiskOutcome> {
        let mut outcomes = Vec::new();
        let all = self.look.disks.iter().zip(&self.choice.decisions).zip(self.before.iter().zip(self.after));
        for ((disk, decision), (before, after)) in all {
            if *decision != Decision::NotAsked {
                outcomes.push(self.disk(storage, disk, decision, before, after).await);
            }
        }
        outcomes
    }

    async fn disk<S: Storage>(
        &self,
        storage: &S,
        disk: &DiskLook,
        decision: &Decision,
        before: &Reading,
        after: &After,
    ) -> DiskOutcome {
        let look = self.look;
        let said = self.guest_side(disk);
        let host_written = after
            .reading
            .counters
            .written_bytes
            .zip(before.counters.written_bytes)
            .and_then(|(a, b)| a.checked_sub(b));
        let confirmation = pair::confirm(said.written_bytes, host_written);
        // A pair that the counters contradict is no pair: nothing that this guest disk said belongs to this image.
        let said = if confirmation == Confirmation::Contradicted { GuestSide::default() } else { said };
        let ledger = account::account(before, &after.reading, &said, disk.host.virtual_bytes);
        let mut findings = look.findings(disk);
        if confirmation == Confirmation::Contradicted {
            findings.push(layers::pairing_contradicted());
        }
        let slack_before = look.slack(disk);
        let slack_after = self.slack_after(disk, &after.reading);
        let gain = self.gain(disk);
        let mut evidence = Evidence {
            failed: None,
            guard: None,
            not_started: None,
            cut_short: None,
            ledger: &ledger,
            findings: &findings,
            datastore_gain_bytes: gain,
            extents_shared: false,
            slack_before,
            slack_after,
            proven_before: self.proven_before(disk),
            format: disk.host.image.as_ref().map(|image| &image.format),
        };
        let failed = self.failed(disk, decision, after);
        evidence.failed = failed.as_deref();
        match decision {
            Decision::Guarded(guard) => evidence.guard = Some(guard),
            Decision::Cut(finding) => evidence.not_started = Some(finding),
            Decision::Go | Decision::NotAsked | Decision::Unreadable(_) => {
                evidence.cut_short = self.cut_short(disk);
            }
        }
        if let Some(image) = disk.host.image.as_ref().filter(|_| evidence.asks_for_sharing()) {
            evidence.extents_shared = storage.shares_extents(image).await.unwrap_or(false);
        }
        let ruling = verdict::judge(&evidence);
        DiskOutcome {
            host: disk.host.clone(),
            guest_disk: look.guest_disk(disk).map(|device| device.name.clone()),
            datastore: disk.datastore().cloned(),
            fs_types: self.fs_types(disk),
            paired_by: disk.guest.map(|(_, by)| by),
            confirmation,
            used_bytes: look.used_bytes(disk),
            slack_before,
            slack_after,
            passes_by_itself: matches!(decision, Decision::Guarded(guard) if guard.passes_by_itself),
            ledger,
            findings,
            ruling,
        }
    }

    /// What the guest said of one of its disks.
    fn guest_side(&self, disk: &DiskLook) -> GuestSide {
        let Some(device) = self.look.guest_disk(disk) else { return GuestSide::default() };
        let nothing =
            GuestSide { claimed_bytes: Some(0), sent_bytes: Some(0), passes: 1, ..GuestSide::default() };
        let Some(report) = self.report else {
            // Nothing was asked of this guest, or nobody can say what it did.
            return if self.trouble.is_none() { nothing } else { GuestSide::default() };
        };
        let sent = report.sent.iter().find(|sent| sent.device_id == device.id);
        // A filesystem that the guest left out sent nothing, and its disk is not among the ones that were counted.
        if self.runs_on(disk).all(|run| run.state.is(FilesystemState::Skipped)) {
            return GuestSide { written_bytes: sent.and_then(|sent| sent.written_bytes), ..nothing };
        }
        // What a filesystem over several disks claims cannot be told apart per disk.
        let alone = |run: &&FilesystemRun| self.filesystem(run).is_some_and(|fs| fs.leaf_ids.len() == 1);
        let runs: Vec<&FilesystemRun> = self.runs_on(disk).filter(alone).collect();
        GuestSide {
            claimed_bytes: runs.iter().filter_map(|run| run.claimed_bytes).reduce(u64::saturating_add),
            claim_is_echo: runs.iter().any(|run| run.claim == Some(Wire::Known(ClaimKind::RangeEcho))),
            sent_bytes: sent.and_then(|sent| sent.discarded_bytes),
            written_bytes: sent.and_then(|sent| sent.written_bytes),
            passes: runs.iter().map(|run| run.passes).max().unwrap_or(1).max(1),
        }
    }

    fn filesystem(&self, run: &FilesystemRun) -> Option<&Filesystem> {
        self.survey.filesystem(&run.filesystem_id)
    }

    fn failed(&self, disk: &DiskLook, decision: &Decision, after: &After) -> Option<String> {
        if let Decision::Unreadable(trouble) = decision {
            return Some(trouble.text.clone());
        }
        let took_part = *decision == Decision::Go;
        if let Some(trouble) = after.trouble.as_ref().or(self.trouble.filter(|_| took_part)) {
            return Some(trouble.text.clone());
        }
        let (run, failure) = self.runs_on(disk).find_map(|run| Some((run, run.failure.as_ref()?)))?;
        let mount = self.filesystem(run).map_or("?", |fs| fs.mount.as_str());
        Some(format!("{mount}: {}", failure.text))
    }

    fn cut_short(&self, disk: &DiskLook) -> Option<&'static str> {
        let stop = self.report?.stop?;
        let unfinished = self
            .runs_on(disk)
            .any(|run| !run.state.is(FilesystemState::Done) && !run.state.is(FilesystemState::Skipped));
        match stop.known() {
            Some(StopReason::Done) => None,
            Some(reason) => unfinished.then_some(reason.as_str()),
            None => unfinished.then_some("for a reason that only a newer trimtab knows"),
        }
    }

    /// The filesystems of the run that stand on this disk, wholly or in part.
    fn runs_on<'b>(&'b self, disk: &'b DiskLook) -> impl Iterator<Item = &'b FilesystemRun> {
        let device = self.look.guest_disk(disk);
        self.report.into_iter().flat_map(|report| &report.filesystems).filter(move |run| {
            self.filesystem(run).zip(device).is_some_and(|(fs, device)| fs.leaf_ids.contains(&device.id))
        })
    }

    fn slack_after(&self, disk: &DiskLook, after: &Reading) -> Option<Slack> {
        let mut image = disk.image.clone()?;
        image.allocation.allocated_bytes = Some(after.allocated_bytes?);
        let facts = self.look.facts(disk);
        slack::slack(&DiskFacts { image: Some(&image), ..facts })
    }

    /// What the datastore gained, where nobody but this disk can have moved it.
    fn gain(&self, disk: &DiskLook) -> Option<i64> {
        let id = &disk.datastore()?.id;
        let on_it =
            self.look.disks.iter().filter(|d| d.datastore().is_some_and(|store| store.id == *id)).count();
        let change = self.datastores.iter().find(|change| change.before.id == *id)?;
        (self.alone && on_it == 1).then(|| change.gain_bytes()).flatten()
    }

    /// This boot has discarded before, and discards have reached the image.
    fn proven_before(&self, disk: &DiskLook) -> bool {
        let guest = self.look.guest_disk(disk).and_then(|device| device.discarded_bytes);
        guest.is_some_and(|bytes| bytes > 0) && disk.counters.arrived_bytes.is_some_and(|bytes| bytes > 0)
    }

    fn fs_types(&self, disk: &DiskLook) -> Vec<String> {
        let Some(device) = self.look.guest_disk(disk) else { return Vec::new() };
        let mut types: Vec<String> = layers::stack::filesystems_on(self.survey, &device.id)
            .map(|on| on.filesystem.fs_type.clone())
            .collect();
        types.sort();
        types.dedup();
        types
    }
}
