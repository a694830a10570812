//! `keyledger usage export`: figures or verifications as a file.

use keyledger_schema::Timestamp;
use serde_json::{Value, json};

use super::begun::Asked;
use super::client::Client;
use super::part::{self, Bar, Order, Part, Shape};
use super::usage_args::{ExportArgs, FormatArgument, WhatArgument};
use super::{Failure, Output, progress, usage};
use crate::edge::Edge;

/// What the parameters of the request are.
fn parameters(
    args: &ExportArgs,
    client: &Client,
    now: Timestamp,
) -> Result<Vec<(&'static str, String)>, Failure> {
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
    add("means", conditions.means.map(|means| name(&means)));
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
    let pairs = parameters(args, client, edge.now())?;
    let path = match args.what {
        WhatArgument::Usage => "/v1/exports/usage",
        WhatArgument::Verifications => "/v1/exports/verifications",
    };
    let Some(file) = &args.output else {
        let mut body = client.download(path, &pairs)?;
        let bar = progress::bytes(None, out.is_json());
        bar.set_message("standard output");
        return part::copy(&mut body, out.raw(), &Bar::Bytes(bar));
    };
    let shape = shape(args);
    let asked = Asked::new(parameters(args, client, Asked::ANY_TIME)?, &pairs);
    let (resume, force) = (args.resume, args.force);
    let part = Part::open(Order { target: file, shape, resume, force, asked: &asked })?;
    let bar = progress::bytes(None, out.is_json());
    bar.set_message(part.name());
    let mut body = client.download(path, &part.request())?;
    let size =
        part.finish(&mut body, file, &Bar::Bytes(bar)).map_err(|failure| part::go_on(failure, shape))?;
    if out.is_json() {
        return out.json(&json!({ "file": file.display().to_string(), "bytes": size }));
    }
    out.note(format_args!("{} written, {size} bytes", file.display()));
    Ok(())
}

/// How its rows tell where they stand.
fn shape(args: &ExportArgs) -> Shape {
    match (args.what, args.format) {
        (WhatArgument::Usage, _) | (_, FormatArgument::Parquet) => Shape::Whole,
        (WhatArgument::Verifications, FormatArgument::Csv) => Shape::Records("cursor"),
        (WhatArgument::Verifications, FormatArgument::Jsonl) => Shape::Lines(|line| {
            let row: Value = serde_json::from_slice(line).ok()?;
            row["cursor"].as_str().map(str::to_owned)
        }),
    }
}
