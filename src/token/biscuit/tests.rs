use std::fmt::Write as _;

use biscuit_auth::{BlockBuilder, UnverifiedBiscuit};
use proptest::prelude::*;

use super::*;
use crate::edge::Stopwatch;
use crate::token::claims::Audience;
use crate::token::fixture::{self, key};
use crate::token::jwt;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_300_000_000);
/// Debug builds on a busy machine are slow, and hostile texts without these limits take minutes.
const SOON: Duration = Duration::from_secs(2);

/// Of a token that says something else than what stands there by itself.
fn claims() -> Claims {
    let aud = Audience::new(vec!["https://a.example".into(), "https://b.example".into()]);
    Claims { aud, secret: 7, epoch: 3, grants: false, ..fixture::claims() }
}

fn token() -> String {
    mint(&claims(), &key(1), &[2; 32]).unwrap()
}

/// The token with a block of this code.
fn with(text: &str, code: &str) -> String {
    let token = UnverifiedBiscuit::from(BASE64.decode(text).unwrap()).unwrap();
    let block = BlockBuilder::new().code(code).unwrap();
    let next = blake3::hash(text.as_bytes());
    let next = KeyPair::from(&PrivateKey::from_bytes(next.as_bytes(), Algorithm::Ed25519).unwrap());
    BASE64.encode(token.append_with_keypair(&next, block).unwrap().to_vec().unwrap())
}

fn checked(text: &str) -> Option<(Claims, Option<Narrowed>)> {
    Unchecked::parse(text)?.claims(&key(1).verifying_key())
}

fn request() -> Request<'static> {
    Request {
        now: NOW,
        action: Some(Action::Read),
        resource: Some("customers/42"),
        address: "203.0.113.7".parse().ok(),
        audience: Some("https://a.example"),
    }
}

fn allowed(text: &str, request: &Request<'_>) -> bool {
    let (said, narrowed) = checked(text).expect("a token");
    assert_eq!(said, claims(), "what it says never changes");
    narrowed.expect("a narrowed token").allow(request)
}

fn container(text: &str) -> schema::Biscuit {
    schema::Biscuit::decode(&*BASE64.decode(text).unwrap()).unwrap()
}

#[test]
fn claims_survive_and_only_the_right_key_signs() {
    let text = token();
    assert!(looks_like_one(&text) && text.len() < 1_200, "{} characters", text.len());
    let (said, narrowed) = checked(&text).unwrap();
    assert_eq!(said, claims());
    assert!(narrowed.is_none());
    let unchecked = Unchecked::parse(&text).unwrap();
    assert_eq!(unchecked.number(), jwk::number(key(1).verifying_key().as_bytes()));
    assert!(unchecked.claims(&key(2).verifying_key()).is_none());
    // Written without padding it is the same.
    assert_eq!(checked(text.trim_end_matches('=')).unwrap().0, claims());
    let manager = Claims { grants: true, ..claims() };
    let text = mint(&manager, &key(1), &[2; 32]).unwrap();
    assert!(!checked(&text).unwrap().0.grants, "it never acts on what is guarded here");
}

#[test]
fn it_is_read_by_people_and_refused_offline_outside_its_time() {
    let token = Biscuit::from(
        BASE64.decode(token()).unwrap(),
        PublicKey::from_bytes(key(1).verifying_key().as_bytes(), Algorithm::Ed25519).unwrap(),
    )
    .unwrap();
    let shown = token.print_block_source(0).unwrap();
    for line in [
        "issuer(\"https://keys.example\");",
        "environment(\"production\");",
        "scope(\"read:customers/* write:invoices/**\");",
        "expires_at(2027-01-15T08:10:00Z);",
        "check if time($time), $time >= 2027-01-15T08:00:00Z, $time < 2027-01-15T08:10:00Z;",
    ] {
        assert!(shown.contains(line), "{line} is missing in\n{shown}");
    }
    let at = |seconds: i64| {
        let authorizer = AuthorizerBuilder::new().fact(fact("time", &[date(seconds)])).unwrap();
        authorizer.policy("allow if true").unwrap().build(&token).unwrap().authorize().is_ok()
    };
    assert!(at(1_800_000_000) && at(1_800_000_599));
    assert!(!at(1_799_999_999) && !at(1_800_000_600));
}

