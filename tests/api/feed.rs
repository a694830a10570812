//! Events as they come: by long poll, over Server-Sent Events and over a WebSocket.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use keyledger::edge::Stopwatch;
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::ask::{World, create_workspace, data, eventually, manager, text, world};
use crate::support::{Client, Mutated, Server};
use crate::tokens_accepted::{exchange, revoke};

const PATIENCE: Duration = Duration::from_mins(1);
/// What `within about a second` is at most, on a busy machine.
const PROMPT: Duration = Duration::from_secs(10);
const SUBSCRIPTION: &str = "subscription($after: String, $filter: EventFeedFilter, $fromStart: Boolean) {
    events(after: $after, filter: $filter, fromStart: $fromStart) { cursor node { id type organizationId keyId } } }";

/// An answer to a long poll.
fn poll(client: &Client, query: &str) -> Value {
    let (status, body) = client.get(&format!("/v1/events?{query}")).unwrap();
    assert_eq!(status, 200, "{query}: {body}");
    serde_json::from_str(&body).unwrap()
}

fn names(answer: &Value) -> Vec<String> {
    answer["events"].as_array().unwrap().iter().map(|one| text(&one["event"]["type"])).collect()
}

/// A connection that speaks the subprotocol.
struct Socket(WebSocket<TcpStream>);

