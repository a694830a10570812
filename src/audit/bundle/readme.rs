//! `README.txt`.

use super::description::{Description, Scope};

/// What an auditor reads first.
pub(super) fn text(description: &Description) -> String {
    let Description { origin, tree_size, made_at, scope, first_index, end_index, .. } = description;
    let (what, entries, left_out) = match scope {
        Scope::Key { key_id, .. } => (format!("the trail of the API key {key_id}"), SCOPED, NO_USAGE),
        Scope::Workspace { workspace_id, .. } => {
            (format!("what happened in the workspace {workspace_id}"), SCOPED, NO_USAGE)
        }
        Scope::Organization { organization_id } => {
            (format!("what happened in the organization {organization_id}"), SCOPED, "")
        }
        Scope::Log => ("the whole log".to_owned(), WHOLE, NO_DATA_KEYS),
    };
    format!(
        "\
Keyledger audit bundle
======================

This archive holds {what}, as the log
  {origin}
recorded it, with what is needed to check it without the log's operator.
Made at {made_at}, when the log had {tree_size} entries; the entries in here
lie from log index {first_index} on and before {end_index}.

Check it
--------

With keyledger (needs neither network nor server):

    keyledger audit verify BUNDLE.tar --key 'VERIFIER-KEY'

The verifier key must come from somewhere else than this archive: from the
operator's web site, a contract, an earlier audit. Without it you learn that the
archive fits together, and not whose it is.

With public tools only (tar, sha256sum, openssl, python3): unpack the archive in
an empty directory, run `sha256sum -c MANIFEST`, and go on as docs/auditors-guide.md
of Keyledger shows.

Files
-----

bundle.json          what this is a bundle of
checkpoint           number of entries and root of the log's Merkle tree, signed
                     (c2sp.org/tlog-checkpoint, RFC 6962 section 2.1)
previous-checkpoint  an earlier checkpoint that this one goes on from, if one was
                     given
keys/GENERATION      the log's verifier keys (c2sp.org/signed-note); the events
                     log.key_added that introduced them are among the entries
{entries}
tile/LEVEL/N         hashes of the tree (c2sp.org/tlog-tiles): those that lead from
                     the entries to the root
data-keys/N.jsonl    the keys that personal data in the entries behind them is sealed with
                     (XChaCha20-Poly1305, one key for each person or thing). Treat them
                     like the personal data itself. Whose data was erased has none
views/trail-N.csv    the entries as a table, in parts: `cat views/trail-*.csv`.
                     Entries that tell of verifications have no row
views/keys-N.jsonl   each key whose first event is in here, as its events made it
heads/N.jsonl        where each stream ended when the log committed to the ends of all
                     streams (event log.heads_committed), proved
MANIFEST             SHA-256 of every file above, in the order of the archive
MANIFEST.note        SHA-256 of MANIFEST, signed by the log (c2sp.org/signed-note)

Each entry is the exact bytes of one event, a JSON object. `stream` and `revision`
say where it stands in the history of one key (or workspace, organization ...);
`prev` is the hash of the event before it there: BLAKE3 in derive-key mode with
the context \"keyledger 2026-11 stream chain v1\".

What it proves
--------------

- The entries are in the log that the checkpoint states, byte for byte.
- Nobody changed, reordered or took away an event between the first and the last
  one of each stream that is here whole.
- Tables and keys under views/ say what the entries say.

What it does not prove
----------------------

- That nothing happened after the checkpoint.
- That the operator shows the same log to everybody: compare the checkpoint with
  one that somebody else has.
- That clocks were right, or that whoever held a secret was who it was given to.
- In a bundle that is not of the whole log: that there is no further stream.
{left_out}"
    )
}

const SCOPED: &str = "\
entries/N            the entries in question among those that tile/0/N has hashes of.
                     Each is its log index (8 bytes, big-endian), its length
                     (2 bytes, big-endian), and its bytes. Those of the stream
                     log-... are the log's own and prove the rest";
const NO_USAGE: &str = "\
- Anything about verifications: their events (usage.recorded) are of a whole
  organization, and only in its bundle.
";
const NO_DATA_KEYS: &str = "\
- What names, addresses and comments say: the bundle of a whole log discloses no
  data keys, so they read as [unreadable].
";
const WHOLE: &str = "\
tile/entries/N       the entries, 256 in each file, each with its length before it
                     (2 bytes, big-endian)";
