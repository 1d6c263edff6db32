//! The inventory file (docs/usage/inventory.md): TOML → VMs. Every error names file, line and key, and nothing is used
//! of a file that has one.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use toml::Spanned;

use crate::{
    blocking,
    model::{
        endpoint::Endpoint,
        image::{Format, Image},
        trouble::{Kind, Trouble},
        vm::{DeclaredDisk, Vm},
    },
};

/// No inventory is larger: ten thousand VMs take a tenth of it.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The longest name of a VM.
const MAX_NAME: usize = 64;

/// To see whether all images exist.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTable {
    #[serde(default)]
    vm: Vec<VmTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VmTable {
    name: Spanned<String>,
    agent: Option<Spanned<String>>,
    qmp: Option<Spanned<PathBuf>>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    disk: Vec<DiskTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskTable {
    image: Spanned<PathBuf>,
    format: Spanned<String>,
    serial: Option<String>,
    guest: Option<String>,
}

/// Reads a file and sees that the images it names exist.
pub async fn load(path: &Path) -> Result<Vec<Vm>, Trouble> {
    let about = |what: String| Trouble::new(Kind::Config, format!("{}: {what}", path.display()));
    let metadata = tokio::fs::metadata(path).await.map_err(|error| {
        about(error.to_string())
            .hint("name another file with --inventory; docs/usage/inventory.md says what stands in one")
    })?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(about(format!("is no inventory: a file of at most {MAX_BYTES} bytes")));
    }
    let text = tokio::fs::read_to_string(path).await.map_err(|error| about(error.to_string()))?;
    let parsed = parse(path, &text)?;
    let images: Vec<PathBuf> = parsed.images.iter().map(|(_, image)| image.clone()).collect();
    // A hung network filesystem shows where the image itself is read, with the VM's name.
    let missing = blocking::within(LOOK_LIMIT, move || images.iter().position(|image| !image.exists())).await;
    if let Ok(Some(index)) = missing
        && let Some((line, image)) = parsed.images.get(index)
    {
        return Err(Trouble::new(
            Kind::Config,
            format!("{}:{line}: image: {} does not exist", path.display(), image.display()),
        )
        .hint("correct the path, or take the VM out of the inventory"));
    }
    Ok(parsed.vms)
}

/// What a text says, before any look at the host.
struct Parsed {
    vms: Vec<Vm>,
    /// Each image with its line.
    images: Vec<(usize, PathBuf)>,
}

/// One file while it is read.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn line_at(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1)
    }

    fn error(&self, offset: usize, key: &str, what: impl std::fmt::Display) -> Trouble {
        let line = self.line_at(offset);
        Trouble::new(Kind::Config, format!("{}:{line}: {key}: {what}", self.path.display()))
    }

    fn absolute<'p>(&self, key: &str, path: &'p Spanned<PathBuf>) -> Result<&'p PathBuf, Trouble> {
        match path.get_ref().is_absolute() {
            true => Ok(path.get_ref()),
            false => Err(self.error(
                path.span().start,
                key,
                format_args!("{:?} is not an absolute path", path.get_ref().display().to_string()),
            )),
        }
    }

    fn name(&self, name: &Spanned<String>) -> Result<String, Trouble> {
        let text = name.get_ref();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(fits) {
            return Err(self.error(
                name.span().start,
                "name",
                format_args!(
                    "{text:?} is no name of a VM: 1 to {MAX_NAME} of letters, digits, '.', '_' and '-'"
                ),
            ));
        }
        Ok(text.clone())
    }

    fn disk(&self, table: &DiskTable) -> Result<DeclaredDisk, Trouble> {
        let format = Format::parse(table.format.get_ref());
        if let Format::Other(other) = &format {
            let what = format_args!("{other:?} is not known: raw or qcow2").to_string();
            return Err(self.error(table.format.span().start, "format", what));
        }
        let path = self.absolute("image", &table.image)?.clone();
        Ok(DeclaredDisk {
            image: Image { path, format },
            serial: table.serial.clone(),
            guest: table.guest.clone(),
        })
    }

    fn vm(&self, table: &VmTable) -> Result<Vm, Trouble> {
        let agent = table.agent.as_ref().map(|agent| {
            let parsed = agent.get_ref().parse::<Endpoint>();
            parsed.map_err(|error| self.error(agent.span().start, "agent", error))
        });
        let qmp = table.qmp.as_ref().map(|qmp| self.absolute("qmp", qmp).cloned());
        Ok(Vm {
            name: self.name(&table.name)?,
            agent: agent.transpose()?,
            qmp: qmp.transpose()?,
            labels: table.labels.clone(),
            disks: table.disk.iter().map(|disk| self.disk(disk)).collect::<Result<_, _>>()?,
        })
    }
}

fn parse(path: &Path, text: &str) -> Result<Parsed, Trouble> {
    let reader = Reader { path, text };
    let file: FileTable = toml::from_str(text).map_err(|error| {
        let line = reader.line_at(error.span().map_or(0, |span| span.start));
        // The first line names the key; the rest is a picture of the file.
        let what = error.message().lines().next().unwrap_or_default().to_owned();
        Trouble::new(Kind::Config, format!("{}:{line}: {what}", path.display()))
    })?;
    let mut vms: Vec<Vm> = Vec::new();
    for table in &file.vm {
        let vm = reader.vm(table)?;
        if vms.iter().any(|known| known.name == vm.name) {
            let what = format_args!("{:?} stands here a second time", vm.name).to_string();
            return Err(reader.error(table.name.span().start, "name", what));
        }
        vms.push(vm);
    }
    let images = file
        .vm
        .iter()
        .flat_map(|vm| &vm.disk)
        .map(|disk| (reader.line_at(disk.image.span().start), disk.image.get_ref().clone()))
        .collect();
    Ok(Parsed { vms, images })
}

#[cfg(test)]
mod tests;
