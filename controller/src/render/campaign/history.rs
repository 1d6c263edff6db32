//! A line of a campaign's history: when, who or whose, what.

use jiff::tz::TimeZone;

use crate::{campaign::account::Event, guest::text::safe};

/// "2026-11-22 03:12:09 UTC  web-12  counted: reclaimed 19.4 GiB": to the second, so that the lines of two VMs, and of
/// the host's journal, can be laid side by side.
pub fn line(event: &Event) -> String {
    let about = event.vm.as_deref().map_or_else(|| format!("by {}", safe(&event.who)), safe);
    let text = if event.text.is_empty() { String::new() } else { format!(": {}", safe(&event.text)) };
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
        assert_eq!(line(&event), "2026-11-22 03:12:00 UTC  web\\x1b-12  counted: reclaimed 19.4 GiB");
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
