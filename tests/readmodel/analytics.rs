//! Usage is what counting the records one by one gives, whatever is asked.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use chrono_tz::Tz;
use keyledger::readmodel::ReadModel;
use keyledger::readmodel::analytics::{
    Counts, Dimension, DimensionValue, Granularity, UsageAnswer, UsageError, UsageFilter, UsageGroup,
    UsageQuery,
};
use keyledger_schema::event::{KeyIssued, KeyUpdated};
use keyledger_schema::usage::{UsageGroup as Group, UsageRecord, UsageRecorded};
use keyledger_schema::{
    Action, Environment, Event, IdentityId, KeyId, Means, OrganizationId, Personal, RoleId, SecretHash,
    SecretRecord, Stream, Timestamp, VerificationCode, WorkspaceId, credits::Spent,
};
use uuid::Uuid;

use crate::world::{NODE, World, organization, settle, workspace};

/// Random numbers that are the same in each run: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn within(&mut self, start: i64, end: i64) -> i64 {
        start + i64::try_from(self.below((end - start).unsigned_abs())).unwrap()
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()].clone()
    }

    fn maybe<T: Clone>(&mut self, times: u64, from: &[T]) -> Option<T> {
        self.once_in(times).then(|| self.pick(from))
    }
}

fn seconds(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp()
}

fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

const DAY: i64 = 86_400;

fn newest() -> i64 {
    seconds("2027-12-15T10:17:23Z")
}

fn role(n: u64) -> RoleId {
    RoleId::from_uuid(Uuid::from_u128(0x0d00 + u128::from(n)))
}

fn identity(n: u64) -> IdentityId {
    IdentityId::from_uuid(Uuid::from_u128(0x0e00 + u128::from(n)))
}

/// A key as it is in the end.
#[derive(Clone)]
struct Key {
    id: KeyId,
    organization: OrganizationId,
    workspace: WorkspaceId,
    environment: Environment,
    roles: Vec<RoleId>,
    identity: Option<IdentityId>,
}

/// A record and all that it is told apart by.
struct Fact {
    organization: Option<OrganizationId>,
    key: Option<Key>,
    at: i64,
    record: UsageRecord,
}

struct Case {
    keys: Vec<Key>,
    facts: Vec<Fact>,
    words: Vec<Box<str>>,
    addresses: Vec<IpAddr>,
}

fn secret() -> SecretRecord {
    SecretRecord { version: 1, hash: SecretHash([7; 32]), hint: "kl_prod_0007".into() }
}

impl Case {
    /// Two organizations with keys in several chunks, and a year of records.
    fn make(world: &mut World, random: &mut Random) -> Self {
        let mut case = Self {
            keys: Vec::new(),
            facts: Vec::new(),
            words: ["a", "batch", "ci", "", "Zürich"].map(Into::into).to_vec(),
            addresses: (0..40u8).map(|n| IpAddr::from([203, 0, 113, n])).collect(),
        };
        case.addresses.push("2001:db8::7".parse().unwrap());
        for n in 0..500u64 {
            case.issue(world, random, n);
        }
        for n in 0..100 {
            case.change(world, random, n * 3);
        }
        for seq in 0..220 {
            case.record(world, random, seq);
        }
        case
    }

    fn issue(&mut self, world: &mut World, random: &mut Random, n: u64) {
        let (org, of) = (u8::from(random.once_in(3)), u8::from(random.once_in(2)));
        let mut roles: Vec<_> = (0..4).filter(|_| random.once_in(3)).map(role).collect();
        roles.sort_unstable();
        let key = Key {
            id: KeyId::from_uuid(Uuid::from_u128(0x0c00_0000 + u128::from(random.next() << 10 | n))),
            organization: organization(org),
            workspace: workspace(org, of),
            environment: random.pick(&Environment::ALL),
            roles,
            identity: random.maybe(2, &[0, 1, 2]).map(identity),
        };
        let issued = KeyIssued {
            roles: key.roles.clone(),
            identity: key.identity,
            ..KeyIssued::bare("k", key.environment, secret())
        };
        world.append(Stream::Key(key.id), Some((org, Some(of))), Event::KeyIssued(issued));
        self.keys.push(key);
    }

    fn change(&mut self, world: &mut World, random: &mut Random, n: usize) {
        let key = &mut self.keys[n];
        key.roles = if random.once_in(2) { vec![role(random.below(4))] } else { Vec::new() };
        key.identity = random.maybe(2, &[3, 4]).map(identity);
        let updated = KeyUpdated {
            roles: Some(key.roles.clone()),
            identity: Some(key.identity),
            ..KeyUpdated::default()
        };
        let org = u8::from(key.organization == organization(1));
        let of = u8::from(key.workspace == workspace(org, 1));
        world.append(Stream::Key(key.id), Some((org, Some(of))), Event::KeyUpdated(updated));
    }

