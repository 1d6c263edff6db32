//! `apply --follow`: a campaign as it goes on. On a terminal the screen of `status`, drawn anew; elsewhere a line for each
//! new line of the history.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;

use crate::{
    campaign::{
        account::{CampaignState, Event, Status},
        store::Store,
    },
    cli::output::Output,
    model::trouble::Trouble,
    render::campaign::{history, status::screen},
};

/// How often the store is asked for news.
const EVERY: Duration = Duration::from_secs(1);

/// Shows a campaign until it is over or stopped, or until `leave` becomes true; gives what it was then.
pub(super) async fn follow<S: Store>(
    store: &S,
    campaign: i64,
    output: Output,
    quiet: bool,
    mut leave: watch::Receiver<bool>,
) -> Result<Status, Trouble> {
    let mut view = View::new(output, quiet);
    let mut newest = None;
    loop {
        let status = store.status(campaign).await?;
        if view.shows_history() {
            let now = store.latest().await?.newest;
            if newest.replace(now) != Some(now) {
                view.events(&store.events(campaign).await?, &status);
            }
        }
        view.status(&status);
        let state = status.summary.state;
        if *leave.borrow()
            || matches!(state, CampaignState::Done | CampaignState::Aborted)
            || (state == CampaignState::Stopped && status.summary.running == 0)
        {
            // What came between the two looks.
            view.events(&store.events(campaign).await?, &status);
            return Ok(status);
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            // Whoever could say so may be gone; the campaign goes on all the same.
            Ok(_) = leave.wait_for(|leave| *leave) => {}
        }
    }
}

/// Where it is shown.
enum View {
    /// `--json`, `-q`.
    Nowhere,
    /// `--events`: NDJSON. So many lines of the history were shown.
    Events(Output, usize),
    /// Not a terminal.
    Lines(usize),
    /// Drawn anew in its place; taken away at the end, since the last one is printed.
    Screen(ProgressBar),
}

impl View {
    fn new(output: Output, quiet: bool) -> Self {
        match (output.wants_events(), quiet, std::io::stderr().is_terminal()) {
            (true, ..) => Self::Events(output, 0),
            (false, true, _) => Self::Nowhere,
            (false, false, false) => Self::Lines(0),
            (false, false, true) => {
                let bar = ProgressBar::new_spinner();
                if let Ok(style) = ProgressStyle::with_template("{msg}") {
                    bar.set_style(style);
                }
                Self::Screen(bar)
            }
        }
    }

    fn shows_history(&self) -> bool {
        matches!(self, Self::Events(..) | Self::Lines(_))
    }

    fn events(&mut self, events: &[Event], status: &Status) {
        match self {
            Self::Nowhere | Self::Screen(_) => {}
            Self::Events(output, shown) => {
                for event in events.iter().skip(*shown) {
                    output.line(event);
                }
                *shown = events.len();
            }
            Self::Lines(shown) => {
                for event in events.iter().skip(*shown) {
                    // Nobody to tell when stderr is gone.
                    let _ = writeln!(anstream::stderr(), "{}", history::line(event, &status.names));
                }
                *shown = events.len();
            }
        }
    }

    fn status(&self, status: &Status) {
        if let Self::Screen(bar) = self {
            bar.set_message(screen(status));
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Self::Screen(bar) = self {
            bar.finish_and_clear();
        }
    }
}
