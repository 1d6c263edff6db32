//! ProbeEvent.

use std::time::Duration;

use trimtab_proto::{MAX_PROBE_BYTES, v1, words::Wire};

use super::{
    Nonsense,
    field::{bytes, millis, required},
    run::{failure, sent},
    survey::free_extents,
};
use crate::model::probe::{ProbeEvent, ProbeTrimmed, ProbeWritten};

/// Checks one event, and gives when it was said, since the request came in. Its place among the others is the stream's
/// business.
pub fn probe(event: v1::ProbeEvent) -> Result<(Duration, ProbeEvent), Nonsense> {
    use v1::probe_event::What;
    let elapsed = millis("elapsed_ms", event.elapsed_ms)?;
    let what = match required("what", event.what)? {
        What::Written(now) => ProbeEvent::Written(written(now).map_err(|error| error.within("written"))?),
        What::Trimmed(now) => {
            ProbeEvent::Trimmed(trimmed(now, elapsed).map_err(|error| error.within("trimmed"))?)
        }
        What::Failed(now) => ProbeEvent::Failed(failure(now)?),
    };
    Ok((elapsed, what))
}

fn written(written: v1::ProbeWritten) -> Result<ProbeWritten, Nonsense> {
    let extents = free_extents(written.extents).map_err(|error| error.within("extents"))?;
    let largest = extents.first().map_or(0, |class| class.bytes);
    if written.bytes > MAX_PROBE_BYTES || largest > MAX_PROBE_BYTES.saturating_mul(2) {
        return Err(Nonsense::new(
            "bytes",
            format!("{} bytes, at most {MAX_PROBE_BYTES}", written.bytes.max(largest)),
        ));
    }
    Ok(ProbeWritten { bytes: written.bytes, extents, sent: sent(written.sent)? })
}

fn trimmed(trimmed: v1::ProbeTrimmed, elapsed: Duration) -> Result<ProbeTrimmed, Nonsense> {
    let given_up = millis("given_up_ms", trimmed.given_up_ms)?;
    if given_up > elapsed {
        return Err(Nonsense::new("given_up_ms", format!("{given_up:?}, and it is {elapsed:?} only")));
    }
    Ok(ProbeTrimmed {
        given_up,
        claimed_bytes: bytes("claimed", trimmed.claimed)?,
        claim: Wire::read(trimmed.claim),
        range_bytes: bytes("range", trimmed.range)?,
        beyond_range: trimmed.beyond_range,
        sent: sent(trimmed.sent)?,
        settled: trimmed.settled,
    })
}
