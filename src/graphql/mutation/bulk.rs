//! Mutations about many keys.

use async_graphql::{Context, Object, SimpleObject};

use super::{Warning, warnings};
use crate::decisions;
use crate::graphql::MUTATION_COST;
use crate::graphql::answer::{parties, recorded};
use crate::graphql::event::EventNode;
use crate::graphql::input::RevokeKeysInput;
use crate::graphql::key::KeyNode;
use crate::graphql::scalar::Long;

/// A key that matched and was left as it is.
#[derive(SimpleObject)]
pub(crate) struct SkippedKey {
    /// The key; null when you may not read it.
    key: Option<KeyNode>,
    /// Why, as in errors.
    code: String,
    /// For people.
    message: String,
}

/// What a bulk revocation did or would do.
#[derive(SimpleObject)]
pub(crate) struct RevokeKeysPayload {
    /// Whether nothing was done.
    dry_run: bool,
    /// How many keys matched.
    matched: Long,
    /// How many of them are revoked now.
    revoked: Long,
    /// How many were left as they are.
    skipped: Long,
    /// The first keys that matched, newest first, at most 100.
    keys: Vec<KeyNode>,
    /// The first keys that were left as they are, at most 100.
    skipped_keys: Vec<SkippedKey>,
    /// The events in the organization's stream. Each key has an event of its own besides, whose cause is the first
    /// of these.
    events: Vec<EventNode>,
    /// What the caller should know.
    warnings: Vec<Warning>,
}

/// Mutations about many keys.
#[derive(Default)]
pub(crate) struct BulkMutation;

#[Object]
impl BulkMutation {
    /// Revokes all keys that a filter names, for the day of an incident. Tells first which they are: `dryRun` is
    /// true unless you say false. A revocation that is interrupted goes on by itself.
    #[graphql(complexity = "MUTATION_COST + 4 * child_complexity")]
    async fn revoke_keys(
        &self,
        context: &Context<'_>,
        input: RevokeKeysInput,
    ) -> async_graphql::Result<RevokeKeysPayload> {
        let (service, caller) = parties(context)?;
        let dry_run = input.dry_run;
        let target = input.filter.organization_id.clone();
        let run = async {
            let (organization, started) = input.check()?;
            let fields = ("input.filter.organizationId", "input.filter.workspaceId");
            let workspace = started.selection.workspace;
            let organization = service.organization_of_list(caller, organization, workspace, fields)?;
            let done = Box::pin(service.revoke_keys(caller, organization, started, dry_run)).await?;
            let keys = service.readable(caller, &done.keys).await?;
            let mut left = Vec::with_capacity(done.left.len());
            for skipped in done.left {
                left.push(SkippedKey {
                    key: service.readable(caller, &[skipped.key]).await?.pop().map(KeyNode::new),
                    code: skipped.error.code.as_str().to_owned(),
                    message: skipped.error.message.into_owned(),
                });
            }
            Ok(RevokeKeysPayload {
                dry_run,
                matched: Long(done.matched),
                revoked: Long(done.revoked),
                skipped: Long(done.skipped),
                keys: keys.into_iter().map(KeyNode::new).collect(),
                skipped_keys: left,
                events: EventNode::written(done.events),
                warnings: warnings(if done.own {
                    vec![decisions::Warning::own_key_left()]
                } else {
                    Vec::new()
                }),
            })
        };
        recorded(context, target.as_deref().map(String::as_str), run).await
    }
}
