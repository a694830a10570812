//! What the columns of reports are called, and what stands in them.

use keyledger_projections::KeyStatus;
use keyledger_schema::actor::ActorKind;
use keyledger_schema::{Actor, Grant, GrantTarget};

use super::Kind;
use super::access::Access;
use super::activity::Activity;
use super::file::Shown;
use super::violations::Violator;
use crate::export::html::Line;
use crate::export::{Cell, Column, Kind as Of};

/// The columns of a report.
pub(super) struct Columns {
    /// Of a file for programs.
    pub(super) table: &'static [Column],
    /// Of a page for people, with their width as a part of a hundred.
    pub(super) page: &'static [(&'static str, u8)],
    /// What must be known of them.
    pub(super) notes: &'static [&'static str],
}

const ACTIVITY: Columns = Columns {
    table: &[
        Column::new("at", Of::Moment),
        Column::new("action", Of::Text),
        Column::new("keyId", Of::Text),
        Column::new("keyName", Of::Text),
        Column::new("workspaceId", Of::Text),
        Column::new("environment", Of::Text),
        Column::new("actorKind", Of::Text),
        Column::optional("actorId", Of::Text),
        Column::optional("actorEmail", Of::Text),
        Column::optional("actorRole", Of::Text),
        Column::optional("ip", Of::Text),
        Column::optional("userAgent", Of::Text),
        Column::optional("reason", Of::Text),
        Column::optional("comment", Of::Text),
        Column::new("changed", Of::Texts),
        Column::optional("followedFrom", Of::Text),
        Column::optional("followedFromAt", Of::Moment),
        Column::optional("followedFromEventId", Of::Text),
        Column::optional("millisecondsToEffect", Of::Count),
        Column::new("eventType", Of::Text),
        Column::new("eventId", Of::Text),
        Column::new("logIndex", Of::Count),
    ],
    page: &[
        ("Time", 13),
        ("Action", 10),
        ("Key", 20),
        ("By", 20),
        ("Why", 16),
        ("Time to effect", 9),
        ("Event", 12),
    ],
    notes: &[
        "Every event of the keys in this period, in the order of the log. A change takes effect before it is answered.",
        "Time to effect runs from what the event followed from (a report of a leak, a bulk revocation, an expiry date, \
         the end of an overlap) to the event. Expired keys and old secrets are refused from their date on, whenever \
         the event is written.",
    ],
};

const ACCESS: Columns = Columns {
    table: &[
        Column::new("keyId", Of::Text),
        Column::new("keyName", Of::Text),
        Column::new("email", Of::Text),
        Column::new("workspaceId", Of::Text),
        Column::new("environment", Of::Text),
        Column::new("status", Of::Text),
        Column::new("grants", Of::Texts),
        Column::new("roles", Of::Texts),
        Column::new("scopes", Of::Texts),
        Column::new("ownScopes", Of::Texts),
        Column::optional("identityId", Of::Text),
        Column::optional("identity", Of::Text),
        Column::new("createdAt", Of::Moment),
        Column::new("createdByKind", Of::Text),
        Column::optional("createdBy", Of::Text),
        Column::new("ageDays", Of::Count),
        Column::optional("expiresAt", Of::Moment),
        Column::optional("lastUsedAt", Of::Moment),
        Column::new("idleDays", Of::Count),
        Column::new("neverUsed", Of::Flag),
        Column::new("unused", Of::Flag),
    ],
    page: &[
        ("Key", 22),
        ("Management grants", 18),
        ("Scopes", 22),
        ("Identity", 9),
        ("Issued", 15),
        ("Use", 14),
    ],
    notes: &[
        "Every key that is active, or could be switched on again. Scopes are all that a key has, with the roles \
              that give them.",
    ],
};

const VIOLATIONS: Columns = Columns {
    table: &[
        Column::new("keyId", Of::Text),
        Column::new("keyName", Of::Text),
        Column::new("workspaceId", Of::Text),
        Column::new("environment", Of::Text),
        Column::new("status", Of::Text),
        Column::new("createdAt", Of::Moment),
        Column::new("createdByKind", Of::Text),
        Column::optional("createdBy", Of::Text),
        Column::optional("expiresAt", Of::Moment),
        Column::new("rules", Of::Texts),
        Column::new("details", Of::Text),
    ],
    page: &[("Key", 30), ("Issued", 20), ("Broken rules", 25), ("Details", 25)],
    notes: &[
        "Every key that is active, or could be switched on again, and breaks a rule that holds in its organization \
              now. Rules do not end keys that were issued before them.",
    ],
};

impl Columns {
    pub(super) const fn of(kind: Kind) -> &'static Self {
        match kind {
            Kind::KeyActivity => &ACTIVITY,
            Kind::AccessReview => &ACCESS,
            Kind::PolicyViolations => &VIOLATIONS,
        }
    }
}

