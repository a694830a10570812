//! A report as a page that people read, print and file.
//!
//! Whatever stands in a cell may have been chosen by somebody hostile: it is escaped, and characters that are
//! invisible or turn text around are shown as a mark. The page has no script and loads nothing; its policy
//! ([`content_security_policy`]) says so to browsers, in the answer and in the page itself, so that a saved copy
//! is bound by it, too.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// One line of a cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// For reading.
    Text(String),
    /// For copying: an id or a name of an event.
    Id(String),
    /// What somebody should look at.
    Flag(&'static str),
}

impl Line {
    /// For reading.
    #[allow(clippy::needless_pass_by_value, reason = "what is shown is often made for it")]
    pub fn text(text: impl ToString) -> Self {
        Self::Text(text.to_string())
    }

    /// For copying.
    #[allow(clippy::needless_pass_by_value, reason = "ids are copied")]
    pub fn id(id: impl ToString) -> Self {
        Self::Id(id.to_string())
    }
}

/// What stands above the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Front {
    /// What it is.
    pub title: &'static str,
    /// Of what and when, by names.
    pub facts: Vec<(&'static str, Vec<Line>)>,
    /// What the reader must know.
    pub notes: Vec<String>,
    /// Names of the columns, and their width as a part of a hundred.
    pub columns: &'static [(&'static str, u8)],
}

const STYLE: &str = "\
:root{color-scheme:light}\
body{font:13px/1.45 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif;color:#16202c;background:#fff;\
margin:0 auto;max-width:1400px;padding:28px 32px}\
h1{font-size:22px;line-height:1.2;margin:0 0 14px}\
h2{font-size:15px;margin:26px 0 8px}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;margin:0 0 14px}\
dt{color:#56636f}dd{margin:0}\
dd,td{overflow-wrap:anywhere;unicode-bidi:isolate}\
.notes{border-left:3px solid #b8c4d0;margin:0 0 20px;padding:2px 0 2px 12px;color:#3b4753}\
.notes p{margin:3px 0}\
table{border-collapse:collapse;table-layout:fixed;width:100%}\
thead{display:table-header-group}\
th{background:#eef2f6;border-bottom:2px solid #b8c4d0;text-align:left;padding:5px 7px;font-size:12px}\
td{border-bottom:1px solid #dde3e9;padding:5px 7px;vertical-align:top}\
tr{break-inside:avoid}\
.id{font:11px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;color:#3b4753}\
.flag{display:inline-block;border:1px solid #b3261e;border-radius:3px;color:#8c1d18;padding:0 5px;font-size:11px}\
.none{color:#56636f;padding:18px 7px}\
.w5{width:5%}.w6{width:6%}.w7{width:7%}.w8{width:8%}.w9{width:9%}.w10{width:10%}.w11{width:11%}.w12{\
width:12%}.w13{width:13%}.w14{width:14%}.w15{width:15%}.w16{width:16%}.w18{width:18%}.w20{width:20%}\
.w22{width:22%}.w24{width:24%}.w25{width:25%}.w30{width:30%}.w34{width:34%}.w40{width:40%}\
.totals{width:auto;min-width:260px;table-layout:auto}\
.totals td:last-child{text-align:right;font-variant-numeric:tabular-nums}\
@page{size:A4 landscape;margin:12mm 10mm 14mm;@bottom-right{content:counter(page) ' / ' counter(pages);\
font:9px system-ui,sans-serif;color:#56636f}}\
@media print{body{font-size:9.5px;max-width:none;padding:0}h1{font-size:17px}h2{font-size:12px}\
th,.id,.flag{font-size:8.5px}th,td{padding:3px 5px}th{-webkit-print-color-adjust:exact;print-color-adjust:exact}}";

/// What a browser may do with the page: show it with its own style, and nothing else (Content Security Policy
/// Level 3, §2.3.1 for the hash).
pub fn content_security_policy() -> String {
    format!("{}; frame-ancestors 'none'; sandbox allow-modals", page_policy())
}

/// The part of it that a page can say itself (Content Security Policy Level 3, §3.3).
fn page_policy() -> String {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
}

/// Whether a character is invisible, turns text around, or is none that is shown (Unicode TR 36 §2.5, TR 9 §2).
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Writes a text so that it is shown and does nothing (HTML §13.1.2.3: `&` and `<` in text; quotes besides).
fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(' '),
            unsafe_one if is_unsafe(unsafe_one) => out.push(char::REPLACEMENT_CHARACTER),
            other => out.push(other),
        }
    }
}

