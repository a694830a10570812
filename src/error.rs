//! What can go wrong with a request, in the words of the API.
//!
//! An error has a stable code, and a message that names the field, the bound and the remedy. It never
//! holds a secret, SQL or a path. It knows no transport: `http` and `graphql` each map the codes in one
//! exhaustive match.
//!
//! Architecture invariant: text from a library or the operating system does not reach a message.
//! Whoever turns such an error into [`Code::Internal`] or [`Code::Unavailable`] logs it and says something
//! of its own.

use std::borrow::Cow;

/// Stable codes: clients switch on them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Code {
    /// No key, or none that is valid here.
    Unauthenticated,
    /// The key holds no grant that allows this.
    Forbidden,
    /// There is no such thing, or not for this caller.
    NotFound,
    /// A field's value is not acceptable.
    InvalidInput,
    /// Somebody else was faster, or an idempotency key stands for another request.
    Conflict,
    /// What is asked for cannot follow on the present state.
    IllegalTransition,
    /// The workspace has no place for another key.
    QuotaExceeded,
    /// The organization's policy forbids it.
    PolicyViolation,
    /// The organization cannot issue keys yet.
    NotBootstrapped,
    /// The organization has switched its keys off.
    KeysDisabled,
    /// More than the limits allow.
    TooManyRequests,
    /// Not now: the log takes no writes or cannot be read.
    Unavailable,
    /// A fault of ours.
    Internal,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 13] = [
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::InvalidInput,
        Self::Conflict,
        Self::IllegalTransition,
        Self::QuotaExceeded,
        Self::PolicyViolation,
        Self::NotBootstrapped,
        Self::KeysDisabled,
        Self::TooManyRequests,
        Self::Unavailable,
        Self::Internal,
    ];

    /// As clients see it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::InvalidInput => "INVALID_INPUT",
            Self::Conflict => "CONFLICT",
            Self::IllegalTransition => "ILLEGAL_TRANSITION",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::PolicyViolation => "POLICY_VIOLATION",
            Self::NotBootstrapped => "NOT_BOOTSTRAPPED",
            Self::KeysDisabled => "KEYS_DISABLED",
            Self::TooManyRequests => "TOO_MANY_REQUESTS",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}

/// A refusal or a failure.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind.
    pub code: Code,
    /// What, which bound, what to do.
    pub message: Cow<'static, str>,
    /// The field of the input that it is about: `input.scopes[0].resource`.
    pub field: Option<Cow<'static, str>>,
    /// What programs may want to know besides, by name: a JSON object, such as `{"limit":10,"count":10}`.
    pub details: Option<Box<serde_json::Map<String, serde_json::Value>>>,
}

/// Among the details.
const RETRY_AFTER: &str = "retryAfterSeconds";

/// Shorthand.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that is not about one field.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), field: None, details: None }
    }

    /// A field's value is not acceptable.
    pub fn invalid(field: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Code::InvalidInput, message: message.into(), field: Some(field.into()), details: None }
    }

    /// There is no such thing, or not for this caller: the two cannot be told apart.
    pub fn not_found(field: impl Into<Cow<'static, str>>, what: &'static str) -> Self {
        Self {
            code: Code::NotFound,
            message: format!("there is no such {what} here; check the id and the organization of your key")
                .into(),
            field: Some(field.into()),
            details: None,
        }
    }

    /// The same error, about a field.
    #[must_use]
    pub fn about(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same error, about one of the keys of an import: its field is found below that key.
    #[must_use]
    pub fn of_item(mut self, index: usize) -> Self {
        let field = self.field.as_deref().map(|field| field.strip_prefix("input.").unwrap_or(field));
        self.field = Some(match field {
            Some(field) if !field.starts_with("keys[") => format!("input.keys[{index}].{field}").into(),
            _ => format!("input.keys[{index}]").into(),
        });
        self
    }

    /// The same error with something that programs may want to know.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<serde_json::Value>) -> Self {
        self.details.get_or_insert_default().insert(name.to_owned(), value.into());
        self
    }

    /// The same error, which is worth another try after so many seconds.
    #[must_use]
    pub fn after_seconds(self, seconds: u64) -> Self {
        self.with(RETRY_AFTER, seconds)
    }

    /// After how many seconds another try is worth it, if that is known.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.details.as_ref()?.get(RETRY_AFTER)?.as_u64()
    }

    /// Not now.
    pub fn unavailable(message: &'static str) -> Self {
        Self::new(Code::Unavailable, message)
    }

    /// A fault of ours. What happened is logged, not told.
    pub fn internal() -> Self {
        Self::new(
            Code::Internal,
            "something failed on our side and was logged; repeat the request, and report it if it fails again",
        )
    }
}
