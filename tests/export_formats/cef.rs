//! A reader of the Common Event Format, written from its rules and not from ours, and what it finds.

use std::collections::BTreeMap;

use keyledger::export::Format;
use keyledger_schema::Event;
use serde_json::Value;

/// A line taken apart.
#[derive(Debug)]
pub struct Parsed {
    /// Version, vendor, product, version of the product, class, name, severity.
    pub header: Vec<String>,
    pub extension: BTreeMap<String, String>,
}

/// The header ends at the seventh `|` that has no backslash before it. A key of the extension is the word right
/// before an `=` that has no backslash before it; its value ends before the space before the next key.
pub fn parse(line: &str) -> Parsed {
    let rest = line.strip_prefix("CEF:").unwrap();
    let (mut header, mut field) = (Vec::new(), String::new());
    let mut signs = rest.char_indices();
    let mut start = rest.len();
    while let Some((at, sign)) = signs.next() {
        match sign {
            '\\' => {
                let (_, escaped) = signs.next().unwrap();
                assert!(matches!(escaped, '\\' | '|'), "{line}");
                field.push(escaped);
            }
            '|' => {
                header.push(std::mem::take(&mut field));
                if header.len() == 7 {
                    start = at + 1;
                    break;
                }
            }
            sign => field.push(sign),
        }
    }
    let text = &rest[start..];
    let bytes = text.as_bytes();
    let escaped = |at: usize| bytes[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
    let equals: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'=' && !escaped(*at)).collect();
    let mut extension = BTreeMap::new();
    for (at, equal) in equals.iter().enumerate() {
        let key_start = text[..*equal].rfind(' ').map_or(0, |space| space + 1);
        let end = equals.get(at + 1).map_or(text.len(), |next| text[..*next].rfind(' ').unwrap());
        let (mut value, mut signs) = (String::new(), text[equal + 1..end].chars());
        while let Some(sign) = signs.next() {
            assert!(sign != '\n' && sign != '\r', "{line}");
            value.push(match sign {
                '\\' => match signs.next().unwrap() {
                    'n' => '\n',
                    'r' => '\r',
                    other => {
                        assert!(matches!(other, '\\' | '='), "{line}");
                        other
                    }
                },
                sign => sign,
            });
        }
        let key = &text[key_start..*equal];
        assert!(!key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{key}: {line}");
        assert!(extension.insert(key.to_owned(), value).is_none(), "{key} is there twice: {line}");
    }
    Parsed { header, extension }
}

#[test]
fn every_event_is_read_back() {
    let text = String::from_utf8(super::written(Format::Cef, true, &super::all())).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), Event::TYPES.len());
    for ((name, bytes), line) in super::samples().iter().zip(lines) {
        let Parsed { header, extension } = parse(line);
        assert_eq!((header.len(), &*header[0], &*header[1], &*header[4]), (7, "0", "Keyledger", *name));
        assert!(header[6].parse::<u8>().unwrap() <= 10);
        let stored: Value = super::shown(bytes);
        let same = |key: &str, pointer: &str| {
            let expected = stored.pointer(pointer).and_then(Value::as_str);
            assert_eq!(extension.get(key).map(String::as_str), expected, "{name}: {key}");
        };
        same("externalId", "/id");
        same("suid", "/actor/id");
        same("suser", "/actor/email");
        same("requestClientApplication", "/source/user_agent");
        same("cs1", "/org");
        same("cs3", "/stream");
        let data: Value = serde_json::from_str(&extension["KeyledgerKeyledgerData"]).unwrap();
        assert_eq!(data, stored["data"], "{name}");
        // A custom field of the dictionary always says what it holds, and so does the address of IPv6.
        for key in extension.keys().filter(|key| !key.ends_with("Label")) {
            let custom = ["cs", "cn", "c6a"]
                .iter()
                .any(|kind| key.strip_prefix(kind).is_some_and(|rest| rest.parse::<u8>().is_ok()));
            assert_eq!(extension.contains_key(&format!("{key}Label")), custom, "{name}: {key}");
        }
        if let Some(source) = extension.get("src") {
            assert!(source.parse::<std::net::Ipv4Addr>().is_ok());
        }
        assert_eq!(super::base64(&Value::from(extension["KeyledgerKeyledgerRaw"].as_str())), *bytes);
    }
}

#[test]
fn whatever_stands_in_a_value_is_escaped() {
    let odd = "a=b\\ c|d\nnext=1\r\n|=\\=\\";
    let event = super::with_texts(odd, odd, odd);
    let text = String::from_utf8(super::written(Format::Cef, false, &[event])).unwrap();
    let parsed = parse(text.strip_suffix('\n').unwrap());
    for key in ["suser", "requestClientApplication", "msg"] {
        assert_eq!(parsed.extension[key], odd, "{key}");
    }
    assert_eq!(parsed.extension["c6a2"], "2001:db8::7");
    assert!(!parsed.extension.contains_key("src"));
}
