//! The host's files: the port [`Storage`].
//!
//! An image is a guest's: what is in it may be made to mislead. So an image is never opened to find out what it is. Its
//! bytes are read only where its format is already known to be qcow2, and then its fixed header alone; and it is opened
//! for the map of its extents, which is the host filesystem's word and not the guest's.
//! Every call is made on a thread of its own and given up after a while: a hung NFS hangs nobody but itself.

mod child;
mod datastore;
mod file;
mod identity;
mod mounts;
mod qcow2;
mod underneath;
mod volume;

use std::{io, path::PathBuf, time::Duration};

use crate::{
    blocking,
    model::{
        image::{Allocation, Datastore, Format, Image, Place, Qcow2Header},
        trouble::{Kind, Trouble},
    },
    trim::ports::Storage,
};

/// A look at one file.
const LIMIT: Duration = Duration::from_secs(10);

/// Some programs are asked where an image lies on a volume, each with an end of its own.
const PLACE_LIMIT: Duration = Duration::from_secs(15);

/// A map of some 100,000 extents takes 0.2 s from memory, and much longer from a disk.
const MAP_LIMIT: Duration = Duration::from_secs(30);

/// syncfs writes back all that is dirty on that filesystem.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// This host's filesystems.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostStorage;

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is neither a regular file nor a block device")]
    NotAnImage,
    #[error("it was replaced while it was opened")]
    Replaced,
    #[error("{0}")]
    Qcow2(#[from] qcow2::NotQcow2),
    #[error("its mount is not in /proc/self/mountinfo")]
    NoMount,
    #[error("{0}")]
    NotTold(#[from] child::NotTold),
    #[error("dmsetup says of the thin volume {0} what trimtab does not understand, or its pool has failed")]
    ThinVolume(String),
}

impl Storage for HostStorage {
    async fn allocation(&self, image: &Image) -> Result<Allocation, Trouble> {
        run(image, LIMIT, "measure", |path| file::allocation(&path)).await
    }

    async fn qcow2_header(&self, image: &Image) -> Result<Qcow2Header, Trouble> {
        if image.format != Format::Qcow2 {
            let text =
                format!("{} is {}: it has no header to read", image.path.display(), image.format.as_str());
            return Err(Trouble::new(Kind::Internal, text));
        }
        run(image, LIMIT, "read the qcow2 header of", |path| {
            Ok(qcow2::parse(&file::head(&path, qcow2::HEAD_BYTES)?)?)
        })
        .await
    }

    async fn place(&self, image: &Image) -> Result<Place, Trouble> {
        run(image, PLACE_LIMIT, "find the filesystem of", |path| {
            match file::block_device(&file::statx(&path)?) {
                Some(number) => Ok(volume::place(&number)),
                None => datastore::place(&path),
            }
        })
        .await
    }

    async fn datastore(&self, image: &Image) -> Result<Option<Datastore>, Trouble> {
        run(image, PLACE_LIMIT, "find the filesystem of", |path| {
            match file::block_device(&file::statx(&path)?) {
                Some(number) => Ok(volume::place(&number).datastore),
                None => datastore::of(&path).map(Some),
            }
        })
        .await
    }

    async fn shares_extents(&self, image: &Image) -> Option<bool> {
        run(image, MAP_LIMIT, "map", |path| match file::block_device(&file::statx(&path)?) {
            Some(number) => Ok(volume::shares_blocks(&number)),
            None => file::shares_extents(&path).map(Some),
        })
        .await
        .ok()
        .flatten()
    }

    async fn settle(&self, image: &Image) -> Result<(), Trouble> {
        run(image, SETTLE_LIMIT, "settle the filesystem of", |path| {
            match file::block_device(&file::statx(&path)?) {
                // device-mapper counts at once.
                Some(_) => Ok(()),
                None => datastore::settle(&path),
            }
        })
        .await
    }
}

async fn run<T: Send + 'static>(
    image: &Image,
    limit: Duration,
    what: &str,
    call: impl FnOnce(PathBuf) -> Result<T, Failed> + Send + 'static,
) -> Result<T, Trouble> {
    let path = image.path.clone();
    let trouble = |why: &dyn std::fmt::Display| {
        Trouble::new(Kind::Image, format!("cannot {what} {}: {why}", image.path.display()))
    };
    match blocking::within(limit, move || call(path)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(failed)) => Err(hinted(trouble(&failed), &failed)),
        Err(error) => Err(trouble(&error).hint("does the filesystem answer? try `stat` on it")),
    }
}

fn hinted(trouble: Trouble, failed: &Failed) -> Trouble {
    let error = match failed {
        Failed::Io(error) => error,
        Failed::NotTold(_) => return trouble.hint("run as root, with dmsetup installed"),
        _ => return trouble,
    };
    match error.kind() {
        io::ErrorKind::NotFound => trouble
            .hint("was it moved or deleted? where QEMU runs in a container, name the image in [[vm.disk]]"),
        io::ErrorKind::PermissionDenied => trouble.hint("run as root"),
        _ => trouble,
    }
}
