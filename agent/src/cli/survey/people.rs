//! The page for people: at most 100 columns, biggest first.

use std::collections::BTreeMap;

use trimtab_proto::words::{DeviceUse, SkipReason, Word};

use super::super::table::{
    Side::{Left, Right},
    render, wrap,
};
use crate::{
    model::{DevNum, Device, Filesystem, Survey},
    text::{shown, size},
};

const WIDTH: usize = 100;

/// Filesystems, what is left out and why, devices.
pub(super) fn page(survey: &Survey) -> String {
    let names: BTreeMap<DevNum, &str> = survey.devices.iter().map(|d| (d.id, d.name.as_str())).collect();
    let mut own: Vec<&Filesystem> = survey.filesystems.iter().filter(|fs| !is_elsewhere(fs)).collect();
    own.sort_by_key(|fs| std::cmp::Reverse(fs.size));
    let mut parts = vec![filesystems(&own, &names)];
    parts.extend(reasons(&own));
    parts.extend(elsewhere(&survey.filesystems));
    parts.push(devices(&survey.devices));
    parts.extend(notes(survey));
    parts.join("\n")
}

/// Left out for what it is, not for how it is: nobody expects these to be trimmed.
fn is_elsewhere(fs: &Filesystem) -> bool {
    let reason = fs.skip.as_ref().map(|skip| skip.reason);
    matches!(reason, Some(SkipReason::Pseudo | SkipReason::Network))
}

fn filesystems(list: &[&Filesystem], names: &BTreeMap<DevNum, &str>) -> String {
    let rows: Vec<[String; 7]> =
        list.iter()
            .map(|fs| {
                let disks: Vec<String> =
                    fs.leaves.iter().map(|id| names.get(id).map_or_else(|| id.to_string(), shown)).collect();
                let trim = fs.skip.as_ref().map_or("yes".to_owned(), |skip| {
                    format!("no: {}", skip.reason.as_str().replace('_', " "))
                });
                [
                    short(&shown(&fs.mount), 32),
                    shown(&fs.fs_type),
                    short(&disks.join(","), 16),
                    size(fs.size),
                    size(fs.used),
                    size(fs.free),
                    trim,
                ]
            })
            .collect();
    if rows.is_empty() {
        return "No filesystem of this system lies on a disk.\n".to_owned();
    }
    let head = [
        ("FILESYSTEM", Left),
        ("TYPE", Left),
        ("DISK", Left),
        ("SIZE", Right),
        ("USED", Right),
        ("FREE", Right),
        ("TRIM", Left),
    ];
    render(head, &rows, WIDTH)
}

/// A name of at most so many characters; what is cut off its beginning tells less than its end.
fn short(name: &str, most: usize) -> String {
    let count = name.chars().count();
    if count <= most {
        return name.to_owned();
    }
    let skip = count.saturating_sub(most).saturating_add(1);
    ['…'].into_iter().chain(name.chars().skip(skip)).collect()
}

fn reasons(list: &[&Filesystem]) -> Option<String> {
    let lines: Vec<String> = list
        .iter()
        .filter_map(|fs| Some(format!("{}: {}", shown(&fs.mount), fs.skip.as_ref()?.text)))
        .flat_map(|text| indented(&text))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n") + "\n")
}

fn indented(text: &str) -> Vec<String> {
    let lines = wrap(text, WIDTH.saturating_sub(2));
    lines.iter().enumerate().map(|(n, line)| format!("{}{line}", if n == 0 { "" } else { "  " })).collect()
}

fn elsewhere(list: &[Filesystem]) -> Option<String> {
    let count =
        |reason| list.iter().filter(|fs| fs.skip.as_ref().is_some_and(|skip| skip.reason == reason)).count();
    let (pseudo, network) = (count(SkipReason::Pseudo), count(SkipReason::Network));
    (pseudo > 0 || network > 0).then(|| {
        format!("Not on this system's disks: {pseudo} pseudo, {network} network filesystems (see --json).\n")
    })
}

fn devices(list: &[Device]) -> String {
    let rows: Vec<[String; 8]> = list
        .iter()
        .map(|device| {
            let serial = &device.identity.serial;
            [
                short(&shown(&device.name), 15),
                device.kind.to_string(),
                if device.used_for == DeviceUse::Unused {
                    "-".to_owned()
                } else {
                    device.used_for.to_string()
                },
                size(Some(device.size)),
                limit(device.discard.granularity),
                limit(device.discard.max_bytes),
                device.discarded.map_or("?".to_owned(), |bytes| size(Some(bytes))),
                short(&shown(serial), 20),
            ]
        })
        .collect();
    let head = [
        ("DEVICE", Left),
        ("KIND", Left),
        ("USE", Left),
        ("SIZE", Right),
        ("GRANULARITY", Right),
        ("DISCARD MAX", Right),
        ("DISCARDED", Right),
        ("SERIAL", Left),
    ];
    render(head, &rows, WIDTH)
}

/// 0 says that the device cannot discard.
fn limit(bytes: Option<u64>) -> String {
    match bytes {
        Some(0) => "none".to_owned(),
        bytes => size(bytes),
    }
}

fn notes(survey: &Survey) -> Option<String> {
    let mut lines: Vec<String> = survey.missing.iter().flat_map(|text| indented(text)).collect();
    let damaged =
        survey.filesystems.iter().filter_map(|fs| Some((fs, fs.errors.filter(|count| *count > 0)?)));
    lines.extend(damaged.flat_map(|(fs, count)| {
        let mount = shown(&fs.mount);
        let look = "unmount it and run fsck";
        indented(&format!("{mount}: the kernel has counted {count} errors on it; {look}."))
    }));
    if survey.fstrim_timer.active {
        lines.push("fstrim.timer is enabled too: it trims once a week by itself.".to_owned());
    }
    (!lines.is_empty()).then(|| lines.join("\n") + "\n")
}
