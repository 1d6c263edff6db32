//! What the controller asks for, as messages. Pure.

use std::time::Duration;

use trimtab_proto::{MAX_LINGER_SECS, MAX_PROBE_DEADLINE_SECS, MAX_PROBE_PAUSE_MS, v1};

use crate::model::{
    probe::ProbeOrder,
    run::{SteerOrder, TrimOrder},
};

/// An order for a trim. The deadline is rounded up to whole seconds and at least one; the linger is never longer than
/// the contract's [`MAX_LINGER_SECS`].
pub(super) fn trim(order: &TrimOrder) -> v1::TrimRequest {
    v1::TrimRequest {
        run_id: order.run_id.clone(),
        fence: order.fence,
        boot_id: order.boot_id.clone(),
        targets: order
            .targets
            .iter()
            .map(|t| v1::Target { filesystem_id: t.filesystem_id.clone(), min_extent: t.min_extent_bytes })
            .collect(),
        pace: order.pace.map_or(0, i32::from),
        deadline_secs: whole_secs(order.deadline).max(1),
        linger_secs: whole_secs(order.linger).min(MAX_LINGER_SECS),
        again: order.again,
        also_types: order.also_types.clone(),
    }
}

/// Pause, resume or cancel.
pub(super) fn steer(order: &SteerOrder) -> v1::SteerRequest {
    v1::SteerRequest { run_id: order.run_id.clone(), fence: order.fence, action: order.action.into() }
}

/// A probe. The pause is never longer than the contract's [`MAX_PROBE_PAUSE_MS`], the deadline at least a second.
pub(super) fn probe(order: &ProbeOrder) -> v1::ProbeRequest {
    let pause_ms = u32::try_from(order.pause.as_millis()).unwrap_or(u32::MAX);
    v1::ProbeRequest {
        filesystem_id: order.filesystem_id.clone(),
        boot_id: order.boot_id.clone(),
        bytes: order.bytes,
        pause_ms: pause_ms.min(MAX_PROBE_PAUSE_MS),
        deadline_secs: whole_secs(order.deadline).clamp(1, MAX_PROBE_DEADLINE_SECS),
    }
}

fn whole_secs(duration: Duration) -> u32 {
    let begun = u64::from(duration.subsec_nanos() > 0);
    u32::try_from(duration.as_secs().saturating_add(begun)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use trimtab_proto::words::{Action, Pace};

    use super::*;
    use crate::model::run::Target;

    #[test]
    fn an_order_as_a_message() {
        let order = TrimOrder {
            run_id: "r".into(),
            fence: 7,
            boot_id: "b".into(),
            targets: vec![Target { filesystem_id: "8:1".into(), min_extent_bytes: 65536 }],
            pace: Some(Pace::Gentle),
            deadline: Duration::from_millis(1500),
            linger: Duration::from_secs(60),
            again: true,
            also_types: vec!["f2fs".into()],
        };
        let expected = v1::TrimRequest {
            run_id: "r".into(),
            fence: 7,
            boot_id: "b".into(),
            targets: vec![v1::Target { filesystem_id: "8:1".into(), min_extent: 65536 }],
            pace: 1,
            deadline_secs: 2,
            linger_secs: 10,
            again: true,
            also_types: vec!["f2fs".into()],
        };
        assert_eq!(trim(&order), expected);
        let order = TrimOrder { deadline: Duration::ZERO, pace: None, linger: Duration::ZERO, ..order };
        assert_eq!((trim(&order).deadline_secs, trim(&order).pace, trim(&order).linger_secs), (1, 0, 0));
        let order = TrimOrder { deadline: Duration::MAX, ..order };
        assert_eq!(trim(&order).deadline_secs, u32::MAX);
        let order = ProbeOrder {
            filesystem_id: "8:1".into(),
            boot_id: "b".into(),
            bytes: 1 << 24,
            pause: Duration::from_secs(60),
            deadline: Duration::MAX,
        };
        let asked = probe(&order);
        assert_eq!((asked.pause_ms, asked.deadline_secs, asked.bytes), (10_000, 120, 1 << 24));
        let order = SteerOrder { run_id: "r".into(), fence: 8, action: Action::Cancel };
        assert_eq!(steer(&order), v1::SteerRequest { run_id: "r".into(), fence: 8, action: 3 });
    }
}
