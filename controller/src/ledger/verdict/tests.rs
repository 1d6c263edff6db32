//! Each rule by a case that it alone decides, and the cases that must accuse nobody.

use super::*;
use crate::{
    layers::{Guard, Layer, State},
    ledger::{account::Ledger, slack::Slack},
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A trim of a raw image that freed much, everything readable and open.
struct Case {
    ledger: Ledger,
    findings: Vec<Finding>,
    format: Option<Format>,
    failed: Option<&'static str>,
    guard: Option<Guard>,
    not_started: Option<Finding>,
    cut_short: Option<&'static str>,
    gain: Option<i64>,
    shared: bool,
    slack_before: Option<Slack>,
    slack_after: Option<Slack>,
    proven: bool,
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap()
}

fn finding(layer: Layer, state: State, held_bytes: Option<u64>) -> Finding {
    let short = "short".to_owned();
    Finding { layer, state, held_bytes, text: "text".into(), fix: Some(Fix::new("fix")), short, warns: false }
}

fn slack(min_bytes: u64, max_bytes: u64) -> Option<Slack> {
    Some(Slack { min_bytes, max_bytes })
}

impl Case {
    fn raw() -> Self {
        let mut case = Self {
            ledger: Ledger { allocated_before_bytes: Some(10 * GIB), ..Ledger::default() },
            findings: vec![finding(Layer::Drive, State::Open, None)],
            format: Some(Format::Raw),
            failed: None,
            guard: None,
            not_started: None,
            cut_short: None,
            gain: Some(signed(GIB)),
            shared: false,
            slack_before: slack(2 * GIB, 3 * GIB),
            slack_after: slack(0, GIB),
            proven: false,
        };
        case.counted(Some(4 * GIB), Some(4 * GIB), signed(GIB));
        case
    }

    /// A healthy trim that found nothing.
    fn flat(format: Format, sent: u64, arrived: u64) -> Self {
        let mut case = Self::raw();
        case.format = Some(format);
        case.counted(Some(sent), Some(arrived), 0);
        case
    }

    fn counted(&mut self, sent: Option<u64>, arrived: Option<u64>, freed: i64) {
        self.ledger.sent_bytes = sent;
        self.ledger.arrived_bytes = arrived;
        self.ledger.arrived_failed_requests = arrived.map(|_| 0);
        self.ledger.freed_bytes = Some(freed);
    }

    fn drive(mut self, state: State) -> Self {
        self.findings = vec![finding(Layer::Drive, state, None)];
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn ruling(&self) -> Ruling {
        judge(&Evidence {
            failed: self.failed,
            guard: self.guard.as_ref(),
            not_started: self.not_started.as_ref(),
            cut_short: self.cut_short,
            ledger: &self.ledger,
            findings: &self.findings,
            datastore_gain_bytes: self.gain,
            extents_shared: self.shared,
            slack_before: self.slack_before,
            slack_after: self.slack_after,
            proven_before: self.proven,
            format: self.format.as_ref(),
        })
    }
}

fn guard() -> Guard {
    Guard { layer: Layer::Job, text: "a job".into(), short: "block job".into(), passes_by_itself: true }
}

#[test]
fn the_first_rule_that_holds() {
    use Verdict::*;
    let snapshot = || finding(Layer::Format, State::Holds, Some(10 * GIB));
    let cases: Vec<(&str, Case, &str, Verdict)> = vec![
        ("a step failed", Case::raw().with(|c| c.failed = Some("EIO")), "1", Failed),
        (
            "cancelled with nothing freed",
            Case::flat(Format::Raw, 0, 0).with(|c| c.cut_short = Some("cancelled")),
            "1",
            Failed,
        ),
        ("a guard", Case::flat(Format::Raw, 0, 0).with(|c| c.guard = Some(guard())), "2", NotRun),
        (
            "known to cut in the VMM",
            Case::flat(Format::Raw, 0, 0)
                .with(|c| c.not_started = Some(finding(Layer::Drive, State::Cut, None))),
            "2a",
            CutInVmm,
        ),
        (
            "known to cut in the guest",
            Case::flat(Format::Raw, 0, 0)
                .with(|c| c.not_started = Some(finding(Layer::Crypt, State::Cut, None))),
            "2a",
            CutInGuest,
        ),
        (
            "known to cut on the host",
            Case::flat(Format::Raw, 0, 0)
                .with(|c| c.not_started = Some(finding(Layer::HostFilesystem, State::Cut, None))),
            "2a",
            HeldOnHost,
        ),
        ("shared extents", Case::raw().with(|c| (c.shared, c.gain) = (true, Some(0))), "3", HeldOnHost),
        ("shared, yet gained", Case::raw().with(|c| c.shared = true), "5", Reclaimed),
        ("nothing gained, and nobody shares", Case::raw().with(|c| c.gain = Some(0)), "5", Reclaimed),
        ("cancelled after much", Case::raw().with(|c| c.cut_short = Some("deadline")), "4", PartlyReclaimed),
        (
            "some requests failed",
            Case::raw().with(|c| c.ledger.arrived_failed_requests = Some(3)),
            "4",
            PartlyReclaimed,
        ),
        (
            "a skipped filesystem holds much",
            Case::raw().with(|c| c.findings.push(finding(Layer::Filesystem, State::Holds, Some(GIB)))),
            "4",
            PartlyReclaimed,
        ),
        (
            "a snapshot that holds nothing any more",
            Case::raw().with(|c| (c.slack_after, c.findings) = (slack(0, MIB), vec![snapshot()])),
            "5",
            Reclaimed,
        ),
        ("much came back", Case::raw(), "5", Reclaimed),
        (
            "the host cannot punch",
            Case::flat(Format::Raw, GIB, 0).with(|c| c.ledger.arrived_failed_requests = Some(9)),
            "6",
            HeldOnHost,
        ),
        (
            "the disk offers none",
            Case::flat(Format::Raw, 0, 0)
                .with(|c| c.findings = vec![finding(Layer::Device, State::Cut, None)]),
            "7",
            CutInVmm,
        ),
        (
            "dm-crypt offers none",
            Case::flat(Format::Raw, 0, 0)
                .with(|c| c.findings = vec![finding(Layer::Crypt, State::Cut, None)]),
            "8",
            CutInGuest,
        ),
        (
            "nothing sent, nothing there",
            Case::flat(Format::Raw, 0, 0).with(|c| c.slack_before = slack(0, GIB)),
            "9",
            AlreadyCompact,
        ),
        (
            "nothing sent, proven before",
            Case::flat(Format::Raw, 0, 0).with(|c| c.proven = true),
            "9",
            AlreadyCompact,
        ),
        ("ext4's memory", Case::flat(Format::Raw, 0, 0), "10", CutInGuest),
        ("discard=ignore", Case::flat(Format::Qcow2, GIB, 0).drive(State::Cut), "11", CutInVmm),
        (
            "NFS before 4.2, trimmed anyway",
            Case::flat(Format::Qcow2, GIB, 0)
                .with(|c| c.findings.push(finding(Layer::HostFilesystem, State::Cut, None))),
            "11",
            HeldOnHost,
        ),
        (
            "a note that holds a figure",
            Case::raw().with(|c| c.findings.push(finding(Layer::Filesystem, State::Note, Some(GIB)))),
            "4",
            PartlyReclaimed,
        ),
        (
            "notes without a figure hold nothing",
            Case::raw().with(|c| {
                c.findings.push(finding(Layer::Filesystem, State::Note, None));
                c.findings.push(finding(Layer::Backup, State::Note, None));
            }),
            "5",
            Reclaimed,
        ),
        (
            "clusters that QEMU was told to keep",
            Case::flat(Format::Qcow2, GIB, GIB)
                .with(|c| c.findings.push(finding(Layer::Format, State::Holds, Some(GIB)))),
            "14",
            HeldOnHost,
        ),
        (
            "a RAID of the guest that offers none",
            Case::flat(Format::Raw, 0, 0).with(|c| c.findings = vec![finding(Layer::Md, State::Cut, None)]),
            "8",
            CutInGuest,
        ),
        ("dropped, by counters", Case::flat(Format::Raw, GIB, 0).drive(State::Unknown), "12", CutInVmm),
        ("only holes", Case::flat(Format::Raw, GIB, GIB).drive(State::Unknown), "13", AlreadyCompact),
        (
            "only holes, without QMP",
            Case::flat(Format::Raw, GIB, 0).with(|c| c.counted(Some(GIB), None, 0)),
            "13",
            AlreadyCompact,
        ),
        (
            "a snapshot holds",
            Case::flat(Format::Qcow2, GIB, 0).with(|c| c.findings.push(snapshot())),
            "14",
            HeldOnHost,
        ),
        (
            "fragments below the cluster",
            Case::flat(Format::Qcow2, GIB, 0)
                .with(|c| c.findings.push(finding(Layer::Granularity, State::Note, Some(GIB)))),
            "14",
            HeldOnHost,
        ),
        ("a healthy second trim", Case::flat(Format::Qcow2, GIB, 0), "15", AlreadyCompact),
        (
            "nobody says what was sent, and there was little to free",
            Case::flat(Format::Qcow2, 0, 0).with(|c| {
                c.counted(None, None, 0);
                c.slack_before = slack(0, GIB / 100);
            }),
            "9",
            AlreadyCompact,
        ),
        (
            "nobody says what was sent: a layer of the guest may have dropped it",
            Case::flat(Format::Qcow2, 0, 0).with(|c| c.counted(None, None, 0)),
            "16",
            NotMeasurable,
        ),
        (
            "qcow2, drive not known",
            Case::flat(Format::Qcow2, GIB, 0).drive(State::Unknown),
            "16",
            NotMeasurable,
        ),
        (
            "raw without QMP, drive not known",
            Case::flat(Format::Raw, GIB, 0).drive(State::Unknown).with(|c| c.counted(Some(GIB), None, 0)),
            "16",
            NotMeasurable,
        ),
        (
            "a thick volume",
            Case::flat(Format::Raw, GIB, GIB).with(|c| {
                c.ledger.freed_bytes = None;
                c.findings.push(finding(Layer::Volume, State::Unknown, None));
            }),
            "16",
            NotMeasurable,
        ),
        ("no allocation to read", Case::raw().with(|c| c.ledger.freed_bytes = None), "16", NotMeasurable),
        (
            "no image on this host",
            Case::flat(Format::Raw, GIB, 0).with(|c| c.format = None),
            "16",
            NotMeasurable,
        ),
        (
            "an old kernel that counts nothing",
            Case::flat(Format::Raw, 0, 0).with(|c| c.counted(None, Some(0), 0)),
            "16",
            NotMeasurable,
        ),
    ];
    for (name, case, rule, verdict) in cases {
        let ruling = case.ruling();
        assert_eq!((ruling.rule, ruling.verdict), (rule, verdict), "{name}: {}", ruling.because);
    }
}

#[test]
fn the_threshold_is_one_percent_or_16_mib() {
    let freed = |allocated: u64, freed: u64| {
        Case::raw()
            .with(|c| {
                c.ledger.allocated_before_bytes = Some(allocated);
                c.ledger.freed_bytes = Some(signed(freed));
            })
            .ruling()
            .verdict
    };
    assert_eq!(freed(GIB, 16 * MIB), Verdict::Reclaimed);
    assert_eq!(freed(GIB, 16 * MIB - 1), Verdict::AlreadyCompact);
    assert_eq!(freed(100 * GIB, GIB), Verdict::Reclaimed);
    assert_eq!(freed(100 * GIB, GIB - 1), Verdict::AlreadyCompact);
}

#[test]
fn growth_is_never_taken_for_a_gain() {
    let case = Case::raw().with(|c| c.ledger.freed_bytes = Some(-signed(GIB)));
    assert_eq!(case.ruling().verdict, Verdict::AlreadyCompact);
}

#[test]
fn what_leans_on_the_guest_says_so() {
    assert!(!Case::raw().ruling().on_guests_word);
    assert!(Case::flat(Format::Raw, 0, 0).ruling().on_guests_word);
    assert!(!Case::flat(Format::Qcow2, GIB, 0).ruling().on_guests_word);
}

#[test]
fn every_verdict_that_is_not_good_says_why() {
    for case in [Case::flat(Format::Raw, 0, 0), Case::flat(Format::Raw, GIB, 0).drive(State::Unknown)] {
        let ruling = case.ruling();
        assert!(!ruling.because.is_empty() && ruling.fix.is_some(), "{ruling:?}");
    }
}

#[test]
fn what_is_not_measured_says_why() {
    let case = Case::flat(Format::Raw, GIB, GIB).with(|c| {
        c.ledger.freed_bytes = None;
        c.findings.push(finding(Layer::Volume, State::Unknown, None));
    });
    let ruling = case.ruling();
    assert_eq!(ruling.because, "volume: text");
    assert!(ruling.fix.is_some());
}
