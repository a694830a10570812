//! Markdown, as far as these documents use it.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The README and every document, by path from the root.
pub(crate) fn documents() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let mut found: Vec<PathBuf> = docs
        .map(|entry| Path::new("docs").join(entry.unwrap().file_name()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    found.extend(["README.md".into(), "CHANGELOG.md".into()]);
    found.sort();
    found
}

/// A fenced block: the word after the fence, and its lines.
pub(crate) struct Block<'a> {
    pub(crate) language: &'a str,
    pub(crate) lines: Vec<&'a str>,
}

/// The text without its fenced blocks, and the blocks.
pub(crate) fn split(text: &str) -> (Vec<&str>, Vec<Block<'_>>) {
    let (mut prose, mut blocks) = (Vec::new(), Vec::new());
    let mut open: Option<Block<'_>> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => open = Some(Block { language, lines: Vec::new() }),
            (None, Some(block)) => block.lines.push(line),
            (None, None) => prose.push(line),
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    (prose, blocks)
}

/// What stands under a heading, up to the next one of its level or above.
pub(crate) fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let level = heading.chars().take_while(|&c| c == '#').count();
    let start = text.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("there is no {heading}"));
    let body = &text[start + heading.len() + 2..];
    let mut end = 0;
    let mut fenced = false;
    for line in body.split_inclusive('\n') {
        fenced ^= line.starts_with("```");
        let marks = line.chars().take_while(|&c| c == '#').count();
        if !fenced && (1..=level).contains(&marks) && line[marks..].starts_with(' ') {
            break;
        }
        end += line.len();
    }
    &body[..end]
}

/// The rows of the first table of a text, without its head, as trimmed cells.
pub(crate) fn table(text: &str) -> Vec<Vec<String>> {
    let rows =
        text.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        line.trim_matches('|').split(" |").map(|cell| cell.trim_matches([' ', '|']).to_owned()).collect()
    };
    rows.skip(2).map(cells).collect()
}

/// The anchor of a heading.
pub(crate) fn anchor(heading: &str) -> String {
    let kept = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.chars().filter(|&c| kept(c)).flat_map(char::to_lowercase).collect::<String>().replace(' ', "-")
}

/// Every heading's text.
pub(crate) fn headings(text: &str) -> Vec<String> {
    let (prose, _) = split(text);
    let heading = |line: &str| line.starts_with('#').then(|| line.trim_start_matches('#').trim().to_owned());
    prose.into_iter().filter_map(heading).collect()
}

#[test]
fn headings_become_anchors() {
    assert_eq!(anchor("`NOT_FOUND`"), "not_found");
    assert_eq!(anchor("Backup and restore"), "backup-and-restore");
    assert_eq!(anchor("The client's address"), "the-clients-address");
}
