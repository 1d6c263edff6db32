//! What stands in for [`ffi`](super) where trimtab is built without libvirt: nothing can be opened, so nothing else
//! is ever called.

use std::convert::Infallible;

use super::said::{Access, BlockJob, NOT_BUILT_IN, Number, Refused, Snapshot, Which};

/// Whether libvirt is part of this program.
pub(super) const BUILT_IN: bool = false;

/// There is none.
pub(super) struct Connection(Infallible);

/// There is none.
pub(super) struct Domain(Infallible);

impl Connection {
    pub(super) fn open(_: &str, _: Access) -> Result<Self, Refused> {
        Err(Refused {
            code: NOT_BUILT_IN,
            errno: 0,
            text: "this trimtab is built without libvirt".to_owned(),
        })
    }

    pub(super) fn domains(&self) -> Result<Vec<Domain>, Refused> {
        match self.0 {}
    }

    pub(super) fn domain(&self, _: &str) -> Result<Domain, Refused> {
        match self.0 {}
    }
}

impl Domain {
    pub(super) fn name(&self) -> Result<String, Refused> {
        match self.0 {}
    }

    pub(super) fn uuid(&self) -> Result<String, Refused> {
        match self.0 {}
    }

    pub(super) fn state(&self) -> Result<(i32, i32), Refused> {
        match self.0 {}
    }

    pub(super) fn xml(&self, _: Which) -> Result<String, Refused> {
        match self.0 {}
    }

    pub(super) fn block_job(&self, _: &str) -> Result<Option<BlockJob>, Refused> {
        match self.0 {}
    }

    pub(super) fn job(&self) -> Result<(i32, Vec<Number>), Refused> {
        match self.0 {}
    }

    pub(super) fn block_stats(&self) -> Result<Vec<Number>, Refused> {
        match self.0 {}
    }

    pub(super) fn snapshots(&self) -> Result<Vec<Snapshot>, Refused> {
        match self.0 {}
    }

    pub(super) fn guest_info(&self, _: u32) -> Result<Vec<Number>, Refused> {
        match self.0 {}
    }

    pub(super) fn fs_trim(&self, _: u64) -> Result<(), Refused> {
        match self.0 {}
    }

    pub(super) fn monitor(&self, _: &str) -> Result<String, Refused> {
        match self.0 {}
    }

    pub(super) fn is_persistent(&self) -> Result<bool, Refused> {
        match self.0 {}
    }

    pub(super) fn update_device(&self, _: &str) -> Result<(), Refused> {
        match self.0 {}
    }

    pub(super) fn attach_device(&self, _: &str) -> Result<(), Refused> {
        match self.0 {}
    }
}
