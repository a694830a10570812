use super::*;
use crate::config::layer::Setting;
use clap::CommandFactory;

fn arguments(arguments: &[&str]) -> Vec<OsString> {
    std::iter::once("keyledger").chain(arguments.iter().copied()).map(Into::into).collect()
}

fn refused(typed: &[&str]) -> String {
    Cli::try_parse_from(arguments(typed)).expect_err("refused").to_string()
}

fn help(path: &[&str]) -> String {
    let mut command = Cli::command();
    command.build();
    let mut found = &mut command;
    for name in path {
        found = found.find_subcommand_mut(name).unwrap();
    }
    found.render_long_help().to_string()
}

#[test]
fn the_declaration_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_connection_may_stand_before_or_behind_the_command() {
    for typed in [
        &["key", "--url", "http://[::1]:1", "--json", "list"],
        &["key", "list", "--json", "--url", "http://[::1]:1"],
    ] {
        let Command::Key(args) = Cli::try_parse_from(arguments(typed)).unwrap().command else { panic!() };
        assert_eq!((args.connection.url.as_str(), args.connection.json), ("http://[::1]:1", true));
    }
}

#[test]
fn a_wrong_value_is_refused_with_its_bound() {
    const KEY: &str = "key_01h455vb4pex5vsknk084sn02q";
    let create = ["key", "create", "a", "--environment", "production"];
    assert!(refused(&["key", "create", "a"]).contains("--environment"));
    assert!(
        refused(&["key", "create", "a", "-e", "prod"]).contains("one of production, staging, development")
    );
    assert!(refused(&[&create[..], &["--scope", "read"]].concat()).contains("a scope is an action"));
    assert!(refused(&[&create[..], &["--grant", "king@organization"]].concat()).contains("workspace-owner"));
    assert!(refused(&[&create[..], &["--expires", "soon"]].concat()).contains("90d"));
    assert!(refused(&[&create[..], &["--prefix", "A"]].concat()).contains("a letter first"));
    assert!(refused(&["key", "show", "org_01h455vb4pex5vsknk084sn02q"]).contains("key_01jd8x"));
    assert!(refused(&["key", "revoke", KEY]).contains("--reason"));
    assert!(refused(&["key", "update", KEY]).contains("--name"));
    assert!(
        refused(&["key", "update", KEY, "--no-scopes", "--scope", "*:*"]).contains("cannot be used with")
    );
    assert!(refused(&["init", "--organization", "  "]).contains("visible character"));
}

#[test]
fn no_flag_takes_a_secret() {
    for typed in [["whoami", "--key", "kl_prod_x"], ["serve", "--master-key", "00"]] {
        assert!(Cli::try_parse_from(arguments(&typed)).is_err(), "{typed:?}");
    }
}

#[test]
fn help_names_every_setting_of_the_server_in_all_its_spellings() {
    let shown = help(&["serve"]);
    for setting in Setting::ALL {
        assert!(shown.contains(setting.flag()), "{}", setting.flag());
        assert!(shown.contains(setting.variable()), "{}", setting.variable());
    }
}

#[test]
fn every_command_has_a_description_and_an_example() {
    fn walk(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        if command.get_name() == "help" {
            return;
        }
        assert!(command.get_about().is_some(), "{path}");
        let mut leaf = true;
        for inner in command.get_subcommands() {
            leaf = false;
            walk(inner, &path);
        }
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(!leaf || examples.contains("keyledger "), "{path} has no example");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{path} {}", argument.get_id());
        }
    }
    walk(&Cli::command(), "");
}

#[test]
fn the_document_names_every_command_and_every_flag() {
    fn walk(command: &clap::Command, path: &str, document: &str) {
        let mut leaf = true;
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            leaf = false;
            let path = format!("{path} {}", inner.get_name());
            walk(inner, path.trim(), document);
        }
        assert!(!leaf || document.contains(&format!("`{path}")), "{path}");
        for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(document.contains(&format!("--{flag}")), "{path} --{flag}");
        }
    }
    // The server's settings have a document of their own.
    let document =
        include_str!("../../docs/command-line.md").to_owned() + include_str!("../../docs/configuration.md");
    walk(&Cli::command(), "", &document);
}
