//! The mutation that imports keys.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Json, Object, SimpleObject};
use keyledger_projections::KeyState;
use keyledger_schema::{Metadata, WorkspaceId};

use super::{Warning, warnings};
use crate::decisions::limits;
use crate::error::{self, Result};
use crate::graphql::MUTATION_COST;
use crate::graphql::answer::{parties, recorded};
use crate::graphql::credits::CreditsInput;
use crate::graphql::event::EventNode;
use crate::graphql::input::{self, GrantInput, ScopeInput};
use crate::graphql::key::KeyNode;
use crate::graphql::policy::{RateLimitInput, rate_limits};
use crate::graphql::scalar::{DateTime, Environment};
use crate::secret::{self, Brought};
use crate::service::NewKey;
use crate::service::import::{Imported, Imports, NewImport};

/// How often a field of each key counts, whatever the number of keys: how many there are is known only once the
/// whole input was read, which for this input costs as much as anything else about it.
const ITEM_COST: usize = 500;

/// How a digest is computed and written.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HashAlgorithm {
    /// SHA-256 of the secret's bytes, in 64 hexadecimal digits.
    #[graphql(name = "SHA256_HEX")]
    Sha256Hex,
    /// SHA-256 of the secret's bytes, in base64 of either alphabet, padded or not.
    #[graphql(name = "SHA256_BASE64")]
    Sha256Base64,
    /// BLAKE3 of the secret's bytes, not keyed, 256 bits, in 64 hexadecimal digits.
    #[graphql(name = "BLAKE3_HEX")]
    Blake3Hex,
}

impl From<HashAlgorithm> for secret::Writing {
    fn from(algorithm: HashAlgorithm) -> Self {
        match algorithm {
            HashAlgorithm::Sha256Hex => Self::Sha256Hex,
            HashAlgorithm::Sha256Base64 => Self::Sha256Base64,
            HashAlgorithm::Blake3Hex => Self::Blake3Hex,
        }
    }
}

/// A digest of a secret, without salt.
#[derive(InputObject)]
pub(crate) struct SecretHashInput {
    /// How it was computed and is written.
    algorithm: HashAlgorithm,
    /// The digest.
    value: String,
}

/// A key whose secret was made elsewhere: name exactly one of `secret` and `hash`.
#[derive(InputObject)]
pub(crate) struct ImportKeyInput {
    /// 1 to 128 characters.
    name: String,
    /// Fixed for good.
    environment: Environment,
    /// The secret itself: 16 to 256 visible ASCII characters without spaces. It is not kept.
    secret: Option<String>,
    /// A digest of the secret.
    hash: Option<SecretHashInput>,
    /// Only with `hash`: the start of the secret, as lists are to show it; at most 16 visible ASCII characters.
    hint: Option<String>,
    /// What its holder may do in your API; at most 64.
    #[graphql(default)]
    scopes: Vec<ScopeInput>,
    /// Roles of the organization that it holds; at most 32.
    #[graphql(default)]
    role_ids: Vec<ID>,
    /// What it may do in Keyledger itself; at most 16, none of them wider than your own.
    #[graphql(default)]
    grants: Vec<GrantInput>,
    /// From this moment on it is expired. Fixed for good.
    expires_at: Option<DateTime>,
    /// Addresses it may be used from, such as `203.0.113.0/24`; everywhere when empty; at most 64.
    #[graphql(default)]
    allowed_cidrs: Vec<String>,
    /// How often it may be used; at most 8.
    #[graphql(default)]
    rate_limits: Vec<RateLimitInput>,
    /// The identity whose rate limits and credits it shares.
    identity_id: Option<ID>,
    /// How many uses it has; unlimited when left out.
    credits: Option<CreditsInput>,
    /// A JSON object of your own, at most 4 KiB.
    metadata: Option<Json<serde_json::Value>>,
}

