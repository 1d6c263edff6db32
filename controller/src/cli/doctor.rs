//! `trimtab doctor`: looks at VMs layer by layer, says what is in the way and how it is mended.

use super::{
    args::{DoctorArgs, Global},
    exit,
    output::Output,
    survey::look_at,
    vms,
};
use crate::{
    model::trouble::{Kind, Trouble},
    render::{
        doctor,
        json::doctor::{DoctorDocument, Examined},
        progress::Progress,
    },
    trim::diagnosis::Diagnosis,
};

pub(super) async fn run(global: &Global, args: &DoctorArgs, output: &Output) -> Result<u8, Trouble> {
    if args.selection.vms.is_empty() && args.selection.select.is_none() {
        return Err(Trouble::new(Kind::Usage, "doctor needs to be told which VM")
            .hint("name it (trimtab doctor web-12); `trimtab survey` shows all of them in short"));
    }
    let known = vms::load(global, None).await?.with_neighbours().await;
    let vms = known.select(&args.selection)?;
    let progress = Progress::new(global.quiet || output.wants_events());
    let seen = look_at(&known, vms.clone(), &progress).await;
    let examined: Vec<(String, Examined)> = seen
        .into_iter()
        .zip(&vms)
        .map(|((name, seen), vm)| {
            let with_diagnosis = |look| {
                let diagnosis = Diagnosis::of(&look, known.endpoint(vm));
                (look, diagnosis)
            };
            (name, seen.map(with_diagnosis))
        })
        .collect();
    let exit = exit_code(&examined);
    output.result(&DoctorDocument::new(&examined, exit), || {
        examined.iter().map(|(name, result)| doctor::vm(name, result)).collect()
    });
    Ok(exit)
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
