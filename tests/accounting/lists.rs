//! The verification log, exports, and the numbers of keys and identities.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::cast::Cast;
use crate::log::{Fact, Log};
use crate::random::Random;
use crate::support::{Client, Server};
use crate::usage::{Counts, Filter, Observer, Values, groups_of, micros, moment};

const RECORD: &str = "eventId place firstAt lastAt count keyId secretVersion means workspaceId code action resource tags ip by cost credits";
const PAGE: usize = 200;

/// A record as it is told, its moments as microseconds.
fn normal(record: &Value) -> Value {
    let mut record = record.clone();
    for name in ["firstAt", "lastAt"] {
        record[name] = json!(micros(&record[name]));
    }
    record
}

fn expected(fact: &Fact) -> Value {
    json!({
        "eventId": fact.event, "place": fact.place, "firstAt": fact.first, "lastAt": fact.last, "count": fact.count,
        "keyId": fact.key, "secretVersion": fact.secret, "means": fact.means, "workspaceId": fact.workspace, "code": fact.code,
        "action": fact.action, "resource": fact.resource, "tags": fact.tags, "ip": fact.ip, "by": fact.by,
        "cost": fact.cost, "credits": fact.credits,
    })
}

/// What is asked about verifications one by one besides what a filter says.
#[derive(Clone, Default, Debug)]
struct Part {
    filter: Filter,
    prefix: Option<String>,
    from: Option<i64>,
    to: Option<i64>,
}

impl Part {
    fn random(cast: &Cast, random: &mut Random, span: (i64, i64)) -> Self {
        let mut filter = Filter::random(cast, random);
        filter.keys.truncate(1);
        let middle = |random: &mut Random| span.0 + (span.1 - span.0) * random.below(100) as i64 / 100;
        let prefix =
            (random.below(3) == 0).then(|| ["customers/", "customers/1", "x"][random.below(3)].to_owned());
        let from = (random.below(4) == 0).then(|| middle(random));
        let to = (random.below(4) == 0).then(|| from.unwrap_or(0).max(middle(random)) + 1);
        Self { filter, prefix, from, to }
    }

    fn input(&self) -> Map<String, Value> {
        let mut input = self.filter.as_input();
        if let Some(Value::Array(keys)) = input.remove("keyIds") {
            input.insert("keyId".to_owned(), keys[0].clone());
        }
        input.extend(self.prefix.as_ref().map(|prefix| ("resourcePrefix".to_owned(), json!(prefix))));
        input.extend(self.from.map(|at| ("from".to_owned(), json!(moment(at)))));
        input.extend(self.to.map(|at| ("to".to_owned(), json!(moment(at)))));
        input
    }

    fn lets_through(&self, fact: &Fact) -> bool {
        let prefix = self.prefix.as_ref();
        self.filter.lets_through(fact)
            && prefix.is_none_or(|prefix| fact.resource.as_ref().is_some_and(|has| has.starts_with(prefix)))
            && self.from.is_none_or(|from| fact.last >= from)
            && self.to.is_none_or(|to| fact.last < to)
    }
}

/// All pages of a list in one direction. `one` asks for a page.
fn pages(forward: bool, mut one: impl FnMut(&str) -> Value) -> Vec<Value> {
    let (size, cursor, more, end) = if forward {
        ("first", "after", "hasNextPage", "endCursor")
    } else {
        ("last", "before", "hasPreviousPage", "startCursor")
    };
    let mut all = Vec::new();
    let mut arguments = format!("{size}: {PAGE}");
    loop {
        let page = one(&arguments);
        let mut nodes: Vec<Value> = page["nodes"].as_array().unwrap().iter().map(normal).collect();
        if !forward {
            nodes.reverse();
        }
        all.append(&mut nodes);
        if page["pageInfo"][more] == json!(false) {
            return all;
        }
        arguments = format!("{size}: {PAGE}, {cursor}: {}", page["pageInfo"][end]);
    }
}

fn asked(client: &Client, query: &str, variables: &Value) -> Value {
    client.graphql(query, variables).unwrap_or_else(|failure| panic!("{failure:?}: {query} {variables}"))
}

const FIELDS: &str = "pageInfo { hasNextPage hasPreviousPage startCursor endCursor }";

fn verifications(observer: &Observer, part: &Part, direction: &str, forward: bool) -> Vec<Value> {
    pages(forward, |arguments| {
        let query = format!(
            "query($organization: ID, $filter: VerificationFilter) {{ verifications(organizationId: $organization,
                filter: $filter, direction: {direction}, {arguments}) {{ nodes {{ {RECORD} }} {FIELDS} }} }}"
        );
        let variables = json!({ "organization": observer.organization, "filter": part.input() });
        asked(&observer.client, &query, &variables)["verifications"].take()
    })
}

/// One list of verifications.
struct Listed {
    observer: usize,
    part: Part,
    descending: bool,
    records: Vec<Value>,
}

