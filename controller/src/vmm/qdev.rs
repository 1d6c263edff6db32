//! What QEMU's device model says of a disk's front end: its model, serial, wwn and address, by qom-get.
//!
//! Properties that a model does not have are refused by QEMU, and are then "not known".

use serde::Deserialize;
use serde_json::{Value, json};

use super::qmp::Session;
use crate::model::{disk::Address, trouble::Trouble};

/// A front end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct FrontEnd {
    /// "scsi-hd", "virtio-blk-pci", …
    pub(super) model: String,
    pub(super) serial: Option<String>,
    pub(super) wwn: Option<u64>,
    pub(super) address: Option<Address>,
}

/// query-pci, as far as it says which bus is behind which bridge.
#[derive(Deserialize)]
struct PciBus {
    devices: Vec<PciDevice>,
}

#[derive(Deserialize)]
struct PciDevice {
    qdev_id: String,
    pci_bridge: Option<PciBridge>,
}

#[derive(Deserialize)]
struct PciBridge {
    bus: PciBridgeBus,
    #[serde(default)]
    devices: Vec<PciDevice>,
}

#[derive(Deserialize)]
struct PciBridgeBus {
    secondary: u8,
}

/// Flash that holds firmware: a writable drive, but none that a guest trims.
pub(super) fn is_firmware(model: &str) -> bool {
    model.starts_with("cfi.pflash")
}

/// Reads the front end that query-block calls `qdev`.
pub(super) async fn read(session: &mut Session, qdev: &str) -> Result<FrontEnd, Trouble> {
    let device = object(qdev);
    let model = text(session, &device, "type").await?.unwrap_or_default();
    // A namespace of its own: serial and address are its controller's.
    let device = match (model.as_str(), bus(session, &device).await?) {
        ("nvme-ns", Some(bus)) => bus.device,
        _ => device,
    };
    let serial = text(session, &device, "serial").await?;
    let wwn =
        number(session, &device, "wwn").await?.and_then(|wwn| u64::try_from(wwn).ok()).filter(|&w| w != 0);
    let address = match model.as_str() {
        scsi if scsi.starts_with("scsi-") => scsi_address(session, &device).await?,
        pci if pci.starts_with("virtio-blk-pci") || pci.starts_with("nvme") => {
            pci_address(session, &device).await?
        }
        // Behind IDE and AHCI the guest numbers the ports itself.
        _ => None,
    };
    Ok(FrontEnd { model, serial, wwn, address })
}

/// The QOM path of the device that has the properties: virtio's outer one.
fn object(qdev: &str) -> String {
    if qdev.starts_with('/') {
        qdev.strip_suffix("/virtio-backend").unwrap_or(qdev).to_owned()
    } else {
        format!("/machine/peripheral/{qdev}")
    }
}

async fn scsi_address(session: &mut Session, device: &str) -> Result<Option<Address>, Trouble> {
    let mut part = [None; 3];
    for (slot, property) in part.iter_mut().zip(["channel", "scsi-id", "lun"]) {
        *slot = number(session, device, property).await?.and_then(|n| u32::try_from(n).ok());
    }
    let [Some(channel), Some(target), Some(lun)] = part else { return Ok(None) };
    Ok(Some(Address::Scsi { channel, target, lun }))
}

async fn pci_address(session: &mut Session, device: &str) -> Result<Option<Address>, Trouble> {
    let Some(devfn) = number(session, device, "addr").await?.and_then(|n| u8::try_from(n).ok()) else {
        return Ok(None);
    };
    let Some(bus) = bus(session, device).await? else { return Ok(None) };
    let host = text(session, &bus.device, "type").await?.unwrap_or_default();
    let number = if host.ends_with("pcihost") {
        Some(0)
    } else {
        let tree = session.ask_raw("query-pci", &Value::Null).await?;
        let tree: Vec<PciBus> =
            tree.ok().and_then(|tree| serde_json::from_value(tree).ok()).unwrap_or_default();
        let id = bus.device.strip_prefix("/machine/peripheral/");
        id.and_then(|id| tree.iter().find_map(|root| bus_behind(&root.devices, id)))
    };
    Ok(number.map(|bus| Address::Pci(pci_text(bus, devfn))))
}

fn pci_text(bus: u8, devfn: u8) -> String {
    format!("0000:{bus:02x}:{:02x}.{:x}", devfn >> 3, devfn & 7)
}

/// The bus that a bridge leads to; none before the firmware has numbered it.
fn bus_behind(devices: &[PciDevice], bridge: &str) -> Option<u8> {
    devices.iter().find_map(|device| {
        let behind = device.pci_bridge.as_ref()?;
        if device.qdev_id == bridge {
            Some(behind.bus.secondary).filter(|&bus| bus != 0)
        } else {
            bus_behind(&behind.devices, bridge)
        }
    })
}

/// The bus that a device sits on.
struct Bus {
    /// The QOM path of the device that has this bus.
    device: String,
}

async fn bus(session: &mut Session, device: &str) -> Result<Option<Bus>, Trouble> {
    let bus = text(session, device, "parent_bus").await?;
    Ok(bus.and_then(|path| path.rsplit_once('/').map(|(device, _)| Bus { device: device.to_owned() })))
}

async fn text(session: &mut Session, path: &str, property: &str) -> Result<Option<String>, Trouble> {
    let value = get(session, path, property).await?;
    Ok(value.and_then(|value| value.as_str().map(str::to_owned)).filter(|text| !text.is_empty()))
}

async fn number(session: &mut Session, path: &str, property: &str) -> Result<Option<i128>, Trouble> {
    let value = get(session, path, property).await?;
    Ok(value.and_then(|value| value.as_u64().map(i128::from).or_else(|| value.as_i64().map(i128::from))))
}

async fn get(session: &mut Session, path: &str, property: &str) -> Result<Option<Value>, Trouble> {
    Ok(session.ask_raw("qom-get", &json!({ "path": path, "property": property })).await?.ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects() {
        for (qdev, expected) in [
            ("nv", "/machine/peripheral/nv"),
            ("/machine/peripheral/rpd/virtio-backend", "/machine/peripheral/rpd"),
            ("/machine/peripheral-anon/device[0]", "/machine/peripheral-anon/device[0]"),
        ] {
            assert_eq!(object(qdev), expected);
        }
    }

    #[test]
    fn pci_addresses_as_linux_writes_them() {
        assert_eq!(pci_text(0, 0x10), "0000:00:02.0");
        assert_eq!(pci_text(0x1f, 0xfa), "0000:1f:1f.2");
    }

    #[test]
    fn the_bus_behind_a_bridge() {
        let tree: Vec<PciBus> = serde_json::from_value(json!([{"bus": 0, "devices": [
            {"qdev_id": "s0"},
            {"qdev_id": "rp1", "pci_bridge": {"bus": {"secondary": 1}, "devices": [
                {"qdev_id": "inner", "pci_bridge": {"bus": {"secondary": 2}}}]}},
            {"qdev_id": "new", "pci_bridge": {"bus": {"secondary": 0}}},
        ]}]))
        .unwrap();
        let behind = |id| tree.iter().find_map(|root| bus_behind(&root.devices, id));
        for (name, id, expected) in [
            ("a root port", "rp1", Some(1)),
            ("a bridge behind a bridge", "inner", Some(2)),
            ("not numbered yet", "new", None),
            ("no bridge", "s0", None),
            ("unknown", "x", None),
        ] {
            assert_eq!(behind(id), expected, "{name}");
        }
    }
}
