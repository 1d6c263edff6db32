//! An agent that lies, for a guest of its own: `trimtab-liar floods|lies SERIAL BYTES`. It surveys one empty disk of that
//! serial and size, by names full of control characters. Its trims free nothing: they flood the caller, or claim all of the
//! disk at once.

use anyhow::{Context, Result, bail};
use tokio_vsock::{VMADDR_CID_ANY, VsockAddr, VsockListener};
use trimtab_proto::{
    v1::{self, trim_event::What},
    words::{FilesystemState, RunState, StopReason},
};
use trimtab_tests::fake_agent::{FakeAgent, Script, Step, survey_of_one_disk};

/// Events of a flood.
const FLOOD: u64 = 50_000;
/// Clears the screen and pretends to be a prompt.
const MOUNT: &str = "/\u{1b}[2J\r\nroot@host:~# ";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [how, serial, bytes] = arguments.as_slice() else { bail!("trimtab-liar floods|lies SERIAL BYTES") };
    let events = if how == "floods" { FLOOD } else { 1 };
    let agent = FakeAgent::new(script(events, serial, bytes.parse().context("BYTES is no number")?));
    let listener = VsockListener::bind(VsockAddr::new(VMADDR_CID_ANY, trimtab_proto::DEFAULT_PORT))?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(agent.clone().answer(stream));
    }
}

fn script(events: u64, serial: &str, bytes: u64) -> Script {
    let mut survey = survey_of_one_disk(bytes);
    for disk in &mut survey.devices {
        disk.identity = Some(v1::Identity { serial: serial.to_owned(), ..Default::default() });
        disk.discard_granularity = Some(4096);
        disk.discard_max_bytes = Some(1 << 30);
    }
    for filesystem in &mut survey.filesystems {
        MOUNT.clone_into(&mut filesystem.mount);
    }
    let sent = |bytes| v1::Sent { device_id: "8:0".to_owned(), bytes: Some(bytes), written: Some(0) };
    let state = v1::RunReport { state: RunState::Running.into(), ..Default::default() };
    let flood = (0..events).map(|passed| {
        What::Progress(v1::Progress {
            filesystem_id: "8:0".to_owned(),
            passed: Some(passed),
            of: bytes,
            sent: vec![sent(passed)],
        })
    });
    let end = v1::RunReport {
        state: RunState::Ended.into(),
        stop: StopReason::Done.into(),
        filesystems: vec![v1::FilesystemRun {
            filesystem_id: "8:0".to_owned(),
            state: FilesystemState::Done.into(),
            claimed: Some(1 << 50),
            claim: v1::ClaimKind::Submitted.into(),
            passes: 1,
            passed: bytes,
            ..Default::default()
        }],
        sent: vec![sent(bytes)],
        settled: true,
        ..Default::default()
    };
    let says = [What::State(state)].into_iter().chain(flood).chain([What::End(end)]);
    Script::new(survey, says.map(Step::Say).collect())
}
