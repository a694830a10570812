//! `keyledger audit export`: events as a file.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use keyledger_schema::{IdentityId, KeyId, OrganizationId, Timestamp, WorkspaceId};
use serde_json::{Map, Value, json};

use super::begun::Asked;
use super::client::Client;
use super::part::{self, Bar, Order, Part, Shape};
use super::value::Moment;
use super::{Connection, Failure, Output, progress, queries};
use crate::edge::Edge;

/// The form of an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum EventFormatArgument {
    /// A JSON object a line: the canonical form
    Jsonl,
    /// Comma-separated values, for spreadsheets
    Csv,
    /// Open Cybersecurity Schema Framework 1.8, a JSON object a line
    Ocsf,
    /// Common Event Format
    Cef,
    /// CloudEvents 1.0, a JSON object a line
    Cloudevents,
    /// Apache Parquet, for analytics
    Parquet,
}

/// How something that was asked for ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[allow(missing_docs, reason = "clap would show it as help")]
pub enum OutcomeArgument {
    Success,
    Refused,
}

/// Arguments of `audit export`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger audit export --format jsonl -o trail.jsonl
  keyledger audit export --format jsonl -o trail.jsonl --resume
  keyledger audit export --format csv --type 'key.*' --from 90d -o keys.csv
  keyledger audit export --format ocsf --outcome refused --from 24h | jq -c .
  keyledger audit export --format parquet --key key_01h455vb4pex5vsknk084sn02q -o key.parquet

While it runs the file is called FILE.part. Each export is in the trail itself.")]
pub struct AuditExportArgs {
    /// In which form
    #[arg(long, value_name = "FORMAT")]
    pub format: EventFormatArgument,
    /// File to write [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Go on where an earlier export to the same file was cut off
    #[arg(long, requires = "output")]
    pub resume: bool,
    /// Overwrite FILE if it is there
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Only events after this log index, that of the last event of an earlier export
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    pub after: Option<u64>,
    /// Add the exact stored bytes of each event
    #[arg(long)]
    pub raw: bool,
    /// From then on: 30d ago, or a moment (RFC 3339)
    #[arg(long, value_name = "WHEN")]
    pub from: Option<Moment>,
    /// Until then: 1d ago, or a moment (RFC 3339)
    #[arg(long, value_name = "WHEN")]
    pub to: Option<Moment>,
    /// Of this organization [default: that of the management key]
    #[arg(long, value_name = "ORGANIZATION_ID")]
    pub organization: Option<OrganizationId>,
    /// Only events in this workspace
    #[arg(long, value_name = "WORKSPACE_ID")]
    pub workspace: Option<WorkspaceId>,
    /// Only events in the trail of this key
    #[arg(long, value_name = "KEY_ID", conflicts_with = "identity")]
    pub key: Option<KeyId>,
    /// Only events of this identity
    #[arg(long, value_name = "IDENTITY_ID")]
    pub identity: Option<IdentityId>,
    /// Only events of this type, such as key.revoked or key.*; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// Only events by this key or node
    #[arg(long, value_name = "ID")]
    pub actor: Option<String>,
    /// Only what happened, or only what was refused
    #[arg(long, value_name = "OUTCOME")]
    pub outcome: Option<OutcomeArgument>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub connection: Connection,
}

/// Path of exports of events.
const PATH: &str = "/v1/audit/export";

