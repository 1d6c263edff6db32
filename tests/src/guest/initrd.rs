//! What a guest boots from, and the initramfs of one guest: the base image's, with a small archive in front that holds
//! what this guest gets.
//!
//! The kernel unpacks archives one after another, so a new agent needs no new base.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};

use crate::programs;

/// Which Linux a guest is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Base {
    /// An initramfs with busybox, some real tools and a shell as PID 1. Boots in ten seconds.
    Small,
    /// A Debian with systemd as PID 1, on a disk of its own. Boots in half a minute.
    Systemd,
}

/// A base's script is run once in a process.
static SMALL: Built = OnceLock::new();
static SYSTEMD: Built = OnceLock::new();
type Built = OnceLock<std::result::Result<PathBuf, String>>;

impl Base {
    /// The directory with `vmlinuz` and `initramfs.zst`, built on the first call if need be.
    pub(super) fn image(self) -> Result<PathBuf> {
        let (built, script) = match self {
            Self::Small => (&SMALL, "guest/build-image"),
            Self::Systemd => (&SYSTEMD, "guest/systemd/build-image"),
        };
        let image = built.get_or_init(|| build(script).map_err(|error| format!("{error:#}")));
        image.clone().map_err(|error| anyhow!(error))
    }

    /// Where in the initramfs a guest's files are laid.
    fn files(self) -> &'static Path {
        match self {
            Self::Small => Path::new(""),
            // Its init copies them to the root.
            Self::Systemd => Path::new("rig"),
        }
    }
}

fn build(script: &str) -> Result<PathBuf> {
    let script = programs::rig_file(script);
    // Its standard error says what takes long.
    let built = Command::new(&script)
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", script.display()))?;
    if !built.status.success() {
        bail!("{} failed", script.display());
    }
    Ok(PathBuf::from(String::from_utf8(built.stdout)?.trim()))
}

/// Writes to `path` an initramfs with `files` (on the host, in the guest) in front of the base.
pub(super) fn write(path: &Path, base: Base, files: &[(PathBuf, PathBuf)]) -> Result<()> {
    let mut archive = Vec::new();
    for (host, guest) in files {
        let content = fs::read(host).with_context(|| format!("cannot read {}", host.display()))?;
        let mode = fs::metadata(host)?.permissions().mode();
        let name = base.files().join(guest.strip_prefix("/").unwrap_or(guest));
        for directory in name.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
            if directory != Path::new("") {
                entry(&mut archive, directory, 0o040_755, &[])?;
            }
        }
        entry(&mut archive, &name, mode, &content)?;
    }
    entry(&mut archive, Path::new("TRAILER!!!"), 0, &[])?;
    let base = fs::read(base.image()?.join("initramfs.zst"))?;
    let mut file = fs::File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(&archive)?;
    file.write_all(&base)?;
    Ok(())
}

/// One entry of the "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst): thirteen numbers of
/// eight hexadecimal digits, the name, the content, each padded to four bytes.
fn entry(archive: &mut Vec<u8>, name: &Path, mode: u32, content: &[u8]) -> Result<()> {
    let name = name.to_str().context("a file name in the guest is not UTF-8")?;
    let size = u32::try_from(content.len()).context("a file for the guest is too large")?;
    let name_size = u32::try_from(name.len())?.saturating_add(1);
    // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    let numbers = [0, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
    archive.extend_from_slice(b"070701");
    for number in numbers {
        archive.extend_from_slice(format!("{number:08x}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend_from_slice(content);
    pad(archive);
    Ok(())
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}
