//! Reads a secret that somebody holds in hands: from a file, a pipe, or the terminal, where it is not shown.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use zeroize::Zeroizing;

use super::Failure;
use super::key_args::SecretArgs;

/// More than any secret has.
const MAX_BYTES: u64 = 8 * 1024;

/// The secret, without white space around it. Its errors do not hold it.
pub fn read(args: &SecretArgs) -> Result<Zeroizing<String>, Failure> {
    let (text, origin) = match args.file.as_deref() {
        Some(path) if path != "-" => {
            let file = std::fs::File::open(path).and_then(bounded);
            let text =
                file.map_err(|error| Failure::usage(format!("the file {path} cannot be read: {error}")))?;
            (text, format!("the file {path}"))
        }
        _ => {
            let read = if io::stdin().is_terminal() && io::stderr().is_terminal() {
                asked()
            } else {
                bounded(io::stdin())
            };
            let text =
                read.map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
            (text, "standard input".to_owned())
        }
    };
    one_word(&text).ok_or_else(|| {
        Failure::usage(format!(
            "{origin} does not hold a secret: expected one line of at most {MAX_BYTES} bytes, and nothing else"
        ))
    })
}

fn bounded(input: impl Read) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(256));
    input.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn one_word(text: &str) -> Option<Zeroizing<String>> {
    let secret = text.trim();
    let fits = !secret.is_empty() && text.len() as u64 <= MAX_BYTES && !secret.contains(['\n', '\r']);
    fits.then(|| Zeroizing::new(secret.to_owned()))
}

/// Asks on the terminal, which does not show what is typed.
fn asked() -> io::Result<Zeroizing<String>> {
    let mut error = io::stderr();
    write!(error, "Paste the secret and press Enter; it is not shown: ")?;
    error.flush()?;
    let mut text = Zeroizing::new(String::with_capacity(256));
    unseen(|| io::stdin().lock().read_line(&mut text))?;
    writeln!(error)?;
    Ok(text)
}

#[cfg(unix)]
fn unseen<T>(read: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let terminal = io::stdin();
    let before = tcgetattr(&terminal)?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
    let read = read();
    tcsetattr(&terminal, OptionalActions::Now, &before)?;
    read
}

#[cfg(not(unix))]
fn unseen<T>(_: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "nothing can be typed unseen here; use --file or a pipe"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line() {
        assert_eq!(one_word(" kl_prod_x\r\n").as_deref().map(String::as_str), Some("kl_prod_x"));
        let long = "x".repeat(8 * 1024 + 1);
        for text in ["", "\n", "a\nb", long.as_str()] {
            assert!(one_word(text).is_none());
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "hunter2\nhunter3").unwrap();
        let file = |path: &std::path::Path| SecretArgs { file: Some(path.to_str().unwrap().into()) };
        let failure = read(&file(&path)).unwrap_err();
        assert!(failure.code == "USAGE" && !failure.message.contains("hunter"), "{}", failure.message);
        std::fs::write(&path, "hunter2\n").unwrap();
        assert_eq!(*read(&file(&path)).unwrap(), "hunter2");
        assert!(read(&file(&directory.path().join("none"))).unwrap_err().message.contains("none"));
    }
}
