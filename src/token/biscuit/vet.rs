//! What a holder may add to a token: a few plain checks.
//!
//! The engine's own limits are looked at between the steps of an evaluation, and one step can be made as long as one
//! likes: a check over a few facts that the same block tells joins all of them with all of them, a closure within a
//! closure multiplies, a regular expression is built anew each time, and texts that are put together grow with each
//! step. So none of that is taken. What is left sees one fact of each kind, and takes a time that grows with the length
//! of the token and nothing else.
//!
//! `reject if` is not taken either: it holds wherever the fact is missing that it rejects, so a question that does not
//! name its action would be answered for a token that allows less.

use biscuit_auth::format::schema::{Block, Check, Op, Rule, SignedBlock, check, op, op_binary, op_unary};
use prost::Message;

/// The most blocks behind the authority block.
pub const MAX_BLOCKS: usize = 16;
/// The most alternatives of all checks together.
pub const MAX_QUERIES: usize = 128;
/// The most conditions of one alternative.
pub const MAX_PREDICATES: usize = 8;
/// The most operations of all checks together.
pub const MAX_OPS: usize = 256;

struct Budget {
    queries: usize,
    ops: usize,
}

/// Whether blocks are what a holder may add.
pub(super) fn blocks(blocks: &[SignedBlock]) -> bool {
    let mut left = Budget { queries: MAX_QUERIES, ops: MAX_OPS };
    blocks.len() <= MAX_BLOCKS && blocks.iter().all(|signed| left.block(signed))
}

impl Budget {
    fn block(&mut self, signed: &SignedBlock) -> bool {
        // Nobody else's word counts here, so a block that somebody else signed (a third-party block) has no meaning.
        if signed.external_signature.is_some() {
            return false;
        }
        let Ok(block) = Block::decode(&*signed.block) else { return false };
        let checks_only = block.facts.is_empty() && block.rules.is_empty() && block.public_keys.is_empty();
        checks_only && block.checks.iter().all(|check| self.check(check))
    }

    fn check(&mut self, check: &Check) -> bool {
        check.kind() != check::Kind::Reject && check.queries.iter().all(|query| self.query(query))
    }

    fn query(&mut self, query: &Rule) -> bool {
        let Some(left) = self.queries.checked_sub(1) else { return false };
        self.queries = left;
        query.body.len() <= MAX_PREDICATES
            && query.expressions.iter().all(|expression| self.ops(&expression.ops))
    }

    fn ops(&mut self, ops: &[Op]) -> bool {
        ops.iter().all(|op| self.op(op))
    }

    fn op(&mut self, op: &Op) -> bool {
        let Some(left) = self.ops.checked_sub(1) else { return false };
        self.ops = left;
        match &op.content {
            None => false,
            Some(op::Content::Value(_)) => true,
            Some(op::Content::Unary(unary)) => unary.kind() != op_unary::Kind::Ffi,
            Some(op::Content::Binary(binary)) => {
                use op_binary::Kind::{Add, All, Any, Ffi, Regex};
                !matches!(binary.kind(), Add | Regex | All | Any | Ffi)
            }
            // The right side of `&&` and `||` is one without parameters.
            Some(op::Content::Closure(closure)) => closure.params.is_empty() && self.ops(&closure.ops),
        }
    }
}