/// Keys whose secrets were made elsewhere.
#[derive(InputObject)]
pub(crate) struct ImportKeysInput {
    /// Where; may be left out when the organization has one workspace only.
    workspace_id: Option<ID>,
    /// 1 to 1000 keys.
    keys: Vec<ImportKeyInput>,
}

impl ImportKeyInput {
    /// Fields are named as if there were this key only.
    fn check(self) -> Result<NewImport> {
        let (brought, hint) = brought(self.secret, self.hash, self.hint)?;
        let key = NewKey {
            workspace: None,
            name: input::name(&self.name)?,
            environment: self.environment.into(),
            prefix: secret::DEFAULT_PREFIX.into(),
            scopes: input::scopes(self.scopes)?,
            roles: input::roles(&self.role_ids)?,
            grants: input::grants(&self.grants)?,
            allowed_cidrs: input::networks(&self.allowed_cidrs)?,
            rate_limits: rate_limits(self.rate_limits)?,
            identity: input::identity(self.identity_id.as_ref())?,
            credits: self.credits.map(CreditsInput::check).transpose()?,
            expires_at: self.expires_at.map(|at| at.0),
            metadata: self
                .metadata
                .map_or_else(|| Ok(Metadata::default()), |json| input::metadata(json.0))?,
            idempotency_key: None,
        };
        Ok(NewImport { key, secret: brought, hint })
    }
}

/// What is brought of a secret, and the start of it that lists show.
fn brought(
    text: Option<String>,
    hash: Option<SecretHashInput>,
    hint: Option<String>,
) -> Result<(Brought, Box<str>)> {
    let invalid = |field: &'static str, message: String| Err(error::Error::invalid(field, message));
    let brought = match (text, hash) {
        (Some(text), None) => {
            let Some(brought) = Brought::text(text) else {
                let (least, most) = (secret::MIN_IMPORTED_BYTES, secret::MAX_IMPORTED_BYTES);
                let message = format!(
                    "an imported secret has {least} to {most} visible ASCII characters and no spaces"
                );
                return invalid("input.secret", message);
            };
            brought
        }
        (None, Some(hash)) => {
            let Some(brought) = Brought::digest(hash.algorithm.into(), &hash.value) else {
                let message = match hash.algorithm {
                    HashAlgorithm::Sha256Hex | HashAlgorithm::Blake3Hex => {
                        "this digest has 64 hexadecimal digits and nothing else"
                    }
                    HashAlgorithm::Sha256Base64 => "this digest is 32 bytes in base64",
                };
                return invalid("input.hash.value", message.to_owned());
            };
            brought
        }
        _ => return invalid("input.secret", "name exactly one of secret and hash".to_owned()),
    };
    let shown = match (brought.hint(), hint) {
        (Some(_), Some(_)) => {
            return invalid("input.hint", "the hint is taken from the secret; leave it out".to_owned());
        }
        (Some(hint), None) => hint.into(),
        (None, hint) => hint.unwrap_or_default().into_boxed_str(),
    };
    if shown.len() > secret::MAX_HINT_BYTES || !shown.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!("a hint has at most {} visible ASCII characters", secret::MAX_HINT_BYTES);
        return invalid("input.hint", message);
    }
    if brought.is(&shown) {
        return invalid("input.hint", "this is the whole secret; give the first characters only".to_owned());
    }
    Ok((brought, shown))
}

impl ImportKeysInput {
    fn check(self) -> Result<(Option<WorkspaceId>, Vec<Result<NewImport>>)> {
        const MOST: usize = limits::MAX_IMPORTED_KEYS;
        let workspace =
            self.workspace_id.as_deref().map(|text| input::id("input.workspaceId", text)).transpose()?;
        limits::at_most("input.keys", "keys", self.keys.len(), MOST)?;
        if self.keys.is_empty() {
            let message = format!("there is nothing to import; send 1 to {MOST} keys");
            return Err(error::Error::invalid("input.keys", message));
        }
        let keys = self.keys.into_iter().enumerate();
        Ok((workspace, keys.map(|(at, key)| key.check().map_err(|error| error.of_item(at))).collect()))
    }
}

