//! Logging: to stderr, one line an event. Under systemd each line begins with its level as `<N>` (sd-daemon(3)), which
//! the journal takes off again.

use std::{fmt, fs::File, io, os::fd::AsFd, os::unix::fs::MetadataExt};

use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// Starts it. `louder` steps above the usual level (or below it, where negative).
pub fn start(louder: i16) {
    let ours = match louder {
        i16::MIN..=-2 => LevelFilter::ERROR,
        -1 => LevelFilter::WARN,
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        2.. => LevelFilter::TRACE,
    };
    // The libraries' own events are for whoever looks for a fault in them.
    let others = if louder >= 2 { LevelFilter::DEBUG } else { LevelFilter::WARN.min(ours) };
    let filter = Targets::new().with_target("trimtab_agent", ours).with_default(others);
    let lines = Lines { journal: is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref()) };
    let layer = tracing_subscriber::fmt::layer().event_format(lines).with_ansi(false).with_writer(io::stderr);
    // It fails where a test has started one before.
    let _already = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}

/// Whether stderr is the stream to the journal that systemd named ("device:inode"); a child may have inherited the
/// name and not the stream.
fn is_journal(stream: Option<&str>) -> bool {
    let stderr = || File::from(io::stderr().as_fd().try_clone_to_owned().ok()?).metadata().ok();
    stream.is_some_and(|named| stderr().is_some_and(|m| named == format!("{}:{}", m.dev(), m.ino())))
}

struct Lines {
    journal: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str(prefix(*event.metadata().level(), self.journal))?;
        Format::default().without_time().with_target(false).with_level(false).format_event(ctx, writer, event)
    }
}

fn prefix(level: Level, journal: bool) -> &'static str {
    match (level, journal) {
        (Level::ERROR, true) => "<3>",
        (Level::WARN, true) => "<4>",
        (Level::INFO, true) => "<6>",
        (_, true) => "<7>",
        (Level::ERROR, false) => "error: ",
        (Level::WARN, false) => "warning: ",
        (Level::INFO, false) => "",
        (_, false) => "debug: ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_that_systemd_named() {
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned().unwrap()).metadata().unwrap();
        assert!(is_journal(Some(&format!("{}:{}", stderr.dev(), stderr.ino()))));
        assert!(!is_journal(Some("8:1")));
        assert!(!is_journal(None));
    }
}
