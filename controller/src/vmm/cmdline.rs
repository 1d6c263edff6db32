//! The `discard=` of a disk, from QEMU's command line: QMP does not tell it. Pure.
//!
//! What holds in QEMU (block.c, blockdev.c):
//! - Each node on the way down drops a discard unless it was opened with `discard=unmap`; not said is the same as
//!   `ignore`. A node that another one describes inline (`file.driver=…`, or a -drive's own file) is `unmap` by
//!   default; one that stands in a -blockdev of its own is not.
//! - A comma in a value is doubled.
//!
//! A disk is only judged by an option that names the very file that QMP shows below it: a drive that was plugged in
//! later, or that got another image meanwhile (a snapshot, a mirror), is not what the command line says.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::model::disk::{DriveDiscard, FreedClusters};

/// Options that name an image and can say nothing of discards.
const IMAGE_OPTIONS: [&str; 7] = ["hda", "hdb", "hdc", "hdd", "sd", "mtdblock", "pflash"];

/// Nodes refer to each other by name; no real chain of them is longer.
const MAX_DEPTH: u32 = 64;
const MAX_NODES: usize = 64;

/// The options of a command line that concern disks.
#[derive(Debug, Default)]
pub(super) struct CommandLine {
    /// Each -drive.
    drives: Vec<Map<String, Value>>,
    /// Each -blockdev, by its node name.
    nodes: HashMap<String, Map<String, Value>>,
    /// The values of [`IMAGE_OPTIONS`].
    images: Vec<String>,
    /// Options come from elsewhere too (-readconfig), or are changed afterwards (-set).
    is_partial: bool,
    is_daemon: bool,
}

impl CommandLine {
    /// Reads /proc/PID/cmdline: words that end with a zero byte. What is not understood is passed over.
    pub(super) fn parse(raw: &[u8]) -> Self {
        let words: Vec<_> = raw.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
        let mut line = Self::default();
        for (position, word) in words.iter().enumerate() {
            let Some(option) = word.strip_prefix('-').map(|rest| rest.strip_prefix('-').unwrap_or(rest))
            else {
                continue;
            };
            let value = position.checked_add(1).and_then(|next| words.get(next)).map(|value| value.as_ref());
            match (option, value) {
                ("drive", Some(value)) => line.drives.push(options(value)),
                ("blockdev", Some(value)) => {
                    let node = options(value);
                    if let Some(name) = text(&node, "node-name") {
                        line.nodes.insert(name.to_owned(), node);
                    }
                }
                ("readconfig" | "set", _) => line.is_partial = true,
                ("daemonize", _) => line.is_daemon = true,
                (image, Some(value)) if IMAGE_OPTIONS.contains(&image) => line.images.push(value.to_owned()),
                _ => {}
            }
        }
        line
    }

    /// QEMU has gone into the background, and to another directory with it.
    pub(super) fn is_daemon(&self) -> bool {
        self.is_daemon
    }

    /// Whether a disk of the command line has this file.
    pub(super) fn mentions(&self, file: &str) -> bool {
        self.images.iter().any(|image| image == file)
            || self.drives.iter().any(|drive| drive_file(drive) == Some(file))
            || self.nodes.values().any(|node| self.node_file(node, 0) == Some(file))
    }

    /// What becomes of a discard on a disk: `drive` is the id of its -drive (empty for -blockdev), `node` its top node,
    /// `file` the name of its image.
    pub(super) fn discard(&self, drive: &str, node: &str, file: &str) -> DriveDiscard {
        let said =
            if drive.is_empty() { self.node_discard(node, file) } else { self.drive_discard(drive, file) };
        said.filter(|_| !self.is_partial).unwrap_or(DriveDiscard::Unknown)
    }

    /// What the qcow2 nodes of a disk do with the clusters that they free; arguments as for [`Self::discard`].
    pub(super) fn freed_clusters(&self, drive: &str, node: &str, file: &str) -> FreedClusters {
        if !drive.is_empty() {
            return self.drive(drive, file).map(fate).unwrap_or_default();
        }
        let top = self.nodes.get(node).filter(|node| self.node_file(node, 0) == Some(file));
        let mut fates = std::iter::successors(top, |node| self.below(node)).take(MAX_NODES).map(fate);
        fates.find(|fate| *fate != FreedClusters::Punched).unwrap_or_default()
    }

    /// The node that holds the data of another.
    fn below<'a>(&'a self, node: &'a Map<String, Value>) -> Option<&'a Map<String, Value>> {
        match data_child(node)? {
            Value::Object(child) => Some(child),
            Value::String(name) => self.nodes.get(name),
            _ => None,
        }
    }

    fn drive_discard(&self, id: &str, file: &str) -> Option<DriveDiscard> {
        match self.drive(id, file) {
            // The top node is told by the -drive; its file node is inline.
            Some(drive) => Some(both(own(drive, false), inline_child(drive))),
            None => self.images.iter().any(|image| image == file).then_some(DriveDiscard::Ignore),
        }
    }

    /// The -drive of a disk.
    fn drive(&self, id: &str, file: &str) -> Option<&Map<String, Value>> {
        let named = self.drives.iter().find(|drive| text(drive, "id") == Some(id));
        // Without an id QEMU makes one up from the drive's bus and number: then the file tells.
        let mut anonymous =
            self.drives.iter().filter(|drive| text(drive, "id").is_none() && drive_file(drive) == Some(file));
        match named {
            Some(drive) => Some(drive).filter(|drive| drive_file(drive) == Some(file)),
            None => anonymous.next().filter(|_| anonymous.next().is_none()),
        }
    }

