//! How far long work is: on a terminal, and not beside JSON.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Whether anybody sees it.
pub fn is_shown(json: bool) -> bool {
    !json && io::stderr().is_terminal()
}

fn on_terminal(length: Option<u64>, json: bool, template: &str) -> ProgressBar {
    let target =
        if is_shown(json) { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(length, target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// A bar over so many bytes, or a count of them when nobody knows how many there are.
pub fn bytes(length: Option<u64>, json: bool) -> ProgressBar {
    let template = if length.is_some() { "{bar:40} {percent:>3}%  {msg}" } else { "{bytes}  {msg}" };
    on_terminal(length, json, template)
}

/// A bar over so many lines, or a count of them when nobody knows how many there are.
pub fn lines(length: Option<u64>, json: bool) -> ProgressBar {
    let template =
        if length.is_some() { "{bar:40} {percent:>3}%  {human_pos} {msg}" } else { "{human_pos}  {msg}" };
    on_terminal(length, json, template)
}

/// A bar over so many things.
pub fn items(length: u64, what: &str, json: bool) -> ProgressBar {
    let bar = on_terminal(Some(length), json, "{bar:40} {percent:>3}%  {per_sec} {msg}, {eta} left");
    bar.set_message(what.to_owned());
    bar
}

/// Something moves while an answer is awaited.
pub fn waiting(what: String, json: bool) -> ProgressBar {
    let bar = on_terminal(None, json, "{spinner} {msg}, {elapsed}");
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
