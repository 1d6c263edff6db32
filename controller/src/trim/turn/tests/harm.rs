//! What the host saw get worse, whatever the trim came to.

use super::*;
use crate::trim::fakes::Script;

fn harmed(change: impl FnOnce(&mut Script)) -> FakeVm {
    let vm = healthy();
    vm.script(change);
    vm
}

#[tokio::test(start_paused = true)]
async fn what_failed_on_the_host_is_told_and_the_account_stands() {
    let one = harmed(|s| s.counters_after.failed_io = Some(8));
    let three = harmed(|s| s.counters_after.failed_io = Some(10));
    let read_only = harmed(|s| s.options_after = Some("ro,relatime".into()));
    for (vm, text) in [
        (one, "sda: a read or write failed on this host during the trim"),
        (three, "sda: 3 reads or writes failed on this host during the trim"),
        (read_only, " became read-only on this host during the trim"),
    ] {
        let outcome = run(&vm).await.unwrap();
        let trouble = outcome.trouble.unwrap();
        assert_eq!(trouble.kind, Kind::StorageWorse);
        assert!(trouble.text.ends_with(text), "{trouble}");
        assert_eq!(outcome.disks[0].ruling.verdict, Verdict::Reclaimed);
        assert_eq!(outcome.disks[0].ledger.freed_bytes, Some(4 << 30));
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_qemu_marked_as_corrupt_is_told() {
    let mut vm = FakeVm::new(Sample::qcow2(HEADER));
    let sound = healthy();
    vm.before = sound.before;
    sound.script(|from| {
        vm.script(|to| {
            to.streams = std::mem::take(&mut from.streams);
            to.counters_after = from.counters_after;
            to.corrupt_after = true;
        })
    });
    let outcome = run(&vm).await.unwrap();
    let text = outcome.trouble.unwrap().text;
    assert_eq!(text, "sda: QEMU marked its image as corrupt during the trim");
}

#[tokio::test(start_paused = true)]
async fn a_counter_that_began_anew_is_no_harm() {
    let vm = harmed(|s| s.counters_after.failed_io = Some(2));
    assert_eq!(run(&vm).await.unwrap().trouble, None);
}

#[tokio::test(start_paused = true)]
async fn a_datastore_that_was_read_only_before_is_no_harm() {
    let mut vm = harmed(|s| s.options_after = Some("ro".into()));
    vm.place.datastore.as_mut().unwrap().options = "ro".into();
    assert_eq!(run(&vm).await.unwrap().trouble, None);
}
