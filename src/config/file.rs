//! The configuration file: TOML, one flat table.

use std::fs;
use std::path::Path;

use super::error::Error;
use super::layer::Layer;

/// Reads a file. A key that nobody knows is an error that lists the known ones.
pub fn read(path: &Path) -> Result<Layer, Error> {
    let text =
        fs::read_to_string(path).map_err(|reason| Error::Unreadable { file: path.to_owned(), reason })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Layer, Error> {
    toml::from_str(text).map_err(|error| {
        // The full error quotes the line, which may hold what does not belong into a log.
        let at = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count();
        let mut problem = error.message().replace("unknown field", "unknown setting");
        if problem.starts_with("unknown setting `master_key`") {
            problem.push_str(
                "; the master key itself does not belong into this file: set KEYLEDGER_MASTER_KEY or name \
                 a file of mode 0600 with master_key_file",
            );
        }
        Error::File { file: path.to_owned(), line, problem }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        parse(Path::new("keyledger.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_known_ones() {
        let shown = problem("usage = \"strict\"\nlisten_on = \"127.0.0.1:1\"\n");
        assert!(
            shown.starts_with("the configuration file keyledger.toml, line 2: unknown setting `listen_on`"),
            "{shown}"
        );
        assert!(shown.contains("`open_listen`") && shown.contains("`trusted_proxies`"), "{shown}");
    }

    #[test]
    fn a_master_key_in_the_file_is_refused_and_not_shown() {
        let shown = problem(&format!("master_key = \"{}\"\n", "ab".repeat(32)));
        assert!(!shown.contains("abab"), "{shown}");
        assert!(shown.contains("KEYLEDGER_MASTER_KEY"), "{shown}");
        let syntax = problem(&format!("master_key = {}\n", "ab".repeat(32)));
        assert!(!syntax.contains("abab"), "{syntax}");
    }

    #[test]
    fn a_value_of_another_type_names_its_line() {
        let shown = problem("\n\nlisten = 8080\n");
        assert!(shown.contains("line 3"), "{shown}");
        assert!(shown.contains("expected a string"), "{shown}");
    }

    #[test]
    fn an_empty_file_says_nothing() {
        let layer = parse(Path::new("x"), "# nothing\n").unwrap();
        assert!(layer.listen.is_none() && layer.trusted_proxies.is_none());
    }
}