    fn record(&mut self, world: &mut World, random: &mut Random, seq: u64) {
        let clocks = [seconds("2027-03-28T01:00:00Z"), seconds("2027-10-31T01:00:00Z")];
        let from = match random.below(4) {
            0 => random.within(newest() - 398 * DAY, newest()),
            1 => random.pick(&clocks) + random.within(-DAY, DAY),
            _ => random.within(newest() - 2 * DAY, newest()),
        };
        let from = from.min(newest() - 7_200);
        // The verifier's organization; none for a listener that is open to its host.
        let of = random.pick(&[None, Some(0), Some(1)]);
        let mut groups = Vec::new();
        for _ in 0..3 {
            let by = random.maybe(2, &self.keys);
            let records = (0..random.below(20)).map(|_| {
                // Some keys are used far more often than others.
                let rank = random.below(random.0 % 500 + 1);
                let key = (!random.once_in(6)).then(|| self.keys[usize::try_from(rank).unwrap()].clone());
                let record = self.one(random, key.as_ref());
                let owner = key.as_ref().map(|key| key.organization).or(of.map(organization));
                let at = from + i64::from(record.last_ms) / 1_000;
                // Whoever asks what a token is does not use its key.
                if record.means != Some(Means::Introspection) {
                    self.facts.push(Fact { organization: owner, key, at, record: record.clone() });
                }
                record
            });
            let records = records.collect();
            groups.push(Group { by: by.map(|key| key.id), records });
        }
        let to = moment(if seq == 0 { newest() } else { from });
        let recorded = UsageRecorded { seq, from: moment(from), to, groups };
        world.append(Stream::Usage(NODE), of.map(|of| (of, None)), Event::UsageRecorded(recorded));
    }

    fn one(&self, random: &mut Random, key: Option<&Key>) -> UsageRecord {
        let mut tags: Vec<_> = self.words.iter().filter(|_| random.once_in(4)).cloned().collect();
        tags.sort_unstable();
        let code = match key {
            None => random.pick(&[VerificationCode::NotFound, VerificationCode::Malformed]),
            Some(_) => random.pick(&VerificationCode::ALL),
        };
        let count = random.below(9) + 1;
        let credits = random.maybe(4, &[1, 5]);
        let last_ms = u32::try_from(random.below(7_000_000)).unwrap();
        UsageRecord {
            secret: key.map(|_| 1),
            action: random.maybe(2, &Action::ALL),
            means: random.maybe(2, &Means::ALL),
            tags,
            ip: random.maybe(2, &self.addresses).map(Personal),
            last_ms,
            first_ms: random.once_in(2).then_some(last_ms / 2),
            spent: credits
                .map(|credits| Spent { identity: None, credits, refilled: None })
                .filter(|_| key.is_some())
                .into_iter()
                .collect(),
            ..UsageRecord::bare(key.map(|key| key.id), code, count)
        }
    }
}

const GRANULARITIES: [Granularity; 4] =
    [Granularity::Minute, Granularity::Hour, Granularity::Day, Granularity::Month];
const ZONES: [Tz; 6] = [
    Tz::UTC,
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::Asia__Kathmandu,
    Tz::Australia__Lord_Howe,
    Tz::Pacific__Chatham,
];
const DIMENSIONS: [Dimension; 11] = [
    Dimension::Organization,
    Dimension::Workspace,
    Dimension::Environment,
    Dimension::Key,
    Dimension::Identity,
    Dimension::Role,
    Dimension::Outcome,
    Dimension::Action,
    Dimension::Means,
    Dimension::Tag,
    Dimension::Address,
];

/// What clocks show of a bucket.
fn shown(query: &UsageQuery, at: i64) -> String {
    let local = DateTime::from_timestamp(at, 0).unwrap().with_timezone(&query.zone);
    let format = match query.granularity {
        Granularity::Minute => "%Y-%m-%d %H:%M %z",
        Granularity::Hour => "%Y-%m-%d %H %z",
        Granularity::Day => "%Y-%m-%d",
        Granularity::Month => "%Y-%m",
    };
    local.format(format).to_string()
}

