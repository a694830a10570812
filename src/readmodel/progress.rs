//! How the operator is told of a long catch-up: a bar on a terminal, else a log line for every tenth.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::edge::Stopwatch;
use crate::store::Position;

/// How a long catch-up is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// A bar on stderr.
    Bar,
    /// Log lines.
    Lines,
    /// Not at all.
    Silent,
}

impl Progress {
    /// A bar if stderr is a terminal, else lines.
    pub fn detect() -> Self {
        if std::io::stderr().is_terminal() { Self::Bar } else { Self::Lines }
    }
}

/// A catch-up shorter than this many positions is shown only by its last line.
const WORTH_SHOWING: u64 = 20_000;

/// One catch-up on its way.
pub(super) struct Report {
    bar: ProgressBar,
    lines: bool,
    start: u64,
    total: u64,
    tenths: u64,
    watch: Stopwatch,
}

impl Report {
    /// Positions are opaque, but their distance is a fair measure of what is left.
    pub(super) fn new(progress: Progress, from: Option<Position>, head: Position) -> Self {
        let start = from.map_or(0, Position::raw);
        let total = head.raw().saturating_sub(start);
        let shown = total >= WORTH_SHOWING;
        let target = match progress {
            Progress::Bar if shown => ProgressDrawTarget::stderr_with_hz(5),
            _ => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        if let Ok(style) =
            ProgressStyle::with_template("read model {bar:40} {percent:>3}% {per_sec}, {eta} left")
        {
            bar.set_style(style);
        }
        let lines = shown && progress == Progress::Lines;
        Self { bar, lines, start, total, tenths: 0, watch: Stopwatch::start() }
    }

    pub(super) fn reached(&mut self, position: Position) {
        let done = position.raw().saturating_sub(self.start).min(self.total);
        self.bar.set_position(done);
        let tenths = (u128::from(done) * 10).checked_div(u128::from(self.total)).unwrap_or(10);
        let tenths = u64::try_from(tenths).unwrap_or(10);
        if self.lines && tenths > self.tenths {
            self.tenths = tenths;
            tracing::info!(percent = tenths * 10, "the read model catches up with the log");
        }
    }

    pub(super) fn done(self, events: u64) {
        self.bar.finish_and_clear();
        let seconds = self.watch.elapsed().as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        let per_second = (events as f64 / seconds.max(1e-6)).round();
        tracing::info!(events, seconds, per_second, "the read model has caught up with the log");
    }
}
