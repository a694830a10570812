//! Follows the cursors of a connection.

use serde_json::{Value, json};

use super::{Exit, Failure};

/// How many items are asked for at once.
const PAGE: usize = 100;

/// Asks for pages until there are `limit` items, or all when it is 0. The answer is that of the last
/// page, with the items of all pages as the connection's `nodes`. `ask` sends variables, `connection` is
/// a JSON pointer.
pub fn collect(
    mut ask: impl FnMut(&Value) -> Result<Value, Failure>,
    mut variables: Value,
    connection: &str,
    limit: usize,
) -> Result<Value, Failure> {
    let broken = || {
        Failure::new(Exit::Failed, "UNEXPECTED_ANSWER", "the server's list is not as expected; is it newer?")
    };
    let mut nodes = Vec::new();
    loop {
        let missing = if limit == 0 { PAGE } else { limit - nodes.len() };
        variables["first"] = json!(missing.min(PAGE));
        let mut data = ask(&variables)?;
        let list = data.pointer_mut(connection).ok_or_else(broken)?;
        nodes.append(list["nodes"].as_array_mut().ok_or_else(broken)?);
        let more = list["pageInfo"]["hasNextPage"] == json!(true);
        if !more || (limit != 0 && nodes.len() >= limit) {
            list["nodes"] = nodes.into();
            return Ok(data);
        }
        // A server that gives the same cursor again would be asked for ever.
        let next = list["pageInfo"]["endCursor"].take();
        if !next.is_string() || next == variables["after"] {
            return Err(broken());
        }
        variables["after"] = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that has so many items, and says how often it was asked.
    fn collected(items: u64, limit: usize) -> (Value, usize) {
        let mut asked = 0;
        let answer = |variables: &Value| {
            asked += 1;
            let from = variables["after"].as_str().map_or(0, |cursor| cursor.parse::<u64>().unwrap());
            let to = items.min(from + variables["first"].as_u64().unwrap());
            let nodes: Vec<_> = (from..to).collect();
            let page = json!({ "hasNextPage": to < items, "endCursor": to.to_string() });
            Ok(json!({ "keys": { "totalCount": items, "nodes": nodes, "pageInfo": page } }))
        };
        let data = collect(answer, json!({}), "/keys", limit).unwrap();
        (data, asked)
    }

    #[test]
    fn all_pages_are_followed_when_there_is_no_limit() {
        let (data, asked) = collected(220, 0);
        assert_eq!(data["keys"]["nodes"], (0..220).collect::<Value>());
        assert_eq!(asked, 3);
    }

    #[test]
    fn no_more_is_asked_for_than_the_limit() {
        let (data, asked) = collected(220, 160);
        assert_eq!(data["keys"]["nodes"], (0..160).collect::<Value>());
        assert_eq!(data["keys"]["pageInfo"], json!({ "hasNextPage": true, "endCursor": "160" }));
        assert_eq!(asked, 2);
        assert_eq!(collected(0, 50).1, 1);
    }

    #[test]
    fn a_cursor_that_stands_still_ends_the_search() {
        let page = json!({ "nodes": [1], "pageInfo": { "hasNextPage": true, "endCursor": "same" } });
        let answer = |_: &Value| Ok(json!({ "keys": page }));
        assert_eq!(collect(answer, json!({}), "/keys", 0).unwrap_err().code, "UNEXPECTED_ANSWER");
    }
}
