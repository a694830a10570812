//! Percent-encoding (RFC 3986 §2.1) hides no secret: in a URL it stands in the logs of everybody on the way, however it
//! is written.

use zeroize::Zeroizing;

/// How often the encoding is taken off. What passed a proxy can be encoded once more; more often it is not by mistake.
const MOST: usize = 2;

/// Whether something is found in a text, as it is or without its percent-encoding.
pub fn in_any_reading(text: &str, found: impl Fn(&str) -> bool) -> bool {
    if found(text) {
        return true;
    }
    let mut reading = decoded(text);
    for _ in 1..MOST {
        let Some(text) = reading else { return false };
        if found(&text) {
            return true;
        }
        reading = decoded(&text);
    }
    reading.is_some_and(|text| found(&text))
}

/// A text without its percent-encoding; none if it has none. What is no UTF-8 then is no part of a secret.
fn decoded(text: &str) -> Option<Zeroizing<String>> {
    if !text.contains('%') {
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let escaped = || {
            let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
            u8::try_from(digit(0)? << 4 | digit(1)?).ok()
        };
        let escaped = escaped().filter(|_| *first == b'%');
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &behind[2..] } else { behind };
    }
    (bytes.len() < text.len()).then(|| Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Secret, WellFormed};
    use keyledger_schema::Environment;
    use proptest::prelude::*;

    fn encoded(text: &str, which: impl Fn(usize) -> bool) -> String {
        let each = text.bytes().enumerate();
        each.map(|(at, byte)| if which(at) { format!("%{byte:02x}") } else { char::from(byte).to_string() })
            .collect()
    }

    #[test]
    fn a_secret_is_found_however_it_is_encoded() {
        let secret = Secret::mint("kl", Environment::Production, &[7; 32]);
        let secret = secret.expose();
        let whole = encoded(secret, |_| true);
        let twice = encoded(&whole, |at| at % 3 == 0);
        for text in [
            &whole,
            &whole.to_uppercase(),
            &twice,
            &secret.replace('_', "%5F"),
            &secret.replace('_', "%255f"),
        ] {
            for around in
                [text.clone(), format!("api/{text}/x"), format!("100%&k={text}%"), format!("%C3%28 {text}")]
            {
                assert!(WellFormed::is_in(&around), "{around}");
            }
        }
        let thrice = encoded(&twice, |at| at % 5 == 0);
        assert!(!WellFormed::is_in(&thrice), "bounded");
        for text in ["%", "%%", "%4", "100%", "%zz", "a%20b", &"%25".repeat(100), &whole[3..]] {
            assert!(!WellFormed::is_in(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_part_may_be_encoded(bits: [u8; 32], which: u64) {
            let secret = Secret::mint("kl", Environment::Production, &bits);
            let text = encoded(secret.expose(), |at| which >> (at % 64) & 1 == 1);
            prop_assert!(WellFormed::is_in(&text));
        }

        #[test]
        fn no_text_panics(text in "[%0-9a-f\u{e4}]{0,40}") {
            in_any_reading(&text, |_| false);
        }
    }
}
