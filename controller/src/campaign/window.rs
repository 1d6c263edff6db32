//! Windows: the weekly times in which a campaign may start trims, and what they are in UTC. Pure.
//!
//! `Mon-Fri 22:00-05:00 Europe/Berlin`: days (a list, or `daily`), times of that day (past midnight where the end is not
//! after the beginning), and an IANA zone, UTC where none is named. Windows are expanded to UTC once, when a plan is
//! applied, so that every host means the same by them, whatever its own zone data says.
//!
//! Where the clocks are put forward a time may not exist: then the first moment after the gap stands for it. Where they are
//! put back one may exist twice: the first one counts.

use std::{fmt, str::FromStr};

use jiff::{
    Span, Timestamp, ToSpan,
    civil::{Date, DateTime, Time, Weekday},
    tz::{AmbiguousOffset, TimeZone},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How far windows are expanded, in weeks, unless the plan says otherwise.
pub const DEFAULT_WEEKS: u16 = 8;

/// The furthest.
pub const MOST_WEEKS: u16 = 52;

const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

/// One weekly window. Prints as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    /// Monday first.
    days: [bool; 7],
    /// Minutes after midnight, below a day.
    start: u16,
    /// Minutes after midnight, up to a day; at or before `start`: of the day after.
    end: u16,
    zone: TimeZone,
    written: String,
}

/// Why a text is no window.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotAWindow {
    /// Parts are missing, or there are too many.
    #[error("{0:?} is no window: write days, times and a zone, as in \"Mon-Fri 22:00-05:00 Europe/Berlin\"")]
    Form(String),
    /// It begins with its times.
    #[error("the window {0:?} names no days: write Mon-Fri, Sat,Sun or daily before its times")]
    NoDays(String),
    /// A day that is none.
    #[error("{0:?} is no day: Mon, Tue, Wed, Thu, Fri, Sat, Sun, a span of them (Mon-Fri), or daily")]
    Day(String),
    /// Times that are none.
    #[error("{0:?} are no times: write 22:00-05:00; a whole day is 00:00-24:00")]
    Times(String),
    /// A zone that is not known.
    #[error("the time zone {0:?} is not known: write an IANA name like Europe/Berlin, or UTC")]
    Zone(String),
}

impl FromStr for Window {
    type Err = NotAWindow;

    fn from_str(text: &str) -> Result<Self, NotAWindow> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, times, zone) = match words.as_slice() {
            [first, ..] if first.contains(':') => return Err(NotAWindow::NoDays(text.to_owned())),
            [days, times] => (days, times, "UTC"),
            [days, times, zone] => (days, times, *zone),
            _ => return Err(NotAWindow::Form(text.to_owned())),
        };
        let (start, end) = parse_times(times).ok_or_else(|| NotAWindow::Times((*times).to_owned()))?;
        Ok(Self {
            days: parse_days(days)?,
            start,
            end,
            zone: TimeZone::get(zone).map_err(|_| NotAWindow::Zone(zone.to_owned()))?,
            written: words.join(" "),
        })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// "Mon-Wed,Fri", "Sat-Mon", "daily".
fn parse_days(text: &str) -> Result<[bool; 7], NotAWindow> {
    if text.eq_ignore_ascii_case("daily") {
        return Ok([true; 7]);
    }
    let index = |name: &str| {
        let found = DAYS.iter().position(|(day, _)| day.eq_ignore_ascii_case(name));
        found.ok_or_else(|| NotAWindow::Day(name.to_owned()))
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (index(first)?, index(last)?);
        // A span may go over Sunday.
        let count = last.saturating_add(7).saturating_sub(first).checked_rem(7).unwrap_or(0);
        for (position, day) in days.iter_mut().enumerate() {
            let from_first = position.saturating_add(7).saturating_sub(first).checked_rem(7).unwrap_or(0);
            *day |= from_first <= count;
        }
    }
    Ok(days)
}

/// "22:00-05:00", in minutes. A window of no length is none.
fn parse_times(text: &str) -> Option<(u16, u16)> {
    let (start, end) = text.split_once('-')?;
    let (start, end) = (parse_minute(start)?, parse_minute(end)?);
    (start < 24 * 60 && start != end).then_some((start, end))
}

/// "05:00" to "24:00".
fn parse_minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    let all = hours.checked_mul(60)?.checked_add(minutes)?;
    (minutes < 60 && all <= 24 * 60).then_some(all)
}

impl Window {
    /// Its occurrences that end after `from` and begin before `until`.
    fn occurrences(&self, from: Timestamp, until: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let mut found = Vec::new();
        // A window of the day before may still be open.
        let Ok(mut day) = self.zone.to_datetime(from).date().yesterday() else { return found };
        while let Some(occurrence) = self.on(day) {
            match occurrence {
                Some((start, _)) if start >= until => break,
                Some((start, end)) if end > from && start < end => found.push((start, end)),
                // A day of the week that is none of its days may be followed by one that is.
                None if self.at(day, 0).is_none_or(|midnight| midnight >= until) => break,
                Some(_) | None => {}
            }
            let Ok(next) = day.tomorrow() else { break };
            day = next;
        }
        found
    }

    /// On this day: outer `None` where the calendar ends, inner where the day is none of its days.
    fn on(&self, day: Date) -> Option<Option<(Timestamp, Timestamp)>> {
        let position = DAYS.iter().position(|(_, weekday)| *weekday == day.weekday())?;
        if !self.days.get(position).copied().unwrap_or(false) {
            return Some(None);
        }
        let last = if self.end > self.start { day } else { day.tomorrow().ok()? };
        Some(Some((self.at(day, self.start)?, self.at(last, self.end)?)))
    }

    /// The moment of a local time, in minutes after that day's midnight.
    fn at(&self, day: Date, minutes: u16) -> Option<Timestamp> {
        let midnight = DateTime::from_parts(day, Time::midnight());
        let local = midnight.checked_add(i64::from(minutes).minutes()).ok()?;
        let moment = self.zone.to_ambiguous_timestamp(local);
        let is_gap = matches!(moment.offset(), AmbiguousOffset::Gap { .. });
        let earlier = moment.earlier().ok()?;
        match is_gap {
            // `earlier` lies before the gap: the clock's next change is its end.
            true => self.zone.following(earlier).next().map(|change| change.timestamp()),
            false => Some(earlier),
        }
    }
}

/// What windows are in UTC for `weeks` from `from` on: in order, and merged where they meet.
pub fn expand(windows: &[Window], from: Timestamp, weeks: u16) -> Vec<(Timestamp, Timestamp)> {
    let span = Span::new().try_hours(i64::from(weeks.min(MOST_WEEKS)).saturating_mul(7 * 24));
    let until = span.ok().and_then(|span| from.checked_add(span).ok()).unwrap_or(Timestamp::MAX);
    let mut all: Vec<_> = windows.iter().flat_map(|window| window.occurrences(from, until)).collect();
    all.sort();
    let mut merged: Vec<(Timestamp, Timestamp)> = Vec::new();
    for (start, end) in all {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

#[cfg(test)]
mod tests;
