//! Questions about totals, series and groups, and what the facts say to them.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeZone as _};
use chrono_tz::Tz;
use keyledger_schema::{Timestamp, VerificationCode};
use serde_json::{Map, Value, json};

use crate::cast::Cast;
use crate::log::{Fact, Log};
use crate::random::Random;
use crate::support::{Client, Server};
use crate::traffic::{ADDRESSES, TAGS};

const DIMENSIONS: [&str; 11] = [
    "ORGANIZATION",
    "WORKSPACE",
    "ENVIRONMENT",
    "KEY",
    "IDENTITY",
    "ROLE",
    "OUTCOME",
    "ACTION",
    "MEANS",
    "TAG",
    "ADDRESS",
];
const GRANULARITIES: [&str; 4] = ["MINUTE", "HOUR", "DAY", "MONTH"];
const ZONES: [Tz; 3] = [Tz::UTC, Tz::Europe__Berlin, Tz::Asia__Kathmandu];
/// More than there are groups.
const ALL: u64 = 400;
const SECOND: i64 = 1_000_000;

/// Somebody who asks, of whom, and what they may see.
pub struct Observer {
    pub client: Client,
    /// The organization that is asked for.
    pub organization: String,
    pub below: Option<String>,
    /// These workspaces only.
    pub sight: Option<String>,
}

impl Observer {
    /// Everybody who may ask.
    pub fn all(server: &Server, cast: &Cast) -> Vec<Self> {
        let own = cast.home.tenant().organization.clone();
        let one = |client: Client, organization: &str| {
            let organization = organization.to_owned();
            Self { client, organization, below: None, sight: None }
        };
        vec![
            Self { below: Some(cast.below.clone()), ..one(server.root(), &own) },
            one(server.root(), &own),
            one(server.root(), &cast.below),
            one(server.client(&cast.other.root_key), &cast.other.organization),
            Self { sight: Some(cast.workspaces[0].clone()), ..one(server.client(&cast.auditor), &own) },
        ]
    }

    /// Whether a fact is one of theirs.
    pub fn sees(&self, fact: &Fact) -> bool {
        let theirs = fact
            .organization
            .as_ref()
            .is_some_and(|of| *of == self.organization || Some(of) == self.below.as_ref());
        theirs && self.sight.as_ref().is_none_or(|sight| fact.workspace.as_ref() == Some(sight))
    }
}

/// Conditions.
#[derive(Clone, Default, Debug)]
pub struct Filter {
    pub workspace: Option<String>,
    pub environment: Option<String>,
    pub keys: Vec<String>,
    pub identity: Option<String>,
    pub role: Option<String>,
    pub outcomes: Vec<String>,
    pub action: Option<String>,
    pub means: Option<String>,
    pub tag: Option<String>,
    pub address: Option<String>,
}

impl Filter {
    /// Some of them. Of the organization or one below it; never tag and address at once.
    pub fn random(cast: &Cast, random: &mut Random) -> Self {
        let mut filter = Self::default();
        for _ in 0..=random.below(3) {
            let one = |random: &mut Random, of: &[&str]| Some(of[random.below(of.len())].to_owned());
            match random.below(10) {
                0 => filter.workspace = Some(cast.workspaces[random.below(2)].clone()),
                1 => filter.environment = one(random, &["PRODUCTION", "STAGING", "DEVELOPMENT"]),
                2 => {
                    let cards = cast.cards.lock().unwrap();
                    for at in 0..=random.below(4) {
                        filter.keys.push(cards[at + random.below(6)].id.clone());
                    }
                }
                3 => filter.identity = Some(cast.identities[random.below(2)].clone()),
                4 => filter.role = Some(cast.roles[random.below(2)].clone()),
                5 => {
                    for _ in 0..=random.below(3) {
                        let code = VerificationCode::ALL[random.below(VerificationCode::ALL.len())];
                        filter.outcomes.push(code.as_str().to_owned());
                    }
                }
                6 => filter.action = one(random, &["READ", "WRITE", "ADMIN"]),
                7 if filter.address.is_none() => filter.tag = one(random, &TAGS),
                8 => filter.means = one(random, &["EXCHANGE", "TOKEN"]),
                9 if filter.tag.is_none() => filter.address = one(random, &ADDRESSES),
                _ => {}
            }
        }
        filter
    }

