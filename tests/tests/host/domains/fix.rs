//! What the doctor mends in a domain's configuration, and that nothing else of it changes.

use std::fs;

use anyhow::{Context, Result, ensure};
use trimtab_controller::libvirt::Libvirt as Room;
use trimtab_controller::libvirt::fix::{Change, Mend, Planned};
use trimtab_controller::model::disk::DriveDiscard;
use trimtab_controller::model::trouble::Kind;
use trimtab_controller::model::vm::DomainId;
use trimtab_tests::libvirt::Libvirt;

use super::{Shape, disk, qemu_img, raw};

/// With a password, and with what a careless edit would lose.
const DEVICES: &str = "
    <disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none' io='native'/>
      <source file='IMAGES/system.qcow2'/><target dev='vda' bus='virtio'/><iotune><total_iops_sec>77</total_iops_sec>
      </iotune><serial>SYSTEM</serial><boot order='1'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='raw' discard='ignore'/>
      <source file='IMAGES/data.img'/><target dev='vdb' bus='virtio'/></disk>
    <graphics type='vnc' passwd='secret7'><listen type='socket'/></graphics>";

struct Mended {
    shape: Shape,
    room: Room,
    id: DomainId,
}

async fn mended(libvirt: &Libvirt) -> Result<Mended> {
    qemu_img(libvirt, "-f qcow2 system.qcow2 64M")?;
    raw(libvirt, "data.img")?;
    let shape = Shape::start(libvirt, "mended", DEVICES)?;
    let id = shape.vm().await?.domain.context("no domain")?.id;
    Ok(Mended { shape, room: Room::new(id.uri.clone()), id })
}

impl Mended {
    /// All of its configuration.
    fn configuration(&self) -> Result<Vec<String>> {
        let text = self.shape.virsh_with("dumpxml", &["--inactive", "--security-info"])?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    async fn change(&self, mend: &Mend) -> Result<Change> {
        match self.room.plan(&self.id, mend).await? {
            Planned::Change(change) => Ok(change),
            Planned::AlreadyThere => anyhow::bail!("nothing to change: {mend:?}"),
        }
    }
}

fn discard(target: &str) -> Mend {
    Mend::Discard { target: target.into() }
}

#[tokio::test]
async fn discard_on_one_disk_and_nothing_else() -> Result<()> {
    let libvirt = Libvirt::start()?;
    let mended = mended(&libvirt).await?;
    let before = mended.configuration()?;
    for (target, was, will) in [
        ("vda", "<driver name='qemu' type='qcow2'", "<driver discard='unmap' name='qemu' type='qcow2'"),
        ("vdb", "discard='ignore'", "discard='unmap'"),
    ] {
        let change = mended.change(&discard(target)).await?;
        ensure!(change.before.as_ref().is_some_and(|element| element.contains(was)), "{change:?}");
        ensure!(change.after.contains(will), "{change:?}");
        ensure!(mended.configuration()?.join("\n").contains(was), "a plan changes nothing");
        mended.room.apply(&mended.id, &change).await?;
        ensure!(mended.room.plan(&mended.id, &discard(target)).await? == Planned::AlreadyThere);
        let again = mended.room.apply(&mended.id, &change).await;
        ensure!(again.is_err_and(|trouble| trouble.text.contains("changed meanwhile")));
    }
    let after = mended.configuration()?;
    let changed: Vec<_> = before.iter().zip(&after).filter(|(was, is)| was != is).collect();
    ensure!(before.len() == after.len() && changed.len() == 2, "{changed:?}");
    ensure!(
        changed.iter().all(|(_, is)| is.contains("<driver") && is.contains("discard='unmap'")),
        "{changed:?}"
    );
    ensure!(after.iter().any(|line| line.contains("passwd='secret7'")), "{after:?}");

    let live = mended.shape.look().await?;
    ensure!(
        live.disks.iter().all(|disk| disk.discard == DriveDiscard::Ignore),
        "until the next start: {live:?}"
    );
    mended.shape.virsh("destroy")?;
    mended.shape.virsh("start")?;
    let live = mended.shape.look().await?;
    ensure!(
        disk(&live, "vda")?.discard == DriveDiscard::Unmap
            && disk(&live, "vdb")?.discard == DriveDiscard::Unmap
    );
    ensure!(!mended.shape.is_tainted()?);
    Ok(())
}

#[tokio::test]
async fn a_vsock_device_where_the_host_has_what_it_takes() -> Result<()> {
    let libvirt = Libvirt::start()?;
    let mended = mended(&libvirt).await?;
    let missing = Mend::Vsock { device: libvirt.directory().join("vhost-vsock") };
    let refused = mended.room.plan(&mended.id, &missing).await.err().context("it would not start")?;
    ensure!(refused.hint.is_some_and(|hint| hint.contains("modprobe vhost_vsock")));

    let mend = Mend::Vsock { device: "/dev/null".into() };
    let change = mended.change(&mend).await?;
    ensure!(change.before.is_none() && change.after.contains("<cid auto='yes'/>"), "{change:?}");
    mended.room.apply(&mended.id, &change).await?;
    let after = mended.configuration()?.join("\n");
    ensure!(after.contains("<vsock model='virtio'>") && after.contains("passwd='secret7'"), "{after}");
    ensure!(mended.room.plan(&mended.id, &mend).await? == Planned::AlreadyThere);
    ensure!(!mended.shape.virsh("dumpxml")?.contains("<vsock"), "it is there from the next start on");
    Ok(())
}

#[tokio::test]
async fn what_is_not_mended() -> Result<()> {
    let libvirt = Libvirt::start()?;
    let mended = mended(&libvirt).await?;
    let no_disk = mended.room.plan(&mended.id, &discard("vdz")).await.err().context("there is no vdz")?;
    ensure!(no_disk.text.contains("no disk vdz"), "{no_disk}");

    // A reader may see the change, and not make it.
    let uri = libvirt.read_only_uri().parse()?;
    let (reader, id) = (Room::new(uri), mended.id.clone());
    let Planned::Change(change) = reader.plan(&id, &discard("vda")).await? else {
        anyhow::bail!("no change")
    };
    let denied = reader.apply(&id, &change).await.err().context("a reader has changed a domain")?;
    ensure!(denied.kind == Kind::NoPermission && denied.hint.is_some(), "{denied:?}");
    ensure!(!mended.configuration()?.join("\n").contains("unmap"));

    raw(&libvirt, "transient.img")?;
    let shape = Shape::define(
        &libvirt,
        "transient",
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='IMAGES/transient.img'/>
           <target dev='sda' bus='scsi'/></disk>",
    )?;
    let file = libvirt.directory().join("transient.xml");
    fs::write(&file, shape.virsh("dumpxml")?)?;
    shape.virsh("undefine")?;
    libvirt.virsh(&["create", &file.display().to_string()])?;
    let id = shape.vm().await?.domain.context("no domain")?.id;
    let transient = mended.room.plan(&id, &discard("sda")).await.err().context("nothing would keep it")?;
    ensure!(transient.text.contains("transient"), "{transient}");
    Ok(())
}
