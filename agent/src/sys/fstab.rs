//! /etc/fstab (fstab(5)): which mounts their owner keeps from being trimmed with `X-fstrim.notrim` (fstrim(8)).

use std::{collections::BTreeSet, path::PathBuf};

use super::{Roots, SysError, mounts::unescape, read_bytes};

/// The mount points that are opted out. Where several lines mount one superblock, one of them is enough: a trim of
/// any of its mounts trims them all.
///
/// # Errors
/// [`SysError::Read`]; a missing fstab opts nothing out.
pub fn opted_out(roots: &Roots) -> Result<BTreeSet<PathBuf>, SysError> {
    let text = read_bytes(&roots.etc.join("fstab"))?.unwrap_or_default();
    Ok(parse(&text))
}

fn parse(text: &[u8]) -> BTreeSet<PathBuf> {
    text.split(|b| *b == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
            let source = fields.next()?;
            let (point, _fs_type, options) = (fields.next()?, fields.next()?, fields.next()?);
            let out = options.split(|b| *b == b',').any(|option| option == b"X-fstrim.notrim");
            (out && !source.starts_with(b"#")).then(|| PathBuf::from(unescape(point)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let text = b"# /dev/x /commented ext4 X-fstrim.notrim 0 0\n\
            #/dev/x /commented2 ext4 X-fstrim.notrim 0 0\n\
            UUID=1 / ext4 defaults 0 1\n\
            \t/dev/sdb1\t/srv/a\\040b xfs noatime,X-fstrim.notrim 0 2\n\
            /dev/sdc1 /short\n\
            /dev/sdd1 /no-numbers btrfs X-fstrim.notrim\n\
            /dev/sde1 /alike ext4 X-fstrim.notrimx\n";
        let expected = ["/no-numbers", "/srv/a b"].map(PathBuf::from);
        assert_eq!(parse(text), BTreeSet::from(expected));
    }
}