    /// As the API takes them.
    pub fn as_input(&self) -> Map<String, Value> {
        let mut input = Map::new();
        let one = [
            ("workspaceId", &self.workspace),
            ("environment", &self.environment),
            ("identityId", &self.identity),
            ("roleId", &self.role),
            ("action", &self.action),
            ("means", &self.means),
            ("tag", &self.tag),
            ("address", &self.address),
        ];
        for (name, value) in one {
            input.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
        }
        if !self.keys.is_empty() {
            input.insert("keyIds".to_owned(), json!(self.keys));
        }
        if !self.outcomes.is_empty() {
            input.insert("outcomes".to_owned(), json!(self.outcomes));
        }
        input
    }

    pub fn lets_through(&self, fact: &Fact) -> bool {
        let same = |asked: &Option<String>, has: &Option<String>| asked.is_none() || asked == has;
        let address = self.address.as_ref().map(|text| text.trim_start_matches("::ffff:").to_owned());
        same(&self.workspace, &fact.workspace)
            && same(&self.environment, &fact.environment)
            && (self.keys.is_empty() || fact.key.as_ref().is_some_and(|key| self.keys.contains(key)))
            && same(&self.identity, &fact.identity)
            && self.role.as_ref().is_none_or(|role| fact.roles.contains(role))
            && (self.outcomes.is_empty() || self.outcomes.contains(&fact.code))
            && same(&self.action, &fact.action)
            && same(&self.means, &fact.means)
            && self.tag.as_ref().is_none_or(|tag| fact.tags.contains(tag))
            && same(&address, &fact.ip)
    }
}

/// Microseconds of a moment in an answer.
pub fn micros(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no moment"));
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
}

pub fn moment(micros: i64) -> String {
    Timestamp::from_micros(micros).to_string()
}

/// Verifications, those that were valid, credits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts(pub u64, pub u64, pub u64);

impl Counts {
    pub fn add(&mut self, fact: &Fact) {
        self.0 += fact.count;
        self.1 += if fact.code == "VALID" { fact.count } else { 0 };
        self.2 += fact.credits;
    }

    fn join(&mut self, other: Self) {
        *self = Self(self.0 + other.0, self.1 + other.1, self.2 + other.2);
    }

    /// As it is answered; what is refused is the rest.
    pub fn of(value: &Value) -> Self {
        let number = |name: &str| value[name].as_u64().unwrap_or_else(|| panic!("no {name} in {value}"));
        let counts = Self(number("verifications"), number("valid"), number("credits"));
        assert_eq!(number("refused"), counts.0 - counts.1);
        counts
    }
}

/// The values of a group, in the order of its dimensions.
pub type Values = Vec<Option<String>>;

/// The groups that a fact is in.
pub fn groups_of(fact: &Fact, group_by: &[&str], filter: &Filter) -> Vec<Values> {
    let many = |list: &[String]| {
        if list.is_empty() { vec![None] } else { list.iter().cloned().map(Some).collect() }
    };
    let mut groups: Vec<Values> = vec![Vec::new()];
    for dimension in group_by {
        let values: Vec<Option<String>> = match *dimension {
            "ORGANIZATION" => vec![fact.organization.clone()],
            "WORKSPACE" => vec![fact.workspace.clone()],
            "ENVIRONMENT" => vec![fact.environment.clone()],
            "KEY" => vec![fact.key.clone()],
            "IDENTITY" => vec![fact.identity.clone()],
            "OUTCOME" => vec![Some(fact.code.clone())],
            "ACTION" => vec![fact.action.clone()],
            "MEANS" => vec![fact.means.clone()],
            "ADDRESS" => vec![fact.ip.clone()],
            "ROLE" => many(&fact.roles),
            // Who asks for one tag is told of that one.
            "TAG" if filter.tag.is_some() => vec![filter.tag.clone()],
            "TAG" => many(&fact.tags),
            other => panic!("{other}"),
        };
        let with = |group: &Values| -> Vec<Values> {
            values.iter().map(|value| group.iter().cloned().chain([value.clone()]).collect()).collect()
        };
        groups = groups.iter().flat_map(with).collect();
    }
    groups
}

