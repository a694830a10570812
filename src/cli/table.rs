//! Tables and lists of fields for people. Every text passes `clean` here, so no caller can forget it.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Table};
use keyledger_schema::Timestamp;
use serde_json::Value;

use super::output::clean;

/// A table without lines that fits the terminal. A cell has one or more lines; the columns named by
/// `whole` are never broken, so that what stands there can be copied.
pub fn table(headers: &[&str], rows: Vec<Vec<Vec<String>>>, whole: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headers);
    for row in rows {
        let cells = row.into_iter().map(|lines| {
            let lines: Vec<_> = lines.iter().map(|line| clean(line)).collect();
            Cell::new(lines.join("\n"))
        });
        table.add_row(cells.collect::<Vec<_>>());
    }
    for &column in whole {
        if let Some(column) = table.column_mut(column) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let last = headers.len().saturating_sub(1);
    for (number, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if number == last { 0 } else { 2 }));
    }
    table.trim_fmt()
}

/// Aligned fields, one a line; those without a value are left out, further values go below the first.
pub fn fields(fields: &[(&str, Vec<String>)]) -> String {
    let width = fields.iter().filter(|(_, values)| !values.is_empty()).map(|(name, _)| name.len()).max();
    let width = width.unwrap_or(0);
    let mut lines = Vec::new();
    for (name, values) in fields {
        for (number, value) in values.iter().enumerate() {
            let name = if number == 0 { *name } else { "" };
            lines.push(format!("{name:width$}  {}", clean(value)).trim_end().to_owned());
        }
    }
    lines.join("\n")
}

/// A text of an answer; nothing where there is none.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The same as the one line or none of a field.
pub fn line(value: &Value) -> Vec<String> {
    text(value).into_iter().collect()
}

/// A word of an enumeration as it is typed: `WORKSPACE_OWNER` is workspace-owner.
pub fn word(value: &Value) -> String {
    text(value).unwrap_or_default().to_lowercase().replace('_', "-")
}

/// A moment to the second: `2026-11-21 09:14:14Z`; a dash where there is none.
pub fn moment(value: &Value) -> String {
    let Some(text) = value.as_str() else { return "-".into() };
    match text.parse::<Timestamp>() {
        Ok(at) => at.to_datetime().format("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => text.to_owned(),
    }
}

/// The texts of a list's scopes.
pub fn scopes(value: &Value) -> Vec<String> {
    list(value, |scope| text(&scope["text"]))
}

/// Grants as they are typed.
pub fn grants(value: &Value) -> Vec<String> {
    list(value, |grant| {
        let place = match (text(&grant["workspaceId"]), text(&grant["organizationId"])) {
            (Some(id), _) => format!("workspace:{id}"),
            (None, Some(id)) => format!("organization:{id}"),
            (None, None) => "organization".into(),
        };
        Some(format!("{}@{place}", word(&grant["role"])))
    })
}

/// Who did something: the address, or else the id, or else the kind.
pub fn actor(value: &Value) -> Option<String> {
    text(&value["email"]).or_else(|| text(&value["id"])).or_else(|| text(&value["kind"]))
}

/// A length of time as it is typed, in the largest unit that leaves no rest: 5400 is 90m.
pub fn length(seconds: u64) -> String {
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    let fits = units.into_iter().find(|(unit, _)| seconds != 0 && seconds.is_multiple_of(*unit));
    fits.map_or_else(|| format!("{seconds}s"), |(unit, letter)| format!("{}{letter}", seconds / unit))
}

/// A rate as it is typed: `600/1m`.
pub fn rate(value: &Value) -> String {
    let window = value["windowSeconds"].as_u64().map_or_else(|| "?".into(), length);
    format!("{}/{window}", text(&value["limit"]).unwrap_or_default())
}

/// A limit as it is typed: `api=600/1m`.
pub fn rate_limit(limit: &Value) -> Option<String> {
    Some(format!("{}={}", text(&limit["name"])?, rate(limit)))
}

/// Each item of a list that has a text.
pub fn list(value: &Value, each: impl Fn(&Value) -> Option<String>) -> Vec<String> {
    value.as_array().map(|items| items.iter().filter_map(each).collect()).unwrap_or_default()
}

/// A name and an id, where there are both: `billing (ws_…)`.
pub fn named(value: &Value) -> Vec<String> {
    match (text(&value["name"]), text(&value["id"])) {
        (Some(name), Some(id)) => vec![format!("{name} ({id})")],
        (name, id) => name.or(id).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_and_fields_are_cleaned() {
        let evil = "a\u{1b}[2Jb\nc".to_owned();
        let shown = table(&["NAME"], vec![vec![vec![evil.clone()]]], &[]);
        assert_eq!(shown, "NAME\na\u{fffd}[2Jb c");
        assert_eq!(fields(&[("name", vec![evil])]), "name  a\u{fffd}[2Jb c");
    }

    #[test]
    fn fields_are_aligned_and_empty_ones_left_out() {
        let shown = fields(&[
            ("id", vec!["key_1".into()]),
            ("comment", vec![]),
            ("scopes", vec!["read:a".into(), "read:b".into()]),
        ]);
        assert_eq!(shown, "id      key_1\nscopes  read:a\n        read:b");
    }

    #[test]
    fn columns_are_two_spaces_apart() {
        let rows = vec![vec![vec!["key_1".into()], vec!["x".into()]]];
        assert_eq!(table(&["ID", "NAME"], rows, &[0]), "ID     NAME\nkey_1  x");
    }

    #[test]
    fn values_look_as_they_are_typed() {
        for (seconds, shown) in [(0, "0s"), (45, "45s"), (5_400, "90m"), (7_200, "2h"), (7_776_000, "90d")] {
            assert_eq!(length(seconds), shown);
        }
        assert_eq!(rate(&json!({ "limit": 600, "windowSeconds": 60 })), "600/1m");
        assert_eq!(actor(&json!({ "kind": "OPERATOR", "id": null })), Some("OPERATOR".into()));
        assert_eq!(moment(&json!("2026-11-21T10:14:14.252913+01:00")), "2026-11-21 09:14:14Z");
        assert_eq!(moment(&Value::Null), "-");
        let held = json!([{ "role": "VERIFIER", "workspaceId": "ws_1", "organizationId": "org_1" },
            { "role": "WORKSPACE_OWNER", "organizationId": "org_1" }]);
        assert_eq!(grants(&held), ["verifier@workspace:ws_1", "workspace-owner@organization:org_1"]);
        assert_eq!(named(&json!({ "id": "ws_1", "name": "billing" })), ["billing (ws_1)"]);
    }
}
