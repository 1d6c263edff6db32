//! New files beside a store: whoever makes them, they are the folder's owner's.
//!
//! Root applies, and a worker with a user of its own carries out, in the same files. SQLite hands its log over in this way
//! (robustFchown in os_unix.c); the file itself and the worker's lock are handed over here, as they are made and never
//! later, so that nothing that was there is given away.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::Path,
};

use nix::unistd::geteuid;

/// Makes a file that is not there, open to read and write.
///
/// # Errors
/// `AlreadyExists`, links that lead nowhere included; or it cannot be made.
pub(super) fn make(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o644).open(path)?;
    if geteuid().is_root() {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = fs::metadata(folder.unwrap_or(Path::new(".")))?;
        // Where it cannot be given away (NFS does not let every root), the worker says that it may not write it.
        let _ = fchown(&file, Some(folder.uid()), Some(folder.gid()));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trimtab.db");
        make(&path).unwrap();
        let (own, around) = (fs::metadata(&path).unwrap(), fs::metadata(folder.path()).unwrap());
        assert_eq!((own.uid(), own.gid()), (around.uid(), around.gid()));
        assert_eq!(make(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);

        let nowhere = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &nowhere).unwrap();
        assert_eq!(make(&nowhere).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn roots_file_is_the_folders_owners() {
        let folder = tempfile::tempdir().unwrap();
        // Only root can have a folder of somebody else's here; anybody else sees that his own stays his.
        let owner = if geteuid().is_root() { 64055 } else { geteuid().as_raw() };
        std::os::unix::fs::chown(folder.path(), Some(owner), None).unwrap();
        make(&folder.path().join("trimtab.db")).unwrap();
        assert_eq!(fs::metadata(folder.path().join("trimtab.db")).unwrap().uid(), owner);
    }
}
