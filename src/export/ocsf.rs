//! The Open Cybersecurity Schema Framework, version 1.8.0: an event a line. What happens to a key is Entity Management
//! (3004), everything else API Activity (6003). What the schema has no attribute for is in `unmapped`, the data of
//! the event among it.

use keyledger_schema::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Failed;
use super::event::{Details, Logged, Proof, View};
use super::meaning::{Activity, Class, Meaning, Severity, meaning};

/// The version of the schema.
const VERSION: &str = "1.8.0";

#[derive(Serialize)]
struct Line<'a> {
    activity_id: u32,
    activity_name: &'a str,
    category_uid: u32,
    category_name: &'static str,
    class_uid: u32,
    class_name: &'static str,
    /// `class_uid * 100 + activity_id`
    type_uid: u32,
    severity_id: u32,
    severity: &'static str,
    status_id: u32,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<&'a str>,
    /// Milliseconds since 1970.
    time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<i64>,
    message: &'a str,
    metadata: Metadata<'a>,
    actor: Actor<'a>,
    src_endpoint: Endpoint<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_request: Option<HttpRequest<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<Entity<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<Api<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<[Resource<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_data: Option<&'a str>,
    unmapped: Unmapped<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    version: &'static str,
    product: Product,
    uid: &'a str,
    event_code: &'a str,
    log_name: &'a str,
    /// The place in the log.
    sequence: u64,
    original_time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_uid: Option<&'a str>,
}

#[derive(Serialize)]
struct Product {
    name: &'static str,
    vendor_name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Actor<'a> {
    user: User<'a>,
}

#[derive(Serialize)]
struct User<'a> {
    /// 2 whoever has the machine, 3 the server itself, 4 a key.
    type_id: u32,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    /// A key's generated address. It has no top-level domain, which the schema's `email_addr` asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct Endpoint<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a str>,
    /// Who it was, where no address is known: the schema asks for one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct HttpRequest<'a> {
    user_agent: &'a str,
}

#[derive(Serialize)]
struct Entity<'a> {
    /// Other: the schema has no type for keys.
    type_id: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    uid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct Api<'a> {
    operation: &'a str,
    service: Service,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Request<'a>>,
}

#[derive(Serialize)]
struct Service {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Request<'a> {
    uid: &'a str,
}

#[derive(Serialize)]
struct Resource<'a> {
    uid: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Unmapped<'a> {
    position: &'a str,
    hash: &'a str,
    leaf_hash: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_hash: Option<&'a str>,
    stream: &'a str,
    revision: u64,
    version: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_role: Option<&'a str>,
    data: &'a RawValue,
}

/// What an id names, by its prefix.
fn kind_of(id: &str) -> &'static str {
    match id.split_once('_').map_or("", |(prefix, _)| prefix) {
        "org" => "Organization",
        "ws" => "Workspace",
        "key" => "API Key",
        "idn" => "Identity",
        "role" => "Role",
        "node" => "Node",
        "log" => "Log",
        _ => "Other",
    }
}

/// Id and caption of the status.
fn status(view: &View<'_>, counts: Option<(u64, u64)>) -> (u32, &'static str) {
    match (&*view.outcome, counts) {
        ("refused", _) | (_, Some((0, 1..))) => (2, "Failure"),
        (_, Some((valid, all))) if valid < all => (99, "Mixed"),
        _ => (1, "Success"),
    }
}

fn activity(view: &View<'_>, details: &Details<'_>, meaning: Meaning) -> Activity {
    match (&*view.event_type, details.command.as_deref()) {
        ("command.refused", Some(command)) => Activity::of_command(command),
        _ => meaning.activity,
    }
}

fn user<'a>(view: &'a View<'_>) -> User<'a> {
    let (type_id, kind) = match &*view.actor.kind {
        "key" => (4, "Service"),
        "node" => (3, "System"),
        _ => (2, "Admin"),
    };
    let uid = view.actor.id.as_deref();
    let email = view.actor.email.as_deref();
    // The schema asks for a name or an id.
    let name = email.or_else(|| uid.is_none().then_some(&*view.actor.kind));
    User { type_id, kind, uid, name }
}