fn lines(lines: &[Line], out: &mut String) {
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            out.push_str("<br>");
        }
        let (class, text) = match line {
            Line::Text(text) => {
                escape(text, out);
                continue;
            }
            Line::Id(text) => ("id", text.as_str()),
            Line::Flag(text) => ("flag", *text),
        };
        out.push_str("<span class=\"");
        out.push_str(class);
        out.push_str("\">");
        escape(text, out);
        out.push_str("</span>");
    }
}

/// The page down to the head of its table.
pub fn begin(front: &Front) -> String {
    let mut out = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta http-equiv=\"Content-Security-Policy\" content=\"");
    out.push_str(&page_policy());
    out.push_str("\">\n<meta name=\"referrer\" content=\"no-referrer\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width\">\n<title>");
    escape(front.title, &mut out);
    out.push_str("</title>\n<style>");
    out.push_str(STYLE);
    out.push_str("</style>\n</head>\n<body>\n<h1>");
    escape(front.title, &mut out);
    out.push_str("</h1>\n<dl>\n");
    for (name, value) in &front.facts {
        out.push_str("<dt>");
        escape(name, &mut out);
        out.push_str("</dt><dd>");
        lines(value, &mut out);
        out.push_str("</dd>\n");
    }
    out.push_str("</dl>\n<div class=\"notes\">\n");
    for note in &front.notes {
        out.push_str("<p>");
        escape(note, &mut out);
        out.push_str("</p>\n");
    }
    out.push_str("</div>\n<table>\n<colgroup>");
    for (_, width) in front.columns {
        out.push_str("<col class=\"w");
        out.push_str(&width.to_string());
        out.push_str("\">");
    }
    out.push_str("</colgroup>\n<thead><tr>");
    for (name, _) in front.columns {
        out.push_str("<th scope=\"col\">");
        escape(name, &mut out);
        out.push_str("</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    out
}

/// A row of the table: of each cell its lines.
pub fn row(cells: &[Vec<Line>], out: &mut String) {
    out.push_str("<tr>");
    for cell in cells {
        out.push_str("<td>");
        lines(cell, out);
        out.push_str("</td>");
    }
    out.push_str("</tr>\n");
}

/// The rest of the page. A page that ends without it was cut off.
pub fn end(columns: usize, totals: &[(String, u64)], rows: u64) -> String {
    let mut out = String::new();
    if rows == 0 {
        out.push_str("<tr><td class=\"none\" colspan=\"");
        out.push_str(&columns.to_string());
        out.push_str("\">There are none.</td></tr>\n");
    }
    out.push_str("</tbody>\n</table>\n<h2>Totals</h2>\n<table class=\"totals\">\n<tbody>\n");
    for (name, count) in totals.iter().map(|(name, count)| (name.as_str(), *count)).chain([("rows", rows)]) {
        out.push_str("<tr><td>");
        escape(name, &mut out);
        out.push_str("</td><td>");
        out.push_str(&count.to_string());
        out.push_str("</td></tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</body>\n</html>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hostile_is_shown_and_does_nothing() {
        let mut out = String::new();
        let hostile = "</td><script>alert(1)</script>\"'&amp;\u{202e}gnp\u{0}\u{1b}[2J\nb";
        row(&[vec![Line::text(hostile), Line::id(hostile)]], &mut out);
        let shown = "&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;amp;\u{fffd}gnp\u{fffd}\u{fffd}[2J b";
        assert_eq!(out, format!("<tr><td>{shown}<br><span class=\"id\">{shown}</span></td></tr>\n"));
    }

    #[test]
    fn the_policy_allows_the_style_of_the_page_and_nothing_else() {
        let front = Front { title: "a", facts: vec![], notes: vec![], columns: &[("A", 100)] };
        let page = begin(&front) + &end(1, &[], 0);
        let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        let hash = STANDARD.encode(Sha256::digest(style));
        assert!(content_security_policy().contains(&format!("style-src 'sha256-{hash}';")));
        assert!(page.contains(&page_policy()));
        for word in ["<script", "http://", "https://", "url(", "src=", "href=", " style=", " on"] {
            assert!(!page.to_lowercase().contains(word), "{word}");
        }
        assert_eq!(page.matches("<tr>").count(), page.matches("</tr>").count());
    }
}
