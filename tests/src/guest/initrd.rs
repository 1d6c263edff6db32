//! The initramfs of one guest: the base image, with a small archive in front that holds what this guest gets.
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

/// The kernel and the base initramfs, built on the first call of this process if need be.
pub(super) fn base_image() -> Result<PathBuf> {
    static IMAGE: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    let image = IMAGE.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    image.clone().map_err(|error| anyhow!(error))
}

fn build() -> Result<PathBuf> {
    let script = programs::rig_file("guest/build-image");
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
pub(super) fn write(path: &Path, files: &[(PathBuf, PathBuf)]) -> Result<()> {
    let mut archive = Vec::new();
    for (host, guest) in files {
        let content = fs::read(host).with_context(|| format!("cannot read {}", host.display()))?;
        let mode = fs::metadata(host)?.permissions().mode();
        let name = guest.strip_prefix("/").unwrap_or(guest);
        for directory in name.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
            if directory != Path::new("") {
                entry(&mut archive, directory, 0o040_755, &[])?;
            }
        }
        entry(&mut archive, name, mode, &content)?;
    }
    entry(&mut archive, Path::new("TRAILER!!!"), 0, &[])?;
    let base = fs::read(base_image()?.join("initramfs.zst"))?;
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
