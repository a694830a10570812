//! One user of the API: changes its own keys and verifies them until the server is gone, and remembers
//! every answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use keyledger_projections::KeyState;
use keyledger_schema::KeyId;

use crate::log::Log;
use crate::random::Random;
use crate::support::{Client, Failure, Mutated, Server};

const MOST_KEYS: usize = 60;
/// Longer than a test.
const OVERLAP_SECONDS: u32 = 3_600;

/// A key as the answers told it.
struct Key {
    id: KeyId,
    /// The current secret; none when the answer that held it was lost.
    secret: Option<String>,
    version: u32,
    /// Still valid while the rotation overlaps.
    before: Option<String>,
    /// Rotated away.
    retired: Vec<String>,
    name: String,
    disabled: bool,
    revoked: bool,
}

/// A mutation to which no answer came. It may be in the log or not.
enum Doubt {
    Create,
    Rename(KeyId, String),
    Rotate(KeyId, u32),
    Switch(KeyId, bool),
    Revoke(KeyId),
}

/// See the head of this module.
pub struct Worker {
    name: String,
    random: Random,
    keys: Vec<Key>,
    doubt: Option<Doubt>,
    /// Ids of the events of answered mutations.
    pub events: Vec<String>,
    /// Mutations without an answer, ever.
    pub unanswered_mutations: usize,
    /// Answered verifications by key and code; no key where none matched.
    pub verified: HashMap<(Option<KeyId>, String), u64>,
    /// Verifications without an answer, by the key whose secret was sent.
    pub unanswered_verifications: HashMap<KeyId, u64>,
}

impl Worker {
    pub fn new(number: usize, random: Random) -> Self {
        Self {
            name: format!("worker {number}"),
            random,
            keys: Vec::new(),
            doubt: None,
            events: Vec::new(),
            unanswered_mutations: 0,
            verified: HashMap::new(),
            unanswered_verifications: HashMap::new(),
        }
    }

    /// Works until the server answers no more, which must not be before somebody is killing it.
    pub fn work(&mut self, server: &Server, killing: &AtomicBool) {
        let client = server.root();
        loop {
            let Err(failure) = self.step(&client) else { continue };
            let expected = matches!(failure, Failure::Unanswered(_)) && killing.load(Ordering::SeqCst);
            assert!(expected, "{}: {failure:?}\n{}", self.name, server.log());
            return;
        }
    }

    /// Does a number of things; each must be answered.
    pub fn work_for(&mut self, server: &Server, steps: usize) {
        let client = server.root();
        for _ in 0..steps {
            self.step(&client)
                .unwrap_or_else(|failure| panic!("{}: {failure:?}\n{}", self.name, server.log()));
        }
    }

    fn step(&mut self, client: &Client) -> Result<(), Failure> {
        if self.keys.is_empty() || (self.keys.len() < MOST_KEYS && self.random.below(10) == 0) {
            return self.create(client);
        }
        let at = self.random.below(self.keys.len());
        let (id, revoked, disabled) = (self.keys[at].id, self.keys[at].revoked, self.keys[at].disabled);
        match self.random.below(24) {
            0 | 1 if !revoked => self.rename(client, at),
            2 | 3 if !revoked => self.rotate(client, at),
            4..=6 if !revoked => self.switch(client, at, !disabled),
            7 if !revoked && self.random.below(3) == 0 => {
                let answer = client.revoke_key(&id.to_string(), "COMPROMISED");
                self.settle(answer, Doubt::Revoke(id))?;
                self.keys[at].revoked = true;
                Ok(())
            }
            _ => self.verify(client, at),
        }
    }

    fn create(&mut self, client: &Client) -> Result<(), Failure> {
        let name = format!("{} key {}", self.name, self.keys.len());
        let answer = client.create_key(&name).scope("read:customers/**").try_run();
        let created = self.settle(answer, Doubt::Create)?;
        let id = created.id().parse().expect("a key has a key's id");
        let secret = Some(created.secret());
        self.keys.push(Key {
            id,
            secret,
            version: 1,
            before: None,
            retired: Vec::new(),
            name,
            disabled: false,
            revoked: false,
        });
        Ok(())
    }

    fn rename(&mut self, client: &Client, at: usize) -> Result<(), Failure> {
        let id = self.keys[at].id;
        // Never the name it has: that would be no change.
        let name = format!("name {}.{}", self.events.len(), self.unanswered_mutations);
        let answer = client.update_key(&id.to_string(), &name);
        self.settle(answer, Doubt::Rename(id, name.clone()))?;
        self.keys[at].name = name;
        Ok(())
    }

    fn rotate(&mut self, client: &Client, at: usize) -> Result<(), Failure> {
        let id = self.keys[at].id;
        let overlap = if self.random.below(2) == 0 { 0 } else { OVERLAP_SECONDS };
        let answer = client.rotate_key(&id.to_string(), overlap);
        let rotated = self.settle(answer, Doubt::Rotate(id, overlap))?;
        self.keys[at].rotated(Some(rotated.secret()), overlap);
        Ok(())
    }

    fn switch(&mut self, client: &Client, at: usize, off: bool) -> Result<(), Failure> {
        let id = self.keys[at].id;
        let answer =
            if off { client.disable_key(&id.to_string()) } else { client.enable_key(&id.to_string()) };
        self.settle(answer, Doubt::Switch(id, off))?;
        self.keys[at].disabled = off;
        Ok(())
    }