fn endpoint<'a>(view: &'a View<'_>) -> Endpoint<'a> {
    let ip = view.address();
    let who = view.actor.id.as_deref().unwrap_or(&view.actor.kind);
    Endpoint { ip, name: ip.is_none().then_some(who) }
}

/// A line.
pub(super) fn line(logged: &Logged, text: &str, raw: bool, out: &mut Vec<u8>) -> Result<(), Failed> {
    let view = View::of(text)?;
    let details = view.details();
    let proof = Proof::of(&logged.bytes);
    let meaning = meaning(&view.event_type);
    let activity = activity(&view, &details, meaning);
    let key = view.key(&details);
    let counted = view.counted(&details);
    let (status_id, status) =
        status(&view, counted.as_ref().map(|counted| (counted.valid, counted.verifications)));
    let milliseconds = |at: Timestamp| at.micros() / 1_000;
    let (category_uid, category_name, class_uid, class_name) = match meaning.class {
        Class::Entity => (3, "Identity & Access Management", 3_004, "Entity Management"),
        Class::Api => (6, "Application Activity", 6_003, "API Activity"),
    };
    let is_entity = meaning.class == Class::Entity;
    // What an entity is that is not, in the stream of a key, its key.
    let own = view.stream.split_once('-').map_or(&*view.stream, |(_, id)| id);
    let about = key.or(details.target.as_deref()).unwrap_or(own);
    let severity: Severity = meaning.severity;
    let raw = if raw {
        Some(std::str::from_utf8(&logged.bytes).map_err(|error| Failed(error.to_string()))?)
    } else {
        None
    };
    let line = Line {
        activity_id: activity.number(),
        activity_name: activity.caption().unwrap_or(meaning.name),
        category_uid,
        category_name,
        class_uid,
        class_name,
        type_uid: class_uid * 100 + activity.number(),
        severity_id: severity.number(),
        severity: severity.caption(),
        status_id,
        status,
        status_code: details.code.as_deref(),
        time: milliseconds(view.at),
        start_time: counted.as_ref().map(|counted| milliseconds(counted.from)),
        end_time: counted.as_ref().map(|counted| milliseconds(counted.to)),
        count: counted.as_ref().map(|counted| i64::try_from(counted.verifications).unwrap_or(i64::MAX)),
        message: meaning.name,
        metadata: Metadata {
            version: VERSION,
            product: Product {
                name: "Keyledger",
                vendor_name: "Keyledger",
                version: env!("CARGO_PKG_VERSION"),
            },
            uid: &view.id,
            event_code: &view.event_type,
            log_name: &view.stream,
            sequence: logged.log_index,
            original_time: view.at,
            tenant_uid: view.org.as_deref(),
            correlation_uid: view.request.as_deref(),
        },
        actor: Actor { user: user(&view) },
        src_endpoint: endpoint(&view),
        http_request: view.source.user_agent.as_deref().map(|user_agent| HttpRequest { user_agent }),
        entity: is_entity.then_some(Entity {
            type_id: 99,
            kind: "API Key",
            uid: about,
            name: details.name.as_deref(),
        }),
        comment: details.comment.as_deref().filter(|_| is_entity),
        api: (!is_entity).then_some(Api {
            operation: details.command.as_deref().unwrap_or(&view.event_type),
            service: Service { name: "Keyledger", version: env!("CARGO_PKG_VERSION") },
            request: view.request.as_deref().map(|uid| Request { uid }),
        }),
        resources: (!is_entity).then_some([Resource { uid: about, kind: kind_of(about) }]),
        raw_data: raw,
        unmapped: Unmapped {
            position: &logged.position.to_string(),
            hash: &proof.hash,
            leaf_hash: &proof.leaf_hash,
            previous_hash: view.prev.as_deref(),
            stream: &view.stream,
            revision: view.revision,
            version: view.v,
            cause: view.cause.as_deref(),
            workspace_id: view.workspace.as_deref(),
            actor_role: view.actor.role.as_deref(),
            data: view.data,
        },
    };
    serde_json::to_writer(&mut *out, &line).map_err(|error| Failed(error.to_string()))?;
    out.push(b'\n');
    Ok(())
}
