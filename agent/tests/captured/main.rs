//! Surveys of captured trees: what real kernels said, stack by stack. `fixtures/capture` makes them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that meets the unforeseen has failed")]

mod stacks;
mod tree;

use std::{fs, io, path::Path, time::Instant};

use trimtab_agent::{
    model::{Device, Filesystem, FreeExtents, Survey},
    select::Policy,
    sys::{
        FreeSpace, Roots,
        live::{Place, Space},
        survey,
    },
};

/// A filesystem that is half full, wherever it is; attributes from the tree.
struct Half;

impl FreeSpace for Half {
    fn is_directory(&self, _: &Path, _: Instant) -> io::Result<bool> {
        Ok(true)
    }
    fn space(&self, place: &Place, _: Instant) -> io::Result<Space> {
        assert!(
            !["proc", "sysfs", "tmpfs", "devpts"].contains(&place.fs_type.as_str()),
            "{place:?} was touched"
        );
        Ok(Space { used: 1 << 20, free: 1 << 20 })
    }
    fn free_extents(&self, place: &Place, _: Instant) -> io::Result<Vec<FreeExtents>> {
        assert_ne!(place.fs_type, "btrfs", "it has no such map");
        Ok(vec![FreeExtents { at_least: 4096, bytes: 1 << 20 }])
    }
    fn attribute(&self, path: &Path, _: Instant) -> io::Result<Vec<u8>> {
        fs::read(path)
    }
}

/// The survey of a captured system, after `change` was made to its tree.
fn survey_of(manifest: &str, policy: &Policy, change: impl FnOnce(&Path)) -> Survey {
    let dir = tree::plant(manifest);
    change(dir.path());
    survey(&Roots::under(dir.path()), policy, &Half).unwrap()
}

fn usual(manifest: &str) -> Survey {
    survey_of(manifest, &Policy::default(), |_| ())
}

fn device<'a>(survey: &'a Survey, name: &str) -> &'a Device {
    survey
        .devices
        .iter()
        .find(|d| d.name == name)
        .unwrap_or_else(|| panic!("no {name} in {:?}", survey.devices))
}

fn mounted<'a>(survey: &'a Survey, mount: &str) -> &'a Filesystem {
    let found = survey.filesystems.iter().find(|fs| fs.mount == Path::new(mount));
    found.unwrap_or_else(|| panic!("nothing on {mount} in {:?}", survey.filesystems))
}

/// The names of devices.
fn names(survey: &Survey, ids: &[trimtab_agent::model::DevNum]) -> Vec<String> {
    let name =
        |id| survey.devices.iter().find(|d| d.id == id).map_or_else(|| format!("{id}?"), |d| d.name.clone());
    ids.iter().copied().map(name).collect()
}
