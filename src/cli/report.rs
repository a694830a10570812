//! `keyledger report`: reports for auditors, on the terminal or as a file.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use keyledger_schema::{OrganizationId, WorkspaceId};
use serde_json::{Map, Value, json};

use super::client::Client;
use super::table::{actor, grants, length, list, moment, table, text, word};
use super::value::{Moment, set};
use super::{Connection, Exit, Failure, Output, pages};
use crate::edge::Edge;

/// Arguments of `report`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  keyledger report key-activity --from 90d
  keyledger report key-activity --from 2026-07-01T00:00:00Z --to 2026-10-01T00:00:00Z --format html -o q3.html
  keyledger report access-review --unused-days 30 --format csv -o access.csv
  keyledger report policy-violations

Each report that is written as a file is in the trail.")]
pub struct ReportArgs {
    /// Which report
    #[arg(value_name = "REPORT")]
    pub report: ReportArgument,
    /// Of this organization [default: your own]
    #[arg(long, value_name = "ORG_ID")]
    pub organization: Option<OrganizationId>,
    /// Of this workspace only
    #[arg(long, short, value_name = "WS_ID")]
    pub workspace: Option<WorkspaceId>,
    /// Activity from then on: 30d ago, or a moment (RFC 3339) [default: 30d]
    #[arg(long, value_name = "WHEN")]
    pub from: Option<Moment>,
    /// Activity until then: 1d ago, or a moment (RFC 3339) [default: now]
    #[arg(long, value_name = "WHEN")]
    pub to: Option<Moment>,
    /// Keys that were not used for so many days are unused: 1 to 3650 [default: 90]
    #[arg(long, value_name = "DAYS")]
    pub unused_days: Option<u32>,
    /// In which form
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: FormatArgument,
    /// File to write, which must not exist yet [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Show at most so many rows of a table; 0 is all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it as help")]
    pub connection: Connection,
}

/// A report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ReportArgument {
    /// Keys issued, changed and revoked in a period: who, from where, why, how fast
    KeyActivity,
    /// Who holds which grants and scopes now, and when they were last used
    AccessReview,
    /// Keys that break the policy now
    PolicyViolations,
}

/// The form of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum FormatArgument {
    /// On the terminal
    Table,
    /// Comma-separated values, for spreadsheets
    Csv,
    /// A JSON object a line
    Jsonl,
    /// A page to read, print and file
    Html,
}

const KEY_ACTIVITY: &str = "\
query($filter: ReportFilter, $from: DateTime!, $to: DateTime, $first: Int, $after: String) {
  keyActivity(filter: $filter, from: $from, to: $to, first: $first, after: $after) {
    pageInfo { hasNextPage endCursor }
    nodes {
      at action eventId eventType logIndex keyId keyName workspaceId environment actor { kind id email role } ip userAgent
      reason comment changed followedFrom followedFromAt followedFromEventId millisecondsToEffect
    }
  }
}";

const ACCESS_REVIEW: &str = "\
query($filter: ReportFilter, $unusedDays: Int, $first: Int, $after: String) {
  accessReview(filter: $filter, unusedDays: $unusedDays, first: $first, after: $after) {
    pageInfo { hasNextPage endCursor }
    nodes {
      keyId keyName email workspaceId environment status grants { role organizationId workspaceId } roles
      scopes { text own byRoles } identityId identity createdAt createdBy { kind id email } ageDays expiresAt lastUsedAt
      idleDays neverUsed unused
    }
  }
}";

const POLICY_VIOLATIONS: &str = "\
query($filter: ReportFilter, $first: Int, $after: String) {
  policyViolations(filter: $filter, first: $first, after: $after) {
    pageInfo { hasNextPage endCursor }
    nodes {
      keyId keyName workspaceId environment status createdAt createdBy { kind id email } expiresAt
      broken { rule bound value }
    }
  }
}";

const MONTH: std::time::Duration = std::time::Duration::from_hours(30 * 24);
const PIECE: usize = 64 * 1024;

/// Shows a report, or writes it to a file.
pub fn run(args: &ReportArgs, client: &Client, edge: &Edge, out: &mut Output<'_>) -> Result<(), Failure> {
    if args.format == FormatArgument::Table {
        if args.output.is_some() {
            return Err(Failure::usage("a table is for the terminal; say --format csv, jsonl or html"));
        }
        return show(args, client, edge, out);
    }
    write(args, client, edge, out)
}

