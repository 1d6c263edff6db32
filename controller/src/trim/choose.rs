//! Guard: which disks take part, and which filesystems the guest is asked to trim. Pure.
//!
//! A filesystem is trimmed only when every disk below it takes part.

use trimtab_proto::words::feature;

use crate::{
    layers::{self, Finding, Guard, Layer},
    model::{
        guest::{AgentInfo, Filesystem, GuestSurvey},
        run::Target,
        trouble::{Kind, Trouble},
        vm::Via,
    },
    trim::{
        extent::min_extent,
        look::{DiskLook, Look},
        options::TrimOptions,
    },
};

/// What was decided for one disk of the hypervisor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It is trimmed.
    Go,
    /// The caller did not ask for it.
    NotAsked,
    /// A guard says no.
    Guarded(Guard),
    /// A layer is known to cut.
    Cut(Finding),
    /// Its image could not be read; a trim would prove nothing.
    Unreadable(Trouble),
}

/// The decisions, in the order of [`Look::disks`], and what follows from them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// One for each disk.
    pub decisions: Vec<Decision>,
    /// What the guest is asked to trim; empty: nothing.
    pub targets: Vec<Target>,
}

/// Decides. A name in `--disk` or `--mount` that fits nothing is an error that lists what there is.
pub fn choose(look: &Look, survey: &GuestSurvey, options: &TrimOptions) -> Result<Choice, Trouble> {
    let all_at_once = survey.agent.via == Via::Qga;
    if all_at_once {
        check_all_at_once(options)?;
    } else {
        check_features(&survey.agent, options)?;
    }
    check_names(look, survey, options)?;
    let mut decisions: Vec<Decision> =
        look.disks.iter().map(|disk| decide(look, survey, disk, options)).collect();
    if all_at_once {
        hold_all_back(look, &mut decisions);
    }
    hold_with_others(look, survey, &mut decisions, options);
    let targets = survey
        .filesystems
        .iter()
        .filter(|fs| fs.skip.is_none() && (all_at_once || !fs.leaf_ids.is_empty()))
        .filter(|fs| options.mounts.is_empty() || options.mounts.contains(&fs.mount))
        .filter(|fs| fs.leaf_ids.iter().all(|leaf| takes_part(look, &decisions, leaf, options)))
        .filter(|_| !all_at_once || decisions.contains(&Decision::Go))
        .map(|fs| Target {
            filesystem_id: fs.id.clone(),
            min_extent_bytes: if all_at_once {
                options.min_extent_bytes
            } else {
                min_extent(look, fs, options)
            },
        })
        .collect();
    Ok(Choice { decisions, targets })
}

fn decide(look: &Look, survey: &GuestSurvey, disk: &DiskLook, options: &TrimOptions) -> Decision {
    let asked = options.disks.is_empty() || options.disks.iter().any(|name| is_called(look, disk, name));
    let mounted = options.mounts.is_empty()
        || filesystems(look, survey, disk).any(|fs| options.mounts.contains(&fs.mount));
    if !asked || !mounted {
        return Decision::NotAsked;
    }
    if let Some(trouble) = &disk.image_trouble {
        return Decision::Unreadable(trouble.clone());
    }
    if let Some(guard) = layers::guard(&look.facts(disk), &options.anyway) {
        return Decision::Guarded(guard);
    }
    match layers::known_cut(&look.findings(disk)) {
        Some(cut) if !options.anyway.contains(&cut.layer) => Decision::Cut(cut.clone()),
        _ => Decision::Go,
    }
}

/// What qemu-ga cannot be asked for.
fn check_all_at_once(options: &TrimOptions) -> Result<(), Trouble> {
    let asked = [
        ("--disk", !options.disks.is_empty()),
        ("--mount", !options.mounts.is_empty()),
        ("--pace", options.pace.is_some()),
        ("--again", options.again),
        ("--also-type", !options.also_types.is_empty()),
    ];
    match asked.iter().find(|(_, is_asked)| *is_asked) {
        Some((option, _)) => Err(Trouble::new(
            Kind::Usage,
            format!("qemu-ga trims all of a guest at once, as fast as it goes: it cannot do {option}"),
        )
        .hint("leave the option out, or install trimtab-agent in the guest")),
        None => Ok(()),
    }
}

