//! Pure: an order and a survey → what each filesystem of the run is up for.

use trimtab_proto::{
    MAX_LISTED_SKIPS,
    words::{ClaimKind, FilesystemState, SkipReason},
};

use super::{
    report::{FilesystemRun, Order},
    turn::Job,
};
use crate::{
    kernels::Release,
    model::{DevNum, Filesystem, Skip, Survey},
};

/// One filesystem of a run, before it begins.
#[derive(Debug)]
pub(super) struct Planned {
    /// What is reported of it.
    pub(super) run: FilesystemRun,
    /// What is to be done; `None` where it is left out.
    pub(super) job: Option<Job>,
    /// The disks that it holds.
    pub(super) disks: Vec<DevNum>,
    /// The filesystems that hold its loop devices' files.
    pub(super) inside: Vec<DevNum>,
}

/// Since when XFS returns the range that it was asked for (fs/xfs/xfs_discard.c of 6.11).
const XFS_ECHO: (u32, u32) = (6, 11);

/// The plan.
///
/// # Errors
/// A target that the survey does not have.
pub(super) fn plan(order: &Order, survey: &Survey, kernel: &Release) -> Result<Vec<Planned>, DevNum> {
    let known = |id: DevNum| survey.filesystems.iter().any(|fs| fs.id == id);
    if let Some(unknown) = order.targets.iter().find(|t| !known(t.filesystem_id)) {
        return Err(unknown.filesystem_id);
    }
    let mut skipped = 0_usize;
    let mut planned = Vec::new();
    for fs in &survey.filesystems {
        let target = order.targets.iter().find(|t| t.filesystem_id == fs.id);
        let skip = match (&fs.skip, target) {
            (Some(skip), _) => Some(skip.clone()),
            (None, None) if !order.targets.is_empty() => Some(not_asked()),
            (None, _) => None,
        };
        if skip.is_some() {
            skipped = skipped.saturating_add(1);
            if skipped > MAX_LISTED_SKIPS {
                continue;
            }
        }
        let min_extent = target.map_or(order.min_extent, |t| t.min_extent);
        planned.push(planned_one(order, fs, (min_extent, granularity(survey, fs)), skip, kernel));
    }
    Ok(planned)
}

/// The kernel raises every smallest extent to that of the device.
fn granularity(survey: &Survey, fs: &Filesystem) -> u64 {
    let device = survey.devices.iter().find(|device| Some(device.id) == fs.device);
    device.and_then(|device| device.discard.granularity).unwrap_or(0)
}

fn not_asked() -> Skip {
    Skip { reason: SkipReason::NotAsked, device: None, text: "the request names others".to_owned() }
}

fn planned_one(
    order: &Order,
    fs: &Filesystem,
    (min_extent, granularity): (u64, u64),
    skip: Option<Skip>,
    kernel: &Release,
) -> Planned {
    let job = skip.is_none().then(|| Job {
        id: fs.id,
        mount: fs.mount.clone(),
        fs_type: fs.fs_type.clone(),
        device: fs.device,
        size: fs.size.unwrap_or(0),
        min_extent,
        least_extent: min_extent.max(granularity),
        pace: order.pace,
        again: order.again,
    });
    let run = FilesystemRun {
        filesystem_id: fs.id,
        state: if skip.is_some() { FilesystemState::Skipped } else { FilesystemState::Waiting },
        claimed: None,
        claim: skip.is_none().then(|| claim_kind(&fs.fs_type, kernel)),
        passes: 0,
        calls: 0,
        longest_call_ms: 0,
        passed: 0,
        min_extent,
        duration_ms: 0,
        skip,
        failure: None,
    };
    Planned { run, job, disks: fs.leaves.clone(), inside: fs.inside.clone() }
}

