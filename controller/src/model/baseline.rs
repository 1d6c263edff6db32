//! What a VM's disks were like before its trim, so that whoever takes a lost run up again still knows.

use serde::{Deserialize, Serialize};

/// What each disk occupied before the trim. Stored before the guest is called, so that a crash loses no bytes of the
/// account.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Baseline {
    /// In the hypervisor's order.
    pub disks: Vec<BaselineDisk>,
}

/// One disk's reading before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BaselineDisk {
    /// The hypervisor's name of the device.
    pub device: String,
    /// (st_dev, st_ino) of the image.
    pub file: (u64, u64),
    /// What it occupied; `None` where nothing measures it.
    pub allocated_bytes: Option<u64>,
    /// What the guest had written, by the hypervisor's counter since it opened the image.
    pub written_bytes: Option<u64>,
    /// What had arrived, likewise.
    pub arrived_bytes: Option<u64>,
    /// Requests that had failed, likewise.
    pub failed_requests: Option<u64>,
    /// Reads, writes and flushes that had failed, likewise.
    pub failed_io: Option<u64>,
}

impl Baseline {
    /// The reading of a device, if it has the same image still.
    pub fn of(&self, device: &str, file: (u64, u64)) -> Option<&BaselineDisk> {
        self.disks.iter().find(|disk| disk.device == device && disk.file == file)
    }
}