/// An export of usage.
struct Exported {
    observer: usize,
    group_by: Vec<&'static str>,
    from: i64,
    to: i64,
    rows: Vec<Value>,
}

/// Everything that was told.
pub struct Lists {
    verifications: Vec<Listed>,
    exports: Vec<Exported>,
    keys: BTreeMap<String, Value>,
    identities: BTreeMap<String, Value>,
}

fn export(client: &Client, path: &str) -> Vec<Value> {
    let (status, text) = client.get(&format!("/v1/exports/{path}")).unwrap();
    assert_eq!(status, 200, "{path}: {text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl Lists {
    /// Asks for everything.
    pub fn ask(
        server: &Server,
        observers: &[Observer],
        cast: &Cast,
        span: (i64, i64),
        random: &mut Random,
    ) -> Self {
        let mut lists = Self {
            verifications: Vec::new(),
            exports: Vec::new(),
            keys: BTreeMap::new(),
            identities: BTreeMap::new(),
        };
        for at in 1..observers.len() {
            lists.ask_log(observers, at, &Part::default(), random);
            lists.ask_exports(observers, at, span);
        }
        for _ in 0..12 {
            lists.ask_log(observers, 1, &Part::random_own(cast, random, span), random);
        }
        let (root, theirs) = (server.root(), server.client(&cast.other.root_key));
        let cards = cast.cards.lock().unwrap().clone();
        for card in cards.iter().chain([&cast.login, &cast.sentinel]) {
            let fields = "status usage { valid refused firstAt lastCode } firstUsedAt lastUsedAt lastUsedIp
                credits { remaining spent }";
            let client = if card.foreign { &theirs } else { &root };
            lists.keys.insert(card.id.clone(), client.key(&card.id, fields).unwrap());
            if random.below(4) == 0 {
                let records = pages(true, |arguments| {
                    let fields = format!("verifications({arguments}) {{ nodes {{ {RECORD} }} {FIELDS} }}");
                    client.key(&card.id, &fields).unwrap()["verifications"].take()
                });
                let filter = Filter { keys: vec![card.id.clone()], ..Filter::default() };
                let part = Part { filter, ..Part::default() };
                // The first observer sees all but what is the other tenant's.
                let observer = if card.foreign { 3 } else { 0 };
                lists.verifications.push(Listed { observer, part, descending: true, records });
            }
        }
        for id in &cast.identities {
            let query = "query($id: ID!) { identity(id: $id) { credits { remaining spent } } }";
            let mut answer = asked(&root, query, &json!({ "id": id }));
            lists.identities.insert(id.clone(), answer["identity"]["credits"].take());
        }
        lists
    }

    fn ask_log(&mut self, observers: &[Observer], observer: usize, part: &Part, random: &mut Random) {
        let forward = random.below(2) == 0;
        for descending in [true, false] {
            let direction = if descending { "DESC" } else { "ASC" };
            // Backwards through one order is the other one.
            for forward in [forward, !forward].into_iter().take(if observer == 1 { 2 } else { 1 }) {
                let records = verifications(&observers[observer], part, direction, forward);
                let descending = descending == forward;
                self.verifications.push(Listed { observer, part: part.clone(), descending, records });
            }
        }
    }

    fn ask_exports(&mut self, observers: &[Observer], observer: usize, span: (i64, i64)) {
        let Observer { client, organization, .. } = &observers[observer];
        let path = format!("verifications?format=jsonl&organizationId={organization}");
        let mut records = export(client, &path);
        for record in &mut records {
            let record = record.as_object_mut().unwrap();
            assert!(record.remove("cursor").is_some());
            assert_eq!(record.remove("organizationId").as_ref(), Some(&json!(organization)));
            for name in ["keyId", "secretVersion", "means", "workspaceId", "action", "resource", "ip", "by"] {
                record.entry(name).or_insert(Value::Null);
            }
            for name in ["action", "means"] {
                if let Some(Value::String(text)) = record.get_mut(name) {
                    *text = text.to_uppercase();
                }
            }
        }
        let records = records.iter().map(normal).collect();
        self.verifications.push(Listed { observer, part: Part::default(), descending: false, records });
        let (from, to) = (span.0 - 3_600_000_000, span.1 + 3_600_000_000);
        let frame =
            format!("from={}&to={}&granularity=hour&organizationId={organization}", moment(from), moment(to));
        for (names, group_by) in [
            ("", &[][..]),
            ("&groupBy=key,outcome", &["KEY", "OUTCOME"]),
            ("&groupBy=environment,tag", &["ENVIRONMENT", "TAG"]),
            ("&groupBy=address", &["ADDRESS"]),
            ("&groupBy=means,outcome", &["MEANS", "OUTCOME"]),
        ] {
            let rows = export(client, &format!("usage?format=jsonl&{frame}{names}"));
            self.exports.push(Exported { observer, group_by: group_by.to_vec(), from, to, rows });
        }
    }

    /// Compares it with the facts.
    pub fn check(&self, observers: &[Observer], log: &Log) {
        for listed in &self.verifications {
            let observer = &observers[listed.observer];
            let facts = log.facts.iter().filter(|fact| observer.sees(fact) && listed.part.lets_through(fact));
            let mut expected: Vec<Value> = facts.map(expected).collect();
            if listed.descending {
                expected.reverse();
            }
            let told = (&listed.part, listed.observer, listed.descending);
            assert_eq!(listed.records.len(), expected.len(), "{told:?}");
            for (record, expected) in listed.records.iter().zip(&expected) {
                assert_eq!(record, expected, "{told:?}");
            }
        }
        for exported in &self.exports {
            exported.check(&observers[exported.observer], log);
        }
        for (id, told) in &self.keys {
            check_key(id, told, log);
        }
        for (id, told) in &self.identities {
            assert_eq!(*told, credits(id, log), "credits of {id}");
        }
    }
}

fn credits(id: &str, log: &Log) -> Value {
    log.credits
        .get(id)
        .map_or(Value::Null, |left| json!({ "remaining": left.remaining, "spent": left.spent }))
}

fn check_key(id: &str, told: &Value, log: &Log) {
    let facts = || log.uses().filter(|fact| fact.key.as_deref() == Some(id));
    let mut counts = Counts::default();
    facts().for_each(|fact| counts.add(fact));
    // Of those at the last moment the one that stands last in the log.
    let last = facts().max_by_key(|fact| fact.last);
    let first = facts().map(|fact| fact.first).min();
    let usage = last.map_or(Value::Null, |last| {
        json!({ "valid": counts.1, "refused": counts.0 - counts.1, "firstAt": first, "lastCode": last.code })
    });
    let mut shown = told["usage"].clone();
    if shown.is_object() {
        shown["firstAt"] = json!(micros(&shown["firstAt"]));
    }
    assert_eq!(shown, usage, "usage of {id}");
    let at = |name: &str| told[name].as_str().map(|_| micros(&told[name]));
    assert_eq!((at("firstUsedAt"), at("lastUsedAt")), (first, last.map(|fact| fact.last)), "{id}");
    assert_eq!(told["lastUsedIp"], json!(last.and_then(|fact| fact.ip.clone())), "last address of {id}");
    let credits = if told["status"] == "DELETED" { Value::Null } else { credits(id, log) };
    assert_eq!(told["credits"], credits, "credits of {id}");
}

impl Part {
    /// Of the first tenant itself: keys below it have other lists.
    fn random_own(cast: &Cast, random: &mut Random, span: (i64, i64)) -> Self {
        let mut part = Self::random(cast, random, span);
        let cards = cast.cards.lock().unwrap();
        let below = [&cards[6].id, &cards[7].id];
        part.filter.keys.retain(|key| !below.contains(&key));
        part
    }
}

impl Exported {
    fn check(&self, observer: &Observer, log: &Log) {
        const HOUR: i64 = 3_600_000_000;
        let (first, end) =
            (self.from - self.from.rem_euclid(HOUR), self.to + HOUR - 1 - (self.to - 1).rem_euclid(HOUR));
        let mut expected: BTreeMap<(i64, Values), Counts> = BTreeMap::new();
        if self.group_by.is_empty() {
            let mut start = first;
            while start < end {
                expected.insert((start, Vec::new()), Counts::default());
                start += HOUR;
            }
        }
        for fact in log.uses().filter(|fact| observer.sees(fact) && (first..end).contains(&fact.last)) {
            for values in groups_of(fact, &self.group_by, &Filter::default()) {
                expected.entry((fact.last - fact.last.rem_euclid(HOUR), values)).or_default().add(fact);
            }
        }
        let columns: Vec<&str> = self
            .group_by
            .iter()
            .map(|dimension| match *dimension {
                "KEY" => "keyId",
                "OUTCOME" => "outcome",
                "MEANS" => "means",
                "ENVIRONMENT" => "environment",
                "TAG" => "tag",
                "ADDRESS" => "address",
                other => panic!("{other}"),
            })
            .collect();
        let mut told = BTreeMap::new();
        for row in &self.rows {
            let start = micros(&row["bucket"]);
            let value = |column: &&str| {
                let text = row[*column].as_str()?;
                let lower = ["environment", "means"].contains(column);
                Some(if lower { text.to_uppercase() } else { text.to_owned() })
            };
            let values = columns.iter().map(value).collect();
            assert_ne!(row["others"], json!(true), "{row}");
            let incomplete = log.gaps.iter().any(|gap| gap.0 < start + HOUR && gap.1 > start);
            assert_eq!(row["incomplete"], json!(incomplete), "{row}");
            assert!(told.insert((start, values), Counts::of(row)).is_none(), "twice: {row}");
        }
        assert_eq!(told, expected, "{:?}", self.group_by);
    }
}