/// What FITRIM's number means on this filesystem.
pub(crate) fn claim_kind(fs_type: &str, kernel: &Release) -> ClaimKind {
    if fs_type == "xfs" && kernel.is_at_least(XFS_ECHO.0, XFS_ECHO.1) {
        ClaimKind::RangeEcho
    } else {
        ClaimKind::Submitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use trimtab_proto::words::Pace;

    use super::*;
    use crate::trim::report::Target;

    fn kernel(release: &str) -> Release {
        release.parse().unwrap()
    }

    fn dev(minor: u32) -> DevNum {
        DevNum { major: 8, minor }
    }

    fn filesystem(minor: u32, mount: &str, fs_type: &str, leaf: u32) -> Filesystem {
        Filesystem {
            id: dev(minor),
            mount: mount.into(),
            mounts: 1,
            fs_type: fs_type.into(),
            device: Some(dev(minor)),
            leaves: vec![dev(leaf)],
            inside: vec![],
            size: Some(1 << 30),
            used: None,
            free: None,
            skip: None,
            free_extents: vec![],
            frozen: false,
            errors: None,
        }
    }

    fn order(targets: &[(u32, u64)]) -> Order {
        Order {
            run_id: "x".into(),
            targets: targets
                .iter()
                .map(|(id, min_extent)| Target { filesystem_id: dev(*id), min_extent: *min_extent })
                .collect(),
            min_extent: 4096,
            pace: Pace::Full,
            deadline: None,
            linger: Duration::ZERO,
            again: false,
            also_types: vec![],
        }
    }

    fn survey() -> Survey {
        let mut read_only = filesystem(3, "/iso", "ext4", 0);
        let skip = Skip { reason: SkipReason::ReadOnly, device: None, text: "read-only".into() };
        read_only.skip = Some(skip);
        Survey {
            filesystems: vec![
                filesystem(1, "/", "ext4", 0),
                filesystem(17, "/srv", "xfs", 16),
                read_only,
                filesystem(70, "/mnt/image", "ext4", 7),
            ],
            ..Survey::default()
        }
    }

    #[test]
    fn everything_that_is_not_skipped() {
        let plan = plan(&order(&[]), &survey(), &kernel("6.18.0")).unwrap();
        let jobs: Vec<_> = plan.iter().map(|p| p.job.as_ref().map(|j| (j.id, j.min_extent))).collect();
        assert_eq!(jobs, [Some((dev(1), 4096)), Some((dev(17), 4096)), None, Some((dev(70), 4096))]);
        assert_eq!(plan[1].run.claim, Some(ClaimKind::RangeEcho));
        assert_eq!(plan[2].run.skip.as_ref().unwrap().reason, SkipReason::ReadOnly);
    }

    #[test]
    fn what_is_asked_for() {
        let asked = order(&[(17, 65_536), (3, 0)]);
        let plan = plan(&asked, &survey(), &kernel("6.1.0-28-amd64")).unwrap();
        let reasons: Vec<_> = plan.iter().map(|p| p.run.skip.as_ref().map(|s| s.reason)).collect();
        let not_asked = Some(SkipReason::NotAsked);
        assert_eq!(reasons, [not_asked, None, Some(SkipReason::ReadOnly), not_asked]);
        assert_eq!(plan[1].run.min_extent, 65_536);
        assert_eq!(plan[1].run.claim, Some(ClaimKind::Submitted), "xfs of an older kernel");
        assert_eq!(super::plan(&order(&[(99, 0)]), &survey(), &kernel("6.18.0")).unwrap_err(), dev(99));
    }

    #[test]
    fn thousands_of_skips_are_cut() {
        let mut survey = survey();
        let skipped = survey.filesystems[2].clone();
        survey.filesystems.extend((0..5000).map(|n| Filesystem { id: dev(1000 + n), ..skipped.clone() }));
        let plan = plan(&order(&[]), &survey, &kernel("6.18.0")).unwrap();
        assert_eq!(plan.len(), 3 + MAX_LISTED_SKIPS);
    }
}
