//! Files that prove, and files that do not.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::super::note::Signer;
use super::super::tree::{MemoryTree, inclusion, root};
use super::*;

const ORIGIN: &str = "log.example/a";

fn signer() -> Signer {
    Signer::new(ORIGIN, SigningKey::from_bytes(&[1; 32])).unwrap()
}

fn proof(index: u64, size: u64) -> TlogProof {
    let tree: MemoryTree = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
    let (Ok(root), Ok(hashes)) = (root(&tree, size), inclusion(&tree, index, size));
    let checkpoint = Checkpoint::new(ORIGIN, size, root).sign(&[&signer()]).unwrap();
    TlogProof { extra: None, index, hashes, checkpoint: checkpoint.to_string().into() }
}

#[test]
fn a_file_proves_its_entry_and_no_other() {
    let known = [signer().verifier().clone()];
    for (index, size) in [(0, 1), (0, 2), (4, 5), (200, 300)] {
        let proof = TlogProof::parse(proof(index, size).to_string().as_bytes()).unwrap();
        assert_eq!(proof.verify(&index.to_be_bytes(), ORIGIN, &known).unwrap().size, size);
        assert!(proof.verify(&(index + 1).to_be_bytes(), ORIGIN, &known).is_err());
        assert!(proof.verify(&index.to_be_bytes(), "log.example/b", &known).is_err());
        assert!(proof.verify(&index.to_be_bytes(), ORIGIN, &[]).is_err());
    }
}

#[test]
fn files_have_the_form_of_the_specification() {
    let mut proof = proof(1, 2);
    let sibling = text::base64(&leaf_hash(&0u64.to_be_bytes()));
    let written = proof.to_string();
    assert!(written.starts_with(&format!("c2sp.org/tlog-proof@v1\nindex 1\n{sibling}\n\n{ORIGIN}\n2\n")));
    proof.extra = Some(b"more".to_vec());
    let written = proof.to_string();
    assert!(written.starts_with(&format!("c2sp.org/tlog-proof@v1\nextra bW9yZQ==\nindex 1\n{sibling}\n\n")));
    assert_eq!(TlogProof::parse(written.as_bytes()), Ok(proof));
}

#[test]
fn what_is_no_proof_is_refused() {
    let good = proof(1, 2).to_string();
    let sibling = text::base64(&leaf_hash(&0u64.to_be_bytes()));
    for (from, to) in [
        ("@v1", "@v2"),
        ("c2sp", " c2sp"),
        ("index 1", "index 01"),
        ("index 1", "index -1"),
        ("index 1\n", ""),
        ("index 1", "Index 1"),
        ("index 1", "extra ?\nindex 1"),
        ("index 1", "extra AA\nindex 1"),
        ("index 1", "index 1\nextra AA=="),
        ("index 1", "extra AA==\nextra AA==\nindex 1"),
        (sibling.as_str(), "AA=="),
        (&sibling[..43], &sibling[..42]),
        ("\n\n", "\n"),
        ("\n", "\r\n"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        assert!(TlogProof::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    let long = good.replacen(&sibling, &vec![sibling.as_str(); 64].join("\n"), 1);
    assert!(TlogProof::parse(long.as_bytes()).is_err());
    assert!(TlogProof::parse(&vec![b'a'; MAX_PROOF_BYTES + 1]).is_err());
}

proptest! {
    #[test]
    fn any_changed_byte_of_a_file_is_found(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let good = proof(3, 9).to_string().into_bytes();
        let mut bad = good.clone();
        let at = at.index(bad.len());
        bad[at] = to;
        prop_assume!(bad != good);
        let known = [signer().verifier().clone()];
        let verdict = TlogProof::parse(&bad).and_then(|proof| proof.verify(&3u64.to_be_bytes(), ORIGIN, &known));
        prop_assert!(verdict.is_err());
    }
}
