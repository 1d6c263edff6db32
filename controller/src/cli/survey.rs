//! `trimtab survey`: looks at VMs side by side and changes nothing.

use super::{
    args::{Global, Selection},
    exit,
    output::Output,
    vms::{self, Known},
};
use crate::{
    model::{trouble::Trouble, vm::Vm},
    render::{json::survey::SurveyDocument, progress::Progress, survey::screen},
    trim::{
        event::{Stage, TurnEvent},
        look::{Look, look, not_read},
        many::side_by_side,
        outcome::{Weight, weight_of},
    },
};

/// What was seen of each VM, in the order that it was asked for.
type Seen = Vec<(String, Result<Look, Trouble>)>;

pub(super) async fn run(
    global: &Global,
    selection: &Selection,
    parallel: Option<u16>,
    output: &Output,
) -> Result<u8, Trouble> {
    let known = vms::load(global, parallel).await?.with_neighbours();
    let vms = known.select(selection).await?;
    known.warn_of_taint(&vms, *output);
    let seen = look_at(&known, vms, &Progress::new(global.quiet || output.wants_events())).await;
    Ok(show(&seen, output))
}

/// Looks at each VM; none of them holds up another.
pub(super) async fn look_at(known: &Known, vms: Vec<Vm>, progress: &Progress) -> Seen {
    let names: Vec<String> = vms.iter().map(|vm| vm.name.clone()).collect();
    let looks = side_by_side(vms, known.parallel(), |vm| {
        let (reached, progress) = (known.reach(&vm), progress.clone());
        async move {
            progress.show(&vm.name, &TurnEvent::Stage(Stage::Looking));
            let seen = look(&reached.parts()).await;
            progress.done(&vm.name);
            seen
        }
    })
    .await;
    names.into_iter().zip(looks).collect()
}

/// Prints what was seen; a VM that could not be read weighs in the exit code, a cut does not: a survey only tells.
pub(super) fn show(seen: &Seen, output: &Output) -> u8 {
    let weights: Vec<Weight> =
        seen.iter().map(|(_, result)| not_read(result).map_or(Weight::Good, weight_of)).collect();
    let exit = exit::code(&weights);
    output.result(&SurveyDocument::new(seen, exit), || screen(seen));
    exit
}