/// The period that activity is asked for.
fn period(args: &ReportArgs, edge: &Edge) -> Option<(String, Option<String>)> {
    let now = edge.now();
    let from = args.from.map_or_else(|| now.minus(MONTH), |from| from.before(now));
    let to = args.to.map(|to| to.before(now).to_string());
    (args.report == ReportArgument::KeyActivity || args.from.is_some() || args.to.is_some())
        .then(|| (from.to_string(), to))
}

fn show(args: &ReportArgs, client: &Client, edge: &Edge, out: &mut Output<'_>) -> Result<(), Failure> {
    if args.report != ReportArgument::KeyActivity && (args.from.is_some() || args.to.is_some()) {
        return Err(Failure::usage("--from and --to are for key-activity; the other reports are of now"));
    }
    if args.report != ReportArgument::AccessReview && args.unused_days.is_some() {
        return Err(Failure::usage("--unused-days is for access-review"));
    }
    let mut filter = Value::Object(Map::new());
    set(&mut filter, "organizationId", args.organization);
    set(&mut filter, "workspaceId", args.workspace);
    let mut variables = json!({ "filter": filter });
    let (query, connection) = match args.report {
        ReportArgument::KeyActivity => {
            if let Some((from, to)) = period(args, edge) {
                variables["from"] = from.into();
                variables["to"] = json!(to);
            }
            (KEY_ACTIVITY, "keyActivity")
        }
        ReportArgument::AccessReview => {
            variables["unusedDays"] = json!(args.unused_days);
            (ACCESS_REVIEW, "accessReview")
        }
        ReportArgument::PolicyViolations => (POLICY_VIOLATIONS, "policyViolations"),
    };
    let data =
        pages::collect(|page| client.call(query, page), variables, &format!("/{connection}"), args.limit)?;
    if out.is_json() {
        return out.json(&data);
    }
    let rows = data[connection]["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let (headers, row): (&[&str], Cells) = match args.report {
        ReportArgument::KeyActivity => (&["TIME", "ACTION", "KEY", "BY", "WHY", "TIME TO EFFECT"], activity),
        ReportArgument::AccessReview => {
            (&["KEY", "STATUS", "GRANTS", "SCOPES", "ISSUED", "LAST USED"], access)
        }
        ReportArgument::PolicyViolations => (&["KEY", "STATUS", "ISSUED", "BROKEN RULES"], violation),
    };
    out.line(table(headers, rows.iter().map(row).collect(), &[0]))?;
    if data[connection]["pageInfo"]["hasNextPage"] == json!(true) {
        out.note(format_args!("{} rows shown, there are more; --limit 0 shows all", rows.len()));
    }
    Ok(())
}

/// The cells of a row, each with its lines.
type Cells = fn(&Value) -> Vec<Vec<String>>;

fn key(row: &Value) -> Vec<String> {
    [text(&row["keyName"]), text(&row["keyId"])].into_iter().flatten().collect()
}

fn activity(row: &Value) -> Vec<Vec<String>> {
    let by = [
        actor(&row["actor"]),
        text(&row["actor"]["role"]).map(|_| word(&row["actor"]["role"])),
        text(&row["ip"]),
    ];
    let mut why: Vec<String> = text(&row["reason"]).map(|_| word(&row["reason"])).into_iter().collect();
    why.extend(text(&row["comment"]));
    why.extend(Some(list(&row["changed"], text).join(", ")).filter(|changed| !changed.is_empty()));
    let effect = row["millisecondsToEffect"].as_u64().map(|took| match took {
        0..1_000 => format!("{took}ms"),
        _ => length(took / 1_000),
    });
    let from = text(&row["followedFrom"]).map(|_| format!("from {}", word(&row["followedFrom"])));
    vec![
        vec![moment(&row["at"])],
        vec![word(&row["action"])],
        key(row),
        by.into_iter().flatten().collect(),
        why,
        effect.into_iter().chain(from).collect(),
    ]
}

