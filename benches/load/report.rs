//! Rounds of several scenarios, interleaved, and the table of their medians.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use crate::client::{Request, Round, Shape, drive};
use crate::server::Server;

/// One thing that is measured.
pub(crate) struct Scenario<'a> {
    pub(crate) name: &'static str,
    pub(crate) server: &'a Server,
    pub(crate) request: Request<'a>,
}

/// A round and what the machine spent on it.
struct Measured {
    round: Round,
    /// Processor time of the server.
    spent: Option<Duration>,
    /// Requests a second in proportion to those of the empty handler just before.
    ratio: f64,
}

/// The rows of a table.
pub(crate) struct Report {
    /// What a scenario has in its name, or is left out.
    only: String,
    rows: Vec<(String, Vec<Measured>)>,
}

impl Report {
    pub(crate) fn new(only: String) -> Self {
        Self { only, rows: Vec::new() }
    }

    /// Runs each scenario once per round, each right after the empty handler, so that a drift of the
    /// machine meets both.
    pub(crate) fn run(
        &mut self,
        empty: &mut Scenario<'_>,
        scenarios: &mut [Scenario<'_>],
        shape: Shape,
        rounds: usize,
    ) -> std::io::Result<()> {
        for _ in 0..rounds {
            for scenario in &mut *scenarios {
                if !scenario.name.contains(&self.only) {
                    continue;
                }
                let mut before = measure(empty, shape)?;
                before.ratio = 1.0;
                let mut measured = measure(scenario, shape)?;
                measured.ratio = measured.round.per_second() / before.round.per_second();
                self.add(empty.name, before);
                self.add(scenario.name, measured);
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str, measured: Measured) {
        if let Some((_, rounds)) = self.rows.iter_mut().find(|(known, _)| known == name) {
            rounds.push(measured);
        } else {
            self.rows.push((name.to_owned(), vec![measured]));
        }
    }

    /// How much of the requests a second of `whole` another row reaches; none unless both were measured.
    pub(crate) fn share(&self, part: &str, whole: &str) -> Option<f64> {
        let rate = |name: &str| {
            let (_, rounds) = self.rows.iter().find(|(known, _)| known == name)?;
            Some(median(rounds.iter().map(|measured| measured.round.per_second()).collect()))
        };
        Some(rate(part)? / rate(whole)?)
    }

    /// Wrong answers of all rounds.
    pub(crate) fn errors(&self) -> u64 {
        self.rows.iter().flat_map(|(_, rounds)| rounds).map(|measured| measured.round.errors).sum()
    }

    /// The table, and the first wrong answer of each scenario.
    pub(crate) fn print(&self, title: &str) {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["", "requests/s", "ratio", "p50", "p99", "max", "server CPU/request", "errors"]);
        for (name, rounds) in &self.rows {
            let median_of = |value: fn(&Measured) -> f64| median(rounds.iter().map(value).collect());
            let micros = |value: f64| format!("{:.2} ms", value * 1e3);
            let spent = rounds.iter().filter_map(cost).collect::<Vec<_>>();
            table.add_row([
                name.clone(),
                thousands(median_of(|measured| measured.round.per_second())),
                format!("{:.0} %", 100.0 * median_of(|measured| measured.ratio)),
                micros(median_of(|measured| measured.round.latencies.quantile(0.5).as_secs_f64())),
                micros(median_of(|measured| measured.round.latencies.quantile(0.99).as_secs_f64())),
                micros(rounds.iter().map(|m| m.round.latencies.max().as_secs_f64()).fold(0.0, f64::max)),
                if spent.is_empty() { String::new() } else { format!("{:.1} µs", median(spent) * 1e6) },
                rounds.iter().map(|measured| measured.round.errors).sum::<u64>().to_string(),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("\n{title}\n{table}");
        for (name, rounds) in &self.rows {
            if let Some(error) = rounds.iter().find_map(|measured| measured.round.first_error.as_deref()) {
                println!("first error of {name}: {error}");
            }
        }
    }
}

fn measure(scenario: &mut Scenario<'_>, shape: Shape) -> std::io::Result<Measured> {
    let server = scenario.server;
    let mut before = None;
    let mut after = None;
    let round = drive(
        server.address,
        &mut scenario.request,
        shape,
        || before = server.processor_time(),
        || after = server.processor_time(),
    )?;
    let spent = after.zip(before).map(|(after, before)| after.saturating_sub(before));
    Ok(Measured { round, spent, ratio: f64::NAN })
}

/// Seconds of the server's processor time for each request.
#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn cost(measured: &Measured) -> Option<f64> {
    let requests = measured.round.latencies.total();
    measured.spent.filter(|_| requests > 0).map(|spent| spent.as_secs_f64() / requests as f64)
}

/// Of a list that is not empty.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// `1234567.8` as `1,234,568`.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
