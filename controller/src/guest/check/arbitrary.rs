//! Arbitrary messages, and arbitrary bytes decoded: nothing panics, and what passes keeps to the bounds.

use std::collections::HashSet;

use proptest::prelude::*;
use prost::Message;
use trimtab_proto::v1;

use super::{
    tests::{good_hello, good_report, good_survey},
    *,
};
use crate::{
    guest::codec,
    model::{
        guest::{Device, Filesystem, GuestSurvey},
        run::{FilesystemRun, RunEvent, RunReport, Sent},
    },
};

/// What everything after the check may rely on, said once more and in another way.
fn survey_is_bounded(survey: &GuestSurvey) {
    let known: HashSet<_> = survey.devices.iter().map(|d| d.id.clone()).collect();
    assert_eq!(known.len(), survey.devices.len());
    let ids: HashSet<_> = survey.filesystems.iter().map(|fs| fs.id.clone()).collect();
    assert_eq!(ids.len(), survey.filesystems.len());
    assert!(survey.devices.len() <= MAX_DEVICES && survey.filesystems.len() <= MAX_FILESYSTEMS);
    for Device { id, name, size_bytes, lower_ids, .. } in &survey.devices {
        assert!(id.contains(':') && !name.is_empty() && *size_bytes <= MAX_BYTES);
        assert!(lower_ids.iter().all(|lower| known.contains(lower) && lower != id));
    }
    for Filesystem { mount, leaf_ids, used_bytes, skip, .. } in &survey.filesystems {
        assert!(
            mount.starts_with('/') && mount.len() <= MAX_PATH_BYTES && used_bytes.unwrap_or(0) <= MAX_BYTES
        );
        assert!(skip.is_some() || leaf_ids.iter().all(|leaf| known.contains(leaf)));
    }
}

fn report_is_bounded(report: &RunReport) {
    assert!(report.filesystems.len() <= MAX_FILESYSTEMS && report.sent.len() <= MAX_DEVICES);
    for Sent { discarded_bytes, written_bytes, .. } in &report.sent {
        assert!(discarded_bytes.unwrap_or(0) <= MAX_BYTES && written_bytes.unwrap_or(0) <= MAX_BYTES);
    }
    for FilesystemRun { claimed_bytes, passed_bytes, .. } in &report.filesystems {
        assert!(claimed_bytes.unwrap_or(0) <= MAX_BYTES && *passed_bytes <= MAX_BYTES);
    }
}

fn event_is_bounded(event: &Event) {
    match &event.what {
        RunEvent::State(report) | RunEvent::End(report) => report_is_bounded(report),
        RunEvent::Filesystem(fs) => assert!(fs.passed_bytes <= MAX_BYTES),
        RunEvent::Progress(progress) => assert!(progress.of_bytes <= MAX_BYTES),
    }
}

fn some_id() -> impl Strategy<Value = String> {
    prop_oneof![8 => (0..3_u32, 0..4_u32).prop_map(|(a, b)| format!("{a}:{b}")), 1 => ".{0,4}"]
}

fn some_bytes() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..1_u64 << 50, 1 => any::<u64>()]
}

prop_compose! {
    fn some_device()(id in some_id(), name in "[a-z]{0,3}", size in some_bytes(), kind in any::<i32>(),
        lower_ids in prop::collection::vec(some_id(), 0..2), discarded in prop::option::of(some_bytes())
    ) -> v1::Device {
        v1::Device { id, name, size, kind, lower_ids, discarded, ..Default::default() }
    }
}

prop_compose! {
    fn some_filesystem()(id in some_id(), mount in "/?.{0,5}", fs_type in "[a-z]{0,4}", device_id in some_id(),
        leaf_ids in prop::collection::vec(some_id(), 0..2), used in prop::option::of(some_bytes()),
        skip in prop::option::of((any::<i32>(), ".{0,5}"))
    ) -> v1::Filesystem {
        let skip = skip.map(|(reason, text)| v1::Skip { reason, text, device_id: String::new() });
        v1::Filesystem { id, mount, r#type: fs_type, device_id, leaf_ids, used, skip, ..Default::default() }
    }
}

prop_compose! {
    fn some_report()(run_id in "[a-z]{0,3}", state in any::<i32>(), stop in 0..9_i32, duration_ms in some_bytes(),
        sent in prop::collection::vec((some_id(), prop::option::of(some_bytes())), 0..4),
        runs in prop::collection::vec((some_id(), some_bytes(), any::<i32>()), 0..4)
    ) -> v1::RunReport {
        let sent = sent.into_iter().map(|(device_id, bytes)| v1::Sent { device_id, bytes, written: bytes }).collect();
        let filesystems = runs.into_iter().map(|(filesystem_id, passed, errno)| v1::FilesystemRun {
            filesystem_id, passed, failure: Some(v1::Failure { errno, ..Default::default() }), ..Default::default()
        }).collect();
        v1::RunReport { run_id, boot_id: "b".into(), state, stop, duration_ms, sent, filesystems, ..Default::default() }
    }
}

proptest! {
    #[test]
    fn any_survey(
        filesystems in prop::collection::vec(some_filesystem(), 0..4), devices in prop::collection::vec(some_device(), 0..6),
    ) {
        let reply = v1::SurveyReply { agent: Some(good_hello()), filesystems, devices, ..Default::default() };
        if let Ok(survey) = survey(reply) {
            survey_is_bounded(&survey);
        }
    }

    #[test]
    fn any_run(given in some_report(), which in 0..4, seq in any::<u64>(), elapsed_ms in some_bytes()) {
        use v1::trim_event::What;
        if let Ok(report) = report(given.clone()) {
            report_is_bounded(&report);
        }
        let what = match which {
            0 => Some(What::State(given)),
            1 => Some(What::End(given)),
            2 => given.filesystems.first().cloned().map(What::Filesystem),
            _ => Some(What::Progress(v1::Progress { sent: given.sent, ..Default::default() })),
        };
        if let Ok(event) = event(v1::TrimEvent { seq, elapsed_ms, what }) {
            event_is_bounded(&event);
        }
    }

    /// The whole way of an answer, from bytes that were a message before something happened to them.
    #[test]
    fn any_bytes(
        noise in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), which in 0..4,
    ) {
        let mut bytes = match which {
            0 => good_survey().encode_to_vec(),
            1 => good_report().encode_to_vec(),
            2 => good_hello().encode_to_vec(),
            _ => Vec::new(),
        };
        let at = at.index(bytes.len() + 1);
        let end = (at + noise.len() / 8).min(bytes.len());
        bytes.splice(at..end, noise);
        let bytes = prost::bytes::Bytes::from(bytes);
        if let Ok(survey) = codec::decode(bytes.clone()).and_then(survey) {
            survey_is_bounded(&survey);
        }
        if let Ok(report) = codec::decode(bytes.clone()).and_then(report) {
            report_is_bounded(&report);
        }
        if let Ok(event) = codec::decode(bytes.clone()).and_then(event) {
            event_is_bounded(&event);
        }
        let _ = codec::decode(bytes).and_then(hello);
    }
}