/// What an older agent would pass over in silence.
fn check_features(agent: &AgentInfo, options: &TrimOptions) -> Result<(), Trouble> {
    if !options.again || agent.features.iter().any(|word| word == feature::AGAIN) {
        return Ok(());
    }
    let text = format!("trimtab-agent {} in the guest knows no --again", agent.version);
    Err(Trouble::new(Kind::AgentVersion, text)
        .hint("update the package trimtab-agent in the guest, or leave the option out"))
}

/// Who trims all disks at once trims none while one of them must not be trimmed.
fn hold_all_back(look: &Look, decisions: &mut [Decision]) {
    let held = look.disks.iter().zip(&*decisions).find_map(|(disk, decision)| {
        let (layer, why, passes_by_itself) = match decision {
            Decision::Go | Decision::NotAsked => return None,
            Decision::Guarded(guard) => (guard.layer, &guard.text, guard.passes_by_itself),
            Decision::Cut(cut) => (cut.layer, &cut.text, false),
            Decision::Unreadable(trouble) => (Layer::HostFilesystem, &trouble.text, false),
        };
        let name = disk.host.name();
        let text = format!("qemu-ga would trim all disks at once, and {name} must not be: {why}");
        Some(Guard { layer, text, short: "another disk".to_owned(), passes_by_itself })
    });
    let Some(guard) = held else { return };
    for decision in decisions.iter_mut().filter(|decision| **decision == Decision::Go) {
        *decision = Decision::Guarded(guard.clone());
    }
}

/// A disk all of whose filesystems span disks that are held back is held back with them: nothing of it is trimmed, and
/// that is no fault of its own layers.
fn hold_with_others(look: &Look, survey: &GuestSurvey, decisions: &mut [Decision], options: &TrimOptions) {
    for index in 0..decisions.len() {
        let Some(disk) = look.disks.get(index).filter(|_| decisions.get(index) == Some(&Decision::Go)) else {
            continue;
        };
        let trimmable: Vec<&Filesystem> =
            filesystems(look, survey, disk).filter(|fs| fs.skip.is_none()).collect();
        let held = |leaf: &&String| !takes_part(look, decisions, leaf, options);
        let blocked: Vec<(&Filesystem, &String)> =
            trimmable.iter().filter_map(|fs| Some((*fs, fs.leaf_ids.iter().find(held)?))).collect();
        let Some((fs, leaf)) = blocked.first().filter(|_| blocked.len() == trimmable.len()) else { continue };
        let guard = spans(look, survey, fs, leaf, decisions);
        if let Some(decision) = decisions.get_mut(index) {
            *decision = Decision::Guarded(guard);
        }
    }
}

/// Why a filesystem is not trimmed for the sake of one of its disks.
fn spans(look: &Look, survey: &GuestSurvey, fs: &Filesystem, leaf: &str, decisions: &[Decision]) -> Guard {
    let of_leaf = look
        .disks
        .iter()
        .zip(decisions)
        .find(|(disk, _)| look.guest_disk(disk).is_some_and(|device| device.id == leaf))
        .map(|(_, decision)| decision);
    let (layer, why, passes_by_itself) = match of_leaf {
        Some(Decision::Guarded(guard)) => (guard.layer, guard.text.clone(), guard.passes_by_itself),
        Some(Decision::Cut(cut)) => (cut.layer, cut.text.clone(), false),
        Some(Decision::Unreadable(trouble)) => (Layer::HostFilesystem, trouble.text.clone(), false),
        _ => (Layer::Filesystem, "it was not asked for; name all of them".to_owned(), false),
    };
    let name = survey.device(leaf).map_or(leaf, |device| &device.name);
    let disks = survey.disk_names(fs).join(", ");
    Guard {
        layer,
        text: format!("{} spans {disks}, and of {name}: {why}", fs.mount),
        short: "spans disks".to_owned(),
        passes_by_itself,
    }
}

fn filesystems<'a>(
    look: &'a Look,
    survey: &'a GuestSurvey,
    disk: &'a DiskLook,
) -> impl Iterator<Item = &'a Filesystem> {
    look.guest_disk(disk)
        .into_iter()
        .flat_map(|device| layers::stack::filesystems_on(survey, &device.id))
        .map(|on| on.filesystem)
}

