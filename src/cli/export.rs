//! `keyledger usage export`: figures or verifications as a file.
//!
//! Invariant: what stands under the name that was asked for is whole. Until then it is called `FILE.part`; what
//! was cut off stays there, and `--resume` drops its last line if that is not whole and goes on behind the cursor of
//! the one before.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::client::Client;
use super::usage_args::{ExportArgs, FormatArgument, WhatArgument};
use super::{Exit, Failure, Output, progress, usage};
use crate::edge::Edge;

const PIECE: usize = 64 * 1024;

/// What the parameters of the request are.
fn parameters(
    args: &ExportArgs,
    client: &Client,
    edge: &Edge,
) -> Result<Vec<(&'static str, String)>, Failure> {
    let now = edge.now();
    let name = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    let mut pairs = vec![("format", name(&args.format))];
    let mut add = |name, value: Option<String>| pairs.extend(value.map(|value| (name, value)));
    let conditions = &args.conditions;
    add("organizationId", conditions.organization.map(|id| id.to_string()));
    add("workspaceId", conditions.workspace.map(|id| id.to_string()));
    add("environment", conditions.environment.map(|one| one.to_string()));
    add("identityId", conditions.identity.map(|id| id.to_string()));
    let role = usage::role(conditions, client)?;
    add("roleId", role.as_ref().and_then(Value::as_str).map(str::to_owned));
    let list = |texts: Vec<String>| (!texts.is_empty()).then(|| texts.join(","));
    add("outcomes", list(conditions.outcomes.iter().map(ToString::to_string).collect()));
    add("action", conditions.action.map(|action| name(&action)));
    add("tag", conditions.tag.clone());
    add("address", conditions.address.map(|ip| ip.to_string()));
    add("keyIds", list(args.frame.keys.iter().map(ToString::to_string).collect()));
    let from = args.from.map(|from| from.before(now).to_string());
    let to = args.to.map(|to| to.before(now).to_string());
    match args.what {
        WhatArgument::Usage => {
            let month = std::time::Duration::from_hours(30 * 24);
            add("from", Some(from.unwrap_or_else(|| now.minus(month).to_string())));
            add("to", Some(to.unwrap_or_else(|| now.to_string())));
            add("includeBelow", args.frame.include_below.then(|| "true".to_owned()));
            add("granularity", Some(name(&args.frame.granularity)));
            add("timeZone", Some(args.frame.time_zone.clone()));
            add("groupBy", list(args.frame.by.iter().map(|one| name(one)).collect()));
        }
        WhatArgument::Verifications => {
            add("from", from);
            add("to", to);
            add("resourcePrefix", args.resource_prefix.clone());
            add("after", args.after.clone());
        }
    }
    Ok(pairs)
}

/// Refuses what would be ignored.
fn check(args: &ExportArgs) -> Result<(), Failure> {
    match args.what {
        WhatArgument::Usage if args.resume || args.after.is_some() || args.resource_prefix.is_some() => {
            Err(Failure::usage("--resume, --after and --resource-prefix are for --what verifications"))
        }
        WhatArgument::Verifications if !args.frame.by.is_empty() || args.frame.include_below => {
            Err(Failure::usage("--by and --include-below are for --what usage"))
        }
        WhatArgument::Verifications if args.resume && args.format == FormatArgument::Parquet => {
            Err(Failure::usage("a Parquet file cannot be gone on with; export it anew, or use csv or jsonl"))
        }
        _ => Ok(()),
    }
}

/// Writes an export to a file or to standard output.
pub fn run(args: &ExportArgs, client: &Client, edge: &Edge, out: &mut Output<'_>) -> Result<(), Failure> {
    check(args)?;
    let mut pairs = parameters(args, client, edge)?;
    let path = match args.what {
        WhatArgument::Usage => "/v1/exports/usage",
        WhatArgument::Verifications => "/v1/exports/verifications",
    };
    let Some(file) = &args.output else {
        let mut body = client.download(path, &pairs)?;
        let json = out.is_json();
        return copy(&mut body, out.raw(), "standard output", json).map(|_| ());
    };
    let part = part_of(file);
    let shown = part.display().to_string();
    let mut target = open(&part, args, &mut pairs)?;
    let mut body = client.download(path, &pairs)?;
    let size = copy(&mut body, &mut target, &shown, out.is_json()).and_then(|_| {
        // What stood there before it was gone on with counts, too.
        let size = target.sync_all().and_then(|()| target.stream_position());
        size.map_err(|error| unwritable(&shown, &error))
    });
    let size = size.map_err(|mut failure| {
        if can_go_on(args) {
            failure.message.push_str("; go on with --resume");
        }
        failure
    })?;
    std::fs::rename(&part, file).map_err(|error| unwritable(&file.display().to_string(), &error))?;
    if out.is_json() {
        return out.json(&json!({ "file": file.display().to_string(), "bytes": size }));
    }
    out.note(format_args!("{} written, {size} bytes", file.display()));
    Ok(())
}

/// Whether `--resume` is for such an export.
fn can_go_on(args: &ExportArgs) -> bool {
    args.what == WhatArgument::Verifications && args.format != FormatArgument::Parquet
}

fn part_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn unwritable(file: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, "OUTPUT", format!("{file} cannot be written: {error}"))
}

