//! `trimtab doctor`: looks at VMs layer by layer, says what is in the way and how it is mended.

mod fix;

use self::fix::Consent;
use super::{
    args::{DoctorArgs, Global},
    exit,
    output::Output,
    vms::{self, Reached},
};
use crate::{
    model::{
        endpoint::Endpoint,
        trouble::{Kind, Trouble},
    },
    render::{
        doctor,
        json::doctor::{DoctorDocument, Examined},
        progress::Progress,
    },
    trim::{
        diagnosis::Diagnosis,
        event::{Stage, TurnEvent},
        look::{look, look_for_sharing},
        many::side_by_side,
        probe::probe,
    },
};

pub(super) async fn run(global: &Global, args: &DoctorArgs, output: &Output) -> Result<u8, Trouble> {
    if args.selection.vms.is_empty() && args.selection.select.is_none() {
        return Err(Trouble::new(Kind::Usage, "doctor needs to be told which VM")
            .hint("name it (trimtab doctor web-12); `trimtab survey` shows all of them in short"));
    }
    let known = vms::load(global, None).await?.with_neighbours();
    let vms = known.select(&args.selection).await?;
    known.warn_of_taint(&vms, *output);
    let asked_about = vms.clone();
    let progress = Progress::new(global.quiet || output.wants_events());
    let names: Vec<String> = vms.iter().map(|vm| vm.name.clone()).collect();
    let with_probe = args.probe;
    let examined = side_by_side(vms, known.parallel(), |vm| {
        let (reached, progress) = (known.reach(&vm), progress.clone());
        let endpoint = known.endpoint(&vm).cloned();
        async move {
            let examined = examine(&reached, endpoint.as_ref(), with_probe, &progress).await;
            progress.done(&vm.name);
            examined
        }
    })
    .await;
    let mut examined: Vec<(String, Examined)> = names.into_iter().zip(examined).collect();
    if args.fix {
        let consent = if args.yes { Consent::Given } else { Consent::Ask };
        for (vm, (_, result)) in asked_about.iter().zip(&mut examined) {
            if let Ok((look, diagnosis)) = result {
                diagnosis.mended = fix::mend(vm, look, diagnosis, consent).await;
            }
        }
    }
    let exit = exit_code(&examined);
    output.result(&DoctorDocument::new(&examined, exit), || {
        examined.iter().map(|(name, result)| doctor::vm(name, result)).collect()
    });
    Ok(exit)
}

/// Looks at one VM, and probes its disks one after the other: the guest does one thing at a time.
async fn examine(
    reached: &Reached,
    endpoint: Option<&Endpoint>,
    with_probe: bool,
    progress: &Progress,
) -> Examined {
    let parts = reached.parts();
    let stage = |stage| progress.show(parts.name, &TurnEvent::Stage(stage));
    stage(Stage::Looking);
    let mut look = look(&parts).await?;
    look_for_sharing(parts.storage, &mut look).await;
    let mut diagnosis = Diagnosis::of(&look, endpoint);
    if with_probe && look.guest.is_ok() {
        stage(Stage::Probing);
        for (disk, found) in look.disks.iter().zip(&mut diagnosis.disks) {
            found.probe = Some(probe(&parts, &look, disk, &[]).await);
        }
    }
    Ok((look, diagnosis))
}

/// 0 where everything is open; 32 where no VM could be looked at at all; 64 where something cuts or was not read.
fn exit_code(examined: &[(String, Examined)]) -> u8 {
    let is_open = |result: &Examined| result.as_ref().is_ok_and(|(_, diagnosis)| diagnosis.is_open());
    match () {
        () if examined.iter().all(|(_, result)| is_open(result)) => exit::OK,
        () if examined.iter().all(|(_, result)| result.is_err()) => exit::ALL,
        () => exit::SOME,
    }
}
