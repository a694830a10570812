//! Links lead to files and headings that exist.

use std::fs;
use std::path::Path;

use crate::page::{anchor, documents, headings, root, split};

/// The targets of links in a line, outside code.
fn targets(line: &str) -> Vec<String> {
    let mut spoken = String::new();
    for (number, part) in line.split('`').enumerate() {
        if number % 2 == 0 {
            spoken.push_str(part);
        }
    }
    let after = spoken.split("](").skip(1);
    after.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut wrong = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(root().join(&document)).unwrap();
        let (prose, _) = split(&text);
        for target in prose.iter().flat_map(|line| targets(line)) {
            if target.starts_with("https://") {
                continue;
            }
            let (file, fragment) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() {
                document.clone()
            } else {
                document.parent().unwrap_or(Path::new("")).join(file)
            };
            let found = fs::read_to_string(root().join(&path));
            let known = match &found {
                Err(_) => false,
                Ok(_) if fragment.is_empty() => true,
                Ok(text) => headings(text).iter().any(|heading| anchor(heading) == fragment),
            };
            if !known {
                wrong.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn every_document_is_linked_from_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for document in documents() {
        let linked = readme.contains(&format!("({}", document.display()));
        assert!(linked || document == Path::new("README.md"), "{} is not linked", document.display());
    }
}