fn lets_through(filter: &UsageFilter, fact: &Fact) -> bool {
    let (key, record) = (fact.key.as_ref(), &fact.record);
    let of_key = |is: &dyn Fn(&Key) -> bool| key.is_some_and(is);
    filter.sight.as_ref().is_none_or(|sight| of_key(&|key| sight.contains(&key.workspace)))
        && filter.workspace.is_none_or(|id| of_key(&|key| key.workspace == id))
        && filter.environment.is_none_or(|of| of_key(&|key| key.environment == of))
        && (filter.keys.is_empty() || of_key(&|key| filter.keys.contains(&key.id)))
        && filter.identity.is_none_or(|id| of_key(&|key| key.identity == Some(id)))
        && filter.role.is_none_or(|id| of_key(&|key| key.roles.contains(&id)))
        && (filter.outcomes.is_empty() || filter.outcomes.contains(&record.code))
        && filter.action.is_none_or(|action| record.action == Some(action))
        && filter.means.is_none_or(|means| record.means == Some(means))
        && filter.tag.as_ref().is_none_or(|tag| record.tags.contains(tag))
        && filter.address.is_none_or(|ip| record.ip == Some(Personal(ip)))
}

fn or_none<T: Clone>(values: &[T]) -> Vec<Option<T>> {
    if values.is_empty() { vec![None] } else { values.iter().cloned().map(Some).collect() }
}

fn values(dimension: Dimension, filter: &UsageFilter, fact: &Fact) -> Vec<DimensionValue> {
    let (key, record) = (fact.key.as_ref(), &fact.record);
    vec![match dimension {
        Dimension::Organization => DimensionValue::Organization(fact.organization.unwrap()),
        Dimension::Workspace => DimensionValue::Workspace(key.map(|key| key.workspace)),
        Dimension::Environment => DimensionValue::Environment(key.map(|key| key.environment)),
        Dimension::Key => DimensionValue::Key(key.map(|key| key.id)),
        Dimension::Identity => DimensionValue::Identity(key.and_then(|key| key.identity)),
        Dimension::Role => {
            let roles = key.map(|key| &key.roles[..]).unwrap_or_default();
            return or_none(roles).into_iter().map(DimensionValue::Role).collect();
        }
        Dimension::Outcome => DimensionValue::Outcome(record.code),
        Dimension::Action => DimensionValue::Action(record.action),
        Dimension::Means => DimensionValue::Means(record.means),
        Dimension::Tag => match &filter.tag {
            Some(tag) => DimensionValue::Tag(Some(tag.clone())),
            None => return or_none(&record.tags).into_iter().map(DimensionValue::Tag).collect(),
        },
        Dimension::Address => DimensionValue::Address(record.ip.as_ref().map(|ip| ip.0)),
    }]
}

fn add(to: &mut Counts, record: &UsageRecord) {
    to.verifications += record.count;
    to.valid += if record.code == VerificationCode::Valid { record.count } else { 0 };
    to.credits += record.spent.iter().map(|spent| spent.credits).sum::<u64>();
}

fn sum<'a>(counts: impl IntoIterator<Item = &'a Counts>) -> Counts {
    counts.into_iter().fold(Counts::default(), |sum, counts| Counts {
        verifications: sum.verifications + counts.verifications,
        valid: sum.valid + counts.valid,
        credits: sum.credits + counts.credits,
    })
}