impl Socket {
    fn connect(server: &Server, header: Option<&str>, protocol: &str) -> Result<Self, u16> {
        let address = server.base().strip_prefix("http://").unwrap();
        let mut request = format!("ws://{address}/graphql").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
        if let Some(secret) = header {
            request.headers_mut().insert("Authorization", format!("Bearer {secret}").parse().unwrap());
        }
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        match tungstenite::client(request, stream) {
            Ok((socket, answer)) => {
                assert_eq!(answer.headers()["sec-websocket-protocol"], "graphql-transport-ws");
                Ok(Self(socket))
            }
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                Err(answer.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// One that said who it is.
    fn open(server: &Server, secret: &str) -> Self {
        let mut socket = Self::connect(server, None, "graphql-transport-ws").unwrap();
        socket.say(&json!({
            "type": "connection_init", "payload": { "Authorization": format!("Bearer {secret}") }
        }));
        assert_eq!(socket.hear().unwrap(), json!({ "type": "connection_ack" }));
        socket
    }

    fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    fn subscribe(&mut self, id: &str, variables: &Value) {
        self.say(&json!({
            "type": "subscribe", "id": id, "payload": { "query": SUBSCRIPTION, "variables": variables }
        }));
    }

    /// The next message, or the code with which the connection was closed.
    fn hear(&mut self) -> Result<Value, u16> {
        let watch = Stopwatch::start();
        loop {
            assert!(watch.elapsed() < PATIENCE, "nothing but pings comes");
            match self.0.read() {
                Ok(Message::Text(text)) => return Ok(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(frame)) => return Err(frame.map_or(0, |frame| frame.code.into())),
                Ok(_) => {}
                Err(error) => panic!("nothing more comes: {error}"),
            }
        }
    }

    /// The next event of a subscription.
    fn event(&mut self, id: &str) -> Value {
        let mut message = self.hear().unwrap();
        assert_eq!((&message["type"], &message["id"]), (&json!("next"), &json!(id)), "{message}");
        assert!(message["payload"]["errors"].is_null(), "{message}");
        message["payload"]["data"]["events"].take()
    }

    /// The next event of a type, whatever comes before it.
    fn event_of(&mut self, id: &str, wanted: &str) -> Value {
        loop {
            let event = self.event(id);
            if event["node"]["type"] == wanted {
                return event;
            }
        }
    }
}

#[test]
fn a_long_poll_answers_at_once_when_there_is_something_and_waits_when_not() {
    let world = world();
    let id = world.root.create_key("before").run().id();
    // That it is looked at is in the trail of the key before it is shown, and so is shown.
    let first = poll(&world.root, &format!("fromStart=true&wait=0&keyId={id}"));
    assert_eq!(names(&first), ["key.issued", "audit.read"]);
    let cursor = text(&first["cursor"]);
    // Another one waits until something happens.
    let root = world.root.clone();
    let query = format!("after={cursor}&wait=30&types=key.disabled");
    let waiting = thread::spawn(move || {
        let watch = Stopwatch::start();
        (poll(&root, &query), watch.elapsed())
    });
    thread::sleep(Duration::from_millis(500));
    world.other.create_key("not theirs to see").run();
    world.root.disable_key(&id).unwrap();
    let (answer, took) = waiting.join().unwrap();
    assert_eq!(names(&answer), ["key.disabled"]);
    assert!(took < Duration::from_secs(15), "{took:?}");
    // Each event has its own cursor, and the end of a list of events goes on in the feed.
    assert_eq!(answer["events"][0]["cursor"], answer["cursor"]);
    let nothing =
        poll(&world.root, &format!("after={}&wait=0&keyId={id}&types=key.issued", text(&answer["cursor"])));
    assert_eq!((names(&nothing).len(), &nothing["more"]), (0, &json!(false)));
    let list = data(
        &world.root,
        "query($id: ID!) { events(filter: { keyId: $id, types: [\"key.issued\"] }) { pageInfo { endCursor } } }",
        &json!({ "id": id }),
    );
    let after = text(&list["events"]["pageInfo"]["endCursor"]);
    let rest = poll(&world.root, &format!("after={after}&wait=0&keyId={id}&types=key.issued,key.disabled"));
    assert_eq!(names(&rest), ["key.disabled"]);
}

#[test]
fn small_pages_of_a_feed_are_the_list_of_events_without_gap_or_duplicate() {
    let world = world();
    for number in 0..12 {
        let id = world.root.create_key(&format!("key {number}")).run().id();
        world.other.create_key("theirs").run();
        world.root.disable_key(&id).unwrap();
    }
    let mut seen: Vec<String> = Vec::new();
    let mut query = "fromStart=true".to_owned();
    loop {
        let answer = poll(&world.root, &format!("{query}&wait=0&max=5&types=key.issued,key.disabled"));
        seen.extend(answer["events"].as_array().unwrap().iter().map(|one| text(&one["event"]["id"])));
        if answer["more"] == json!(false) {
            break;
        }
        query = format!("after={}", text(&answer["cursor"]));
    }
    let filter = json!({ "filter": { "types": ["key.issued", "key.disabled"] } });
    let list = data(
        &world.root,
        "query($filter: EventFilter) { events(filter: $filter, first: 200) { nodes { id } } }",
        &filter,
    );
    let listed: Vec<String> =
        list["events"]["nodes"].as_array().unwrap().iter().map(|node| text(&node["id"])).collect();
    assert_eq!(seen, listed);
    assert!(seen.len() >= 25);
}

#[test]
fn bad_questions_are_refused_with_the_parameter_and_the_bound() {
    let world = world();
    for (query, field) in [
        ("after=nonsense", "after"),
        ("wait=61", "wait"),
        ("wait=-1", "wait"),
        ("max=0", "max"),
        ("max=1001", "max"),
        ("types=", "types"),
        ("types=key.gone", "types"),
        ("actorId=me", "actorId"),
        ("keyId=evt_01h455vb4pex5vsknk084sn02q", "keyId"),
        ("after=a&fromStart=true", "fromStart"),
        ("unknown=1", "query"),
    ] {
        let (status, body) = world.root.get(&format!("/v1/events?{query}")).unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["error"]["field"]), (400, &json!(field)), "{query}: {body}");
    }
    let (status, _) = world.server.anonymous().get("/v1/events").unwrap();
    assert_eq!(status, 401);
    let viewer = world.server.client(&manager(&world.root, "VIEWER", &world.workspace).secret());
    let (status, _) = viewer.get("/v1/events").unwrap();
    assert_eq!(status, 403);
    let foreign = &world.other_tenant.organization;
    let (status, _) = world.root.get(&format!("/v1/events?organizationId={foreign}")).unwrap();
    assert_eq!(status, 404);
}

#[test]
fn a_socket_delivers_each_event_once_and_goes_on_after_a_cursor() {
    let world = world();
    let secret = &world.server.home().tenant().root_key;
    let mut socket = Socket::open(&world.server, secret);
    socket.subscribe("a", &json!({ "filter": { "types": ["key.issued", "key.disabled"] } }));
    // The subscription is in the trail before it begins.
    let followed = json!({ "filter": { "types": ["audit.read"] } });
    let query = "query($filter: EventFilter) { events(filter: $filter) { nodes { data } } }";
    eventually("the look", || {
        let looks = data(&world.root, query, &followed)["events"]["nodes"].to_string();
        looks.contains("\"feed\"")
    });
    let mut expected = Vec::new();
    for number in 0..5 {
        let issued = world.root.create_key(&format!("key {number}")).run();
        world.root.disable_key(&issued.id()).unwrap();
        expected.push(("key.issued", issued.id()));
        expected.push(("key.disabled", issued.id()));
    }
    let got: Vec<Value> = expected.iter().map(|_| socket.event("a")).collect();
    for (event, (wanted, key)) in got.iter().zip(&expected) {
        assert_eq!((&event["node"]["type"], &event["node"]["keyId"]), (&json!(wanted), &json!(key)));
    }
    // From the middle on, as another subscription of the same connection.
    let after = &got[3]["cursor"];
    socket.subscribe("b", &json!({ "after": after, "filter": { "types": ["key.issued", "key.disabled"] } }));
    for event in &got[4..] {
        assert_eq!(&socket.event("b"), event);
    }
    socket.say(&json!({ "type": "complete", "id": "a" }));
    socket.say(&json!({ "type": "ping" }));
    assert_eq!(socket.hear().unwrap(), json!({ "type": "pong" }));
    let last = world.root.create_key("last").run().id();
    assert_eq!(socket.event("b")["node"]["keyId"], json!(last));
}

#[test]
fn a_key_has_twenty_sockets_and_others_have_their_own() {
    let world = world();
    let secret = world.server.home().tenant().root_key.clone();
    let mut open: Vec<Socket> = (0..20).map(|_| Socket::open(&world.server, &secret)).collect();
    let say_who = |header: Option<&str>| {
        let mut socket = Socket::connect(&world.server, header, "graphql-transport-ws").unwrap();
        let payload = header.is_none().then(|| json!({ "Authorization": format!("Bearer {secret}") }));
        socket.say(&json!({ "type": "connection_init", "payload": payload }));
        socket.hear()
    };
    assert_eq!(say_who(None).unwrap_err(), 1013);
    assert_eq!(say_who(Some(&secret)).unwrap_err(), 1013);
    let other = Socket::open(&world.server, &world.other_tenant.root_key);
    drop((other, open.pop()));
    eventually("there is a place again", || say_who(None).is_ok());
}

#[test]
fn a_socket_keeps_to_its_protocol() {
    let world = world();
    let secret = world.server.home().tenant().root_key.clone();
    let connect = || Socket::connect(&world.server, None, "graphql-transport-ws").unwrap();
    assert_eq!(Socket::connect(&world.server, None, "graphql-ws").err(), Some(400));
    assert_eq!(Socket::connect(&world.server, Some("wrong"), "graphql-transport-ws").err(), Some(401));
    // (what is said, with which code it ends)
    let init =
        json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {secret}") } });
    let subscribe = json!({ "type": "subscribe", "id": "a", "payload": { "query": SUBSCRIPTION } });
    for (said, code) in [
        (vec![json!({ "type": "connection_init" })], 4403),
        (vec![json!({ "type": "connection_init", "payload": { "Authorization": "Bearer wrong" } })], 4403),
        (vec![subscribe.clone()], 4401),
        (vec![init.clone(), init.clone()], 4429),
        (vec![init.clone(), subscribe.clone(), subscribe.clone()], 4409),
        (vec![init.clone(), json!({ "type": "start", "id": "a" })], 4400),
        (vec![json!([])], 4400),
    ] {
        let mut socket = connect();
        for message in &said {
            socket.say(message);
        }
        let closed = loop {
            match socket.hear() {
                Ok(message) => assert_ne!(message["type"], "error", "{message}"),
                Err(code) => break code,
            }
        };
        assert_eq!(closed, code, "{}", said[0]);
    }
    // The key in the header is enough.
    let mut socket = Socket::connect(&world.server, Some(&secret), "graphql-transport-ws").unwrap();
    socket.say(&json!({ "type": "connection_init" }));
    assert_eq!(socket.hear().unwrap(), json!({ "type": "connection_ack" }));
    // Queries and what is no document are refused, and the connection goes on.
    for query in ["{ viewer { keyId } }", "subscription { events { cursor } } {", "mutation { a }"] {
        socket.say(&json!({ "type": "subscribe", "id": "q", "payload": { "query": query } }));
        let answer = socket.hear().unwrap();
        assert_eq!((&answer["type"], &answer["id"]), (&json!("error"), &json!("q")), "{answer}");
        assert_eq!(answer["payload"][0]["extensions"]["code"], "INVALID_INPUT");
    }
    for number in 0..16 {
        socket.subscribe(&format!("s{number}"), &json!({}));
    }
    socket.subscribe("one too many", &json!({}));
    let refused = loop {
        let answer = socket.hear().unwrap();
        if answer["type"] == "error" {
            break answer;
        }
    };
    assert_eq!(refused["id"], "one too many");
    assert_eq!(refused["payload"][0]["extensions"]["code"], "TOO_MANY_REQUESTS");
    // A message that is too long ends it.
    let long = "x".repeat(300 * 1024);
    let _ = socket.0.send(Message::text(long));
    let ended = loop {
        match socket.0.read() {
            Ok(Message::Close(frame)) => break frame.map_or(0, |frame| frame.code.into()),
            Ok(_) => {}
            Err(_) => break 0,
        }
    };
    assert!(matches!(ended, 0 | 1009), "{ended}");
}

/// The management key, a way to take it away, and what is asked of the client afterwards.
fn ends_streams(world: &World, take_away: impl Fn(&str)) {
    ends_streams_of(world, Mutated::secret, |key, _| take_away(&key.id()));
}

/// The same with what the client presents, which is made of the key.
fn ends_streams_of(world: &World, present: impl Fn(&Mutated) -> String, take_away: impl Fn(&Mutated, &str)) {
    let auditor = manager(&world.root, "AUDITOR", &world.workspace);
    let bearer = present(&auditor);
    let mut socket = Socket::open(&world.server, &bearer);
    socket.subscribe("a", &json!({}));
    let mut events = Events::follow(&world.server, &bearer, &json!({}));
    let client = world.server.client(&bearer);
    let polled = thread::spawn(move || client.get("/v1/events?wait=60&types=workspace.created").unwrap());
    // All three are under way once an event has come.
    let first = world.root.create_key("seen").with("workspaceId", world.workspace.as_str()).run().id();
    assert_eq!(socket.event_of("a", "key.issued")["node"]["keyId"], json!(first));
    events.until("key.issued");
    thread::sleep(Duration::from_millis(300));
    let watch = Stopwatch::start();
    take_away(&auditor, &bearer);
    // What happens from now on reaches it on no way.
    let later = world.root.create_key("unseen").with("workspaceId", world.workspace.as_str()).run().id();
    let mut heard = String::new();
    let code = loop {
        match socket.hear() {
            Ok(message) => heard.push_str(&message.to_string()),
            Err(code) => break code,
        }
    };
    assert_eq!(code, 4401);
    assert!(watch.elapsed() < PROMPT, "{:?}", watch.elapsed());
    let rest = events.rest();
    assert!(watch.elapsed() < PROMPT, "{:?}", watch.elapsed());
    assert!(rest.contains("UNAUTHENTICATED") && rest.contains("event: complete"), "{rest}");
    let (status, _) = polled.join().unwrap();
    assert_eq!(status, 401);
    assert!(watch.elapsed() < PROMPT, "{:?}", watch.elapsed());
    assert!(!heard.contains(&later) && !rest.contains(&later));
}

#[test]
fn revoked_and_disabled_keys_and_those_without_their_grant_stop_following() {
    let world = world();
    ends_streams(&world, |id| drop(world.root.revoke_key(id, "COMPROMISED").unwrap()));
    ends_streams(&world, |id| drop(world.root.disable_key(id).unwrap()));
    ends_streams(&world, |id| {
        let grants = json!([{ "role": "VIEWER", "workspaceId": world.workspace }]);
        drop(world.root.mutate("updateKey", &json!({ "id": id, "grants": grants })).unwrap());
    });
    ends_streams(&world, |id| drop(world.root.rotate_key(id, 0).unwrap()));
}

#[test]
fn whoever_follows_with_a_token_stops_when_it_or_its_key_ends() {
    let world = world();
    let token = |key: &Mutated| exchange(&world.server, &key.id(), &key.secret(), &[]);
    ends_streams_of(&world, token, |key, token| revoke(&world.server, &key.id(), &key.secret(), token));
    ends_streams_of(&world, token, |key, _| drop(world.root.disable_key(&key.id()).unwrap()));
}

#[test]
fn an_expired_key_stops_following() {
    let world = world();
    let grants = json!([{ "role": "AUDITOR", "workspaceId": world.workspace }]);
    let life = Duration::from_secs(8);
    let soon = crate::ask::in_millis(8_000);
    let key = world.root.create_key("short").with("workspaceId", world.workspace.as_str());
    let key = key.with("grants", grants).with("expiresAt", soon).run();
    let mut socket = Socket::open(&world.server, &key.secret());
    socket.subscribe("a", &json!({}));
    let watch = Stopwatch::start();
    let code = loop {
        if let Err(code) = socket.hear() {
            break code;
        }
    };
    assert_eq!(code, 4401);
    assert!(watch.elapsed() < life + PROMPT);
}

#[test]
fn nobody_is_shown_what_is_not_theirs() {
    let world = world();
    let elsewhere = create_workspace(&world.root, "elsewhere");
    let auditor = manager(&world.root, "AUDITOR", &world.workspace);
    let mut theirs = Socket::open(&world.server, &world.other_tenant.root_key);
    theirs.subscribe("a", &json!({ "fromStart": true }));
    let mut part = Socket::open(&world.server, &auditor.secret());
    part.subscribe("a", &json!({ "fromStart": true }));
    let mut whole =
        Events::follow(&world.server, &world.server.home().tenant().root_key, &json!({ "fromStart": true }));
    let hidden = world.root.create_key("elsewhere").with("workspaceId", elsewhere.as_str()).run().id();
    let seen = world.root.create_key("here").with("workspaceId", world.workspace.as_str()).run().id();
    let foreign = world.other.create_key("theirs").run().id();
    let until = |socket: &mut Socket, last: &str| -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            all.push(socket.event("a")["node"].take());
            if all.last().unwrap()["keyId"] == json!(last) {
                return all;
            }
        }
    };
    let shown = json!(until(&mut part, &seen)).to_string();
    assert!(!shown.contains(&hidden) && !shown.contains("organization.created"), "{shown}");
    let shown = until(&mut theirs, &foreign);
    let organizations: BTreeSet<String> = shown.iter().map(|event| text(&event["organizationId"])).collect();
    assert_eq!(organizations, BTreeSet::from([world.other_tenant.organization.clone()]));
    let shown = whole.until(&seen);
    assert!(shown.contains(&hidden) && !shown.contains(&world.other_tenant.organization));
    // One's own look comes once, and no other one follows from it.
    let mut own = Socket::open(&world.server, &auditor.secret());
    own.subscribe("a", &json!({ "filter": { "types": ["audit.read"] } }));
    assert_eq!(own.event("a")["node"]["type"], "audit.read");
    own.0.get_ref().set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    assert!(own.0.read().is_err(), "looking at looks makes new ones");
}