fn access(row: &Value) -> Vec<Vec<String>> {
    let scopes = list(&row["scopes"], |scope| {
        let roles = list(&scope["byRoles"], text);
        let by = if roles.is_empty() { String::new() } else { format!(" (by {})", roles.join(", ")) };
        Some(format!("{}{by}", text(&scope["text"])?))
    });
    let mut issued = vec![moment(&row["createdAt"])];
    issued.extend(actor(&row["createdBy"]));
    let mut used =
        vec![if row["neverUsed"] == json!(true) { "never".into() } else { moment(&row["lastUsedAt"]) }];
    used.extend((row["unused"] == json!(true)).then(|| "unused".to_owned()));
    vec![key(row), vec![word(&row["status"])], grants(&row["grants"]), scopes, issued, used]
}

fn violation(row: &Value) -> Vec<Vec<String>> {
    let broken = list(&row["broken"], |broken| {
        Some(format!("{} is {}, this is {}", text(&broken["rule"])?, broken["bound"], broken["value"]))
    });
    vec![key(row), vec![word(&row["status"])], vec![moment(&row["createdAt"])], broken]
}

fn write(args: &ReportArgs, client: &Client, edge: &Edge, out: &mut Output<'_>) -> Result<(), Failure> {
    let name = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    let report = match args.report {
        ReportArgument::KeyActivity => "key-activity",
        ReportArgument::AccessReview => "access-review",
        ReportArgument::PolicyViolations => "policy-violations",
    };
    let mut pairs = vec![("format", name(&args.format))];
    pairs.extend(args.organization.map(|id| ("organizationId", id.to_string())));
    pairs.extend(args.workspace.map(|id| ("workspaceId", id.to_string())));
    pairs.extend(args.unused_days.map(|days| ("unusedDays", days.to_string())));
    if let Some((from, to)) = period(args, edge) {
        pairs.push(("from", from));
        pairs.extend(to.map(|to| ("to", to)));
    }
    let path = format!("/v1/reports/{report}");
    let Some(file) = &args.output else {
        let mut body = client.download(&path, &pairs)?;
        return copy(&mut body, out.raw()).map(drop);
    };
    let shown = file.display();
    let unwritable = |error: io::Error| {
        Failure::new(Exit::Failed, "OUTPUT", format!("{shown} cannot be written: {error}"))
    };
    // People's addresses stand in it, so it is for its owner only.
    let mut target =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(unwritable)?;
    let written = client.download(&path, &pairs).and_then(|mut body| copy(&mut body, &mut target));
    match written.and_then(|bytes| target.sync_all().map(|()| bytes).map_err(unwritable)) {
        Ok(bytes) if out.is_json() => out.json(&json!({ "file": shown.to_string(), "bytes": bytes })),
        Ok(bytes) => {
            out.note(format_args!("{shown} written, {bytes} bytes"));
            Ok(())
        }
        // What is not whole must not be taken for a report.
        Err(failure) => {
            drop(target);
            std::fs::remove_file(file).map_err(unwritable)?;
            Err(failure)
        }
    }
}

/// Copies an answer to its end, and tells how far that is.
fn copy(body: &mut impl Read, to: &mut dyn Write) -> Result<u64, Failure> {
    let (mut piece, mut written) = (vec![0; PIECE], 0);
    loop {
        let read = body.read(&mut piece).map_err(|error| {
            let message = format!("the report was cut off after {written} bytes ({error}); ask for it again");
            Failure::new(Exit::Unreachable, "INCOMPLETE", message)
        })?;
        if read == 0 {
            to.flush()?;
            return Ok(written);
        }
        to.write_all(&piece[..read])?;
        written += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_are_well_formed() {
        for document in [KEY_ACTIVITY, ACCESS_REVIEW, POLICY_VIOLATIONS] {
            async_graphql::parser::parse_query(document).expect(document);
        }
    }

    #[test]
    fn a_row_tells_what_happened_and_how_fast() {
        let row = json!({
            "at": "2026-11-21T09:14:14.252913Z", "action": "OLD_SECRET_ENDED", "keyName": "a", "keyId": "key_1",
            "actor": { "kind": "NODE", "id": "node_1" }, "changed": ["scopes", "name"], "reason": "UNUSED",
            "followedFrom": "OVERLAP_END", "millisecondsToEffect": 5_400_000,
        });
        let expected: Vec<Vec<&str>> = vec![
            vec!["2026-11-21 09:14:14Z"],
            vec!["old-secret-ended"],
            vec!["a", "key_1"],
            vec!["node_1"],
            vec!["unused", "scopes, name"],
            vec!["90m", "from overlap-end"],
        ];
        assert_eq!(activity(&row), expected);
    }
}
