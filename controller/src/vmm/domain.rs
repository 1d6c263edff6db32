//! A domain of libvirt: its live XML says nearly all; what a discard came to only QEMU's monitor knows, which is asked
//! over a socket of its own where there is one, or through libvirt where its owner lets that taint the domain.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Monitor,
    blocks::{self, Block, FoundDisk, Job, Node, Stats},
    protocol::{self, Line},
    qmp::Session,
};
use crate::{
    libvirt::Libvirt,
    model::{
        disk::{DiskCounters, HostDisk, VmState, VmmView},
        trouble::{Kind, Trouble},
        vm::DomainId,
    },
};

/// State, XML, jobs, snapshots; with a monitor dirty bitmaps, too.
pub(super) async fn look(domain: &DomainId, monitor: &Monitor) -> Result<VmmView, Trouble> {
    let mut view = Libvirt::new(domain.uri.clone()).look(domain).await?;
    if *monitor != Monitor::None && view.vm.state != Some(VmState::Off) {
        add(&mut view.disks, &seen_by_monitor(domain, monitor).await?);
    }
    Ok(view)
}

/// What was written, and with a monitor what arrived.
pub(super) async fn counters(
    domain: &DomainId,
    monitor: &Monitor,
) -> Result<Vec<(String, DiskCounters)>, Trouble> {
    if *monitor == Monitor::None {
        return Libvirt::new(domain.uri.clone()).written(domain).await;
    }
    let [stats] = ask(domain, monitor, [("query-blockstats", Value::Null)]).await?;
    let stats: Vec<Stats> = read(domain, stats)?;
    let by_alias = |(device, counters): (String, DiskCounters)| (alias(&device).to_owned(), counters);
    Ok(blocks::counters(&stats).into_iter().map(by_alias).collect())
}

/// QEMU's own view of the disks.
async fn seen_by_monitor(domain: &DomainId, monitor: &Monitor) -> Result<Vec<FoundDisk>, Trouble> {
    let commands = [
        ("query-block", Value::Null),
        ("query-named-block-nodes", json!({ "flat": true })),
        ("query-blockstats", Value::Null),
        ("query-block-jobs", Value::Null),
    ];
    let [blocks, nodes, stats, jobs] = ask(domain, monitor, commands).await?;
    let blocks: Vec<Block> = read(domain, blocks)?;
    let nodes: Vec<Node> = read(domain, nodes)?;
    let stats: Vec<Stats> = read(domain, stats)?;
    let jobs: Vec<Job> = read(domain, jobs)?;
    Ok(blocks::disks(&blocks, &nodes, &stats, &jobs, |_| None))
}

/// An answer for each command.
async fn ask<const N: usize>(
    domain: &DomainId,
    monitor: &Monitor,
    commands: [(&str, Value); N],
) -> Result<[Value; N], Trouble> {
    let mut answers = Vec::new();
    if let Monitor::Socket(socket) = monitor {
        let mut session = Session::open(socket).await?;
        for (name, arguments) in &commands {
            answers.push(session.ask(name, arguments).await?);
        }
    } else {
        let lines = commands.iter().map(|(name, arguments)| command(name, arguments)).collect();
        for line in Libvirt::new(domain.uri.clone()).monitor(domain, lines).await? {
            answers.push(returned(domain, &line)?);
        }
    }
    answers.try_into().map_err(|_| nonsense(domain, "fewer lines than it was asked for"))
}

/// Adds what the XML cannot say. Where both know a thing, libvirt's word stands.
fn add(disks: &mut [HostDisk], seen: &[FoundDisk]) {
    for disk in disks {
        let Some(found) = seen.iter().find(|found| alias(&found.disk.device) == disk.device) else {
            continue;
        };
        disk.dirty_bitmaps = found.disk.dirty_bitmaps;
        disk.virtual_bytes = disk.virtual_bytes.or(found.disk.virtual_bytes);
        disk.block_job = disk.block_job.take().or_else(|| found.disk.block_job.clone());
    }
}

/// libvirt's name of a device out of QEMU's: the device's id, or its QOM path with what virtio puts behind it.
fn alias(qdev: &str) -> &str {
    let id = qdev.strip_prefix("/machine/peripheral/").unwrap_or(qdev);
    id.strip_suffix("/virtio-backend").unwrap_or(id)
}

fn command(name: &str, arguments: &Value) -> String {
    String::from_utf8_lossy(&protocol::command(name, arguments)).trim_end().to_owned()
}

fn returned(domain: &DomainId, line: &str) -> Result<Value, Trouble> {
    match protocol::parse(line.as_bytes()).map_err(|what| nonsense(domain, &what))? {
        Line::Return(value) => Ok(value),
        Line::Error(refused) => Err(nonsense(domain, &format!("that it refuses: {refused}"))),
        Line::Greeting | Line::Event => Err(nonsense(domain, "out of turn")),
    }
}

fn read<T: DeserializeOwned>(domain: &DomainId, value: Value) -> Result<T, Trouble> {
    serde_json::from_value(value).map_err(|error| nonsense(domain, &error.to_string()))
}

fn nonsense(domain: &DomainId, what: &str) -> Trouble {
    let DomainId { uri, name, .. } = domain;
    Trouble::new(Kind::QmpNonsense, format!("libvirt ({uri}), domain {name}: its monitor answered {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::uri::Uri;

    #[test]
    fn aliases() {
        for (qdev, expected) in [
            ("/machine/peripheral/virtio-disk0/virtio-backend", "virtio-disk0"),
            ("scsi0-0-3-1", "scsi0-0-3-1"),
            ("/machine/peripheral/ua-mine", "ua-mine"),
            ("/machine/peripheral-anon/device[0]", "/machine/peripheral-anon/device[0]"),
        ] {
            assert_eq!(alias(qdev), expected);
        }
    }

    #[test]
    fn answers_of_a_monitor() {
        let domain = DomainId { uri: Uri::default(), name: "web".into(), uuid: "u".into() };
        assert_eq!(returned(&domain, r#"{"return":[1,2],"id":"libvirt-7"}"#), Ok(json!([1, 2])));
        for line in [r#"{"error":{"class":"GenericError","desc":"no"}}"#, r#"{"event":"STOP"}"#, "", "{}"] {
            let trouble = returned(&domain, line).unwrap_err();
            assert_eq!(trouble.kind, Kind::QmpNonsense, "{line}");
            assert!(trouble.text.contains("domain web"), "{trouble}");
        }
        assert_eq!(read::<Vec<u32>>(&domain, json!({})).unwrap_err().kind, Kind::QmpNonsense);
    }
}
