//! The inventory file (docs/usage/inventory.md): TOML → VMs. Every error names file, line and key, and nothing is used
//! of a file that has one.

use std::{
    io,
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
        token::TokenFile,
        trouble::{Kind, Trouble},
        vm::{DeclaredDisk, Via, Vm},
    },
    toml_text::{TomlText, is_label},
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
    uuid: Option<Spanned<String>>,
    agent: Option<Spanned<String>>,
    via: Option<Via>,
    token: Option<Spanned<String>>,
    qmp: Option<Spanned<PathBuf>>,
    #[serde(default)]
    labels: Vec<Spanned<String>>,
    #[serde(default)]
    disk: Vec<DiskTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskTable {
    image: Spanned<PathBuf>,
    format: Spanned<String>,
    serial: Option<Spanned<String>>,
    guest: Option<Spanned<String>>,
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
    let missing =
        blocking::within(LOOK_LIMIT, move || images.iter().position(|image| is_missing(image))).await;
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

/// One that may not be looked at is none of those: that shows where it is read, for who may.
fn is_missing(image: &Path) -> bool {
    let error = std::fs::metadata(image).err().map(|error| error.kind());
    matches!(error, Some(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
}

/// What a text says, before any look at the host.
struct Parsed {
    vms: Vec<Vm>,
    /// Each image with its line.
    images: Vec<(usize, PathBuf)>,
}

/// One file while it is read.
struct Reader<'a>(TomlText<'a>);

impl Reader<'_> {
    fn absolute<'p>(&self, key: &str, path: &'p Spanned<PathBuf>) -> Result<&'p PathBuf, Trouble> {
        match path.get_ref().is_absolute() {
            true => Ok(path.get_ref()),
            false => Err(self.0.error(
                path,
                key,
                format_args!("{:?} is not an absolute path", path.get_ref().display().to_string()),
            )),
        }
    }

    fn name(&self, name: &Spanned<String>) -> Result<String, Trouble> {
        let text = name.get_ref();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(fits) {
            return Err(self.0.error(
                name,
                "name",
                format_args!(
                    "{text:?} is no name of a VM: 1 to {MAX_NAME} of letters, digits, '.', '_' and '-'"
                ),
            ));
        }
        Ok(text.clone())
    }

    /// As libvirt writes one, so that a VM that was a domain is known again.
    fn uuid(&self, text: &Spanned<String>) -> Result<String, Trouble> {
        let parsed = text.get_ref().parse::<uuid::Uuid>().ok().filter(|uuid| !uuid.is_nil());
        let wrong = || self.0.error(text, "uuid", format_args!("{:?} is no UUID of a VM", text.get_ref()));
        Ok(parsed.ok_or_else(wrong)?.hyphenated().to_string())
    }

    /// A text that can be shown.
    fn shown(&self, key: &str, text: &Spanned<String>) -> Result<String, Trouble> {
        let shown = text.get_ref();
        if shown.is_empty() || shown.chars().any(char::is_control) {
            let what = format!("{shown:?} is empty or has control characters");
            return Err(self.0.error(text, key, what));
        }
        Ok(shown.clone())
    }

    /// A text that can be one term of `--select`.
    fn label(&self, label: &Spanned<String>) -> Result<String, Trouble> {
        let text = self.shown("labels", label)?;
        match is_label(&text) {
            true => Ok(text),
            false => Err(self.0.error(label, "labels", format_args!("{text:?} has a space in it"))),
        }
    }

    fn disk(&self, table: &DiskTable) -> Result<DeclaredDisk, Trouble> {
        let format = Format::parse(table.format.get_ref());
        if let Format::Other(other) = &format {
            let what = format_args!("{other:?} is not known: raw or qcow2").to_string();
            return Err(self.0.error(&table.format, "format", what));
        }
        let path = self.absolute("image", &table.image)?.clone();
        Ok(DeclaredDisk {
            image: Image { path, format },
            serial: table.serial.as_ref().map(|serial| self.shown("serial", serial)).transpose()?,
            guest: table.guest.as_ref().map(|guest| self.shown("guest", guest)).transpose()?,
        })
    }

    fn vm(&self, table: &VmTable) -> Result<Vm, Trouble> {
        let agent = table.agent.as_ref().map(|agent| {
            let parsed = agent.get_ref().parse::<Endpoint>();
            parsed.map_err(|error| self.0.error(agent, "agent", error))
        });
        let token = table.token.as_ref().map(|token| {
            let parsed = token.get_ref().parse::<TokenFile>();
            parsed.map_err(|error| self.0.error(token, "token", error))
        });
        let qmp = table.qmp.as_ref().map(|qmp| self.absolute("qmp", qmp).cloned());
        Ok(Vm {
            named_uuid: table.uuid.as_ref().map(|uuid| self.uuid(uuid)).transpose()?,
            agent: agent.transpose()?,
            via: table.via,
            token: token.transpose()?,
            qmp: qmp.transpose()?,
            labels: table.labels.iter().map(|label| self.label(label)).collect::<Result<_, _>>()?,
            disks: table.disk.iter().map(|disk| self.disk(disk)).collect::<Result<_, _>>()?,
            ..Vm::named(self.name(&table.name)?)
        })
    }
}

fn parse(path: &Path, text: &str) -> Result<Parsed, Trouble> {
    let text = TomlText { path, text };
    let file: FileTable = text.parse()?;
    let reader = Reader(text);
    let mut vms: Vec<Vm> = Vec::new();
    for table in &file.vm {
        let vm = reader.vm(table)?;
        if vms.iter().any(|known| known.name == vm.name) {
            let what = format_args!("{:?} stands here a second time", vm.name).to_string();
            return Err(text.error(&table.name, "name", what));
        }
        let has_its_uuid = |known: &&Vm| known.named_uuid.is_some() && known.named_uuid == vm.named_uuid;
        if let (Some(uuid), Some(other)) = (&table.uuid, vms.iter().find(has_its_uuid)) {
            return Err(text.error(uuid, "uuid", format_args!("it is that of {:?}", other.name)));
        }
        vms.push(vm);
    }
    let images = file
        .vm
        .iter()
        .flat_map(|vm| &vm.disk)
        .map(|disk| (text.line_at(disk.image.span().start), disk.image.get_ref().clone()))
        .collect();
    Ok(Parsed { vms, images })
}

#[cfg(test)]
mod tests;
