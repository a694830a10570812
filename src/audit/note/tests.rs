//! The examples of the specification, and those of the first implementation (golang.org/x/mod/sumdb/note).

use proptest::prelude::*;

use super::*;

const EXAMPLE_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const EXAMPLE: &str = "This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
";
const PETER_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER: &str = "If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
";

fn key(written: &str) -> VerifierKey {
    written.parse().unwrap()
}

fn signer(name: &str, seed: u8) -> Signer {
    Signer::new(name, SigningKey::from_bytes(&[seed; 32])).unwrap()
}

fn opened(note: &str, known: &[VerifierKey]) -> Result<usize, Error> {
    Note::parse(note.as_bytes())?.verify(known).map(|signers| signers.len())
}

#[test]
fn published_notes_open() {
    let known = [key(EXAMPLE_KEY), key(PETER_KEY)];
    assert_eq!((known[0].id(), known[0].name()), (0x530d_903a, "example.com/foo"));
    for (note, signer) in [(EXAMPLE, &known[0]), (PETER, &known[1])] {
        let parsed = Note::parse(note.as_bytes()).unwrap();
        assert_eq!(parsed.verify(&known).unwrap(), [signer]);
        assert_eq!(parsed.to_string(), note);
    }
    assert_eq!(Note::parse(EXAMPLE.as_bytes()).unwrap().text(), "This is an example message.\n");
    // The Go checksum database's key, as every Go installation has it.
    let sum = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    assert_eq!(key(sum).to_string(), sum);
}

#[test]
fn the_text_ends_at_the_last_empty_line() {
    let poem = "Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.

— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=
";
    let note = Note::parse(poem.as_bytes()).unwrap();
    assert!(note.text().ends_with(":\n\ned è subito sera.\n"));
    assert_eq!(note.signers().collect::<Vec<_>>(), [("quasimodo.example/salvatore", 0x367b_a04b)]);
    assert_eq!(note.verify(&[key(EXAMPLE_KEY)]), Err(Error::Unsigned));
}

#[test]
fn unknown_signers_are_ignored_and_false_signatures_of_known_ones_reject() {
    let (ours, other, theirs) = (signer("log.example", 1), signer("log.example", 2), signer("witness", 3));
    let note = Note::sign("text\n", &[&ours, &other, &theirs]).unwrap().to_string();
    let all = [&ours, &other, &theirs].map(|signer| signer.verifier().clone());
    assert_eq!(opened(&note, &all), Ok(3));
    assert_eq!(opened(&note, &all[1..2]), Ok(1));
    assert_eq!(opened(&note, &[]), Err(Error::Unsigned));
    let changed = note.replace("text", "test");
    assert_eq!(opened(&changed, &all), Err(Error::Signature("log.example".into())));
    // One false signature among good ones.
    let lines: Vec<&str> = note.lines().collect();
    let elsewhere = Note::sign("other\n", &[&theirs]).unwrap().to_string();
    let mixed = note.replace(lines[4], elsewhere.lines().nth(2).unwrap());
    assert_eq!(opened(&mixed, &all), Err(Error::Signature("witness".into())));
    assert_eq!(opened(&mixed, &all[..2]), Ok(2));
    // The same name and another key, the same key and another name: unknown.
    assert_eq!(opened(&note, &[signer("witness", 1).verifier().clone()]), Err(Error::Unsigned));
    assert_eq!(opened(&note, &[signer("witness", 4).verifier().clone()]), Err(Error::Unsigned));
    // The same signature twice is one signer.
    assert_eq!(opened(&format!("{note}{}\n", lines[2]), &all[..1]), Ok(1));
}

#[test]
fn as_many_signatures_as_the_limit_are_read() {
    let signers: Vec<Signer> = (1..=17).map(|seed| signer("log.example", seed)).collect();
    let most: Vec<&Signer> = signers.iter().take(MAX_SIGNATURES).collect();
    let note = Note::sign("text\n", &most).unwrap().to_string();
    assert_eq!(opened(&note, &[signers[15].verifier().clone()]), Ok(1));
    assert_eq!(Note::sign("text\n", &signers.iter().collect::<Vec<_>>()), Err(Error::TooLarge));
    let large = format!("{}\n\n", "a".repeat(MAX_NOTE_BYTES));
    assert_eq!(Note::parse(large.as_bytes()), Err(Error::TooLarge));
}