fn name(value: &dyn std::fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

/// What the parameters of the request are.
fn parameters(args: &AuditExportArgs, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut pairs = vec![("format", name(&args.format))];
    let mut add = |name, value: Option<String>| pairs.extend(value.map(|value| (name, value)));
    add("organizationId", args.organization.map(|id| id.to_string()));
    add("workspaceId", args.workspace.map(|id| id.to_string()));
    add("keyId", args.key.map(|id| id.to_string()));
    add("identityId", args.identity.map(|id| id.to_string()));
    add("types", (!args.types.is_empty()).then(|| args.types.join(",")));
    add("actorId", args.actor.clone());
    add("outcome", args.outcome.map(|outcome| name(&outcome)));
    add("from", args.from.map(|from| from.before(now).to_string()));
    add("to", args.to.map(|to| to.before(now).to_string()));
    add("after", args.after.map(|after| after.to_string()));
    add("raw", args.raw.then(|| "true".to_owned()));
    pairs
}

/// How its rows tell where they stand.
fn shape(format: EventFormatArgument) -> Shape {
    fn at(line: &[u8], pointer: &str) -> Option<String> {
        let line: Value = serde_json::from_slice(line).ok()?;
        match line.pointer(pointer)? {
            Value::Number(number) => Some(number.to_string()),
            Value::String(text) => Some(text.clone()),
            _ => None,
        }
    }
    match format {
        EventFormatArgument::Jsonl => Shape::Lines(|line| at(line, "/logIndex")),
        EventFormatArgument::Ocsf => Shape::Lines(|line| at(line, "/metadata/sequence")),
        EventFormatArgument::Cloudevents => Shape::Lines(|line| at(line, "/logindex")),
        EventFormatArgument::Csv => Shape::Records("logIndex"),
        // In values a backslash stands before an equals sign, so this key stands in none.
        EventFormatArgument::Cef => Shape::Lines(|line| {
            let line = std::str::from_utf8(line).ok()?;
            let (_, rest) = line.split_once(" cn1=")?;
            rest.split(' ').next().map(str::to_owned)
        }),
        EventFormatArgument::Parquet => Shape::Whole,
    }
}

/// How many events there are, where that can be asked.
fn total(args: &AuditExportArgs, pairs: &[(&'static str, String)], client: &Client) -> Option<u64> {
    let asked = args.workspace.is_none() && args.outcome.is_none() && args.after.is_none();
    if !asked || args.types.iter().any(|name| name.ends_with('*')) {
        return None;
    }
    let mut filter = Map::new();
    for (name, value) in pairs {
        match *name {
            "types" => drop(filter.insert("types".into(), json!(args.types))),
            "format" | "raw" => {}
            name => drop(filter.insert(name.into(), json!(value))),
        }
    }
    let answer = client.call(queries::EVENTS_COUNT, &json!({ "filter": filter })).ok()?;
    answer["events"]["totalCount"].as_u64()
}

/// Writes an export to a file or to standard output.
pub fn run(
    args: &AuditExportArgs,
    client: &Client,
    edge: &Edge,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let shape = shape(args.format);
    if args.resume && matches!(shape, Shape::Whole) {
        let message =
            "a Parquet file cannot be gone on with; export what follows to another file with --after";
        return Err(Failure::usage(message));
    }
    let pairs = parameters(args, edge.now());
    let Some(file) = &args.output else {
        let mut body = client.download(PATH, &pairs)?;
        let bar = progress::bytes(None, out.is_json());
        bar.set_message("standard output");
        return part::copy(&mut body, out.raw(), &Bar::Bytes(bar));
    };
    let asked = Asked::new(parameters(args, Asked::ANY_TIME), &pairs);
    let (resume, force) = (args.resume, args.force);
    let part = Part::open(Order { target: file, shape, resume, force, asked: &asked })?;
    // Only whoever watches wants to know how much there is.
    let total = if progress::is_shown(out.is_json()) { total(args, &pairs, client) } else { None };
    let sent = part.request();
    let bar = if matches!(shape, Shape::Whole) {
        Bar::Bytes(progress::bytes(None, out.is_json()))
    } else {
        let bar = progress::lines(total, out.is_json());
        bar.set_position(part.rows);
        Bar::Lines(bar)
    };
    bar.set_message(part.name());
    let mut body = client.download(PATH, &sent)?;
    let size = part.finish(&mut body, file, &bar).map_err(|failure| part::go_on(failure, shape))?;
    if out.is_json() {
        return out.json(&json!({ "file": file.display().to_string(), "bytes": size }));
    }
    out.note(format_args!("{} written, {size} bytes", file.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_tells_where_it_stands() {
        for (format, line) in [
            (EventFormatArgument::Jsonl, "{\"logIndex\":7,\"event\":{}}\n"),
            (EventFormatArgument::Ocsf, "{\"metadata\":{\"sequence\":7}}\n"),
            (EventFormatArgument::Cloudevents, "{\"logindex\":\"7\"}\n"),
            (
                EventFormatArgument::Cef,
                "CEF:0|a|b|1|c|d|1|rt=1 suser=a cn1\\=9 cn1Label=logIndex cn1=7 cn2=1\n",
            ),
        ] {
            let Shape::Lines(cursor) = shape(format) else { panic!("{format:?}") };
            assert_eq!(cursor(line.as_bytes()).as_deref(), Some("7"), "{format:?}");
            assert_eq!(cursor(b"cut off"), None);
        }
    }
}
