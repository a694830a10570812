//! How a command fails: a stable code, a message, an exit code.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::output::{clean, escape_json};

/// What the shell is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Refused or failed.
    Failed = 1,
    /// Wrong usage or settings; nothing was tried.
    Usage = 2,
    /// The server could not be reached, or cannot answer now.
    Unreachable = 3,
    /// The management key is missing, invalid or not allowed to do this.
    NotAllowed = 4,
    /// There is no such thing here.
    NotFound = 5,
    /// Sent, but no answer came.
    OutcomeUnknown = 6,
    /// A verification found the archive changed or cut off.
    Archive = 10,
    /// … a file other than the manifest names it.
    Manifest = 11,
    /// … no signature of a key that was given.
    Signature = 12,
    /// … an entry that is not in the tree.
    Tree = 13,
    /// … a log that does not go on where it was.
    Consistency = 14,
    /// … an event missing, moved or repeated.
    Chain = 15,
    /// … a stream that ends elsewhere than the log committed to.
    Completeness = 16,
    /// … a view that says something else than the entries.
    View = 17,
    /// … an event that cannot be read, or does not belong here.
    Event = 18,
    /// … other keys of the log than it introduced.
    LogKeys = 19,
    /// … nothing wrong, but not what comparing with an earlier checkpoint needs.
    Comparison = 20,
    /// Some data keys beside the log are lost.
    Vault = 21,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Stable. The server's, or one of `USAGE`, `CONFIGURATION`, `CONFIRMATION_REQUIRED`, `DECLINED`,
    /// `UNREACHABLE`, `OUTCOME_UNKNOWN`, `UNEXPECTED_ANSWER`, `INCOMPLETE`, `OUTPUT`.
    pub code: String,
    /// What, which bound, what to do.
    pub message: String,
    /// The field of the input that it is about.
    pub field: Option<String>,
    /// What programs may want to know besides, as the server gave it.
    pub details: Option<Box<Value>>,
    /// What the shell is told.
    pub exit: Exit,
}

impl Failure {
    /// With a code of this program's own.
    pub fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), field: None, details: None, exit }
    }

    /// Some of what was asked for was not done, and each was named.
    pub fn incomplete(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, "INCOMPLETE", message)
    }

    /// The result is printed and says it all; only the shell is still to be told.
    pub fn told(exit: Exit) -> Self {
        Self::new(exit, "", "")
    }

    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "USAGE", message)
    }

    /// What a server said; the exit code follows from its code.
    pub fn from_server(code: &str, message: &str, field: Option<&str>) -> Self {
        let exit = match code {
            "UNAUTHENTICATED" | "FORBIDDEN" => Exit::NotAllowed,
            "NOT_FOUND" => Exit::NotFound,
            "UNAVAILABLE" | "TOO_MANY_REQUESTS" => Exit::Unreachable,
            _ => Exit::Failed,
        };
        Self { code: code.into(), message: message.into(), field: field.map(Into::into), details: None, exit }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let quiet = error.kind() == io::ErrorKind::BrokenPipe;
        let message = if quiet { String::new() } else { format!("the output could not be written: {error}") };
        Self::new(Exit::Failed, "OUTPUT", message)
    }
}

/// Writes a failure to standard error and gives its exit code. Whoever closed the pipe knows, and is
/// told nothing, as is whoever was told by the result.
pub fn report(failure: &Failure, as_json: bool) -> Exit {
    let text = if failure.message.is_empty() {
        return failure.exit;
    } else if as_json {
        format!("{}\n", escape_json(&to_json(failure).to_string()))
    } else {
        to_text(failure)
    };
    // Nothing is left to do when standard error is closed.
    let _ = io::stderr().write_all(text.as_bytes());
    failure.exit
}

fn to_json(failure: &Failure) -> Value {
    let mut error = json!({ "code": failure.code, "message": failure.message });
    if let Some(field) = &failure.field {
        error["field"] = field.as_str().into();
    }
    if let Some(details) = &failure.details {
        error["details"] = (**details).clone();
    }
    json!({ "error": error })
}

fn to_text(failure: &Failure) -> String {
    let mut text = String::from("error: ");
    for (number, line) in failure.message.lines().enumerate() {
        if number > 0 {
            text.push_str("\n       ");
        }
        text.push_str(&clean(line));
    }
    text.push_str("\n  code:  ");
    text.push_str(&clean(&failure.code));
    if let Some(field) = &failure.field {
        text.push_str("\n  field: ");
        text.push_str(&clean(field));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_follows_from_the_code() {
        let exit = |code| Failure::from_server(code, "no", None).exit;
        assert_eq!(exit("INVALID_INPUT"), Exit::Failed);
        assert_eq!(exit("UNAUTHENTICATED"), Exit::NotAllowed);
        assert_eq!(exit("FORBIDDEN"), Exit::NotAllowed);
        assert_eq!(exit("NOT_FOUND"), Exit::NotFound);
        assert_eq!(exit("UNAVAILABLE"), Exit::Unreachable);
        assert_eq!(exit("SOMETHING_NEW"), Exit::Failed);
    }

    #[test]
    fn a_failure_names_code_and_field_in_both_forms() {
        let failure = Failure::from_server("INVALID_INPUT", "too \u{1b}[31mlong", Some("input.name"));
        assert_eq!(
            to_text(&failure),
            "error: too \u{fffd}[31mlong\n  code:  INVALID_INPUT\n  field: input.name\n"
        );
        assert_eq!(to_json(&failure)["error"]["field"], "input.name");
        assert_eq!(to_json(&Failure::usage("x")), json!({"error": {"code": "USAGE", "message": "x"}}));
    }
}
