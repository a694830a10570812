//! `keyledger credits …`.

use serde_json::{Value, json};

use super::client::Client;
use super::identity_args::{CreditsCommand, HolderArgument, RefillArgs, WhichHolder};
use super::queries::Mutation;
use super::role::Place;
use super::table::{fields, length, line, moment, text};
use super::value::set;
use super::{Failure, Output, identity, queries, told};

/// Does it.
pub fn run(command: &CreditsCommand, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        CreditsCommand::Show { holder } => {
            let (id, object) = which(client, holder)?;
            let query = if object == "key" { queries::CREDITS_OF_KEY } else { queries::CREDITS_OF_IDENTITY };
            let data = client.call(query, &json!({ "id": id }))?;
            if out.is_json() {
                return out.json(&data);
            }
            let found = &data[object];
            out.line(fields(&[
                (object, line(&found["id"])),
                ("external id", line(&found["externalId"])),
                ("name", line(&found["name"])),
                ("credits", vec![described(&found["credits"])]),
                ("of its identity", of_identity(&found["identity"])),
                ("revision", line(&found["revision"])),
            ]))
        }
        CreditsCommand::Set(args) => {
            let (id, object) = which(client, &args.holder)?;
            let mut input = json!({ "id": id, "remaining": args.remaining.0, "reason": args.reason });
            refill(&mut input, &args.refill);
            set(&mut input, "expectedRevision", args.if_revision);
            let mutation =
                if object == "key" { queries::SET_CREDITS_OF_KEY } else { queries::SET_CREDITS_OF_IDENTITY };
            change(client, out, mutation, &input, "set the credits of")
        }
        CreditsCommand::Adjust(args) => {
            let (id, object) = which(client, &args.holder)?;
            let mut input = json!({ "id": id, "by": args.by, "reason": args.reason });
            set(&mut input, "expectedRevision", args.if_revision);
            let mutation = if object == "key" {
                queries::ADJUST_CREDITS_OF_KEY
            } else {
                queries::ADJUST_CREDITS_OF_IDENTITY
            };
            change(client, out, mutation, &input, "adjusted the credits of")
        }
    }
}

/// The id of a key or an identity, and which of them it is.
fn which(client: &Client, which: &WhichHolder) -> Result<(String, &'static str), Failure> {
    match &which.holder {
        HolderArgument::Key(id) => Ok((id.to_string(), "key")),
        HolderArgument::Identity(typed) => {
            let id = identity::id(client, typed, Place::Organization(which.organization))?;
            Ok((id.to_string(), "identity"))
        }
    }
}

/// Adds how credits come back.
pub fn refill(input: &mut Value, args: &RefillArgs) {
    set(input, "refillAmount", args.refill_amount);
    set(input, "refillIntervalSeconds", args.refill_interval.map(|interval| interval.as_secs()));
}

fn change(
    client: &Client,
    out: &mut Output<'_>,
    mutation: Mutation,
    input: &Value,
    done: &str,
) -> Result<(), Failure> {
    told::change_and(client, out, mutation, input, done, |payload, out| {
        out.line(described(&payload[mutation.object]["credits"]))
    })
}

/// Credits in one line: `5 left, 2 spent, raised to 10 every 30d, next 2026-12-01 00:00:00Z`.
pub fn described(credits: &Value) -> String {
    let Some(remaining) = text(&credits["remaining"]) else { return "unlimited".into() };
    let mut shown = format!("{remaining} left, {} spent", text(&credits["spent"]).unwrap_or_default());
    if let Some(amount) = text(&credits["refillAmount"]) {
        let interval = credits["refillIntervalSeconds"].as_u64().map_or_else(|| "?".into(), length);
        shown = format!(
            "{shown}, raised to {amount} every {interval}, next {}",
            moment(&credits["nextRefillAt"])
        );
    }
    shown
}

/// The credits that a key shares.
pub fn of_identity(identity: &Value) -> Vec<String> {
    if identity.is_null() { vec![] } else { vec![described(&identity["credits"])] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::identity_args::{CreditsCommand, Remaining};
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn command(arguments: &[&str]) -> Result<CreditsCommand, clap::Error> {
        let arguments = ["keyledger", "credits"].iter().chain(arguments);
        Cli::try_parse_from(arguments).map(|cli| match cli.command {
            Command::Credits(args) => args.command,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_negative_number_is_no_flag() {
        let CreditsCommand::Adjust(args) = command(&["adjust", "customer-7", "-5", "--reason", "a"]).unwrap()
        else {
            panic!()
        };
        assert_eq!(args.by, -5);
        assert!(command(&["adjust", "customer-7", "5"]).is_err(), "a reason is needed");
    }

    #[test]
    fn a_refill_has_both_parts() {
        let set = ["set", "customer-7", "5", "--reason", "a"];
        for part in [["--refill-amount", "5"], ["--refill-interval", "1h"]] {
            assert!(command(&[&set[..], &part].concat()).is_err(), "{part:?}");
        }
        let both = ["--refill-amount", "5", "--refill-interval", "1h"];
        let CreditsCommand::Set(args) = command(&[&set[..], &both].concat()).unwrap() else { panic!() };
        let mut input = json!({});
        refill(&mut input, &args.refill);
        assert_eq!(input, json!({ "refillAmount": 5, "refillIntervalSeconds": 3_600 }));
        assert_eq!("unlimited".parse(), Ok(Remaining(None)));
        assert_eq!("7".parse(), Ok(Remaining(Some(7))));
        assert!("-7".parse::<Remaining>().is_err());
    }

    #[test]
    fn credits_are_told_in_one_line() {
        assert_eq!(described(&Value::Null), "unlimited");
        let shown = described(&json!({
            "remaining": 5, "spent": 2, "refillAmount": 10, "refillIntervalSeconds": 2_592_000,
            "nextRefillAt": "2026-12-01T00:00:00Z",
        }));
        assert_eq!(shown, "5 left, 2 spent, raised to 10 every 30d, next 2026-12-01 00:00:00Z");
    }
}
