//! `trimtab doctor --fix`: mends what can be mended from the host without harm, one change after the other, each shown
//! first and made only when somebody agrees.

use std::io::{IsTerminal, Write};

use crate::{
    layers::{Layer, State},
    libvirt::{
        Libvirt,
        fix::{Change, Mend, Planned, VHOST_VSOCK},
    },
    model::{
        trouble::{Kind, Trouble},
        vm::{DomainId, Vm},
    },
    render::mended,
    trim::{
        diagnosis::Diagnosis,
        look::Look,
        mended::{Mended, Outcome},
    },
};

/// Who agrees to a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Consent {
    /// `--yes`.
    Given,
    /// Whoever sits at the terminal.
    Ask,
}

/// Mends one VM. Nothing to mend is nothing done.
pub(super) async fn mend(vm: &Vm, look: &Look, diagnosis: &Diagnosis, consent: Consent) -> Vec<Mended> {
    let Some(domain) = &vm.domain else { return Vec::new() };
    let libvirt = Libvirt::new(domain.id.uri.clone());
    let mut all = Vec::new();
    for (layer, what) in wanted(look, diagnosis) {
        all.push(one(&libvirt, &domain.id, layer, what, consent).await);
    }
    all
}

/// What cuts and can be mended from here: a missing vsock device, and drives that drop discards.
fn wanted(look: &Look, diagnosis: &Diagnosis) -> Vec<(Layer, Mend)> {
    let cuts =
        |layer| move |finding: &crate::layers::Finding| finding.layer == layer && finding.state == State::Cut;
    let vsock = diagnosis
        .way
        .iter()
        .any(cuts(Layer::Link))
        .then(|| (Layer::Link, Mend::Vsock { device: VHOST_VSOCK.into() }));
    let drives = look.disks.iter().zip(&diagnosis.disks).filter_map(|(disk, found)| {
        let target = disk.host.target.clone()?;
        found.findings.iter().any(cuts(Layer::Drive)).then_some((Layer::Drive, Mend::Discard { target }))
    });
    vsock.into_iter().chain(drives).collect()
}

async fn one(libvirt: &Libvirt, domain: &DomainId, layer: Layer, what: Mend, consent: Consent) -> Mended {
    let disk = match &what {
        Mend::Discard { target } => Some(target.clone()),
        Mend::Vsock { .. } => None,
    };
    let mended = |change: Option<&Change>, outcome| Mended {
        layer,
        disk: disk.clone(),
        before: change.and_then(|change| change.before.clone()),
        after: change.map(|change| change.after.clone()),
        outcome,
    };
    let change = match libvirt.plan(domain, &what).await {
        Ok(Planned::Change(change)) => change,
        Ok(Planned::AlreadyThere) => return mended(None, Outcome::AlreadyThere),
        Err(trouble) => return mended(None, Outcome::Failed(trouble)),
    };
    let agreed = match consent {
        Consent::Given => Ok(true),
        Consent::Ask => ask(&mended::change(&domain.name, &mended(Some(&change), Outcome::Declined))),
    };
    let made = match agreed {
        Ok(true) => libvirt.apply(domain, &change).await.map(|()| Outcome::Done),
        Ok(false) => Ok(Outcome::Declined),
        Err(trouble) => Err(trouble),
    };
    mended(Some(&change), made.unwrap_or_else(Outcome::Failed))
}

/// Shows a change and waits for a word, on the terminal.
fn ask(change: &str) -> Result<bool, Trouble> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Ok(false);
    }
    let mut answer = String::new();
    write!(anstream::stderr(), "{change}make this change? [y/N] ")
        .and_then(|()| stdin.read_line(&mut answer).map(drop))
        .map_err(|error| Trouble::new(Kind::Internal, format!("cannot ask: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layers::samples::Sample,
        model::{
            disk::{DriveDiscard, Link},
            trouble::Kind,
        },
        trim::fakes::look_of,
    };

    #[test]
    fn what_is_mended() {
        let mut cut = Sample::raw();
        cut.host.discard = DriveDiscard::Ignore;
        cut.host.target = Some("vdb".into());
        let mut look = look_of(&[Sample::raw(), cut]);
        let of = |look: &Look| wanted(look, &Diagnosis::of(look, None));
        assert_eq!(of(&look), [(Layer::Drive, Mend::Discard { target: "vdb".into() })]);
        look.vm.link = Link::Missing;
        look.guest = Err(Trouble::new(Kind::NoLink, "no vsock device"));
        let layers: Vec<Layer> = of(&look).iter().map(|(layer, _)| *layer).collect();
        assert_eq!(layers, [Layer::Link, Layer::Drive]);
        // QEMU's own command line is not libvirt's to mend.
        look.disks[1].host.target = None;
        assert_eq!(of(&look).len(), 1);
    }
}
