//! The line that says what was left out. Pseudo filesystems are counted, not listed: every guest has dozens.

use trimtab_proto::words::SkipReason;

use crate::{guest::text::safe, model::guest::Filesystem};

/// At most so many are named.
const NAMED: usize = 8;

/// "skipped: /mnt/iso (read_only), /boot/efi (type), 23 pseudo"; `None` where nothing was.
pub fn line<'a>(filesystems: impl Iterator<Item = &'a Filesystem>, not_listed: u32) -> Option<String> {
    let skipped: Vec<_> = filesystems.filter_map(|fs| Some((fs, fs.skip.as_ref()?))).collect();
    let (pseudo, real): (Vec<_>, Vec<_>) =
        skipped.into_iter().partition(|(_, skip)| skip.reason.is(SkipReason::Pseudo));
    let mut parts: Vec<String> =
        real.iter().take(NAMED).map(|(fs, skip)| format!("{} ({})", safe(&fs.mount), skip.reason)).collect();
    let more = real.len().saturating_sub(NAMED);
    if more > 0 {
        parts.push(format!("{more} more"));
    }
    if !pseudo.is_empty() {
        parts.push(format!("{} pseudo", pseudo.len()));
    }
    if not_listed > 0 {
        parts.push(format!("{not_listed} that the guest did not list"));
    }
    (!parts.is_empty()).then(|| format!("skipped: {}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use trimtab_proto::words::Wire;

    use super::*;
    use crate::{layers::samples::filesystem, model::guest::Skip};

    #[test]
    fn real_ones_are_named_and_pseudo_ones_counted() {
        let skipped = |mount: &str, reason| {
            let mut fs = filesystem("0:1", mount, &[]);
            fs.skip =
                Some(Skip { reason: Wire::Known(reason), device_id: String::new(), text: String::new() });
            fs
        };
        let mut all = vec![filesystem("8:1", "/", &[])];
        assert_eq!(line(all.iter(), 0), None);
        all.push(skipped("/mnt/\u{1b}iso", SkipReason::ReadOnly));
        all.push(skipped("/proc", SkipReason::Pseudo));
        all.push(skipped("/sys", SkipReason::Pseudo));
        let said = line(all.iter(), 2).unwrap();
        assert!(said.ends_with("(read_only), 2 pseudo, 2 that the guest did not list"), "{said}");
        assert!(!said.contains('\u{1b}'));
        all.extend((0..20).map(|n| skipped(&format!("/{n}"), SkipReason::Type)));
        assert!(line(all.iter(), 0).unwrap().contains("13 more"));
    }
}
