//! `keyledger key import`: one JSON object on each line, sent in batches.
//!
//! Invariants: no text of a line is printed, for it may hold a secret; what is wrong with it is told by its
//! number. A line is passed on as it was written, so whatever the API takes can be imported.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

use indicatif::ProgressBar;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::client::Client;
use super::key_args::ImportArgs;
use super::output::clean;
use super::table::text;
use super::{Exit, Failure, Output, progress, queries, told};

/// The most keys of a call.
const MAX_ITEMS: usize = 1_000;
/// The most bytes of a call's keys: a request has at most 1 MiB.
const MAX_BYTES: usize = 1_000_000;
/// The longest line. A key is one event of less than that.
const MAX_LINE: usize = 64 * 1024;
/// How many lines may be refused for their form until the input is taken for something else.
const MAX_MISSHAPEN: usize = 20;
/// Each key is an event that has to be durable.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(5);

/// Does it.
pub fn run(args: &ImportArgs, client: &Client, out: &mut Output<'_>) -> Result<(), Failure> {
    let unreadable = |error: io::Error| Failure::usage(format!("{} cannot be read: {error}", args.file));
    let (input, length): (Box<dyn BufRead>, _) = if args.file == "-" {
        (Box::new(io::stdin().lock()), None)
    } else {
        let file = File::open(&args.file).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        (Box::new(BufReader::new(file)), Some(length))
    };
    let workspace = args.workspace.map(|id| id.to_string());
    let bar = progress::bytes(length, out.is_json());
    let mut import = Import { client, workspace, bar, counts: Counts::default(), results: vec![] };
    let stopped = import.all(Lines::new(input), &unreadable, out);
    import.bar.finish_and_clear();
    import.conclude(stopped, out)
}

/// A line that may be a key.
struct Line {
    number: usize,
    text: Zeroizing<String>,
}

/// The lines of an input that are not blank, each bounded.
struct Lines<R> {
    input: R,
    number: usize,
    /// Bytes read so far.
    read: u64,
}

impl<R: BufRead> Lines<R> {
    fn new(input: R) -> Self {
        Self { input, number: 0, read: 0 }
    }

    /// The next line, or what is wrong with it.
    fn next(&mut self) -> io::Result<Option<Result<Line, (usize, String)>>> {
        loop {
            let mut bytes = Zeroizing::new(Vec::with_capacity(512));
            let limit = MAX_LINE as u64 + 1;
            let read = self.input.by_ref().take(limit).read_until(b'\n', &mut bytes)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.read += read as u64;
            if read > MAX_LINE && !bytes.ends_with(b"\n") {
                self.read += self.input.skip_until(b'\n')? as u64;
                let why = format!("a line has at most {MAX_LINE} bytes; is there one key on each line?");
                return Ok(Some(Err((self.number, why))));
            }
            match checked(&bytes, self.number == 1) {
                Ok(text) if text.is_empty() => {}
                Ok(text) => return Ok(Some(Ok(Line { number: self.number, text }))),
                Err(why) => return Ok(Some(Err((self.number, why)))),
            }
        }
    }
}

