//! What the views and the proofs of ends say, against what the entries say.

use std::collections::BTreeMap;

use keyledger_projections::KeyState;
use keyledger_schema::Stream;

use super::super::super::heads::Head;
use super::super::super::streams::Sight;
use super::super::super::tree::Hash;
use super::super::super::verdict::{Check, Fault};
use super::super::view::{self, ProvedHead};
use super::{Examiner, fault};

impl Examiner<'_> {
    /// Lines about the next keys, by their ids.
    pub(super) fn keys(&mut self, name: &str, contents: &[u8]) -> Result<(), Fault> {
        let other = || fault(Check::View, format!("{name} does not show the keys as the entries made them"));
        if contents.is_empty() {
            return Err(other());
        }
        let mut rest = contents;
        while !rest.is_empty() {
            let (_, bytes) = self.states.pop_first().ok_or_else(other)?;
            let state: KeyState = postcard::from_bytes(&bytes).map_err(|_| other())?;
            rest = rest.strip_prefix(&view::key(&state)[..]).ok_or_else(other)?;
            self.shown += 1;
        }
        Ok(())
    }

    /// Of the streams that are in here whole or from some event on, where they ended at the commitment.
    pub(super) fn heads_to_prove(&self) -> BTreeMap<String, Head> {
        let Some(inside) = &self.inside else { return BTreeMap::new() };
        let whole = |stream: &Stream| inside.description.sight(stream) != Sight::Some;
        let ends = self.streams.ends().iter().filter(|(stream, _)| whole(stream));
        ends.filter_map(|(stream, end)| Some((stream.to_string(), end.committed?))).collect()
    }

    pub(super) fn committed_root(&self) -> Result<Hash, Fault> {
        let missing = || {
            fault(
                Check::Completeness,
                "no entry commits to the ends of the streams at the size in bundle.json",
            )
        };
        self.commitment.as_ref().map(|(commitment, _)| commitment.root.0).ok_or_else(missing)
    }

    /// Lines about the next streams, by their names.
    pub(super) fn prove_heads(&mut self, name: &str, contents: &[u8]) -> Result<(), Fault> {
        let wrong = |what: String| fault(Check::Completeness, format!("{name}: {what}"));
        let root = self.committed_root()?;
        let mut heads = match self.heads.take() {
            Some(heads) => heads,
            None => self.heads_to_prove(),
        };
        let text = std::str::from_utf8(contents).ok().and_then(|text| text.strip_suffix('\n'));
        for line in text.ok_or_else(|| wrong("it is not lines of text".into()))?.split('\n') {
            let proved: ProvedHead = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
            let (stream, head) =
                heads.pop_first().ok_or_else(|| wrong("it tells of a stream that is not in here".into()))?;
            if proved.stream != stream {
                return Err(wrong(format!("{stream} is the next stream, not {}", proved.stream)));
            }
            let proof = proved.proof.verify(&root, &stream, &head);
            proof.map_err(|error| {
                let Head { revision, .. } = head;
                wrong(format!(
                    "{stream} did not end with revision {revision} when its end was committed to: {error}"
                ))
            })?;
            self.proved_heads += 1;
        }
        self.heads = Some(heads);
        Ok(())
    }
}
