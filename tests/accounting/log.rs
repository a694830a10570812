//! The log as plain facts: one for each record of verifications, with what is known of its key.

use std::collections::{BTreeMap, HashMap};

use keyledger::store::sqlite::{Options, SqliteStore};
use keyledger::store::{EventStore, Filter as All};
use keyledger_projections::{CreditsState, IdentityState, KeyState};
use keyledger_schema::usage::UsageRecord;
use keyledger_schema::{Envelope, Event, KeyId, NodeId, Stream};

use crate::support::Home;

/// Verifications that agree in all that is recorded.
#[derive(Clone, Debug)]
pub struct Fact {
    pub event: String,
    pub place: u64,
    pub organization: Option<String>,
    pub workspace: Option<String>,
    pub environment: Option<String>,
    pub key: Option<String>,
    pub identity: Option<String>,
    pub roles: Vec<String>,
    pub code: String,
    pub action: Option<String>,
    pub resource: Option<String>,
    pub tags: Vec<String>,
    pub ip: Option<String>,
    pub by: Option<String>,
    pub secret: Option<u64>,
    pub means: Option<String>,
    pub first: i64,
    pub last: i64,
    pub count: u64,
    pub cost: u64,
    pub credits: u64,
    /// Of addresses that were too many to be kept.
    pub merged: bool,
}

/// Credits as they are left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    pub remaining: u64,
    pub spent: u64,
}

/// What a log holds.
#[derive(Default)]
pub struct Log {
    pub facts: Vec<Fact>,
    /// Start and end.
    pub gaps: Vec<(i64, i64)>,
    /// The credits of keys and identities by id.
    pub credits: BTreeMap<String, Left>,
    next_seq: HashMap<NodeId, u64>,
}

impl Log {
    /// Reads all of it, twice: what a key is at the end is known only then.
    pub fn read(home: &Home) -> Self {
        let store = SqliteStore::open(&home.data_dir(), Options::default()).expect("the log is whole");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let events = runtime.block_on(store.read_all(None, All::All, usize::MAX)).unwrap();
        let vault = home.vault();
        let events: Vec<Envelope> = events.iter().map(|event| vault.open(&event.bytes).unwrap()).collect();
        let mut keys: HashMap<KeyId, KeyState> = HashMap::new();
        let mut changes: BTreeMap<String, CreditsState> = BTreeMap::new();
        let mut identities: HashMap<Stream, IdentityState> = HashMap::new();
        for event in &events {
            if let Stream::Key(id) = event.stream {
                let state = KeyState::fold(keys.remove(&id), event).unwrap();
                changes.extend(state.credits.map(|credits| (id.to_string(), credits)));
                keys.insert(id, state);
            }
            if let Stream::Identity(id) = event.stream {
                let state = IdentityState::fold(identities.remove(&event.stream), event).unwrap();
                changes.extend(state.credits.map(|credits| (id.to_string(), credits)));
                identities.insert(event.stream, state);
            }
        }
        let mut log = Self::default();
        let mut spent: HashMap<String, u64> = HashMap::new();
        for event in &events {
            log.take(event, &keys, &mut spent);
        }
        for (id, credits) in changes {
            let Some(remaining) = credits.remaining else { continue };
            let spent = spent.get(&id).copied().unwrap_or(0);
            let left = i128::from(remaining) - (i128::from(spent) - i128::from(credits.counted));
            log.credits.insert(id, Left { remaining: u64::try_from(left).unwrap_or(0), spent });
        }
        log
    }

    fn take(&mut self, event: &Envelope, keys: &HashMap<KeyId, KeyState>, spent: &mut HashMap<String, u64>) {
        let Stream::Usage(node) = event.stream else { return };
        match &event.event {
            Event::UsageRecorded(recorded) => {
                let next = self.next_seq.entry(node).or_insert(0);
                assert_eq!(recorded.seq, *next, "the sequence numbers of {node} are not dense");
                *next += 1;
                let records =
                    recorded.groups.iter().flat_map(|group| group.records.iter().map(|one| (group.by, one)));
                for (place, (by, record)) in (0..).zip(records) {
                    for spending in &record.spent {
                        let own = record.key.map(|key| key.to_string());
                        let pool = spending.identity.map(|id| id.to_string()).or(own).unwrap();
                        *spent.entry(pool).or_insert(0) += spending.credits;
                    }
                    let from = recorded.from.micros();
                    let by = by.map(|key| key.to_string());
                    let state = record.key.map(|key| &keys[&key]);
                    let organization = state.map(|state| state.organization).or(event.organization);
                    self.facts.push(Fact {
                        event: event.id.to_string(),
                        place,
                        organization: organization.map(|id| id.to_string()),
                        by,
                        ..fact(record, from, state)
                    });
                }
            }
            Event::UsageGapDeclared(gap) => self.gaps.push((gap.from.micros(), gap.to.micros())),
            other => panic!("{} in a usage stream", other.type_name()),
        }
    }

    /// What is counted: whoever asks what a token is does not use its key.
    pub fn uses(&self) -> impl Iterator<Item = &Fact> {
        self.facts.iter().filter(|fact| fact.means.as_deref() != Some("INTROSPECTION"))
    }

    /// Verifications of all that is recorded.
    pub fn total(&self) -> u64 {
        self.uses().map(|fact| fact.count).sum()
    }
}

fn fact(record: &UsageRecord, from: i64, state: Option<&KeyState>) -> Fact {
    let upper = |text: String| text.to_uppercase();
    Fact {
        event: String::new(),
        place: 0,
        organization: None,
        workspace: state.map(|state| state.workspace.to_string()),
        environment: state.map(|state| upper(state.environment.to_string())),
        key: record.key.map(|key| key.to_string()),
        identity: state.and_then(|state| state.identity).map(|id| id.to_string()),
        roles: state.map(|state| state.roles.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        code: record.code.as_str().to_owned(),
        action: record.action.map(|action| upper(action.to_string())),
        resource: record.resource.as_ref().map(|resource| resource.to_string()),
        tags: record.tags.iter().map(ToString::to_string).collect(),
        ip: record.ip.as_ref().map(|ip| ip.to_string()),
        by: None,
        secret: record.secret.map(u64::from),
        means: record.means.map(|means| upper(means.as_str().to_owned())),
        first: from + i64::from(record.first_ms.unwrap_or(record.last_ms)) * 1_000,
        last: from + i64::from(record.last_ms) * 1_000,
        count: record.count,
        cost: record.cost.map_or(1, u64::from),
        credits: record.spent.iter().map(|spent| spent.credits).sum(),
        merged: record.merged.is_some(),
    }
}