    fn node_discard(&self, name: &str, file: &str) -> Option<DriveDiscard> {
        let node = self.nodes.get(name)?;
        (self.node_file(node, 0)? == file).then(|| self.pass(node, false, 0))
    }

    /// What a node and all below it do with a discard.
    fn pass(&self, node: &Map<String, Value>, is_inline: bool, depth: u32) -> DriveDiscard {
        if depth > MAX_DEPTH {
            return DriveDiscard::Unknown;
        }
        let below = match data_child(node) {
            Some(Value::Object(child)) => self.pass(child, true, depth.saturating_add(1)),
            Some(Value::String(name)) => match self.nodes.get(name) {
                Some(child) => self.pass(child, false, depth.saturating_add(1)),
                None => DriveDiscard::Unknown,
            },
            _ => DriveDiscard::Unmap,
        };
        both(own(node, is_inline), below)
    }

    /// The file name at the bottom of a node.
    fn node_file<'a>(&'a self, node: &'a Map<String, Value>, depth: u32) -> Option<&'a str> {
        if depth > MAX_DEPTH {
            return None;
        }
        match data_child(node) {
            Some(Value::Object(child)) => self.node_file(child, depth.saturating_add(1)),
            Some(Value::String(name)) => self.node_file(self.nodes.get(name)?, depth.saturating_add(1)),
            _ => text(node, "filename"),
        }
    }
}

/// The child that holds the data.
fn data_child(node: &Map<String, Value>) -> Option<&Value> {
    node.get("data-file").or_else(|| node.get("file"))
}

/// A node's own word.
fn own(node: &Map<String, Value>, is_inline: bool) -> DriveDiscard {
    match node.get("discard").map(|value| value.as_str().unwrap_or_default()) {
        Some("unmap" | "on") => DriveDiscard::Unmap,
        Some("ignore" | "off") => DriveDiscard::Ignore,
        Some(_) => DriveDiscard::Unknown,
        None if is_inline => DriveDiscard::Unmap,
        None => DriveDiscard::Ignore,
    }
}

/// What one node is told to do with the clusters that it frees. A -drive hands such words to its format's node.
fn fate(node: &Map<String, Value>) -> FreedClusters {
    let is = |key: &str, words: [&str; 2], truth: bool| match node.get(key) {
        Some(Value::String(word)) => words.contains(&word.as_str()),
        Some(Value::Bool(said)) => *said == truth,
        _ => false,
    };
    if is("pass-discard-request", ["off", "no"], false) {
        FreedClusters::Kept
    } else if is("discard-no-unref", ["on", "yes"], true) {
        FreedClusters::Reserved
    } else {
        FreedClusters::Punched
    }
}

/// Both must let it pass; one that drops it decides.
fn both(one: DriveDiscard, other: DriveDiscard) -> DriveDiscard {
    match (one, other) {
        (DriveDiscard::Ignore, _) | (_, DriveDiscard::Ignore) => DriveDiscard::Ignore,
        (DriveDiscard::Unmap, DriveDiscard::Unmap) => DriveDiscard::Unmap,
        _ => DriveDiscard::Unknown,
    }
}

/// The file node that a -drive has inside.
fn inline_child(drive: &Map<String, Value>) -> DriveDiscard {
    match drive.get("file") {
        Some(Value::Object(child)) => own(child, true),
        // A whole tree in one string, which may say anything.
        Some(Value::String(name)) if name.starts_with("json:") => DriveDiscard::Unknown,
        _ => DriveDiscard::Unmap,
    }
}

/// The file of a -drive: `file=NAME` or `file.filename=NAME`.
fn drive_file(drive: &Map<String, Value>) -> Option<&str> {
    match drive.get("file")? {
        Value::Object(child) => text(child, "filename"),
        Value::String(name) => Some(name.strip_prefix("file:").unwrap_or(name)),
        _ => None,
    }
}

fn text<'a>(options: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    options.get(key)?.as_str()
}

/// `a=1,b.c=2` or a JSON object → a tree. A key with both a value and children (`file=x,file.discard=y`) becomes the
/// children, with the value as their `filename`, which is what QEMU makes of it.
fn options(value: &str) -> Map<String, Value> {
    if value.starts_with('{') {
        return serde_json::from_str(value).unwrap_or_default();
    }
    let mut tree = Map::new();
    for item in split(value) {
        let (key, value) = item.split_once('=').unwrap_or((&item, "on"));
        insert(&mut tree, key, value, 0);
    }
    tree
}

fn insert(tree: &mut Map<String, Value>, key: &str, value: &str, depth: u32) {
    let value = || Value::String(value.to_owned());
    match key.split_once('.').filter(|_| depth < MAX_DEPTH) {
        None => match tree.get_mut(key) {
            Some(Value::Object(children)) => {
                children.insert("filename".to_owned(), value());
            }
            _ => {
                tree.insert(key.to_owned(), value());
            }
        },
        Some((first, rest)) => {
            let child = tree.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::String(name) = child {
                *child =
                    Value::Object(Map::from_iter([("filename".to_owned(), Value::String(name.clone()))]));
            }
            if let (Value::Object(children), Value::String(value)) = (child, value()) {
                insert(children, rest, &value, depth.saturating_add(1));
            }
        }
    }
}

/// Splits at single commas; two stand for one.
fn split(value: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut chars = value.chars().peekable();
    while let Some(char) = chars.next() {
        match (char, items.last_mut()) {
            (',', _) if chars.peek() != Some(&',') => items.push(String::new()),
            (char, Some(item)) => {
                item.push(char);
                if char == ',' {
                    chars.next();
                }
            }
            (_, None) => {}
        }
    }
    items
}

#[cfg(test)]
mod tests;
