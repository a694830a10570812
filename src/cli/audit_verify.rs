//! `keyledger audit verify`: what a bundle or a data directory proves, without a server.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::audit_args::VerifyBundleArgs;
use super::output::clean;
use super::{Exit, Failure, Output, progress};
use crate::audit::bundle;
use crate::audit::earlier::Earlier;
use crate::audit::note::VerifierKey;
use crate::audit::verdict::{Check, Fault, Report};
use crate::edge::Stopwatch;

/// The largest checkpoint that is read.
const MAX_CHECKPOINT: u64 = 128 * 1024;
/// What is read of a file at once.
const PIECE: usize = 256 * 1024;

/// What is given beside the bundle.
pub struct Given {
    /// Keys that are trusted.
    pub keys: Vec<VerifierKey>,
    /// An earlier checkpoint.
    pub since: Option<Earlier>,
}

impl Given {
    /// Reads what the arguments name.
    pub fn of(args: &VerifyBundleArgs) -> Result<Self, Failure> {
        let key = |text: &String| {
            text.trim().parse().map_err(|error| Failure::usage(format!("--key {}: {error}", clean(text))))
        };
        let keys = args.keys.iter().map(key).collect::<Result<_, _>>()?;
        let since = args.since.as_deref().map(|path| {
            let failed = |error: String| Failure::usage(format!("--since {}: {error}", path.display()));
            let mut bytes = Vec::new();
            let read = File::open(path).and_then(|file| file.take(MAX_CHECKPOINT).read_to_end(&mut bytes));
            read.map_err(|error| failed(error.to_string()))?;
            Earlier::read(&bytes).map_err(failed)
        });
        Ok(Self { keys, since: since.transpose()? })
    }
}

/// Checks a bundle and tells what it proves.
pub fn run(path: &Path, given: &Given, out: &mut Output<'_>) -> Result<(), Failure> {
    let shown = path.display().to_string();
    let unreadable = |error: std::io::Error| {
        Failure::new(Exit::Failed, "INPUT", format!("{} cannot be read: {error}", clean(&shown)))
    };
    // It is read twice at the same time, and opening a pipe would wait for somebody to write into it.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        let shown = clean(&shown);
        return Err(Failure::usage(format!(
            "{shown} is not a regular file; name the archive as a file on disk"
        )));
    }
    let open = || File::open(path).map(|file| BufReader::with_capacity(PIECE, file));
    let (archive, contents) = (open().map_err(unreadable)?, open().map_err(unreadable)?);
    let size = archive.get_ref().metadata().map_err(unreadable)?.len();
    let bar = progress::bytes(Some(size), out.is_json());
    bar.set_message(shown.clone());
    let watch = Stopwatch::start();
    let report =
        bundle::verify(archive, contents, &given.keys, given.since.as_ref(), &mut |at| bar.set_position(at));
    bar.finish_and_clear();
    tell(&shown, size, watch.elapsed(), &report.map_err(unreadable)?, out)
}

/// Tells what came out, and gives the exit code that belongs to it.
pub fn tell(
    shown: &str,
    bytes: u64,
    took: Duration,
    report: &Report,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    if out.is_json() {
        out.json(&json_of(shown, bytes, took, report))?;
    } else {
        text_of(shown, bytes, took, report, out)?;
    }
    report.fault().map_or(Ok(()), |fault| Err(Failure::told(fault.check.into())))
}

impl From<Check> for Exit {
    fn from(check: Check) -> Self {
        match check {
            Check::Archive => Self::Archive,
            Check::Manifest => Self::Manifest,
            Check::Signature => Self::Signature,
            Check::Tree => Self::Tree,
            Check::Consistency => Self::Consistency,
            Check::Chain => Self::Chain,
            Check::Completeness => Self::Completeness,
            Check::View => Self::View,
            Check::Event => Self::Event,
            Check::LogKeys => Self::LogKeys,
            Check::Comparison => Self::Comparison,
            Check::Vault => Self::Vault,
        }
    }
}

fn json_of(shown: &str, bytes: u64, took: Duration, report: &Report) -> Value {
    let fault = |fault: &Fault| json!({ "check": fault.check.name(), "message": fault.what });
    json!({
        "what": shown,
        "bytes": bytes,
        "milliseconds": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "verified": report.fault().is_none(),
        "faults": report.faults.iter().map(fault).collect::<Vec<_>>(),
        "proved": report.proved.iter().map(|finding| json!({
            "check": finding.check.name(), "count": finding.count, "what": finding.what,
        })).collect::<Vec<_>>(),
        "notProved": report.unproved,
        "warnings": report.warnings,
    })
}

fn text_of(
    shown: &str,
    bytes: u64,
    took: Duration,
    report: &Report,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    for warning in &report.warnings {
        out.line(format_args!("WARNING: {}\n", clean(warning)))?;
    }
    if !report.proved.is_empty() {
        out.line("Holds:")?;
    }
    for finding in &report.proved {
        let name = finding.check.name().to_lowercase().replace('_', " ");
        out.line(format_args!("  {name:<13} {:>9}  {}", finding.count, clean(&finding.what)))?;
    }
    if report.fault().is_none() {
        out.line("\nNot proved by this:")?;
        for open in &report.unproved {
            out.line(format_args!("  - {}", clean(open)))?;
        }
        let (shown, seconds) = (clean(shown), took.as_secs_f64());
        out.line(format_args!("\nVERIFIED: {shown}, {bytes} bytes in {seconds:.2} s"))?;
    } else {
        for fault in &report.faults {
            out.line(format_args!("\nDOES NOT HOLD: {}: {}", fault.check.name(), clean(&fault.what)))?;
        }
        out.line(format_args!("\nNOT VERIFIED: {}", clean(shown)))?;
    }
    Ok(out.raw().flush()?)
}