/// The text of a line that is one JSON object, or blank. The reason names no text of it.
fn checked(bytes: &[u8], first: bool) -> Result<Zeroizing<String>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "this is not UTF-8; convert the file".to_owned())?;
    let text = if first { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text }.trim();
    if text.is_empty() {
        return Ok(Zeroizing::default());
    }
    if !text.starts_with('{') {
        return Err("a line is one JSON object, which begins with {".into());
    }
    serde_json::from_str::<IgnoredAny>(text)
        .map_err(|error| format!("this is not one JSON object: the fault is at column {}", error.column()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[derive(Default)]
struct Counts {
    imported: usize,
    existing: usize,
    failed: usize,
    misshapen: usize,
}

struct Import<'a> {
    client: &'a Client,
    workspace: Option<String>,
    bar: ProgressBar,
    counts: Counts,
    /// For JSON.
    results: Vec<Value>,
}

impl Import<'_> {
    /// Sends everything. An error stops it.
    fn all<R: BufRead>(
        &mut self,
        mut lines: Lines<R>,
        unreadable: &impl Fn(io::Error) -> Failure,
        out: &Output<'_>,
    ) -> Result<(), Failure> {
        let mut batch: Vec<Line> = Vec::new();
        let mut bytes = 0;
        while let Some(line) = lines.next().map_err(unreadable)? {
            match line {
                Ok(line) => {
                    if batch.len() >= MAX_ITEMS || bytes + line.text.len() + 1 > MAX_BYTES {
                        self.send(&batch, out)?;
                        batch.clear();
                        bytes = 0;
                    }
                    bytes += line.text.len() + 1;
                    batch.push(line);
                }
                Err((number, why)) => self.failed(number, "INVALID_INPUT", &why, None, out),
            }
            self.bar.set_position(lines.read);
        }
        if batch.is_empty() { Ok(()) } else { self.send(&batch, out) }
    }

    /// Sends a batch. A line that is not as the API has it lets its whole batch be refused, so such a batch
    /// is sent again in halves until that line is alone.
    fn send(&mut self, batch: &[Line], out: &Output<'_>) -> Result<(), Failure> {
        match self.client.call_with(queries::IMPORT, &self.variables(batch), ANSWER_TIMEOUT) {
            Ok(data) => self.take(batch, &data["importKeys"], out),
            Err(failure) if is_about_a_line(&failure) => {
                if let [line] = batch {
                    return self.misshapen(line.number, &failure, out);
                }
                let (first, second) = batch.split_at(batch.len() / 2);
                self.send(first, out)?;
                self.send(second, out)
            }
            Err(mut failure) => {
                let (first, last) = (batch.first(), batch.last());
                if let (Some(first), Some(last)) = (first, last) {
                    failure.message = format!(
                        "the import stopped at lines {} to {}: {}\nRepeat it when that is mended: what is there \
                         already is left as it is.",
                        first.number, last.number, failure.message
                    );
                }
                Err(failure)
            }
        }
    }

    /// A line that is not as the API has it. After many of them the input is something else.
    fn misshapen(&mut self, number: usize, failure: &Failure, out: &Output<'_>) -> Result<(), Failure> {
        self.counts.misshapen += 1;
        // The server speaks of a place in its request.
        let message = match of_line(failure.field.as_deref()) {
            Some(_) => "this value, or what stands in it, is not one that the API allows",
            None => "a field is missing, is not one that the API has, or has a value that it does not allow",
        };
        self.failed(number, &failure.code, message, failure.field.as_deref(), out);
        if self.counts.misshapen < MAX_MISSHAPEN {
            return Ok(());
        }
        Err(Failure::incomplete(format!(
            "the import stopped at line {number}: {MAX_MISSHAPEN} lines are not keys as the API has them, the last \
             one because {}; is this the right file? What was imported stays.",
            failure.message
        )))
    }

    fn variables(&self, batch: &[Line]) -> Zeroizing<String> {
        let length: usize = batch.iter().map(|line| line.text.len() + 1).sum();
        let mut text = Zeroizing::new(String::with_capacity(length + 128));
        text.push_str("{\"input\":{");
        if let Some(id) = &self.workspace {
            text.push_str("\"workspaceId\":\"");
            text.push_str(id);
            text.push_str("\",");
        }
        text.push_str("\"keys\":[");
        for (number, line) in batch.iter().enumerate() {
            if number > 0 {
                text.push(',');
            }
            text.push_str(&line.text);
        }
        text.push_str("]}}");
        text
    }

    fn take(&mut self, batch: &[Line], payload: &Value, out: &Output<'_>) -> Result<(), Failure> {
        let results = payload["results"].as_array().map_or(&[][..], Vec::as_slice);
        if results.len() != batch.len() {
            let message = format!("{} keys were sent and {} answered", batch.len(), results.len());
            return Err(Failure::new(Exit::Failed, "UNEXPECTED_ANSWER", message));
        }
        for (at, result) in results.iter().enumerate() {
            let at = result["index"].as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or(at);
            let number = batch.get(at).map_or(0, |line| line.number);
            match result["status"].as_str() {
                Some("IMPORTED") => self.counts.imported += 1,
                Some("EXISTS") => self.counts.existing += 1,
                _ => {
                    let error = &result["error"];
                    let code = text(&error["code"]).unwrap_or_default();
                    let message = text(&error["message"]).unwrap_or_default();
                    self.failed(number, &code, &message, error["field"].as_str(), out);
                    continue;
                }
            }
            if out.is_json() {
                let mut result = result.clone();
                result["line"] = json!(number);
                self.results.push(result);
            }
        }
        self.bar.suspend(|| told::warn(payload, out));
        self.bar.set_message(format!("{} imported", self.counts.imported));
        Ok(())
    }

    /// Tells of a line that was not imported.
    fn failed(&mut self, number: usize, code: &str, message: &str, field: Option<&str>, out: &Output<'_>) {
        self.counts.failed += 1;
        let field = of_line(field);
        if out.is_json() {
            let error = json!({ "code": code, "message": message, "field": field });
            self.results.push(json!({ "line": number, "status": "FAILED", "key": null, "error": error }));
            return;
        }
        let field = field.map(|field| format!(", {field}")).unwrap_or_default();
        let told = format!("line {number}: {message} ({code}{field})");
        self.bar.suspend(|| out.note(clean(&told)));
    }

    fn conclude(self, stopped: Result<(), Failure>, out: &mut Output<'_>) -> Result<(), Failure> {
        let Counts { imported, existing, failed, .. } = self.counts;
        if out.is_json() {
            let mut results = self.results;
            results.sort_by_key(|result| result["line"].as_u64());
            for (index, result) in results.iter_mut().enumerate() {
                result["index"] = json!(index);
            }
            out.json(&json!({ "importKeys": {
                "results": results, "imported": imported, "existing": existing, "failed": failed,
            } }))?;
        } else {
            out.line(format_args!("imported {imported}, there already {existing}, failed {failed}"))?;
        }
        stopped?;
        if failed == 0 {
            return Ok(());
        }
        let lines = if failed == 1 { "1 line was".into() } else { format!("{failed} lines were") };
        Err(Failure::incomplete(format!(
            "{lines} not imported; mend what the message with each says and repeat: what is there already is \
             left as it is"
        )))
    }
}