/// What became of one of the keys.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ImportStatus {
    /// There is a new key with this secret.
    Imported,
    /// A key has, or had, this secret already; it was left as it is.
    Exists,
    /// It was refused.
    Failed,
}

/// Why one of the keys was refused.
#[derive(SimpleObject, Clone, Debug)]
pub(crate) struct ImportError {
    /// Stable; see the errors of the API.
    code: String,
    /// For people.
    message: String,
    /// What it is about, such as `input.keys[3].secret`.
    field: Option<String>,
}

/// What became of one of the keys.
#[derive(SimpleObject)]
pub(crate) struct ImportResult {
    /// Its place in the input, from 0.
    index: i32,
    /// What became of it.
    status: ImportStatus,
    /// The key that has this secret; null when it was refused.
    key: Option<KeyNode>,
    /// Why it was refused.
    error: Option<ImportError>,
}

/// What became of the keys.
#[derive(SimpleObject)]
pub(crate) struct ImportKeysPayload {
    /// In the order of the input.
    #[graphql(complexity = "ITEM_COST * child_complexity")]
    results: Vec<ImportResult>,
    /// How many keys are new.
    imported: i32,
    /// How many existed already.
    existing: i32,
    /// How many were refused.
    failed: i32,
    /// The events that the mutation wrote: one for each new key, and another one for its credits if it has any.
    #[graphql(complexity = "ITEM_COST * child_complexity")]
    events: Vec<EventNode>,
    /// What the caller should know, each thing once.
    warnings: Vec<Warning>,
}

impl ImportResult {
    fn new(index: usize, item: Imported) -> Self {
        let key = |state: Arc<KeyState>| Some(KeyNode::shared(state));
        let (status, key, error) = match item {
            Imported::New(state) => (ImportStatus::Imported, key(state), None),
            Imported::Exists(state) => (ImportStatus::Exists, key(state), None),
            Imported::Failed(error) => {
                let error = ImportError {
                    code: error.code.as_str().to_owned(),
                    message: error.message.into_owned(),
                    field: error.field.map(std::borrow::Cow::into_owned),
                };
                (ImportStatus::Failed, None, Some(error))
            }
        };
        Self { index: i32::try_from(index).unwrap_or(i32::MAX), status, key, error }
    }
}

impl ImportKeysPayload {
    fn new(imports: Imports) -> Self {
        let results: Vec<ImportResult> =
            imports.items.into_iter().enumerate().map(|(at, item)| ImportResult::new(at, item)).collect();
        let count = |status| {
            let of_it = results.iter().filter(|result| result.status == status).count();
            i32::try_from(of_it).unwrap_or(i32::MAX)
        };
        Self {
            imported: count(ImportStatus::Imported),
            existing: count(ImportStatus::Exists),
            failed: count(ImportStatus::Failed),
            results,
            events: EventNode::written(imports.events),
            warnings: warnings(imports.warnings),
        }
    }
}

/// The mutation that imports keys.
#[derive(Default)]
pub(crate) struct ImportMutation;

#[Object]
impl ImportMutation {
    /// Makes keys of secrets that were made elsewhere, so that their holders need no new ones. Each key stands
    /// for itself: one that is refused does no harm to the others, and a repetition of the call answers EXISTS.
    #[graphql(complexity = "MUTATION_COST + child_complexity")]
    async fn import_keys(
        &self,
        context: &Context<'_>,
        input: ImportKeysInput,
    ) -> async_graphql::Result<ImportKeysPayload> {
        let (service, caller) = parties(context)?;
        let run = async {
            let (workspace, keys) = input.check()?;
            service.import_keys(caller, workspace, keys).await
        };
        recorded(context, None, run).await.map(ImportKeysPayload::new)
    }
}