/// Whether a fact can be in several groups of it.
fn is_multiple(dimension: &str) -> bool {
    matches!(dimension, "ROLE" | "TAG")
}

/// A question and its answer.
#[derive(Debug)]
pub struct Asked {
    observer: usize,
    filter: Filter,
    granularity: &'static str,
    zone: Tz,
    group_by: Vec<&'static str>,
    top: u64,
    from: i64,
    to: i64,
    answer: Value,
}

const QUERY: &str =
    "query($organization: ID, $below: Boolean!, $filter: UsageFilter, $from: DateTime!, $to: DateTime!,
    $granularity: Granularity!, $groupBy: [UsageDimension!]!, $top: Int!, $zone: String!) {
    usage(organizationId: $organization, includeBelow: $below, filter: $filter, from: $from, to: $to,
        granularity: $granularity, groupBy: $groupBy, top: $top, timeZone: $zone) {
        from to timeZone buckets totals { ...c } series { ...c }
        groups { values { dimension id value } totals { ...c } series { ...c } }
        otherGroups others { ...c } incomplete { from to } through
    }
}
fragment c on UsageCounts { verifications valid refused credits }";

/// The name of what a bucket is, in its time zone.
fn label(at: i64, granularity: &str, zone: Tz) -> String {
    let form = match granularity {
        "MINUTE" => "%Y-%m-%d %H:%M",
        "HOUR" => "%Y-%m-%d %H %z",
        "DAY" => "%Y-%m-%d",
        _ => "%Y-%m",
    };
    let utc = DateTime::from_timestamp_micros(at).unwrap().naive_utc();
    zone.from_utc_datetime(&utc).format(form).to_string()
}

/// Asks everything that there is to ask.
pub struct Questions<'a> {
    pub observers: &'a [Observer],
    pub cast: &'a Cast,
    /// When the traffic began and ended.
    pub span: (i64, i64),
}

