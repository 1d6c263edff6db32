//! Times over midnight, over clock changes and over each other.

use proptest::prelude::*;

use super::*;

fn window(text: &str) -> Window {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The windows from a time on, one a line.
fn expanded(windows: &[&str], from: &str, weeks: u16) -> Vec<String> {
    let windows: Vec<Window> = windows.iter().map(|text| window(text)).collect();
    let all = expand(&windows, from.parse().unwrap(), weeks);
    all.into_iter().map(|(start, end)| format!("{start} {end}")).collect()
}

#[test]
fn days_and_times() {
    let monday = "2026-11-23T00:00:00Z";
    for (text, expected) in [
        ("Wed 10:00-12:00", vec!["2026-11-25T10:00:00Z 2026-11-25T12:00:00Z"]),
        ("wed 22:00-05:00 UTC", vec!["2026-11-25T22:00:00Z 2026-11-26T05:00:00Z"]),
        ("Sun 00:00-24:00", vec!["2026-11-29T00:00:00Z 2026-11-30T00:00:00Z"]),
        (
            "Mon,Sat-Sun 01:30-01:31",
            vec![
                "2026-11-23T01:30:00Z 2026-11-23T01:31:00Z",
                "2026-11-28T01:30:00Z 2026-11-28T01:31:00Z",
                "2026-11-29T01:30:00Z 2026-11-29T01:31:00Z",
            ],
        ),
        (
            "Sat-Mon 22:00-02:00",
            vec![
                // Sunday's is still open.
                "2026-11-22T22:00:00Z 2026-11-23T02:00:00Z",
                "2026-11-23T22:00:00Z 2026-11-24T02:00:00Z",
                "2026-11-28T22:00:00Z 2026-11-29T02:00:00Z",
                "2026-11-29T22:00:00Z 2026-11-30T02:00:00Z",
            ],
        ),
        ("Tue 03:00-04:00 Asia/Kolkata", vec!["2026-11-23T21:30:00Z 2026-11-23T22:30:00Z"]),
    ] {
        assert_eq!(expanded(&[text], monday, 1), expected, "{text}");
    }
}

#[test]
fn windows_that_meet_are_one() {
    let both = ["daily 22:00-02:00", "Mon 01:00-06:00", "Mon 06:00-07:00"];
    assert_eq!(
        expanded(&both, "2026-11-23T03:00:00Z", 1)[..2],
        ["2026-11-23T01:00:00Z 2026-11-23T07:00:00Z", "2026-11-23T22:00:00Z 2026-11-24T02:00:00Z"],
        "what ended before is not there"
    );
    assert_eq!(
        expanded(&["daily 00:00-24:00"], "2026-11-23T12:00:00Z", 2),
        ["2026-11-23T00:00:00Z 2026-12-08T00:00:00Z"],
        "always"
    );
    assert!(expanded(&[], "2026-11-23T12:00:00Z", 8).is_empty());
}

#[test]
fn clocks_that_are_put_forward() {
    // Europe/Berlin: 2027-03-28, 02:00 → 03:00, which is 01:00 UTC.
    let from = "2027-03-27T12:00:00Z";
    for (text, expected) in [
        ("Sat 22:00-05:00 Europe/Berlin", "2027-03-27T21:00:00Z 2027-03-28T03:00:00Z"),
        ("Sat 22:00-02:30 Europe/Berlin", "2027-03-27T21:00:00Z 2027-03-28T01:00:00Z"),
        ("Sun 02:30-05:00 Europe/Berlin", "2027-03-28T01:00:00Z 2027-03-28T03:00:00Z"),
    ] {
        assert_eq!(expanded(&[text], from, 1)[0], expected, "{text}");
    }
    let in_the_gap = expanded(&["Sun 02:10-02:40 Europe/Berlin"], from, 2);
    assert_eq!(in_the_gap, ["2027-04-04T00:10:00Z 2027-04-04T00:40:00Z"], "there is no such time that day");
}

#[test]
fn clocks_that_are_put_back() {
    // Europe/Berlin: 2026-10-25, 03:00 → 02:00, which is 01:00 UTC.
    let from = "2026-10-24T12:00:00Z";
    for (text, expected) in [
        ("Sat 22:00-05:00 Europe/Berlin", "2026-10-24T20:00:00Z 2026-10-25T04:00:00Z"),
        ("Sat 22:00-02:30 Europe/Berlin", "2026-10-24T20:00:00Z 2026-10-25T00:30:00Z"),
        ("Sun 02:30-05:00 Europe/Berlin", "2026-10-25T00:30:00Z 2026-10-25T04:00:00Z"),
        ("Sun 02:10-02:40 Europe/Berlin", "2026-10-25T00:10:00Z 2026-10-25T00:40:00Z"),
    ] {
        assert_eq!(expanded(&[text], from, 1)[0], expected, "{text}");
    }
}

#[test]
fn a_zone_without_a_midnight_that_day() {
    // America/Santiago puts its clocks forward at midnight: 2026-09-06 begins at 01:00.
    let text = ["Sat 22:00-24:00 America/Santiago"];
    assert_eq!(expanded(&text, "2026-09-05T12:00:00Z", 1)[0], "2026-09-06T02:00:00Z 2026-09-06T04:00:00Z");
}

#[test]
fn what_is_no_window() {
    for (text, expected) in [
        ("", "is no window"),
        ("Mon-Fri", "is no window"),
        ("Mon 1:00-2:00 UTC please", "is no window"),
        ("22:00-05:00", "names no days"),
        ("22:00-05:00 Europe/Berlin", "names no days"),
        ("Mo-Fr 22:00-05:00", "\"Mo\" is no day"),
        ("Mon- 22:00-05:00", "\"\" is no day"),
        ("Mon 22-05", "are no times"),
        ("Mon 22:00-22:00", "are no times"),
        ("Mon 24:00-05:00", "are no times"),
        ("Mon 22:60-05:00", "are no times"),
        ("Mon +2:00-05:00", "are no times"),
        ("Mon 22:00-05:00 Berlin", "time zone \"Berlin\" is not known"),
    ] {
        let error = text.parse::<Window>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn as_it_was_written() {
    let text = "Mon-Fri 22:00-05:00 Europe/Berlin";
    assert_eq!(window(&format!(" {} ", text.replace(' ', "  "))).to_string(), text);
    assert_eq!(serde_json::to_value(window(text)).unwrap(), text);
    assert!(serde_json::from_str::<Window>("\"never\"").is_err());
}

proptest! {
    #[test]
    fn in_order_apart_and_ahead(
        starts in proptest::collection::vec((0..24_u16, 0..24_u16, 0..7_usize), 1..5),
        from in 1_700_000_000_i64..1_900_000_000,
        weeks in 1..10_u16,
    ) {
        let zones = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"];
        let windows: Vec<Window> = starts
            .iter()
            .zip(zones.iter().cycle())
            .filter(|((start, end, _), _)| start != end)
            .map(|((start, end, day), zone)| window(&format!("{} {start:02}:00-{end:02}:00 {zone}", DAYS[*day].0)))
            .collect();
        let from = Timestamp::from_second(from).unwrap();
        let all = expand(&windows, from, weeks);
        prop_assert!(all.iter().all(|(start, end)| start < end && *end > from));
        prop_assert!(all.windows(2).all(|pair| pair[0].1 < pair[1].0), "{all:?}");
        let at_least = usize::from(weeks) * usize::from(!windows.is_empty());
        prop_assert!(all.len() >= at_least.saturating_sub(1), "{} of {weeks}: {windows:?}", all.len());
    }

    #[test]
    fn nothing_panics(text in "[A-Za-z0-9:,/ -]{0,40}") {
        let _ = text.parse::<Window>();
    }
}
