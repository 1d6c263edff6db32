//! Probes: a request is validated into an [`Order`], events become messages.

use std::time::Duration;

use trimtab_proto::{
    MAX_PROBE_BYTES, MAX_PROBE_DEADLINE_SECS, MAX_PROBE_PAUSE_MS, PROBE_STEP_BYTES, v1, words::Word,
};

use super::run::{failure, sent};
use crate::probe::{Event, Order, Trimmed, What, Written};

/// An order from a host.
///
/// # Errors
/// A sentence for the caller: which field is wrong, and what it must be.
pub fn order(request: &v1::ProbeRequest) -> Result<Order, String> {
    let filesystem_id = request
        .filesystem_id
        .parse()
        .map_err(|_| "filesystem_id must be an id of Survey, like \"8:1\"".to_owned())?;
    let whole = request.bytes.checked_rem(PROBE_STEP_BYTES) == Some(0);
    if !whole || !(PROBE_STEP_BYTES..=MAX_PROBE_BYTES).contains(&request.bytes) {
        let most = MAX_PROBE_BYTES.checked_div(PROBE_STEP_BYTES).unwrap_or_default();
        return Err(format!("bytes must be 1 to {most} MiB, in whole MiB"));
    }
    if request.pause_ms > MAX_PROBE_PAUSE_MS {
        return Err(format!("pause_ms must be at most {MAX_PROBE_PAUSE_MS}"));
    }
    if !(1..=MAX_PROBE_DEADLINE_SECS).contains(&request.deadline_secs) {
        return Err(format!("deadline_secs must be 1 to {MAX_PROBE_DEADLINE_SECS}"));
    }
    Ok(Order {
        filesystem_id,
        bytes: request.bytes,
        pause: Duration::from_millis(request.pause_ms.into()),
        deadline: Duration::from_secs(request.deadline_secs.into()),
    })
}

/// An event.
pub fn event(event: Event) -> v1::ProbeEvent {
    use v1::probe_event::What as Wire;
    let what = match event.what {
        What::Written(Written { bytes, extents, sent: moved }) => Wire::Written(v1::ProbeWritten {
            bytes,
            extents: extents
                .into_iter()
                .map(|class| v1::FreeExtents { at_least: class.at_least, bytes: class.bytes })
                .collect(),
            sent: moved.into_iter().map(sent).collect(),
        }),
        What::Trimmed(trimmed) => Wire::Trimmed(self::trimmed(trimmed)),
        What::Failed(failed) => Wire::Failed(failure(failed)),
    };
    v1::ProbeEvent { elapsed_ms: event.elapsed_ms, what: Some(what) }
}

fn trimmed(trimmed: Trimmed) -> v1::ProbeTrimmed {
    v1::ProbeTrimmed {
        given_up_ms: trimmed.given_up_ms,
        claimed: trimmed.claimed,
        claim: trimmed.claim.number(),
        range: trimmed.range,
        beyond_range: trimmed.beyond_range,
        sent: trimmed.sent.into_iter().map(sent).collect(),
        settled: trimmed.settled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let good = v1::ProbeRequest {
            filesystem_id: "8:1".into(),
            boot_id: String::new(),
            bytes: 16 << 20,
            pause_ms: 10_000,
            deadline_secs: 120,
        };
        let asked = order(&good).unwrap();
        assert_eq!(
            (asked.bytes, asked.pause, asked.deadline.as_secs()),
            (16 << 20, Duration::from_secs(10), 120)
        );
        for (name, request, says) in [
            ("a path", v1::ProbeRequest { filesystem_id: "/".into(), ..good.clone() }, "filesystem_id"),
            ("nothing", v1::ProbeRequest { bytes: 0, ..good.clone() }, "1 to 64 MiB"),
            ("half a MiB", v1::ProbeRequest { bytes: 1 << 19, ..good.clone() }, "1 to 64 MiB"),
            ("odd", v1::ProbeRequest { bytes: (16 << 20) + 1, ..good.clone() }, "1 to 64 MiB"),
            ("large", v1::ProbeRequest { bytes: 65 << 20, ..good.clone() }, "1 to 64 MiB"),
            ("long pause", v1::ProbeRequest { pause_ms: 10_001, ..good.clone() }, "pause_ms"),
            ("no deadline", v1::ProbeRequest { deadline_secs: 0, ..good.clone() }, "deadline_secs"),
            ("long", v1::ProbeRequest { deadline_secs: 121, ..good.clone() }, "deadline_secs"),
        ] {
            let error = order(&request).unwrap_err();
            assert!(error.contains(says), "{name}: {error}");
        }
    }
}
