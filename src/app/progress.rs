//! How the operator is told of the check of a long log: a bar on a terminal, else a log line for every tenth.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::store::sqlite::Progress;

/// A shorter log is checked before anybody could read about it.
const WORTH_SHOWING: u64 = 100_000;

/// Shows how many events of the log were checked.
pub(super) fn of_check() -> Progress {
    let terminal = std::io::stderr().is_terminal();
    let target = if terminal { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("log check  {bar:40} {percent:>3}% {per_sec}, {eta} left")
    {
        bar.set_style(style);
    }
    let told = AtomicU64::new(0);
    Arc::new(move |done, total| {
        if total < WORTH_SHOWING {
            return;
        }
        bar.set_length(total);
        bar.set_position(done);
        if done >= total {
            bar.finish_and_clear();
        }
        let tenth = done * 10 / total;
        if !terminal && told.fetch_max(tenth, Ordering::Relaxed) < tenth {
            tracing::info!(percent = tenth * 10, "the log is checked");
        }
    })
}