const fn kind_of(actor: &Actor) -> &'static str {
    match actor.kind {
        ActorKind::Key => "KEY",
        ActorKind::Node => "NODE",
        ActorKind::Operator => "OPERATOR",
    }
}

/// The address of whoever acted, or else the id.
fn name_of(actor: &Actor) -> Option<String> {
    let email = actor.email.as_ref().map(|email| email.to_string());
    email.or_else(|| actor.id.as_deref().map(str::to_owned))
}

/// A status as the API writes it.
pub(super) const fn status(status: KeyStatus) -> &'static str {
    match status {
        KeyStatus::Active => "ACTIVE",
        KeyStatus::Inactive => "INACTIVE",
        KeyStatus::Expired => "EXPIRED",
        KeyStatus::Revoked => "REVOKED",
        KeyStatus::Deleted => "DELETED",
    }
}

fn upper(text: impl Into<String>) -> String {
    text.into().to_uppercase()
}

/// A grant as the command line writes it.
fn grant(grant: &Grant) -> String {
    let role = grant.role.as_str().replace('_', "-");
    match grant.on {
        GrantTarget::Organization(id) => format!("{role}@organization:{id}"),
        GrantTarget::Workspace(id) => format!("{role}@workspace:{id}"),
    }
}

/// A length of time as people read it.
fn length(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    match seconds {
        0..60 => format!("{seconds}.{} s", milliseconds % 1_000 / 100),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A word of the API as people read it.
fn spoken(word: &str) -> String {
    word.to_lowercase().replace('_', " ")
}

/// Texts with commas between: they may have spaces in them.
fn texts(texts: impl IntoIterator<Item = impl ToString>) -> Cell {
    Cell::Texts(texts.into_iter().map(|text| text.to_string()).collect())
}

pub(super) fn activity(row: &Activity) -> Shown {
    let actor = &row.actor;
    let email = actor.email.as_ref().map(|email| email.to_string());
    let ip = row.source.ip.as_ref().map(|ip| ip.to_string());
    let agent = row.source.user_agent.as_ref().map(|agent| agent.to_string());
    let effect = row.milliseconds_to_effect();
    let table = vec![
        Cell::Moment(row.at),
        Cell::Text(row.action.as_str().into()),
        Cell::Text(row.key.to_string()),
        Cell::Text(row.key_name.clone()),
        Cell::Text(row.workspace.to_string()),
        Cell::Text(upper(row.environment.as_str())),
        Cell::Text(kind_of(actor).into()),
        Cell::text(actor.id.as_deref()),
        Cell::text(email.clone()),
        Cell::text(actor.role.map(|role| upper(role.as_str()).replace('-', "_"))),
        Cell::text(ip.clone()),
        Cell::text(agent.clone()),
        Cell::text(row.reason.clone()),
        Cell::text(row.comment.clone()),
        texts(&row.changed),
        Cell::text(row.followed.map(|followed| followed.cause.as_str())),
        row.followed.map_or(Cell::Nothing, |followed| Cell::Moment(followed.at)),
        Cell::text(row.followed.and_then(|followed| followed.event)),
        effect.map_or(Cell::Nothing, Cell::Count),
        Cell::Text(row.event_type.into()),
        Cell::Text(row.event.to_string()),
        Cell::Count(row.log_index),
    ];
    let mut by = vec![match &email {
        Some(email) => Line::text(email),
        None => Line::text(spoken(kind_of(actor))),
    }];
    by.extend(actor.role.map(|role| Line::text(spoken(role.as_str()))));
    by.extend(ip.map(Line::text));
    by.extend(agent.map(Line::Text));
    let mut why: Vec<Line> = row.reason.iter().map(|reason| Line::text(spoken(reason))).collect();
    why.extend(row.comment.as_ref().map(Line::text));
    if !row.changed.is_empty() {
        why.push(Line::text(row.changed.join(", ")));
    }
    let mut took: Vec<Line> = effect.map(|effect| Line::text(length(effect))).into_iter().collect();
    took.extend(row.followed.map(|followed| Line::text(format!("from {}", spoken(followed.cause.as_str())))));
    let page = vec![
        row.at.to_string().split('T').map(Line::text).collect(),
        vec![Line::text(spoken(row.action.as_str()))],
        vec![
            Line::text(&row.key_name),
            Line::id(row.key),
            Line::text(row.environment),
            Line::id(row.workspace),
        ],
        by,
        why,
        took,
        vec![Line::text(format!("no. {}", row.log_index)), Line::id(row.event)],
    ];
    Shown { table, page, counts: vec![spoken(row.action.as_str())] }
}

pub(super) fn access(row: &Access) -> Shown {
    let key = &row.key;
    let grants: Vec<String> = key.grants.iter().map(grant).collect();
    let name = name_of(&key.created_by);
    let (never, environment) = (row.last_used_at.is_none(), key.environment);
    let table = vec![
        Cell::Text(key.id.to_string()),
        Cell::Text(key.name.to_string()),
        Cell::Text(key.email.to_string()),
        Cell::Text(key.workspace.to_string()),
        Cell::Text(upper(environment.as_str())),
        Cell::Text(status(row.status).into()),
        texts(&grants),
        texts(&row.roles),
        texts(row.scopes.iter().map(|one| one.scope.to_string())),
        texts(row.scopes.iter().filter(|one| one.own).map(|one| one.scope.to_string())),
        Cell::text(key.identity),
        Cell::text(row.identity.as_deref()),
        Cell::Moment(key.created_at),
        Cell::Text(kind_of(&key.created_by).into()),
        Cell::text(name.clone()),
        Cell::Count(row.age_days),
        key.expires_at.map_or(Cell::Nothing, Cell::Moment),
        row.last_used_at.map_or(Cell::Nothing, Cell::Moment),
        Cell::Count(row.idle_days),
        Cell::Flag(never),
        Cell::Flag(row.unused),
    ];
    let scopes = row.scopes.iter().map(|one| {
        let roles: Vec<&str> = one.by_roles.iter().map(|name| &**name).collect();
        match (one.own, roles.is_empty()) {
            (_, true) => Line::text(&one.scope),
            (false, false) => Line::text(format!("{} (by {})", one.scope, roles.join(", "))),
            (true, false) => Line::text(format!("{} (own, and by {})", one.scope, roles.join(", "))),
        }
    });
    let mut issued = vec![Line::text(key.created_at), Line::text(format!("{} days ago", row.age_days))];
    let by = name.unwrap_or_else(|| spoken(kind_of(&key.created_by)));
    issued.push(Line::text(format!("by {by}")));
    issued.push(Line::text(match key.expires_at {
        Some(at) => format!("expires {at}"),
        None => "never expires".into(),
    }));
    let mut usage = vec![match row.last_used_at {
        Some(at) => Line::text(at),
        None => Line::Flag("never used"),
    }];
    if row.unused {
        usage.push(Line::Flag("unused"));
    }
    usage.push(Line::text(format!("idle for {} days", row.idle_days)));
    let mut counts = vec![spoken(status(row.status))];
    counts.extend(never.then(|| "never used".to_owned()));
    counts.extend(row.unused.then(|| "unused".to_owned()));
    counts.extend((!grants.is_empty()).then(|| "with management grants".to_owned()));
    counts.extend(key.expires_at.is_none().then(|| "that never expire".to_owned()));
    let page = vec![
        vec![
            Line::text(&*key.name),
            Line::id(key.id),
            Line::text(format!("{environment}, {}", spoken(status(row.status)))),
            Line::id(key.workspace),
        ],
        grants.iter().map(Line::text).collect(),
        scopes.collect(),
        row.identity.iter().map(Line::text).collect(),
        issued,
        usage,
    ];
    Shown { table, page, counts }
}

pub(super) fn violator(row: &Violator) -> Shown {
    let key = &row.key;
    let name = name_of(&key.created_by);
    let rules: Vec<&str> = row.broken.iter().map(|broken| broken.rule.as_str()).collect();
    let detail = |broken: &crate::decisions::policy::Violation| {
        format!("{} is {}, this is {}", broken.rule.as_str(), broken.bound, broken.value)
    };
    let details: Vec<String> = row.broken.iter().map(detail).collect();
    let table = vec![
        Cell::Text(key.id.to_string()),
        Cell::Text(key.name.to_string()),
        Cell::Text(key.workspace.to_string()),
        Cell::Text(upper(key.environment.as_str())),
        Cell::Text(status(row.status).into()),
        Cell::Moment(key.created_at),
        Cell::Text(kind_of(&key.created_by).into()),
        Cell::text(name.clone()),
        key.expires_at.map_or(Cell::Nothing, Cell::Moment),
        texts(&rules),
        Cell::Text(details.join("; ")),
    ];
    let by = name.unwrap_or_else(|| spoken(kind_of(&key.created_by)));
    let page = vec![
        vec![
            Line::text(&*key.name),
            Line::id(key.id),
            Line::text(format!("{}, {}", key.environment, spoken(status(row.status)))),
            Line::id(key.workspace),
        ],
        vec![Line::text(key.created_at), Line::text(format!("by {by}"))],
        rules.iter().map(Line::text).collect(),
        details.iter().map(Line::text).collect(),
    ];
    Shown { table, page, counts: rules.iter().map(ToString::to_string).collect() }
}