impl Questions<'_> {
    pub fn ask_all(&self, random: &mut Random) -> Vec<Asked> {
        let mut asked = Vec::new();
        for granularity in GRANULARITIES {
            for zone in ZONES {
                asked.push(self.ask(
                    random,
                    random_observer,
                    Filter::default(),
                    (granularity, zone),
                    &[],
                    ALL,
                ));
            }
        }
        for (at, one) in DIMENSIONS.iter().enumerate() {
            asked.push(self.ask(random, |_, _| 0, Filter::default(), Frame::Any, &[one], ALL));
            asked.push(self.ask(random, |_, _| 1, Filter::default(), Frame::Any, &[one], ALL));
            for other in &DIMENSIONS[at + 1..] {
                if (*one, *other) == ("TAG", "ADDRESS") {
                    continue;
                }
                let pair = if random.below(2) == 0 { [*one, *other] } else { [*other, *one] };
                asked.push(self.ask(random, random_observer, Filter::default(), Frame::Any, &pair, ALL));
            }
        }
        for _ in 0..60 {
            let filter = Filter::random(self.cast, random);
            let mut group_by: Vec<&str> = Vec::new();
            for _ in 0..random.below(3) {
                let one = DIMENSIONS[random.below(DIMENSIONS.len())];
                let clash = |one: &str, tag: bool, address: bool| {
                    (one == "TAG" && address) || (one == "ADDRESS" && tag)
                };
                let tag = filter.tag.is_some() || group_by.contains(&"TAG");
                let address = filter.address.is_some() || group_by.contains(&"ADDRESS");
                if !group_by.contains(&one) && !clash(one, tag, address) {
                    group_by.push(one);
                }
            }
            let top = if random.below(3) == 0 { 1 + random.below(5) as u64 } else { ALL };
            asked.push(self.ask(random, |_, _| 0, filter, Frame::Any, &group_by, top));
        }
        for group_by in [&["KEY"][..], &["TAG"], &["ROLE", "KEY"], &["ADDRESS", "OUTCOME"], &["OUTCOME"]] {
            for top in [1, 3] {
                asked.push(self.ask(random, random_observer, Filter::default(), Frame::Any, group_by, top));
            }
        }
        asked
    }

    fn ask(
        &self,
        random: &mut Random,
        observer: impl Fn(&mut Random, usize) -> usize,
        filter: Filter,
        frame: impl Into<Frame>,
        group_by: &[&'static str],
        top: u64,
    ) -> Asked {
        let at = observer(random, self.observers.len());
        let (granularity, zone) = frame.into().choose(random);
        let margin = SECOND
            * match granularity {
                "MINUTE" => 60 * random.below(5) as i64 + 1,
                "HOUR" => 3_600 * random.below(20) as i64 + 1,
                "DAY" => 86_400 * random.below(20) as i64 + 1,
                _ => 86_400 * random.below(200) as i64 + 1,
            };
        // Some questions are about a part of the time only.
        let (from, to) = match random.below(5) {
            0 => (self.span.0 + (self.span.1 - self.span.0) / 3, self.span.1 + margin),
            _ => (self.span.0 - margin, self.span.1 + margin),
        };
        let observer = &self.observers[at];
        let variables = json!({
            "organization": observer.organization, "below": observer.below.is_some(), "filter": filter.as_input(),
            "from": moment(from), "to": moment(to), "granularity": granularity, "groupBy": group_by, "top": top,
            "zone": zone.name(),
        });
        let answer = observer.client.graphql(QUERY, &variables);
        let answer = answer.unwrap_or_else(|failure| panic!("{failure:?}: {variables}"))["usage"].take();
        Asked { observer: at, filter, granularity, zone, group_by: group_by.to_vec(), top, from, to, answer }
    }

    /// Compares an answer with the facts.
    pub fn check(&self, asked: &Asked, log: &Log) {
        let Asked { granularity, zone, filter, group_by, answer, .. } = asked;
        let told = || format!("{asked:?}");
        let observer = &self.observers[asked.observer];
        let (from, to) = (micros(&answer["from"]), micros(&answer["to"]));
        let buckets: Vec<i64> = answer["buckets"].as_array().unwrap().iter().map(micros).collect();
        let label = |at| label(at, granularity, *zone);

        // Buckets are those of the zone's clock, without a gap, and no more than needed.
        assert_eq!(
            (answer["timeZone"].as_str(), buckets.first()),
            (Some(zone.name()), Some(&from)),
            "{}",
            told()
        );
        assert!(from <= asked.from && asked.to <= to, "{}", told());
        assert_eq!((label(from), label(to - 1)), (label(asked.from), label(asked.to - 1)), "{}", told());
        for (at, start) in buckets.iter().enumerate() {
            let end = buckets.get(at + 1).copied().unwrap_or(to);
            assert!(*start < end && label(*start) == label(end - 1), "{}", told());
            assert_ne!(label(start - 1), label(*start), "{}", told());
        }

        let facts: Vec<&Fact> = log
            .uses()
            .filter(|fact| {
                observer.sees(fact) && filter.lets_through(fact) && (from..to).contains(&fact.last)
            })
            .collect();
        let mut total = Counts::default();
        let mut series = vec![Counts::default(); buckets.len()];
        let mut groups: BTreeMap<Values, (Counts, Vec<Counts>)> = BTreeMap::new();
        for fact in &facts {
            let bucket = buckets.partition_point(|start| *start <= fact.last) - 1;
            total.add(fact);
            series[bucket].add(fact);
            if group_by.is_empty() {
                continue;
            }
            for values in groups_of(fact, group_by, filter) {
                let (counts, series) = groups
                    .entry(values)
                    .or_insert_with(|| (Counts::default(), vec![Counts::default(); buckets.len()]));
                counts.add(fact);
                series[bucket].add(fact);
            }
        }
        let of_list =
            |list: &Value| -> Vec<Counts> { list.as_array().unwrap().iter().map(Counts::of).collect() };
        assert_eq!(Counts::of(&answer["totals"]), total, "totals: {}", told());
        assert_eq!(of_list(&answer["series"]), series, "series: {}", told());

        let shown = answer["groups"].as_array().unwrap();
        let wanted = groups.len().min(usize::try_from(asked.top).unwrap());
        assert_eq!(shown.len(), wanted, "{groups:?} {}", told());
        assert_eq!(answer["otherGroups"], json!(groups.len() - wanted), "{}", told());
        let mut sizes: Vec<u64> = groups.values().map(|(counts, _)| counts.0).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let mut sum = Counts::default();
        for (group, size) in shown.iter().zip(sizes) {
            let values = group["values"].as_array().unwrap();
            let named: Vec<&str> = values.iter().map(|value| value["dimension"].as_str().unwrap()).collect();
            assert_eq!(named, *group_by);
            let text = |value: &Value| value["id"].as_str().or(value["value"].as_str()).map(str::to_owned);
            let values: Values = values.iter().map(text).collect();
            let counts = Counts::of(&group["totals"]);
            let Some((expected, series)) = groups.remove(&values) else {
                panic!("there is no group {values:?}: {}", told())
            };
            assert_eq!((counts, counts.0), (expected, size), "{values:?}: {}", told());
            assert_eq!(of_list(&group["series"]), series, "{values:?}: {}", told());
            sum.join(counts);
        }
        let mut others = Counts::default();
        for (counts, _) in groups.values() {
            others.join(*counts);
        }
        assert_eq!(Counts::of(&answer["others"]), others, "others: {}", told());
        sum.join(others);
        if !group_by.is_empty() && !group_by.iter().any(|one| is_multiple(one)) {
            assert_eq!(sum, total, "groups and others are the whole: {}", told());
        }
        check_gaps(asked, log, from, to);
    }
}