#[test]
fn neither_form_is_the_other() {
    let signed = jwt::Minter::new(key(1)).mint(&claims()).unwrap();
    assert!(!looks_like_one(&signed) && Unchecked::parse(&signed).is_none());
    assert!(!jwt::looks_like_one(&token()) && jwt::Unchecked::parse(&token()).is_none());
    // What is signed begins differently.
    assert!(signed.starts_with('e'));
    assert_eq!(container(&token()).authority.block[0], 0x0a);
    for text in ["", "C", &"C".repeat(400), "kl_prod_0000000000000000000000000000000000000000000"] {
        assert!(!looks_like_one(text) && Unchecked::parse(text).is_none(), "{text}");
    }
}

#[test]
fn holders_narrow_by_what_a_request_is() {
    let cases = [
        (r#"check if action("read")"#, true),
        (r#"check if action("write")"#, false),
        (r#"check if resource("customers/42")"#, true),
        (r#"check if resource($r), $r.starts_with("customers/")"#, true),
        (r#"check if resource($r), $r.starts_with("invoices/")"#, false),
        (r#"check if resource("customers/7") or resource("customers/42")"#, true),
        (r#"check if action("read"), resource("customers/7")"#, false),
        ("check if time($t), $t < 2027-01-15T08:06:00Z", true),
        ("check if time($t), $t < 2027-01-15T08:05:00Z", false),
        (r#"check if ip("203.0.113.7")"#, true),
        (r#"check if ip("203.0.113.8")"#, false),
        (r#"check if environment("production")"#, true),
        (r#"check if environment("staging")"#, false),
        (r#"check if audience("https://a.example")"#, true),
        (r#"check if audience("https://b.example")"#, false),
        (r#"check if audiences($all), $all.contains("https://b.example")"#, true),
        (r#"check all action($a), ["read", "write"].contains($a)"#, true),
        (r#"check if action($a), $a == "read" || $a == "write""#, true),
        ("check if true", true),
        ("check if false", false),
        ("check if resource($r), $r < 3", false),
        (r#"check if unheard_of("read")"#, false),
    ];
    for (code, expected) in cases {
        assert_eq!(allowed(&with(&token(), &format!("{code};")), &request()), expected, "{code}");
    }
    // All checks of all blocks have to hold.
    let twice = with(&with(&token(), r#"check if action("read");"#), r#"check if resource("customers/42");"#);
    assert!(allowed(&twice, &request()));
    assert!(!allowed(&twice, &Request { action: Some(Action::Write), ..request() }));
    assert!(!allowed(&twice, &Request { resource: Some("customers/7"), ..request() }));
    // What a request does not say holds nothing.
    let bare = Request { action: None, resource: None, address: None, audience: None, ..request() };
    for code in [r#"action("read")"#, r#"resource("customers/42")"#, r#"ip("203.0.113.7")"#] {
        assert!(!allowed(&with(&token(), &format!("check if {code};")), &bare), "{code}");
    }
    // An IPv4 client on a socket for both is an IPv4 client.
    let mapped = Request { address: "::ffff:203.0.113.7".parse().ok(), ..request() };
    assert!(allowed(&with(&token(), r#"check if ip("203.0.113.7");"#), &mapped));
}

#[test]
fn nothing_that_a_holder_adds_widens() {
    let widening = [
        r#"scope("admin:**");"#,
        "grants(true);",
        r#"key("key_01h455vb4pex5vsknk084sn02q");"#,
        r#"organization("org_01h455vb4pex5vsknk084sn02q");"#,
        "expires_at(2999-01-01T00:00:00Z);",
        "time(2027-01-15T08:00:00Z);",
        r#"action("read"); check if action("read");"#,
        r#"scope("*:**") <- time($t);"#,
        r#"action($a) <- environment($a); check if action("production");"#,
    ];
    for code in widening {
        assert!(Unchecked::parse(&with(&token(), code)).is_none(), "{code}");
    }
    // A check that always holds is no harm, and no gain.
    let text = with(&token(), "check if true;");
    assert!(allowed(&text, &request()));
    // Nor is what says that it trusts others.
    assert!(allowed(&with(&token(), r#"trusting previous; check if action("read");"#), &request()));
}

#[test]
fn what_somebody_else_signed_is_not_taken() {
    let bytes = BASE64.decode(token()).unwrap();
    let root = PublicKey::from_bytes(key(1).verifying_key().as_bytes(), Algorithm::Ed25519).unwrap();
    let token = Biscuit::from(&bytes, root).unwrap();
    let other = KeyPair::from(&PrivateKey::from_bytes(&[9; 32], Algorithm::Ed25519).unwrap());
    let asked = token.third_party_request().unwrap();
    let block = asked.create_block(&other.private(), BlockBuilder::new().code("check if true;").unwrap());
    let text =
        BASE64.encode(token.append_third_party(other.public(), block.unwrap()).unwrap().to_vec().unwrap());
    assert!(looks_like_one(&text) && Unchecked::parse(&text).is_none());
}

#[test]
fn blocks_can_neither_be_taken_away_nor_exchanged() {
    let narrow = with(&token(), r#"check if action("write");"#);
    let twice = with(&narrow, "check if false;");
    let reassembled = |change: &dyn Fn(&mut schema::Biscuit)| {
        let mut parts = container(&twice);
        change(&mut parts);
        BASE64.encode(parts.encode_to_vec())
    };
    assert!(checked(&reassembled(&|_| {})).is_some());
    assert!(checked(&reassembled(&|parts| drop(parts.blocks.pop()))).is_none());
    assert!(checked(&reassembled(&|parts| parts.blocks.clear())).is_none());
    assert!(checked(&reassembled(&|parts| parts.blocks.swap(0, 1))).is_none());
    // The proof of a shorter token does not fit either: it is the private key for what comes next.
    assert!(checked(&reassembled(&|parts| parts.proof = container(&narrow).proof)).is_none());
    let other = mint(&claims(), &key(5), &[2; 32]).unwrap();
    assert!(checked(&reassembled(&|parts| parts.authority = container(&other).authority)).is_none());
    // A sealed token is a token, and takes no more blocks.
    let root = PublicKey::from_bytes(key(1).verifying_key().as_bytes(), Algorithm::Ed25519).unwrap();
    let sealed = Biscuit::from(BASE64.decode(&narrow).unwrap(), root).unwrap().seal().unwrap();
    let sealed = BASE64.encode(sealed.to_vec().unwrap());
    assert!(!allowed(&sealed, &request()));
    assert!(Narrowing::default().of(&sealed, &[4; 32]).is_err());
}

#[test]
fn hostile_blocks_are_refused_before_they_cost_anything() {
    let joins = {
        let mut code = String::new();
        (0..60).for_each(|n| write!(code, "f({n});").unwrap());
        let body: Vec<String> = (0..9).map(|n| format!("f($v{n})")).collect();
        code + &format!("check if {}, false;", body.join(", "))
    };
    let set: Vec<String> = (0..200).map(|n: u8| n.to_string()).collect();
    let set = set.join(", ");
    let closures = format!(
        "check if [{set}].all($a -> [{set}].all($b -> [{set}].all($c -> [{set}].all($d -> $a + $b + $c + $d >= 0))));"
    );
    let predicates: Vec<String> = (0..9).map(|n| format!("time($t{n})")).collect();
    let hostile = [
        joins,
        closures,
        r#"check if resource($r), $r.matches("(a{1000}){1000}");"#.to_owned(),
        r#"check if resource($r), $r.matches("(\\w{60}){60}");"#.to_owned(),
        "next(0); next($a, 1) <- next($a); check if next(1000000);".to_owned(),
        "check if true.extern::anything();".to_owned(),
        format!("check if {};", predicates.join(", ")),
        format!("check if {};", vec!["false"; 129].join(" or ")),
        "check if true;".repeat(129),
        format!("check if {} > 0;", vec!["1"; 140].join(" * ")),
        "check if \"a\" + \"b\" == \"ab\";".to_owned(),
        "reject if action(\"write\");".to_owned(),
    ];
    for code in hostile {
        let text = with(&token(), &code);
        let watch = Stopwatch::start();
        assert!(Unchecked::parse(&text).is_none(), "{code}");
        assert!(watch.elapsed() < SOON, "{code}");
    }
    let mut many = token();
    for n in 0..=MAX_BLOCKS {
        assert_eq!(Unchecked::parse(&many).is_some(), n <= MAX_BLOCKS, "{n} blocks");
        many = with(&many, "check if true;");
    }
    assert!(Unchecked::parse(&many).is_none());
    let long = with(&token(), &format!("check if \"{}\" == \"\";", "x".repeat(MAX_BYTES)));
    assert!(!looks_like_one(&long) && Unchecked::parse(&long).is_none());
}

#[test]
fn the_worst_that_is_taken_is_decided_soon() {
    let resource = "r".repeat(1_024);
    let long = Request { resource: Some(&resource), ..request() };
    // Texts searched again and again, in one alternative and in many.
    let search = r#"$r.contains("rrrrrrrrrrrrrrrx")"#;
    let one = format!("check if resource($r), {};", vec![search; 40].join(" || "));
    let many = format!("resource($r), {}", [search; 4].join(" || "));
    let many = format!("check if {};", vec![many; 9].join(" or "));
    let body: Vec<String> = (0..8).map(|n| format!("time($t{n})")).collect();
    let joined = format!("check if {};", vec![body.join(", ") + ", false"; 44].join(" or "));
    for code in [one, many, joined] {
        let text = with(&token(), &code);
        let (_, narrowed) = checked(&text).expect(&code);
        let watch = Stopwatch::start();
        assert!(!narrowed.unwrap().allow(&long), "{code}");
        assert!(watch.elapsed() < SOON, "{:?} for {code}", watch.elapsed());
    }
}

#[test]
fn a_narrowing_says_what_its_words_mean() {
    let narrowing = Narrowing {
        until: Some(NOW.plus(Duration::from_secs(30))),
        actions: ["read"].into(),
        resources: ["customers/42/**".into(), "invoices/7".into()].into(),
        addresses: ["203.0.113.7".parse().unwrap()].into(),
        audiences: ["https://a.example".into()].into(),
    };
    let text = narrowing.of(&token(), &[6; 32]).unwrap();
    let said = shown(&text).unwrap();
    assert_eq!((said.len(), said[0].contains("issuer(")), (2, true));
    assert_eq!(
        said[1].lines().collect::<Vec<_>>(),
        [
            "check if time($time), $time < 2027-01-15T08:05:30Z;",
            r#"check if action("read");"#,
            r#"check if resource("customers/42") or resource($resource), $resource.starts_with("customers/42/") or resource("invoices/7");"#,
            r#"check if ip("203.0.113.7");"#,
            r#"check if audience("https://a.example");"#,
        ]
    );
    for (resource, expected) in [
        ("customers/42", true),
        ("customers/42/orders", true),
        ("customers/421", false),
        ("invoices/7", true),
        ("invoices/7/lines", false),
    ] {
        assert_eq!(
            allowed(&text, &Request { resource: Some(resource), ..request() }),
            expected,
            "{resource}"
        );
    }
    assert!(!allowed(&text, &Request { now: NOW.plus(Duration::from_secs(30)), ..request() }));
    assert!(!allowed(&text, &Request { audience: None, ..request() }));
    // What was typed is a text, whatever is in it.
    let odd = Narrowing { resources: [r#"a"), true or resource("b"#.into()].into(), ..Narrowing::default() };
    let text = odd.of(&token(), &[6; 32]).unwrap();
    assert!(!allowed(&text, &Request { resource: Some("b"), ..request() }));
    assert!(allowed(&text, &Request { resource: Some(r#"a"), true or resource("b"#), ..request() }));
    assert!(odd.of("no token", &[6; 32]).is_err());
}

proptest! {
    /// One bit of difference is another token, or none at all: what it says is never changed.
    #[test]
    fn a_tampered_token_says_nothing_else(bit in 0_usize..8 * 700) {
        let text = with(&token(), r#"check if action("write");"#);
        let mut bytes = BASE64.decode(&text).unwrap();
        prop_assume!(bit / 8 < bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Some((said, narrowed)) = checked(&BASE64.encode(bytes)) {
            prop_assert_eq!(said, claims());
            prop_assert!(narrowed.is_some_and(|narrowed| !narrowed.allow(&request())));
        }
    }

    #[test]
    fn texts_that_are_no_tokens_are_none(text in "C[A-Za-z0-9_=-]{0,600}") {
        prop_assert!(checked(&text).is_none());
    }
}
