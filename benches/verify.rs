//! What each step of a verification costs, without HTTP and without the log.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use keyledger::secret::{MasterKey, Secret, WellFormed};
use keyledger::token::Claims;
use keyledger::token::claims::Audience;
use keyledger::token::jwt::{Minter, Unchecked};
use keyledger::verify::decision::{Request, decide};
use keyledger::verify::directory::Directory;
use keyledger::verify::limits::Charge;
use keyledger::verify::meter;
use keyledger_projections::KeyState;
use keyledger_schema::event::KeyIssued;
use keyledger_schema::resource::Resource;
use keyledger_schema::{
    Action, Environment, KeyId, OrganizationId, Personal, RateLimit, Scope, SecretHash, SecretRecord,
    Timestamp, TokenId, WorkspaceId,
};
use uuid::Uuid;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// Uniform like a keyed hash, and cheap to make a million of.
fn hash(n: u64) -> SecretHash {
    SecretHash(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

fn state(n: u64) -> KeyState {
    let secret = SecretRecord { version: 1, hash: hash(n), hint: "kl_prod_0000".into() };
    let issued = KeyIssued {
        scopes: ["write:customers/7/**", "read:invoices/*", "read:customers/*/orders/**"]
            .map(|scope| scope.parse::<Scope>().expect("a scope"))
            .into(),
        allowed_cidrs: Personal(vec!["203.0.113.0/24".parse().expect("a network")]),
        ..KeyIssued::bare("billing", Environment::Production, secret)
    };
    let (organization, workspace) = (Uuid::from_u128(1), Uuid::from_u128(1));
    KeyState::of_issued(
        KeyId::from_uuid(Uuid::from_u128(n.into())),
        OrganizationId::from_uuid(organization),
        WorkspaceId::from_uuid(workspace),
        NOW,
        &issued,
    )
}

fn directory(keys: u64) -> Arc<Directory> {
    let directory = Directory::with_capacity(usize::try_from(keys).unwrap_or_default());
    (0..keys).for_each(|n| directory.apply(None, &state(n)));
    Arc::new(directory)
}

fn secrets(criterion: &mut Criterion) {
    let secret = Secret::mint("kl", Environment::Production, &[7; 32]);
    let hasher = MasterKey::new([1; 32]).secret_hasher();
    let parsed = WellFormed::parse(secret.expose()).expect("a secret");
    let typo = secret.expose().replace("prod", "prop");
    criterion.bench_function("parse", |bench| {
        bench.iter(|| WellFormed::parse(black_box(secret.expose())).is_some());
    });
    criterion
        .bench_function("parse a typo", |bench| bench.iter(|| WellFormed::parse(black_box(&typo)).is_some()));
    criterion.bench_function("hash", |bench| bench.iter(|| hasher.hash(black_box(parsed))));
}

fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lookup");
    for keys in [1_000, 1_000_000] {
        let directory = directory(keys);
        // Spread over all keys, so that a large directory misses the caches as it does in service.
        let asked: Vec<_> =
            (0..65_536u64).map(|n| hash(n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % keys)).collect();
        let mut next = asked.iter().cycle();
        group.bench_function(BenchmarkId::new("known", keys), |bench| {
            bench.iter(|| next.next().and_then(|hash| directory.find(black_box(hash))).is_some());
        });
        let unknown: Vec<_> = (0..65_536u64).map(|n| hash(u64::MAX - n)).collect();
        let mut next = unknown.iter().cycle();
        group.bench_function(BenchmarkId::new("unknown", keys), |bench| {
            bench.iter(|| next.next().and_then(|hash| directory.find(black_box(hash))).is_some());
        });
    }
    group.finish();
}

fn decisions(criterion: &mut Criterion) {
    let entry = directory(1).find(&hash(0)).expect("the key");
    let request = Request {
        environment: Some(Environment::Production),
        address: "203.0.113.7".parse().ok(),
        access: Resource::parse("customers/42/orders/1").ok().map(|resource| (Action::Read, resource)),
    };
    criterion.bench_function("decide", |bench| {
        bench.iter(|| decide(black_box(&entry), None, black_box(&request), NOW));
    });
    let (now, charge) = (1_800_000_000_000_000_000, Charge::default());
    for limits in [1, 2, 8] {
        let rate_limits = (0..limits).map(|n| RateLimit {
            name: format!("limit-{n}").into(),
            limit: 1_000_000_000,
            window_seconds: 60,
        });
        let directory = Directory::default();
        directory.apply(None, &KeyState { rate_limits: rate_limits.collect(), ..state(0) });
        let entry = directory.find(&hash(0)).expect("the key");
        let mut nanos = now;
        criterion.bench_function(&format!("decide, {limits} rate limits"), |bench| {
            bench.iter(|| {
                // Fast enough that every call is admitted, as most are.
                nanos += 100;
                let code = decide(black_box(&entry), None, black_box(&request), NOW);
                let meter = entry.meter().map(Arc::as_ref);
                (code, meter::charge(meter, None, black_box(&charge), nanos).is_ok())
            });
        });
    }
    let scope: Scope = "read:customers/*/orders/**".parse().expect("a scope");
    criterion.bench_function("match a scope", |bench| {
        bench.iter(|| {
            request.access.is_some_and(|(action, resource)| black_box(&scope).covers(action, resource))
        });
    });
    criterion.bench_function("parse a resource", |bench| {
        bench.iter(|| Resource::parse(black_box("customers/42/orders/1")).is_ok());
    });
}

/// What a token costs more than a secret: its signature when it is seen for the first time, and its hash afterwards.
fn tokens(criterion: &mut Criterion) {
    let signing = MasterKey::new([1; 32]).signing_key(OrganizationId::from_uuid(Uuid::from_u128(1)), 1);
    let public = signing.verifying_key();
    let minter = Minter::new(signing);
    let key = KeyId::from_uuid(Uuid::from_u128(1));
    let seconds = NOW.micros() / 1_000_000;
    let claims = Claims {
        iss: "https://keys.example".into(),
        sub: key,
        aud: Audience::One("https://keys.example".into()),
        exp: seconds + 600,
        nbf: seconds,
        iat: seconds,
        jti: TokenId::from_uuid(Uuid::from_u128(1)),
        client_id: key,
        scope: "write:customers/7/** read:invoices/* read:customers/*/orders/**".into(),
        org: OrganizationId::from_uuid(Uuid::from_u128(1)),
        workspace: WorkspaceId::from_uuid(Uuid::from_u128(1)),
        env: Environment::Production,
        secret: 1,
        epoch: 0,
        grants: true,
    };
    let token = minter.mint(&claims).expect("claims can be written");
    criterion.bench_function("sign a token", |bench| bench.iter(|| minter.mint(black_box(&claims)).is_ok()));
    criterion.bench_function("check a token's signature", |bench| {
        bench.iter(|| Unchecked::parse(black_box(&token)).and_then(|token| token.claims(&public)).is_some());
    });
    criterion
        .bench_function("hash a token", |bench| bench.iter(|| blake3::hash(black_box(token.as_bytes()))));
    let directory = directory(1_000);
    let mut next = (0..1_000u128).map(|n| KeyId::from_uuid(Uuid::from_u128(n))).cycle();
    criterion.bench_function("find a key by its id", |bench| {
        bench.iter(|| next.next().and_then(|key| directory.of_key(black_box(key), 1)).is_some());
    });
}

criterion_group!(benches, secrets, lookups, decisions, tokens);
criterion_main!(benches);