/// A disk by any of its names.
fn is_called(look: &Look, disk: &DiskLook, name: &str) -> bool {
    look.guest_disk(disk).is_some_and(|device| device.name == name)
        || disk.host.device == name
        || disk.host.target.as_deref() == Some(name)
        || disk.host.image.as_ref().is_some_and(|image| image.path.as_os_str() == name)
}

/// A guest's disk that is paired takes part if its pair does. One that is not may be any of the unpaired ones, so it
/// takes part only if none of those is held back.
fn takes_part(look: &Look, decisions: &[Decision], leaf: &str, options: &TrimOptions) -> bool {
    let goes = |(disk, decision): (&DiskLook, &Decision)| {
        look.guest_disk(disk).is_some_and(|device| device.id == leaf).then_some(*decision == Decision::Go)
    };
    let both = || look.disks.iter().zip(decisions);
    both().find_map(goes).unwrap_or_else(|| {
        options.disks.is_empty()
            && both()
                .filter(|(disk, _)| disk.guest.is_none())
                .all(|(_, decision)| matches!(decision, Decision::Go | Decision::NotAsked))
    })
}

fn check_names(look: &Look, survey: &GuestSurvey, options: &TrimOptions) -> Result<(), Trouble> {
    if let Some(name) =
        options.disks.iter().find(|name| !look.disks.iter().any(|disk| is_called(look, disk, name)))
    {
        let known: Vec<&str> = look
            .disks
            .iter()
            .map(|disk| look.guest_disk(disk).map_or(disk.host.name(), |device| device.name.as_str()))
            .collect();
        return Err(Trouble::new(Kind::Usage, format!("no disk {name:?} in this VM"))
            .hint(format!("its disks are: {}", known.join(", "))));
    }
    for mount in &options.mounts {
        let Some(fs) = survey.filesystems.iter().find(|fs| fs.mount == *mount) else {
            let known: Vec<&str> = survey
                .filesystems
                .iter()
                .filter(|fs| fs.skip.is_none())
                .map(|fs| fs.mount.as_str())
                .collect();
            return Err(Trouble::new(
                Kind::Usage,
                format!("no filesystem is mounted at {mount:?} in this VM"),
            )
            .hint(format!("what can be trimmed: {}", known.join(", "))));
        };
        if let Some(skip) = &fs.skip {
            return Err(Trouble::new(Kind::Usage, format!("{mount:?} cannot be trimmed: {}", skip.text)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layers::{
            Layer,
            samples::{HEADER, Sample, filesystem, host_disk},
        },
        model::{disk::DriveDiscard, image::Qcow2Header},
        trim::fakes::look_of,
    };

    fn targets(look: &Look, options: &TrimOptions) -> Vec<String> {
        choose(look, look.survey().unwrap(), options)
            .unwrap()
            .targets
            .into_iter()
            .map(|target| target.filesystem_id)
            .collect()
    }

    #[test]
    fn everything_that_is_not_skipped() {
        let look = look_of(&[Sample::raw()]);
        assert_eq!(targets(&look, &TrimOptions::default()), ["8:1"]);
    }

    #[test]
    fn a_known_cut_is_not_started_unless_overridden() {
        let mut sample = Sample::raw();
        sample.host.discard = DriveDiscard::Ignore;
        let look = look_of(&[sample]);
        let mut options = TrimOptions::default();
        let choice = choose(&look, look.survey().unwrap(), &options).unwrap();
        assert!(matches!(&choice.decisions[0], Decision::Cut(cut) if cut.layer == Layer::Drive));
        assert!(choice.targets.is_empty());
        options.anyway.push(Layer::Drive);
        assert_eq!(targets(&look, &options), ["8:1"]);
    }

    #[test]
    fn a_filesystem_over_a_guarded_disk_waits() {
        let mut guarded = Sample::qcow2(Qcow2Header { snapshots: 1, ..HEADER });
        guarded.datastore().free_bytes = 0;
        let mut look = look_of(&[Sample::raw(), guarded]);
        look.guest.as_mut().unwrap().filesystems.push(filesystem("0:40", "/both", &["8:0", "8:16"]));
        assert_eq!(targets(&look, &TrimOptions::default()), ["8:1"]);
    }

    #[test]
    fn an_unpaired_disk_is_trimmed_only_when_no_unpaired_host_disk_is_held_back() {
        let mut look = look_of(&[Sample::raw()]);
        look.disks[0].guest = None;
        assert_eq!(targets(&look, &TrimOptions::default()), ["8:1"]);
        look.disks[0].host.block_job = Some("running".into());
        assert!(targets(&look, &TrimOptions::default()).is_empty());
        let named = TrimOptions { disks: vec!["disk0".into()], ..TrimOptions::default() };
        look.disks[0].host = host_disk("disk0", "/a");
        assert!(targets(&look, &named).is_empty(), "it was not asked for by name");
    }

    #[test]
    fn a_disk_whose_filesystem_spans_one_that_is_held_back_is_not_accused() {
        let mut look = look_of(&[Sample::raw(), Sample::raw()]);
        look.guest.as_mut().unwrap().filesystems = vec![filesystem("0:40", "/both", &["8:0", "8:16"])];
        let decided =
            |look: &Look, options: &TrimOptions| choose(look, look.survey().unwrap(), options).unwrap();
        assert_eq!(decided(&look, &TrimOptions::default()).targets.len(), 1);
        let one = TrimOptions { disks: vec!["sda".into()], ..TrimOptions::default() };
        let Decision::Guarded(guard) = &decided(&look, &one).decisions[0] else { panic!("it goes") };
        assert_eq!(guard.text, "/both spans sda, sdb, and of sdb: it was not asked for; name all of them");
        look.disks[1].host.block_job = Some("running".into());
        let Decision::Guarded(guard) = &decided(&look, &TrimOptions::default()).decisions[0] else {
            panic!("it goes")
        };
        assert_eq!((guard.layer, guard.passes_by_itself), (Layer::Job, true));
    }

    #[test]
    fn what_an_older_agent_would_pass_over_is_not_asked_of_it() {
        let again = TrimOptions { again: true, ..TrimOptions::default() };
        let mut look = look_of(&[Sample::raw()]);
        let trouble = choose(&look, look.survey().unwrap(), &again).unwrap_err();
        assert_eq!(trouble.kind, Kind::AgentVersion);
        assert!(trouble.hint.unwrap().contains("update the package trimtab-agent in the guest"));
        look.guest.as_mut().unwrap().agent.features = vec![feature::AGAIN.to_owned()];
        assert_eq!(targets(&look, &again), ["8:1"]);
    }

    #[test]
    fn qemu_ga_trims_all_or_nothing() {
        let mut cut = Sample::raw();
        cut.host.discard = DriveDiscard::Ignore;
        let mut look = look_of(&[Sample::raw(), cut]);
        assert_eq!(targets(&look, &TrimOptions::default()), ["8:1"]);
        look.guest.as_mut().unwrap().agent.via = Via::Qga;
        let choice = choose(&look, look.survey().unwrap(), &TrimOptions::default()).unwrap();
        assert!(choice.targets.is_empty());
        assert!(matches!(&choice.decisions[0], Decision::Guarded(guard) if guard.layer == Layer::Drive));
        let anyway = TrimOptions { anyway: vec![Layer::Drive], ..TrimOptions::default() };
        assert_eq!(targets(&look, &anyway).len(), 2);
        let again = TrimOptions { again: true, ..TrimOptions::default() };
        let trouble = choose(&look, look.survey().unwrap(), &again).unwrap_err();
        assert!(trouble.text.contains("--again"), "{trouble}");
    }

    #[test]
    fn names_narrow_or_are_errors() {
        let look = look_of(&[Sample::raw(), Sample::raw()]);
        let by = |disks: &[&str], mounts: &[&str]| TrimOptions {
            disks: disks.iter().map(|s| (*s).to_owned()).collect(),
            mounts: mounts.iter().map(|s| (*s).to_owned()).collect(),
            ..TrimOptions::default()
        };
        assert_eq!(targets(&look, &by(&["sda"], &[])), ["8:1"]);
        assert_eq!(targets(&look, &by(&["sdb"], &[])), ["8:17"]);
        assert_eq!(targets(&look, &by(&[], &["/"])), ["8:1"]);
        for (options, text) in [(by(&["sdz"], &[]), "sda, sdb"), (by(&[], &["/nope"]), "/, /1")] {
            let trouble = choose(&look, look.survey().unwrap(), &options).unwrap_err();
            assert_eq!(trouble.kind, Kind::Usage);
            assert!(trouble.hint.unwrap().contains(text));
        }
    }
}