    /// Writes down the answer to a mutation, or that there was none.
    fn settle(&mut self, answer: Result<Mutated, Failure>, doubt: Doubt) -> Result<Mutated, Failure> {
        match &answer {
            Ok(mutated) => {
                assert!(!mutated.events.is_empty(), "a change without an event: {mutated:?}");
                self.events.extend(mutated.event_ids().map(str::to_owned));
            }
            Err(Failure::Unanswered(_)) => {
                self.unanswered_mutations += 1;
                self.doubt = Some(doubt);
            }
            Err(Failure::Refused { .. }) => {}
        }
        answer
    }

    /// Verifies one secret of a key; the answer must be what the last answered change made of it.
    fn verify(&mut self, client: &Client, at: usize) -> Result<(), Failure> {
        let key = &self.keys[at];
        let secrets: Vec<(&str, bool)> = key.secrets().collect();
        let Some(&(secret, known)) = secrets.get(self.random.below(secrets.len().max(1))) else {
            return Ok(());
        };
        let (id, expected) = (key.id, key.expected(known));
        let answer = match client.verify(secret) {
            Ok(answer) => answer,
            Err(failure) => {
                *self.unanswered_verifications.entry(id).or_insert(0) += 1;
                return Err(failure);
            }
        };
        assert_eq!((answer.valid, &*answer.code), (expected == "VALID", expected), "{id} of {}", self.name);
        *self.verified.entry((known.then_some(id), answer.code)).or_insert(0) += 1;
        Ok(())
    }

    /// Compares the log with the answers, once the server is down. What was in doubt is settled by it.
    pub fn compare(&mut self, log: &Log) {
        for event in &self.events {
            assert!(log.ids.contains(event), "{event} was answered to {} and is not in the log", self.name);
        }
        let doubt = self.doubt.take();
        for key in &mut self.keys {
            let state = log.keys.get(&key.id).unwrap_or_else(|| panic!("{} was created and is gone", key.id));
            if let Some(doubt) = &doubt {
                key.believe(doubt, state);
            }
            let logged =
                (&**state.name, state.secret.record.version, state.disabled, state.revoked.is_some());
            assert_eq!(logged, (&*key.name, key.version, key.disabled, key.revoked), "{}", key.id);
            assert_eq!(state.previous_secret.is_some(), key.before.is_some(), "{}", key.id);
        }
    }

    /// Asks about some of its keys: each secret ever known of them, and what the API says of them.
    pub fn check(&mut self, server: &Server, most: usize) {
        let client = server.root();
        for _ in 0..self.keys.len().min(most) {
            // The first one, which then is the last one: all of them in turn.
            self.keys.rotate_left(1);
            let key = &self.keys[self.keys.len() - 1];
            for (secret, known) in key.secrets() {
                let answer = client.verify(secret).unwrap();
                assert_eq!(answer.code, key.expected(known), "{} after a restart\n{}", key.id, server.log());
                *self.verified.entry((known.then_some(key.id), answer.code)).or_insert(0) += 1;
            }
            let read = client.key(&key.id.to_string(), "name status secretVersion").unwrap();
            assert_eq!(read["name"], key.name);
            assert_eq!(read["secretVersion"], key.version);
            let status = match (key.revoked, key.disabled) {
                (true, _) => "REVOKED",
                (false, true) => "INACTIVE",
                (false, false) => "ACTIVE",
            };
            assert_eq!(read["status"], status);
        }
    }
}

impl Key {
    fn rotated(&mut self, secret: Option<String>, overlap: u32) {
        self.retired.extend(self.before.take());
        let old = std::mem::replace(&mut self.secret, secret);
        self.version += 1;
        if overlap > 0 {
            // A lost secret that overlaps is unknown to us and known to the log.
            self.before = Some(old.unwrap_or_default());
        } else {
            self.retired.extend(old);
        }
    }

    /// Secrets that can be sent, and whether the server still knows each as this key's.
    fn secrets(&self) -> impl Iterator<Item = (&str, bool)> {
        let known = self.secret.iter().chain(self.before.iter().filter(|secret| !secret.is_empty()));
        let retired = self.retired.iter().filter(|secret| !secret.is_empty());
        known.map(|secret| (&**secret, true)).chain(retired.map(|secret| (&**secret, false)))
    }

    fn expected(&self, known: bool) -> &'static str {
        match (known, self.revoked, self.disabled) {
            (false, ..) => "NOT_FOUND",
            (true, true, _) => "REVOKED",
            (true, false, true) => "DISABLED",
            (true, false, false) => "VALID",
        }
    }

    /// Takes from the log what the lost answer would have said.
    fn believe(&mut self, doubt: &Doubt, state: &KeyState) {
        match doubt {
            Doubt::Rename(id, name) if *id == self.id && **state.name == **name => self.name.clone_from(name),
            Doubt::Rotate(id, overlap)
                if *id == self.id && state.secret.record.version == self.version + 1 =>
            {
                self.rotated(None, *overlap);
            }
            Doubt::Switch(id, off) if *id == self.id && state.disabled == *off => self.disabled = *off,
            Doubt::Revoke(id) if *id == self.id && state.revoked.is_some() => self.revoked = true,
            _ => {}
        }
    }
}
