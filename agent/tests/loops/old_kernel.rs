//! On a kernel that lacks what newer ones have, the agent says what it misses and goes on. Seccomp filters answer as
//! such a kernel would.

use std::{collections::BTreeMap, env::consts::ARCH, fs, process::Output, thread, time::Duration};

use nix::{
    errno::Errno,
    libc,
    sys::{
        memfd::{MFdFlags, memfd_create},
        signal::Signal,
        socket::{AddressFamily, SockFlag, SockType, socket},
    },
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};
use serde_json::Value;
use trimtab_proto::{v1, words::StopReason};

use crate::{
    client::{all, connect, end, request, slow, stop, under_way},
    rig::{Disk, GIB, Long, MIB, Mounted, Scratch, Serving, agent, json, trim, workers_of},
};

/// What Linux 4.4 lacks. System calls are numbered in the order of their coming, so all from copy_file_range (4.5) on
/// are gone: statx (4.11), rseq (4.18), io_uring (5.1), pidfd_open and clone3 (5.3), openat2 (5.6), faccessat2 (5.8),
/// close_range (5.9), epoll_pwait2 (5.11) and whatever came since. So are getrandom and memfd_create (3.17),
/// FS_IOC_GETFSMAP (4.12) and AF_VSOCK (in guests 4.8).
fn filters() -> [BpfProgram; 3] {
    let newer_calls = (libc::SYS_copy_file_range..libc::SYS_copy_file_range + 300)
        .chain([libc::SYS_getrandom, libc::SYS_memfd_create])
        .map(|call| (call, Vec::new()))
        .collect();
    let vsock = only_if(libc::SYS_socket, 0, u64::try_from(libc::AF_VSOCK).unwrap());
    // linux/fsmap.h: _IOWR('X', 59, struct fsmap_head).
    let fsmap = only_if(libc::SYS_ioctl, 1, nix::request_code_readwrite!(b'X', 59, 192));
    [answer(libc::ENOSYS, newer_calls), answer(libc::EAFNOSUPPORT, vsock), answer(libc::ENOTTY, fsmap)]
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// A call with an argument, counted from 0, of this value.
fn only_if(call: i64, argument: u8, value: u64) -> Rules {
    let is = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value).unwrap();
    BTreeMap::from([(call, vec![SeccompRule::new(vec![is]).unwrap()])])
}

fn answer(errno: i32, rules: Rules) -> BpfProgram {
    let refuse = SeccompAction::Errno(u32::try_from(errno).unwrap());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, ARCH.try_into().unwrap());
    filter.unwrap().try_into().unwrap()
}

/// Does something on a thread that has the filters, as have the processes that it starts. They end with the thread.
fn on_old_kernel<T: Send>(action: impl FnOnce() -> T + Send) -> T {
    let filtered = || {
        for filter in filters() {
            apply_filter(&filter).unwrap();
        }
        // Or the tests below would pass on the new kernel's answers.
        assert_eq!(memfd_create("x", MFdFlags::empty()).unwrap_err(), Errno::ENOSYS);
        let vsock = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::empty(), None);
        assert_eq!(vsock.unwrap_err(), Errno::EAFNOSUPPORT);
        action()
    };
    thread::scope(|scope| scope.spawn(filtered).join().unwrap())
}

fn document(out: &Output) -> Value {
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    json(out)
}

fn filesystem<'a>(document: &'a Value, mounted: &Mounted) -> &'a Value {
    let all = document["filesystems"].as_array().unwrap();
    all.iter().find(|fs| fs["mount"] == *mounted.path.to_string_lossy()).expect("it is in the document")
}

#[test]
fn by_hand() {
    for fs_type in ["ext4", "xfs", "btrfs"] {
        let scratch = Scratch::new();
        let disk = Disk::new(&scratch, fs_type, GIB);
        let mounted = Mounted::new(&scratch, fs_type, &disk.device);
        let deleted = 60 * MIB;
        let checksum = mounted.write_and_delete(20 * MIB, deleted);

        let survey =
            document(&on_old_kernel(|| agent(&scratch).args(["survey", "--json"]).output().unwrap()));
        let fs = filesystem(&survey, &mounted);
        assert_eq!(fs["skipped"], Value::Null, "{fs_type}");
        assert!(fs["used_bytes"].as_u64() > Some(20 * MIB), "{fs_type}: {fs}");
        assert_eq!(fs["free_extents"], Value::Array(Vec::new()), "{fs_type}");
        let missing = survey["missing"].as_array().unwrap();
        let lacks_map = missing.iter().any(|text| text.as_str().unwrap().contains("FS_IOC_GETFSMAP"));
        // btrfs has no such map on any kernel.
        assert!(lacks_map || fs_type == "btrfs", "{fs_type}: {missing:?}");

        let before = disk.allocated();
        let report =
            document(&on_old_kernel(|| trim(&scratch, &["--json", &mounted.path.to_string_lossy()])));
        assert!(before - disk.allocated() >= deleted / 100 * 95, "{fs_type}");
        assert_eq!(mounted.checksum(), checksum, "{fs_type}");
        assert_eq!(filesystem(&report, &mounted)["state"], "done", "{fs_type}");
        assert!(report["disks"][0]["sent_bytes"].as_u64() >= Some(deleted), "{fs_type}: {report}");
    }
}

#[tokio::test]
async fn it_serves() {
    let scratch = Scratch::new();
    let long = Long::new(&scratch);
    let mut serving = on_old_kernel(|| Serving::start(&scratch));
    let mut client = connect(&serving.socket).await;
    client.hello(v1::HelloRequest::default()).await.unwrap();
    let survey = client.survey(v1::SurveyRequest {}).await.unwrap().into_inner();
    let fs = survey.filesystems.iter().find(|fs| fs.id == long.id()).expect("the filesystem is surveyed");
    assert!(fs.used.is_some() && fs.free_extents.is_empty(), "{fs:?}");

    let whole = request(1, &[&long.id()]);
    let report = end(&all(client.trim(whole).await.unwrap().into_inner()).await);
    assert_eq!(stop(&report), Some(StopReason::Done));
    assert!(report.settled && report.sent[0].bytes > Some(200 * GIB), "{report:?}");

    // The end of a worker is noticed without a descriptor of it, and SIGTERM without signalfd's successors.
    let again = v1::TrimRequest { again: true, ..slow(2, &[&long.id()]) };
    let stream = under_way(&mut client, again).await;
    let worker = workers_of(serving.child.id())[0];
    let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    assert!(status.contains("Seccomp:\t2"), "the worker has the filters too: {status}");
    serving.signal(Signal::SIGTERM);
    assert_eq!(stop(&end(&all(stream).await)), Some(StopReason::Shutdown));
    assert_eq!(serving.wait(Duration::from_secs(5)), Some(0));
    assert_eq!(workers_of(serving.child.id()), Vec::<i32>::new());
}

#[test]
fn without_vsock_it_says_what_brings_it() {
    let scratch = Scratch::new();
    let out = on_old_kernel(|| agent(&scratch).args(["serve", "--listen", "vsock:874"]).output().unwrap());
    let text = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(text.contains("vsock port 874") && text.contains("has no vsock: it takes Linux 4.8"), "{text}");
}