/// Holds an answer against counting one by one.
fn check(case: &Case, query: &UsageQuery, answer: &UsageAnswer) {
    assert!(answer.from <= query.from && answer.to >= query.to, "{query:?}");
    let (from, to) = (answer.from.micros() / 1_000_000, answer.to.micros() / 1_000_000);
    assert_eq!(shown(query, from), shown(query, query.from.micros() / 1_000_000), "{query:?}");
    assert_ne!(shown(query, from), shown(query, from - 1));
    assert_eq!(
        shown(query, to - 1),
        shown(query, (query.to.micros() - 1).div_euclid(1_000_000)),
        "{query:?}"
    );
    assert_ne!(shown(query, to), shown(query, to - 1));
    let buckets: HashMap<_, _> =
        answer.buckets.iter().enumerate().map(|(n, at)| (shown(query, at.micros() / 1_000_000), n)).collect();
    assert_eq!(buckets.len(), answer.buckets.len(), "{query:?}");
    assert_eq!(buckets.is_empty(), !query.series);

    let mut series = vec![Counts::default(); buckets.len()];
    let mut totals = Counts::default();
    let mut groups: HashMap<Vec<DimensionValue>, (Counts, Vec<Counts>)> = HashMap::new();
    for fact in &case.facts {
        if !(from..to).contains(&fact.at)
            || !fact.organization.is_some_and(|id| query.organizations.contains(&id))
            || !lets_through(&query.filter, fact)
        {
            continue;
        }
        let bucket = query.series.then(|| buckets[&shown(query, fact.at)]);
        add(&mut totals, &fact.record);
        if let Some(bucket) = bucket {
            add(&mut series[bucket], &fact.record);
        }
        let mut of_fact: Vec<Vec<DimensionValue>> = vec![Vec::new()];
        for dimension in &query.group_by {
            let values = values(*dimension, &query.filter, fact);
            of_fact = of_fact
                .into_iter()
                .flat_map(|before| {
                    values.iter().map(move |value| [&before[..], std::slice::from_ref(value)].concat())
                })
                .collect();
        }
        for group in of_fact.into_iter().filter(|group| !group.is_empty()) {
            let empty = || (Counts::default(), vec![Counts::default(); buckets.len()]);
            let counts = groups.entry(group).or_insert_with(empty);
            add(&mut counts.0, &fact.record);
            if let Some(bucket) = bucket {
                add(&mut counts.1[bucket], &fact.record);
            }
        }
    }

    assert_eq!(answer.totals, totals, "{query:?}");
    assert_eq!(answer.series, series, "{query:?}");
    let mut sizes: Vec<_> = groups.values().map(|(counts, _)| counts.verifications).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes.truncate(query.top);
    let answered: Vec<_> = answer.groups.iter().map(|group| group.totals.verifications).collect();
    assert_eq!(answered, sizes, "{query:?}");
    for UsageGroup { values, totals, series } in &answer.groups {
        let expected = groups.remove(values).unwrap_or_else(|| panic!("{values:?} of {query:?}"));
        assert_eq!((totals, series), (&expected.0, &expected.1), "{values:?} of {query:?}");
    }
    assert_eq!(answer.other_groups, groups.len() as u64, "{query:?}");
    assert_eq!(answer.others, sum(groups.values().map(|(counts, _)| counts)), "{query:?}");
}

fn query(case: &Case, random: &mut Random) -> UsageQuery {
    let granularity = random.pick(&GRANULARITIES);
    let (oldest, longest) = match granularity {
        Granularity::Minute => (newest() - 46 * 3_600, 5 * 3_600),
        Granularity::Hour => (newest() - 398 * DAY, 6 * DAY),
        Granularity::Day => (newest() - 398 * DAY, 90 * DAY),
        Granularity::Month => (newest() - 360 * DAY, 400 * DAY),
    };
    let from = match random.below(3) {
        0 if granularity == Granularity::Hour => seconds("2027-10-30T12:34:00Z"),
        _ => random.within(oldest, newest()),
    };
    let to = from + random.within(1, longest);
    let mut filter = UsageFilter {
        sight: random.once_in(8).then(|| vec![workspace(0, 0), workspace(1, 1)]),
        workspace: random.maybe(8, &[workspace(0, 0), workspace(0, 1), workspace(1, 0)]),
        environment: random.maybe(8, &Environment::ALL),
        keys: Vec::new(),
        identity: random.maybe(10, &[0, 1, 2, 3, 4]).map(identity),
        role: random.maybe(8, &[0, 1, 2, 3]).map(role),
        outcomes: random
            .maybe(6, &[VerificationCode::Valid, VerificationCode::NotFound])
            .into_iter()
            .collect(),
        action: random.maybe(8, &Action::ALL),
        means: random.maybe(8, &Means::ALL),
        tag: random.maybe(8, &case.words),
        address: random.maybe(8, &case.addresses),
    };
    if random.once_in(5) {
        filter.keys = (0..=random.below(4)).map(|_| random.pick(&case.keys).id).collect();
    }
    let mut group_by: Vec<_> = (0..random.below(3)).map(|_| random.pick(&DIMENSIONS)).collect();
    group_by.dedup();
    if group_by.contains(&Dimension::Tag) || filter.tag.is_some() {
        filter.address = None;
        group_by.retain(|dimension| *dimension != Dimension::Address);
    }
    if group_by.contains(&Dimension::Address) || filter.address.is_some() {
        filter.tag = None;
    }
    UsageQuery {
        organizations: random.pick(&[
            vec![organization(0)],
            vec![organization(1)],
            vec![organization(1), organization(0)],
        ]),
        filter,
        from: moment(from),
        to: moment(to),
        granularity,
        zone: random.pick(&ZONES),
        group_by,
        top: random.pick(&[0, 1, 3, 10, 1_000]),
        series: random.once_in(2),
    }
}

async fn open(world: &World, directory: &std::path::Path) -> Arc<ReadModel> {
    let model = world.open(directory);
    settle(&model, world).await;
    model
}

