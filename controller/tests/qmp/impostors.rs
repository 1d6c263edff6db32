//! What may sit behind a path that should be QMP: none of it hangs, floods or misleads.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use trimtab_controller::{
    model::trouble::{Kind, Trouble},
    trim::ports::Vmm,
    vmm::HostVmm,
};

const GREETING: &[u8] = b"{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n";
const OK: &[u8] = b"{\"return\": {}}\r\n";

/// Serves one client with `behave` and looks at it.
async fn against(behave: impl FnOnce(&mut UnixStream) + Send + 'static) -> Trouble {
    let directory = TempDir::new().unwrap();
    let socket: PathBuf = directory.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        behave(&mut client);
    });
    let began = Instant::now();
    let trouble = HostVmm::Qmp { socket, declared: Vec::new() }.look().await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(8), "{trouble} after {:?}", began.elapsed());
    trouble
}

/// The next command, whatever it is.
fn heard(client: &mut UnixStream) {
    let mut byte = [0];
    while client.read(&mut byte).is_ok_and(|read| read == 1) && byte != *b"\n" {}
}

/// Until the other side has gone.
fn hold(client: &mut UnixStream) {
    while client.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
}

#[tokio::test]
async fn not_qmp_at_all() {
    let trouble = against(|client| {
        let _ = client.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n");
        hold(client);
    })
    .await;
    assert_eq!(trouble.kind, Kind::QmpNonsense, "{trouble}");
    assert!(!trouble.text.contains("OpenSSH"), "what it said is not repeated: {trouble}");
}

#[tokio::test]
async fn an_answer_before_the_greeting() {
    let trouble = against(|client| {
        let _ = client.write_all(OK);
        hold(client);
    })
    .await;
    assert_eq!(trouble.kind, Kind::QmpNonsense, "{trouble}");
}

#[tokio::test]
async fn closes_at_once() {
    let trouble = against(|_| {}).await;
    assert_eq!(trouble.kind, Kind::NoQmp, "{trouble}");
    assert!(trouble.text.ends_with("closed the connection"), "{trouble}");
}

#[tokio::test]
async fn greets_and_says_nothing_more() {
    let trouble = against(|client| {
        let _ = client.write_all(GREETING);
        hold(client);
    })
    .await;
    assert_eq!(trouble.kind, Kind::NoQmp, "{trouble}");
    assert!(trouble.text.ends_with("did not answer within 5 s"), "{trouble}");
}

#[tokio::test]
async fn a_byte_at_a_time() {
    let trouble = against(|client| {
        for byte in GREETING.iter().cycle() {
            if client.write_all(&[*byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(200));
        }
    })
    .await;
    assert_eq!(trouble.kind, Kind::NoQmp, "{trouble}");
}

#[tokio::test]
async fn a_line_without_end() {
    let trouble = against(|client| {
        let _ = client.write_all(GREETING);
        while client.write_all(&[b'x'; 1 << 16]).is_ok() {}
    })
    .await;
    assert_eq!(trouble.kind, Kind::QmpNonsense, "{trouble}");
    assert!(trouble.text.contains("a line of more than 8 MiB"), "{trouble}");
}

#[tokio::test]
async fn events_without_end() {
    let trouble = against(|client| {
        let _ = client.write_all(GREETING);
        while client.write_all(b"{\"event\": \"STOP\"}\r\n").is_ok() {}
    })
    .await;
    assert_eq!(trouble.kind, Kind::NoQmp, "{trouble}");
}

#[tokio::test]
async fn answers_of_another_shape() {
    let trouble = against(|client| {
        let _ = client.write_all(GREETING);
        heard(client);
        let _ = client.write_all(OK);
        heard(client);
        let _ = client.write_all(b"{\"return\": [1, 2, 3]}\r\n");
        hold(client);
    })
    .await;
    assert_eq!(trouble.kind, Kind::QmpNonsense, "{trouble}");
    assert!(trouble.text.contains("query-status"), "{trouble}");
}

#[tokio::test]
async fn an_answer_nested_without_end() {
    let trouble = against(|client| {
        let _ = client.write_all(GREETING);
        heard(client);
        let _ = client.write_all(OK);
        heard(client);
        let _ = client.write_all(b"{\"return\": ");
        let _ = client.write_all(&[b'['; 1 << 20]);
        let _ = client.write_all(b"\r\n");
        hold(client);
    })
    .await;
    assert_eq!(trouble.kind, Kind::QmpNonsense, "{trouble}");
}

#[tokio::test]
async fn a_qemu_that_refuses_a_query() {
    let trouble = against(|client| {
        let _ = client.write_all(GREETING);
        heard(client);
        let _ = client.write_all(OK);
        heard(client);
        let _ =
            client.write_all(b"{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"not here\"}}\r\n");
        hold(client);
    })
    .await;
    assert_eq!(trouble.kind, Kind::QmpNonsense, "{trouble}");
    assert!(trouble.text.contains("query-status is refused: not here"), "{trouble}");
}
