//! Slugs and the addresses that keys have in trails.

use keyledger_schema::KeyId;

/// The longest slug, in bytes. A part of a domain name has at most 63 (RFC 1035 §2.3.4).
pub const MAX_BYTES: usize = 40;

/// A name as lower-case ASCII letters, digits and single inner hyphens; none when nothing is left.
pub fn of(name: &str) -> Option<String> {
    let mut slug = String::with_capacity(name.len().min(MAX_BYTES));
    for character in name.chars() {
        if slug.len() >= MAX_BYTES {
            break;
        }
        if character.is_ascii_alphanumeric() {
            slug.push(character.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    while slug.ends_with('-') {
        slug.pop();
    }
    (!slug.is_empty()).then_some(slug)
}

/// A key's address: `<name-slug>.<short id>@keys.<organization slug>`. The short id is the last ten
/// characters of the key's id, 50 of its random bits.
pub fn key_email(name: &str, id: KeyId, organization_slug: &str) -> String {
    let id = id.to_string();
    let short = &id[id.len() - 10..];
    format!("{}.{short}@keys.{organization_slug}", of(name).as_deref().unwrap_or("key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_plain() {
        for (name, slug) in [
            ("Billing (EU) — v2", Some("billing-eu-v2")),
            ("  x  ", Some("x")),
            ("данные", None),
            ("a", Some("a")),
            ("--", None),
            ("ABC_def", Some("abc-def")),
        ] {
            assert_eq!(of(name).as_deref(), slug);
        }
        assert!(of(&"ab ".repeat(100)).unwrap().len() <= MAX_BYTES);
    }

    #[test]
    fn a_key_has_an_address() {
        let id: KeyId = "key_01h455vb4pex5vsknk084sn02q".parse().unwrap();
        assert_eq!(key_email("CI runner", id, "acme"), "ci-runner.nk084sn02q@keys.acme");
    }
}