#[tokio::test]
async fn any_question_is_answered_as_by_counting_one_by_one() {
    for seed in 0..2 {
        let mut random = Random(seed);
        let mut world = World::new();
        let case = Case::make(&mut world, &mut random);
        let directory = tempfile::tempdir().unwrap();
        let model = open(&world, directory.path()).await;
        let mut some = 0;
        for n in 0..400 {
            let query = query(&case, &mut random);
            let answer =
                model.usage(query.clone()).await.unwrap_or_else(|error| panic!("{error}: {query:?}"));
            check(&case, &query, &answer);
            some += usize::from(answer.totals.verifications > 0);
            if n % 20 == 0 {
                assert_eq!(model.usage(query).await, Ok(answer), "the same is answered again");
            }
        }
        assert!(some > 100, "{some}");
    }
}

#[tokio::test]
async fn every_dimension_and_pair_of_dimensions_is_grouped_by() {
    let mut random = Random(77);
    let mut world = World::new();
    let case = Case::make(&mut world, &mut random);
    let directory = tempfile::tempdir().unwrap();
    let model = open(&world, directory.path()).await;
    let mut answered = BTreeMap::new();
    for (n, first) in DIMENSIONS.into_iter().enumerate() {
        for second in [None].into_iter().chain(DIMENSIONS.map(Some)) {
            if second == Some(first) {
                continue;
            }
            let group_by: Vec<_> = [first].into_iter().chain(second).collect();
            let query = UsageQuery {
                organizations: vec![organization(0), organization(1)],
                filter: UsageFilter::default(),
                from: moment(newest() - 40 * DAY),
                to: moment(newest() + DAY),
                granularity: Granularity::Day,
                zone: ZONES[n % ZONES.len()],
                group_by: group_by.clone(),
                top: 20,
                series: n % 2 == 0,
            };
            let both = group_by.contains(&Dimension::Tag) && group_by.contains(&Dimension::Address);
            match model.usage(query.clone()).await {
                Ok(answer) => {
                    check(&case, &query, &answer);
                    answered.insert(format!("{group_by:?}"), answer.groups.len());
                }
                Err(error) => assert_eq!((error, both), (UsageError::TagWithAddress, true)),
            }
        }
    }
    assert_eq!(answered.len(), 119);
    assert!(answered.values().all(|groups| *groups > 0), "{answered:?}");
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused() {
    let mut random = Random(5);
    let mut world = World::new();
    let case = Case::make(&mut world, &mut random);
    let directory = tempfile::tempdir().unwrap();
    let model = open(&world, directory.path()).await;
    let query = UsageQuery {
        organizations: vec![organization(0)],
        filter: UsageFilter::default(),
        from: moment(newest() - 10 * DAY),
        to: moment(newest()),
        granularity: Granularity::Day,
        zone: Tz::UTC,
        group_by: Vec::new(),
        top: 3,
        series: true,
    };
    let ask = async |query: UsageQuery| model.usage(query).await;
    let with =
        UsageFilter { tag: Some("ci".into()), address: Some(case.addresses[0]), ..UsageFilter::default() };
    assert_eq!(ask(UsageQuery { filter: with, ..query.clone() }).await, Err(UsageError::TagWithAddress));
    assert_eq!(ask(UsageQuery { to: query.from, ..query.clone() }).await, Err(UsageError::Empty));

    let minutes = UsageQuery { granularity: Granularity::Minute, ..query.clone() };
    let too_many = ask(minutes.clone()).await;
    assert!(matches!(too_many, Err(UsageError::TooManyBuckets { max: 3_000, .. })), "{too_many:?}");
    let first =
        UsageQuery { from: moment(newest() - 10 * DAY), to: moment(newest() - 10 * DAY + 60), ..minutes };
    let newest_minute = newest() - newest().rem_euclid(60);
    let since = moment(newest_minute - 2 * DAY);
    assert_eq!(ask(first.clone()).await, Err(UsageError::TooLongAgo { since }));
    let kept = UsageQuery { from: since, to: since.plus(Duration::from_hours(1)), ..first };
    assert!(ask(kept).await.is_ok());

    // Days of UTC are kept for ever, those of a zone are made of hours.
    let long_ago =
        UsageQuery { from: moment(newest() - 500 * DAY), to: moment(newest() - 499 * DAY), ..query };
    assert!(ask(long_ago.clone()).await.is_ok());
    let refused = ask(UsageQuery { zone: Tz::Europe__Berlin, ..long_ago }).await;
    assert!(matches!(refused, Err(UsageError::TooLongAgo { .. })), "{refused:?}");
}