#[test]
fn what_is_no_note_is_refused() {
    let good = Note::sign("text\n", &[&signer("log.example", 1)]).unwrap().to_string();
    assert!(Note::parse(good.as_bytes()).is_ok());
    let line = good.lines().nth(2).unwrap();
    let encoded = line.rsplit_once(' ').unwrap().1;
    for bad in [
        String::new(),
        "text\n".into(),
        "text\n\n".into(),
        format!("text\n{line}\n"),
        format!("text\n\n{line}"),
        format!("text\n\n{line}\n\n"),
        format!("text\n\n\n{line}\nmore\n"),
        format!("text\n\n{}\n", line.replace('\u{2014}', "-")),
        format!("text\n\n{}\n", line.replace("\u{2014} ", "\u{2014}")),
        format!("text\n\n{}\n", line.replace("log.example", "")),
        format!("text\n\n{}\n", line.replace("log.example", "log+example")),
        format!("text\n\n{}\n", line.replace("log.example", "log\u{a0}example")),
        format!("text\n\n{line} \n"),
        format!("text\n\n{line}=\n"),
        format!("text\n\n{}\n", line.trim_end_matches('=')),
        format!("text\n\n{}\n", line.replace(encoded, "AAAAAA==")),
        format!("te\txt\n\n{line}\n"),
        format!("text\r\n\n{line}\n"),
        format!("te\0xt\n\n{line}\n"),
    ] {
        assert!(Note::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    assert!(Note::parse(b"te\xffxt\n\n").is_err());
    for text in ["", "text", "te\txt\n"] {
        assert!(Note::sign(text, &[&signer("log.example", 1)]).is_err(), "{text:?}");
    }
    assert!(Note::sign("text\n", &[]).is_err(), "a note has a signature");
}

#[test]
fn what_is_no_verifier_key_is_refused() {
    let name = EXAMPLE_KEY.split('+').next().unwrap();
    for bad in [
        "",
        name,
        &EXAMPLE_KEY[..EXAMPLE_KEY.len() - 1],
        &format!("{EXAMPLE_KEY}="),
        &EXAMPLE_KEY.replace("530d903a", "530d903b"),
        &EXAMPLE_KEY.replace("530d903a", "530D903A"),
        &EXAMPLE_KEY.replace("530d903a", "0530d903a"),
        &EXAMPLE_KEY.replace("foo", "bar"),
        &EXAMPLE_KEY.replace(name, ""),
        &EXAMPLE_KEY.replace("+Aeky", "+Beky"),
        // The identity: every signature would fit it.
        "example.com/foo+00000000+AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        assert!(bad.parse::<VerifierKey>().is_err(), "{bad:?}");
    }
    for name in ["", "a b", "a+b", "a\nb", "a\u{2003}b", &"a".repeat(256)] {
        assert!(Signer::new(name, SigningKey::from_bytes(&[1; 32])).is_err(), "{name:?}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let signer = signer("log.example", 1);
    assert_eq!(format!("{signer:?}"), format!("Signer({})", signer.verifier()));
}

proptest! {
    #[test]
    fn any_changed_byte_of_a_signed_note_is_found(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let signer = signer("log.example", 1);
        let good = Note::sign("one\n\ntwo\n", &[&signer]).unwrap().to_string().into_bytes();
        let mut bad = good.clone();
        let at = at.index(bad.len());
        bad[at] = to;
        prop_assume!(bad != good);
        let known = [signer.verifier().clone()];
        prop_assert!(Note::parse(&bad).and_then(|note| note.verify(&known).map(|_| ())).is_err());
    }

    #[test]
    fn parsing_never_panics(note in any::<Vec<u8>>(), text in ".{0,80}") {
        let _ = Note::parse(&note);
        let _ = Note::parse(text.as_bytes());
        let _ = text.parse::<VerifierKey>();
    }

    #[test]
    fn what_is_signed_opens(text in "[ -~é\n]{0,60}", seed: [u8; 32]) {
        let signer = Signer::new("log.example", SigningKey::from_bytes(&seed)).unwrap();
        let text = format!("{text}\n");
        let note = Note::sign(&text, &[&signer]).unwrap();
        prop_assert_eq!(note.text(), &text);
        let known: VerifierKey = signer.verifier().to_string().parse().unwrap();
        prop_assert_eq!(opened(&note.to_string(), &[known]), Ok(1));
    }
}
