//! Keys that break the policy which holds in their organization now.

use keyledger_projections::{KeyState, KeyStatus};

use super::{Asked, Kind, Scope};
use crate::caller::Caller;
use crate::decisions::policy::Violation;
use crate::error::{Error, Result};
use crate::readmodel::{Item, Page, Window};
use crate::service::Service;
use crate::service::compliance::broken_rules;

/// Keys that are looked at in one go.
const STRETCH: usize = 1_000;
/// So many keys are looked at for one page. One that ends there may have few rows, or none.
const LOOKED_AT: usize = 20_000;

/// A key and the rules that it breaks.
#[derive(Clone, Debug)]
pub struct Violator {
    /// The key.
    pub key: KeyState,
    /// Its status.
    pub status: KeyStatus,
    /// The rules, at least one.
    pub broken: Vec<Violation>,
}

impl Service {
    /// The next keys that break the policy after a cursor, in the order of their creation, for those who may read
    /// trails. Going backward is refused: it would take looking at all of them.
    pub async fn policy_violators(
        &self,
        caller: &Caller,
        asked: &Asked,
        window: Window,
    ) -> Result<Page<Violator>> {
        asked.check(Kind::PolicyViolations)?;
        let scope = self.scope_of_report(caller, asked)?;
        let Window::First { count, after } = window else {
            return Err(Error::invalid("last", "this list goes forward only; use first and after"));
        };
        self.violators_after(&scope, count, after).await
    }

    pub(super) async fn violators_after(
        &self,
        scope: &Scope,
        count: usize,
        after: Option<String>,
    ) -> Result<Page<Violator>> {
        let policy = self.tenants.tenant(scope.organization).ok_or_else(Error::internal)?.policy.clone();
        let has_previous = after.is_some();
        let (mut after, mut items, mut looked_at) = (after, Vec::<Item<Violator>>::new(), 0);
        let has_next = loop {
            let window = Window::First { count: STRETCH, after: after.clone() };
            let page = self.usable_keys(scope, window, false).await?;
            let mut rest = page.items.into_iter();
            for item in rest.by_ref() {
                looked_at += 1;
                after = Some(item.cursor.clone());
                let key = item.node.state;
                let broken = broken_rules(&policy, &key, scope.now);
                if !broken.is_empty() {
                    let node = Violator { status: key.status(scope.now), key, broken };
                    items.push(Item { cursor: item.cursor, node });
                    if items.len() >= count {
                        break;
                    }
                }
            }
            let more = rest.len() > 0 || page.has_next;
            if items.len() >= count || looked_at >= LOOKED_AT || !more {
                break more;
            }
        };
        self.name_creators(items.iter_mut().map(|item| &mut item.node.key)).await?;
        Ok(Page { items, has_next, has_previous, total: None, start_cursor: None, end_cursor: after })
    }
}
