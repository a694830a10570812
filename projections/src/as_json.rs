//! Serde adapter for snapshots in formats that are not self-describing: a value whose own form leaves
//! out empty fields is kept as JSON text.

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// The name of the one field that marks personal data to be sealed, see [`keyledger_schema::Personal`].
const MARK: &str = "personal";

/// Takes the marks away: they are for the log. A snapshot holds what an opened event holds, and is read like one.
fn unmarked(value: Value) -> Value {
    match value {
        // What is marked is taken as it is: metadata may look like a mark.
        Value::Object(mut fields) if fields.len() == 1 && fields.contains_key(MARK) => {
            fields.remove(MARK).unwrap_or_default()
        }
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, unmarked(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(unmarked).collect()),
        plain => plain,
    }
}

/// Writes a value as a string of JSON.
pub fn serialize<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let value = serde_json::to_value(value).map_err(S::Error::custom)?;
    unmarked(value).to_string().serialize(serializer)
}

/// Reads a value from a string of JSON.
pub fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    serde_json::from_str(&text).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use keyledger_schema::{Actor, Metadata, Personal};
    use serde::{Deserialize, Serialize};

    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    struct Kept {
        actor: Actor,
        comments: Vec<Option<Personal<Box<str>>>>,
        metadata: Personal<Metadata>,
    }

    #[derive(PartialEq, Debug, Serialize, Deserialize)]
    struct Snapshot(#[serde(with = "super")] Kept);

    #[test]
    fn personal_data_is_read_as_it_was_written() {
        let id = "key_01h455vb4pex5vsknk084sn02q".parse().unwrap();
        let kept = Kept {
            actor: Actor::key(id, "a@keys.example", None),
            comments: vec![Some(Personal("found".into())), None],
            metadata: Personal(serde_json::from_str(r#"{"personal":{"personal":1}}"#).unwrap()),
        };
        let text = serde_json::to_string(&Snapshot(kept.clone())).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), Snapshot(kept));
    }
}
