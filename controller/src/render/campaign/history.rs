//! A line of a campaign's history: when, who or whose, what.

use jiff::tz::TimeZone;

use crate::{
    campaign::{account::Event, hosts::HostNames},
    guest::text::safe,
};

/// A VM has come to another host.
const MOVED: &str = "moved";

/// "2026-11-22 03:12:09 UTC  web-12  counted: reclaimed 19.4 GiB": to the second, so that the lines of two VMs, and of
/// the host's journal, can be laid side by side.
pub fn line(event: &Event, names: &HostNames) -> String {
    let about = event.vm.as_deref().map_or_else(|| format!("by {}", safe(&event.who)), safe);
    let text = match event.what.as_str() {
        // The one line that is about hosts.
        MOVED => names.in_words(&event.text),
        _ => event.text.clone(),
    };
    let text = if text.is_empty() { text } else { format!(": {}", safe(&text)) };
    let at = event.at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC");
    format!("{at}  {about}  {}{text}", event.what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::campaign::samples;

    #[test]
    fn a_run_and_a_person() {
        let event = Event {
            at: samples::NOW,
            campaign: Some(7),
            run: Some(1),
            vm: Some("web\u{1b}-12".to_owned()),
            what: "counted".to_owned(),
            who: "worker".to_owned(),
            text: "reclaimed 19.4 GiB".to_owned(),
        };
        let line = |event: &Event| line(event, &samples::status().names);
        assert_eq!(line(&event), "2026-11-22 03:12:00 UTC  web\\x1b-12  counted: reclaimed 19.4 GiB");
        let moved = format!("its VM has migrated from host x to host {}", samples::OTHER_HOST);
        let moved = Event { what: "moved".to_owned(), text: moved, ..event.clone() };
        assert!(line(&moved).ends_with("web\\x1b-12  moved: its VM has migrated from host x to host node2"));
        let event = Event {
            vm: None,
            what: "paused".to_owned(),
            who: "root".to_owned(),
            text: String::new(),
            ..event
        };
        assert_eq!(line(&event), "2026-11-22 03:12:00 UTC  by root  paused");
    }
}