fn check_gaps(asked: &Asked, log: &Log, from: i64, to: i64) {
    let told = |gap: &Value| (micros(&gap["from"]), micros(&gap["to"]));
    let mut told: Vec<_> = asked.answer["incomplete"].as_array().unwrap().iter().map(told).collect();
    let mut gaps: Vec<_> = log.gaps.iter().copied().filter(|gap| gap.0 < to && gap.1 > from).collect();
    told.sort_unstable();
    gaps.sort_unstable();
    assert_eq!(told, gaps, "{asked:?}");
    let newest = log.facts.iter().map(|fact| fact.last).max().unwrap();
    let through = micros(&asked.answer["through"]);
    // Records keep milliseconds, the end of what is recorded microseconds.
    assert!((newest..newest + 1_000).contains(&through), "{through} {newest} {asked:?}");
}

fn random_observer(random: &mut Random, observers: usize) -> usize {
    random.below(observers)
}

/// Which buckets: these, or any.
pub enum Frame {
    Fixed(&'static str, Tz),
    Any,
}

impl From<(&'static str, Tz)> for Frame {
    fn from((granularity, zone): (&'static str, Tz)) -> Self {
        Self::Fixed(granularity, zone)
    }
}

impl Frame {
    fn choose(self, random: &mut Random) -> (&'static str, Tz) {
        match self {
            Self::Fixed(granularity, zone) => (granularity, zone),
            Self::Any => (GRANULARITIES[random.below(4)], ZONES[random.below(3)]),
        }
    }
}
