//! Asks before what cannot be undone.

use std::io::{self, BufRead, IsTerminal, Write};

use super::{Exit, Failure};

/// Whether a question can be asked: somebody can read it and type an answer.
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Refuses a command that needs a confirmation nobody can give. Tried before anything is sent.
pub fn require(yes: bool, what: &str) -> Result<(), Failure> {
    if yes || can_ask() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Usage,
        "CONFIRMATION_REQUIRED",
        format!("{what}, and there is no terminal to ask on: repeat the command with --yes"),
    ))
}

/// Asks on the terminal. `question` has been cleaned.
pub fn ask(question: &str) -> Result<(), Failure> {
    let mut error = io::stderr();
    write!(error, "{question} [y/N] ")?;
    error.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if is_yes(&answer) { Ok(()) } else { Err(Failure::new(Exit::Failed, "DECLINED", "nothing was changed")) }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        assert!(is_yes("y\n") && is_yes(" YES\r\n"));
        for answer in ["", "\n", "n", "yep", "key_1"] {
            assert!(!is_yes(answer), "{answer}");
        }
    }
}