/// The name of a field within a line: the server counts the keys of a call.
fn of_line(field: Option<&str>) -> Option<&str> {
    let field = field?.strip_prefix("input.keys")?;
    let field = field.trim_start_matches(['.', '[']).trim_start_matches(|c: char| c.is_ascii_digit());
    Some(field.trim_start_matches([']', '.'])).filter(|field| !field.is_empty())
}

/// Whether a refusal of a whole call can be about one of its keys. A value that is not of its type, such as
/// a moment, makes the server refuse the document without a word on the place.
fn is_about_a_line(failure: &Failure) -> bool {
    let field = failure.field.as_deref().unwrap_or_default();
    failure.code == "INVALID_INPUT"
        && (field.starts_with("input.keys") || ["input", "query"].contains(&field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<Result<(usize, String), (usize, String)>> {
        let mut lines = Lines::new(text);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push(line.map(|line| (line.number, line.text.to_string())));
        }
        assert_eq!(lines.read, text.len() as u64);
        found
    }

    #[test]
    fn lines_are_objects_and_blank_ones_are_left_out() {
        let found = lines("\u{feff}{\"name\":\"a\"}\r\n\n  {\"name\":\"b\"}".as_bytes());
        assert_eq!(found, [Ok((1, r#"{"name":"a"}"#.into())), Ok((3, r#"{"name":"b"}"#.into()))]);
    }

    #[test]
    fn what_is_wrong_is_told_by_number_without_the_text() {
        let long = format!("{{\"secret\":\"{}\"}}\n", "hunter2".repeat(MAX_LINE));
        let text = format!("hunter2\n{{\"secret\":\"hunter2\"\n[\"hunter2\"]\n{long}{{}}\n{{}} hunter2\n");
        let found = lines(text.as_bytes());
        assert_eq!(found.len(), 6);
        for (at, line) in found.iter().enumerate() {
            match line {
                Ok(line) => assert_eq!(line, &(5, "{}".into())),
                Err((number, why)) => {
                    assert_eq!(*number, at + 1);
                    assert!(!why.contains("hunter2"), "{why}");
                }
            }
        }
        assert!(lines(b"{\"name\":\"\xff\"}")[0].as_ref().unwrap_err().1.contains("UTF-8"));
    }

    #[test]
    fn a_call_holds_the_lines_as_they_were_written() {
        let client = crate::cli::key::tests::client();
        let import = Import {
            client: &client,
            workspace: Some("ws_1".into()),
            bar: ProgressBar::hidden(),
            counts: Counts::default(),
            results: vec![],
        };
        let line = |text: &str| Line { number: 1, text: Zeroizing::new(text.into()) };
        let text = import.variables(&[line(r#"{"a": 1}"#), line("{}")]);
        assert_eq!(*text, r#"{"input":{"workspaceId":"ws_1","keys":[{"a": 1},{}]}}"#);
    }

    #[test]
    fn only_a_fault_of_a_key_splits_a_batch() {
        let about = |code, field| is_about_a_line(&Failure::from_server(code, "no", field));
        assert!(about("INVALID_INPUT", Some("input.keys[3].environment")));
        assert!(about("INVALID_INPUT", Some("input")));
        assert!(about("INVALID_INPUT", Some("query")));
        assert!(!about("INVALID_INPUT", Some("input.workspaceId")));
        assert!(!about("INVALID_INPUT", None) && !about("NOT_FOUND", Some("input.keys")));
    }

    #[test]
    fn a_field_is_called_as_in_the_line() {
        for (field, shown) in [
            ("input.keys[3].hash.value", Some("hash.value")),
            ("input.keys.0.environment", Some("environment")),
            ("input.keys.12", None),
            ("input", None),
        ] {
            assert_eq!(of_line(Some(field)), shown, "{field}");
        }
    }
}