#[test]
fn a_node_that_stops_ends_what_follows_it() {
    // A poll that the server has not read yet when it stops has no answer: then it is given more time to arrive.
    let answered = [500, 2_000, 8_000].into_iter().find_map(|millis| {
        let world = world();
        let mut socket = Socket::open(&world.server, &world.other_tenant.root_key);
        socket.subscribe("a", &json!({}));
        let client = world.other.clone();
        let polled = thread::spawn(move || client.get("/v1/events?wait=60&types=workspace.created"));
        thread::sleep(Duration::from_millis(millis));
        let watch = Stopwatch::start();
        world.server.stop();
        assert!(watch.elapsed() < Duration::from_secs(20), "{:?}", watch.elapsed());
        let code = loop {
            if let Err(code) = socket.hear() {
                break code;
            }
        };
        assert_eq!(code, 1001);
        polled.join().unwrap().ok()
    });
    assert_eq!(answered.unwrap().0, 503);
}

/// An answer in Server-Sent Events.
struct Events(BufReader<TcpStream>);

impl Events {
    fn follow(server: &Server, secret: &str, variables: &Value) -> Self {
        let address = server.base().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let body = json!({ "query": SUBSCRIPTION, "variables": variables }).to_string();
        write!(
            stream,
            "POST /graphql HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\
             Accept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut events = Self(BufReader::new(stream));
        let head = events.until("\r\n");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        events
    }

    /// Everything up to a line that has a text.
    fn until(&mut self, wanted: &str) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream ended: {all}");
            all.push_str(&line);
            if line.contains(wanted) {
                return all;
            }
        }
    }

    fn rest(mut self) -> String {
        let mut all = String::new();
        self.0.read_to_string(&mut all).unwrap();
        all
    }
}

#[test]
fn one_answer_of_any_operation_comes_as_events_too() {
    let world = world();
    let address = world.server.base().strip_prefix("http://").unwrap();
    let secret = &world.server.home().tenant().root_key;
    let answer = |query: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        let body = json!({ "query": query }).to_string();
        write!(
            stream,
            "POST /graphql HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\
             Accept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        all
    };
    let asked = answer("{ viewer { email } }");
    assert!(
        asked.contains("event: next\ndata: {\"data\":{\"viewer\"")
            && asked.ends_with("event: complete\ndata: \n\n"),
        "{asked}"
    );
    let refused = answer("subscription { events(after: \"nonsense\") { cursor } }");
    assert!(refused.contains("INVALID_INPUT") && refused.contains("event: complete"), "{refused}");
    let plain = world.root.graphql("subscription { events { cursor } }", &json!({}));
    assert_eq!(plain.unwrap_err().code(), Some("INVALID_INPUT"));
}
