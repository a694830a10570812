//! The committed schema is the one that is served.

#[test]
fn the_committed_schema_is_the_one_that_is_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/api.graphql");
    let served = keyledger::graphql::sdl();
    if std::env::var_os("KEYLEDGER_TEST_WRITE_SCHEMA").is_some() {
        std::fs::write(path, &served).expect("the schema can be written");
    }
    let committed = std::fs::read_to_string(path).expect("schema/api.graphql exists");
    assert!(
        committed == served,
        "schema/api.graphql is not what is served; look at the difference, then write it with \
         KEYLEDGER_TEST_WRITE_SCHEMA=1 cargo test --test graphql_schema"
    );
}
