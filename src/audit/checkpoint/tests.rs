//! Checkpoints of the specification, of our own, and of none.

use ed25519_dalek::SigningKey;

use super::*;

const EXAMPLE: &str = "example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
";

fn signer(name: &str, seed: u8) -> Signer {
    Signer::new(name, SigningKey::from_bytes(&[seed; 32])).unwrap()
}

#[test]
fn the_example_of_the_specification_is_read() {
    let note = Note::parse(EXAMPLE.as_bytes()).unwrap();
    let checkpoint = Checkpoint::parse(note.text()).unwrap();
    assert_eq!(checkpoint.origin.as_ref(), "example.com/behind-the-sofa");
    assert_eq!(checkpoint.size, 20_852_163);
    assert_eq!(text::base64(&checkpoint.root), "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=");
    assert!(checkpoint.extensions.is_empty());
    assert_eq!(checkpoint.to_string(), note.text());
    assert!(matches!(
        Checkpoint::open(EXAMPLE.as_bytes(), "example.com/behind-the-sofa", &[]),
        Err(Error::Note(note::Error::Unsigned))
    ));
}

#[test]
fn a_checkpoint_is_opened_by_those_who_know_the_log() {
    let (old, new) = (signer("log.example/a", 1), signer("log.example/a", 2));
    let checkpoint = Checkpoint::new("log.example/a", 3, [7; 32]);
    let signed = checkpoint.sign(&[&old, &new]).unwrap().to_string();
    for signer in [&old, &new] {
        let known = [signer.verifier().clone()];
        assert_eq!(Checkpoint::open(signed.as_bytes(), "log.example/a", &known), Ok(checkpoint.clone()));
        assert_eq!(
            Checkpoint::open(signed.as_bytes(), "log.example/b", &known),
            Err(Error::Origin("log.example/a".into()))
        );
    }
    let larger = signed.replacen("\n3\n", "\n4\n", 1);
    assert!(Checkpoint::open(larger.as_bytes(), "log.example/a", &[old.verifier().clone()]).is_err());
}

#[test]
fn extension_lines_are_kept_and_never_empty() {
    let root = text::base64(&[7; 32]);
    let read = Checkpoint::parse(&format!("log\n0\n{root}\nfirst line\nsecond\n")).unwrap();
    assert_eq!(read.extensions, ["first line".into(), "second".into()]);
    assert_eq!(read.to_string(), format!("log\n0\n{root}\nfirst line\nsecond\n"));
    assert!(Checkpoint::parse(&format!("log\n0\n{root}\n\n")).is_err());
    assert!(Checkpoint::parse(&format!("log\n0\n{root}\nfirst\n\nsecond\n")).is_err());
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let root = text::base64(&[7; 32]);
    for bad in [
        String::new(),
        "\n".into(),
        "log\n".into(),
        "log\n1\n".into(),
        format!("log\n1\n{root}"),
        format!("\n1\n{root}\n"),
        format!("log\n01\n{root}\n"),
        format!("log\n-1\n{root}\n"),
        format!("log\n+1\n{root}\n"),
        format!("log\n1 \n{root}\n"),
        format!("log\n\n{root}\n"),
        format!("log\n18446744073709551616\n{root}\n"),
        format!("log\n1\n{}\n", &root[1..]),
        format!("log\n1\n {root}\n"),
        format!("log\n1\n{}\n", text::base64(&[7; 31])),
        format!("log\n1\n{}\n", text::base64(&[7; 33])),
        format!("log\n1\n{}\n", root.replace('c', "d").replace("d=", "e=")),
        format!("{}\n1\n{root}\n", "a".repeat(MAX_ORIGIN_BYTES + 1)),
    ] {
        assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
    }
    let misleading = Checkpoint::new("log\n9", 1, [7; 32]);
    assert!(misleading.sign(&[&signer("log", 1)]).is_err());
}
