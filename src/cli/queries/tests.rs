//! Every document is one that the API understands.

use super::*;

const CHANGES: [Mutation; 30] = [
    CREATE,
    CLONE,
    ROTATE,
    UPDATE,
    ACKNOWLEDGE,
    DISABLE,
    ENABLE,
    REVOKE,
    DELETE,
    CREATE_ORGANIZATION,
    BOOTSTRAP,
    RENAME_ORGANIZATION,
    MOVE,
    SET_POLICY,
    REVOKE_TOKENS,
    ROTATE_SIGNING_KEY,
    REVOKE_SIGNING_KEY,
    CREATE_WORKSPACE,
    RENAME_WORKSPACE,
    SET_QUOTA,
    CREATE_ROLE,
    UPDATE_ROLE,
    DELETE_ROLE,
    CREATE_IDENTITY,
    UPDATE_IDENTITY,
    DELETE_IDENTITY,
    SET_CREDITS_OF_KEY,
    SET_CREDITS_OF_IDENTITY,
    ADJUST_CREDITS_OF_KEY,
    ADJUST_CREDITS_OF_IDENTITY,
];

#[test]
fn every_document_is_graphql() {
    let fixed = [
        VIEWER,
        OWN_ORGANIZATION,
        ROLE_NAMES,
        ROLE_NAMES_OF_WORKSPACE,
        ROLE_NAMES_OF_KEY,
        ORGANIZATION_TO_CONFIRM,
        ROLE_TO_CONFIRM,
        KEY_TO_CONFIRM,
        ORGANIZATION_OF_WORKSPACE,
        ORGANIZATION_OF_KEY,
        IDENTITY_BY_EXTERNAL_ID,
        IDENTITY_TO_CONFIRM,
        CREDITS_OF_KEY,
        CREDITS_OF_IDENTITY,
        TRAIL,
        CONSEQUENCES,
        EVENTS_COUNT,
        CHECKPOINT,
        PROOF,
        LOG_KEYS,
        SIGNING_KEYS_OF_ORGANIZATION,
        USAGE,
        SIMULATE,
        UNUSED,
        REVOKE_MANY,
        ERASE_SUBJECT,
        IMPORT,
    ];
    let made = [
        key(),
        key_as_of(),
        keys(),
        verifications(),
        verifications_of_key(),
        organization(),
        organizations(),
        workspaces(),
        role(),
        roles(),
        identity(),
        identities(),
    ];
    let changes = CHANGES.map(Mutation::document);
    for document in fixed.map(String::from).into_iter().chain(changes).chain(made) {
        async_graphql::parser::parse_query(&document).expect(&document);
    }
}

/// Each mutation with its input, as a document writes it.
fn wanted(document: &str) -> String {
    let (input, rest) = document.split_once("$input: ").and_then(|(_, rest)| rest.split_once(')')).unwrap();
    let field = rest.trim_start_matches([' ', '{', '\n']).split('(').next().unwrap();
    format!("{field}(input: {input})")
}

#[test]
fn every_change_is_one_that_the_api_has() {
    let sdl = crate::graphql::sdl();
    for change in CHANGES {
        let wanted = wanted(&change.document());
        assert!(sdl.contains(&wanted), "{wanted}");
    }
}

#[test]
fn many_keys_are_revoked_and_imported_as_the_api_has_it() {
    let sdl = crate::graphql::sdl();
    for document in [REVOKE_MANY, IMPORT] {
        let wanted = wanted(document);
        assert!(sdl.contains(&wanted), "{wanted}");
    }
}

#[test]
fn the_secret_is_asked_for_only_where_there_is_one() {
    assert!(ROTATE.with_secret() && ROTATE.document().contains("} secret events"));
    assert!(!DISABLE.with_secret() && !DISABLE.document().contains("} secret events"));
}