/// The file to write to: a new one, or what is whole of an earlier one. Addresses stand in it, so it is for its
/// owner only.
fn open(part: &Path, args: &ExportArgs, pairs: &mut Vec<(&'static str, String)>) -> Result<File, Failure> {
    let shown = part.display().to_string();
    let failed = |error: io::Error| unwritable(&shown, &error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    if !args.resume {
        return match options.create_new(true).open(part) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let hint = if can_go_on(args) {
                    "go on with --resume, or delete it if nothing is needed of it"
                } else {
                    "it cannot be gone on with; delete it, or write to another file"
                };
                Err(Failure::usage(format!("an earlier export left {shown}: {hint}")))
            }
            opened => opened.map_err(failed),
        };
    }
    let mut file = options.create(true).truncate(false).open(part).map_err(failed)?;
    let whole = match args.format {
        FormatArgument::Jsonl => whole_lines(&mut BufReader::new(&file)),
        _ => whole_records(&mut BufReader::new(&file)),
    };
    let whole = whole.map_err(failed)?;
    file.set_len(whole.bytes).map_err(failed)?;
    file.seek(SeekFrom::Start(whole.bytes)).map_err(failed)?;
    if let Some(cursor) = whole.cursor {
        pairs.push(("after", cursor));
        pairs.push(("names", "false".to_owned()));
    }
    Ok(file)
}

/// How far a file is whole, and the cursor of its last row. Without a cursor nothing of it is.
#[derive(Default, PartialEq, Eq, Debug)]
struct Whole {
    bytes: u64,
    cursor: Option<String>,
}

/// Of JSON Lines.
fn whole_lines(input: &mut impl BufRead) -> io::Result<Whole> {
    let (mut whole, mut line) = (Whole::default(), Vec::new());
    loop {
        line.clear();
        let read = input.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Ok(whole);
        }
        let row: Option<Value> = serde_json::from_slice(&line).ok();
        let Some(cursor) = row.as_ref().and_then(|row| row["cursor"].as_str()) else { return Ok(whole) };
        whole = Whole { bytes: whole.bytes + read as u64, cursor: Some(cursor.to_owned()) };
    }
}

/// Of CSV, where a line end inside quotes ends no record. The cursor is the first cell.
fn whole_records(input: &mut impl BufRead) -> io::Result<Whole> {
    let (mut whole, mut record, mut names) = (Whole::default(), Vec::new(), 0_u64);
    loop {
        let read = input.read_until(b'\n', &mut record)?;
        if read == 0 || record.last() != Some(&b'\n') {
            return Ok(whole);
        }
        let quotes = memchr::memchr_iter(b'"', &record).count();
        if !quotes.is_multiple_of(2) {
            continue;
        }
        let first = record.split(|byte| *byte == b',').next().unwrap_or_default();
        let first = String::from_utf8_lossy(first).trim_start_matches('\'').to_owned();
        let length = record.len() as u64;
        if first == "cursor" && names == 0 {
            names = length;
        } else {
            let bytes = if whole.cursor.is_some() { whole.bytes } else { names } + length;
            whole = Whole { bytes, cursor: Some(first) };
        }
        record.clear();
    }
}

/// Copies an answer to its end, and tells how far it is.
pub(super) fn copy(body: &mut dyn Read, to: &mut dyn Write, shown: &str, json: bool) -> Result<u64, Failure> {
    let bar = progress::bytes(None, json);
    bar.set_message(shown.to_owned());
    let mut piece = vec![0; PIECE];
    let mut written = 0_u64;
    loop {
        let read = body.read(&mut piece).map_err(|error| {
            let message = format!("the export was cut off after {written} bytes ({error})");
            Failure::new(Exit::Unreachable, "INCOMPLETE", message)
        })?;
        if read == 0 {
            to.flush()?;
            bar.finish_and_clear();
            return Ok(written);
        }
        to.write_all(&piece[..read])?;
        written += read as u64;
        bar.set_position(written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_json_lines_whole_lines_count() {
        let whole = |text: &str| whole_lines(&mut text.as_bytes()).unwrap();
        assert_eq!(whole(""), Whole::default());
        assert_eq!(whole("{\"cursor\":\"a\""), Whole::default());
        let two = "{\"cursor\":\"a\",\"count\":1}\n{\"cursor\":\"b\"}\n";
        let end = Whole { bytes: two.len() as u64, cursor: Some("b".into()) };
        assert_eq!(whole(two), end);
        assert_eq!(whole(&format!("{two}{{\"cursor\":\"c\"")), end);
        assert_eq!(whole(&format!("{two}not json\n")), end);
    }

    #[test]
    fn of_csv_whole_records_count_and_names_alone_do_not() {
        let whole = |text: &str| whole_records(&mut text.as_bytes()).unwrap();
        assert_eq!(whole("cursor,resource\r\n"), Whole::default());
        assert_eq!(whole("cursor,reso"), Whole::default());
        let two = "cursor,resource\r\na,x\r\nb,\"two\r\nlines \"\"quoted\"\"\"\r\n";
        let end = Whole { bytes: two.len() as u64, cursor: Some("b".into()) };
        assert_eq!(whole(two), end);
        assert_eq!(whole(&format!("{two}c,\"open\r\nto the end\r\n")), end);
        assert_eq!(whole(&format!("{two}c,x")), end);
        let without_names = "a,x\r\n";
        assert_eq!(whole(without_names), Whole { bytes: 5, cursor: Some("a".into()) });
    }
}
