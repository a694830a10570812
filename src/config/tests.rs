use super::*;
use std::fs;
use std::path::Path;

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn load(file: Option<&str>, flags: &ServerFlags, pairs: &[(&str, &str)]) -> Result<Config, Error> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keyledger.toml");
    let mut flags = flags.clone();
    if let Some(text) = file {
        fs::write(&path, text).unwrap();
        flags.common.config = Some(path.to_str().unwrap().to_owned());
    }
    Config::for_server(&flags, variables(pairs))
}

fn problem(file: Option<&str>, flags: &ServerFlags, pairs: &[(&str, &str)]) -> String {
    load(file, flags, pairs).unwrap_err().to_string()
}

fn flags() -> ServerFlags {
    ServerFlags::default()
}

#[test]
fn defaults_are_as_documented() {
    let config = load(None, &flags(), &[]).unwrap();
    assert_eq!(config.data_dir, Path::new(DEFAULT_DATA_DIR));
    assert_eq!(config.listen.to_string(), DEFAULT_LISTEN);
    assert_eq!(config.open_listen, None);
    assert_eq!(config.usage, UsageMode::Strict);
    assert!(config.trusted_proxies.is_empty());
    assert_eq!(config.verification_log_days, 90);
    assert!(matches!(config.master_key, MasterKeySource::File(path)
        if path == Path::new("./keyledger-data/master.key")));
    assert_eq!((config.log_format, config.log_level), (LogFormat::Text, LevelFilter::INFO));
}

#[test]
fn a_flag_outranks_the_environment_which_outranks_the_file() {
    let file = Some("listen = \"127.0.0.1:3\"\nusage = \"relaxed\"\nlog_level = \"warn\"\n");
    let environment = [("KEYLEDGER_LISTEN", "127.0.0.1:2"), ("KEYLEDGER_LOG_LEVEL", "debug")];
    let flag = ServerFlags { listen: Some("127.0.0.1:1".into()), ..flags() };
    let port = |config: Config| config.listen.port();
    assert_eq!(port(load(file, &flag, &environment).unwrap()), 1);
    assert_eq!(port(load(file, &flags(), &environment).unwrap()), 2);
    assert_eq!(port(load(file, &flags(), &[]).unwrap()), 3);
    let all = load(file, &flag, &environment).unwrap();
    assert_eq!((all.usage, all.log_level), (UsageMode::Relaxed, LevelFilter::DEBUG));
}

#[test]
fn a_list_comes_whole_from_one_source() {
    let file = Some("trusted_proxies = [\"10.0.0.0/8\", \"fd00::/8\"]\n");
    let list = |config: Config| config.trusted_proxies.iter().map(IpNet::to_string).collect::<Vec<_>>();
    assert_eq!(list(load(file, &flags(), &[]).unwrap()), ["10.0.0.0/8", "fd00::/8"]);
    let environment = [("KEYLEDGER_TRUSTED_PROXIES", "192.0.2.7, 198.51.100.9/24")];
    assert_eq!(list(load(file, &flags(), &environment).unwrap()), ["192.0.2.7/32", "198.51.100.0/24"]);
    assert!(list(load(file, &flags(), &[("KEYLEDGER_TRUSTED_PROXIES", "")]).unwrap()).is_empty());
    let flag = ServerFlags { trusted_proxies: vec!["::1".into()], ..flags() };
    assert_eq!(list(load(file, &flag, &environment).unwrap()), ["::1/128"]);
}

#[test]
fn the_file_may_be_named_by_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("k.toml");
    fs::write(&path, "data_dir = \"/var/lib/keyledger\"\n").unwrap();
    let pairs = [("KEYLEDGER_CONFIG", path.to_str().unwrap())];
    let config = Config::for_directory(&CommonFlags::default(), variables(&pairs)).unwrap();
    assert_eq!(config.data_dir, Path::new("/var/lib/keyledger"));
    assert!(matches!(config.master_key, MasterKeySource::File(path)
        if path == Path::new("/var/lib/keyledger/master.key")));
    let missing = problem(None, &flags(), &[("KEYLEDGER_CONFIG", "/nowhere/k.toml")]);
    assert!(missing.contains("/nowhere/k.toml cannot be read"), "{missing}");
}

#[test]
fn a_bad_value_names_its_source_its_bound_and_the_remedy() {
    let flag = ServerFlags { listen: Some("localhost".into()), ..flags() };
    assert_eq!(
        problem(None, &flag, &[]),
        "the flag --listen is \"localhost\": expected an IP address and a port from 0 to 65535, such as \
         127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080"
    );
    assert_eq!(
        problem(None, &flags(), &[("KEYLEDGER_USAGE", "lax")]),
        "the environment variable KEYLEDGER_USAGE is \"lax\": expected strict (recorded before the answer) \
         or relaxed (within a second after it)"
    );
    let file = problem(Some("log_format = \"xml\"\n"), &flags(), &[]);
    assert!(file.starts_with("the setting log_format in the file /"), "{file}");
    assert!(file.ends_with("keyledger.toml is \"xml\": expected text or json"), "{file}");
}

#[test]
fn the_open_listener_is_on_loopback_and_not_the_other_one() {
    for address in ["127.0.0.1:8081", "127.9.9.9:8081", "[::1]:8081", "[::ffff:127.0.0.1]:8081"] {
        let flag = ServerFlags { open_listen: Some(address.into()), ..flags() };
        assert!(load(None, &flag, &[]).is_ok(), "{address}");
    }
    for address in ["0.0.0.0:8081", "[::]:8081", "192.0.2.1:8081", "127.0.0.1:8080", "8081"] {
        let flag = ServerFlags { open_listen: Some(address.into()), ..flags() };
        assert!(load(None, &flag, &[]).is_err(), "{address}");
    }
}

#[test]
fn nobody_can_trust_every_address() {
    for network in ["0.0.0.0/0", "::/0", "10.0.0.0/33", "proxy.internal"] {
        let flag = ServerFlags { trusted_proxies: vec![network.into()], ..flags() };
        let shown = problem(None, &flag, &[]);
        assert!(shown.starts_with(&format!("the flag --trusted-proxy is \"{network}\"")), "{shown}");
    }
}

#[test]
fn the_verification_log_is_kept_for_one_to_3650_days() {
    for (text, days) in [("1", 1), ("3650", 3_650)] {
        let flag = ServerFlags { verification_log_days: Some(text.into()), ..flags() };
        assert_eq!(load(None, &flag, &[]).unwrap().verification_log_days, days);
    }
    for text in ["0", "3651", "-1", "90d", "1.5"] {
        let shown = problem(None, &flags(), &[("KEYLEDGER_VERIFICATION_LOG_DAYS", text)]);
        assert!(shown.ends_with("expected a number of days from 1 to 3650"), "{shown}");
    }
    for file in ["verification_log_days = 30", "verification_log_days = \"30\""] {
        assert_eq!(load(Some(file), &flags(), &[]).unwrap().verification_log_days, 30);
    }
    let shown = problem(Some("verification_log_days = true"), &flags(), &[]);
    assert!(shown.contains("expected a number"), "{shown}");
}

#[test]
fn the_log_has_a_name_that_can_stand_in_checkpoints() {
    let longest = "a".repeat(200);
    for name in ["log.example.com/keys", "x", longest.as_str()] {
        let flag = ServerFlags { log_origin: Some(name.into()), ..flags() };
        assert_eq!(load(None, &flag, &[]).unwrap().log_origin.as_deref(), Some(name));
    }
    let secret = "0f".repeat(32);
    for name in [
        "https://log.example.com/keys",
        "://x",
        "a b",
        "a+b",
        "a\tb",
        "\u{e9}",
        &format!("{longest}a"),
        &secret,
    ] {
        let flag = ServerFlags { log_origin: Some(name.to_owned()), ..flags() };
        let shown = problem(None, &flag, &[]);
        assert!(shown.starts_with("the flag --log-origin is"), "{shown}");
        assert!(!shown.contains(&secret), "{shown}");
    }
}

#[test]
fn the_log_is_public_only_when_that_is_said() {
    assert!(!load(None, &flags(), &[]).unwrap().public_log);
    for file in ["public_log = true", "public_log = \"true\""] {
        assert!(load(Some(file), &flags(), &[]).unwrap().public_log);
        assert!(!load(Some(file), &flags(), &[("KEYLEDGER_PUBLIC_LOG", "false")]).unwrap().public_log);
    }
    for text in ["yes", "1", "TRUE"] {
        let shown = problem(None, &flags(), &[("KEYLEDGER_PUBLIC_LOG", text)]);
        assert!(shown.contains("KEYLEDGER_PUBLIC_LOG") && shown.contains("expected true"), "{shown}");
    }
}

#[test]
fn the_public_url_is_one_that_issuers_can_stand_below() {
    let longest = format!("https://{}", "a".repeat(192));
    for url in [
        "https://keys.example.com",
        "http://127.0.0.1:8080",
        "https://[::1]:8443/keys",
        "https://example.com:443/a/b-c_d.e~f",
        longest.as_str(),
    ] {
        let flag = ServerFlags { public_url: Some(url.into()), ..flags() };
        assert_eq!(load(None, &flag, &[]).unwrap().public_url.as_deref(), Some(url));
    }
    assert_eq!(load(None, &flags(), &[]).unwrap().public_url, None);
    for url in [
        "keys.example.com",
        "ftp://keys.example.com",
        "https://",
        "https:///keys",
        "https://keys.example.com/",
        "https://keys.example.com/a//b",
        "https://keys.example.com/a/../b",
        "https://keys.example.com?a=b",
        "https://keys.example.com/#a",
        "https://user:word@keys.example.com",
        "https://Keys.example.com",
        "https://keys..example.com",
        "https://keys.example.com:0",
        "https://keys.example.com:65536",
        "https://keys.example.com:+1",
        "https://[::1",
        "https://k\u{e4}ys.example.com",
        "https://a b",
        &format!("{longest}a"),
    ] {
        let shown = problem(None, &flags(), &[("KEYLEDGER_PUBLIC_URL", url)]);
        assert!(shown.starts_with("the environment variable KEYLEDGER_PUBLIC_URL is"), "{shown}");
        assert!(shown.contains("such as https://keys.example.com"), "{shown}");
    }
}

#[test]
fn the_master_key_follows_the_same_order() {
    let key = "0f".repeat(32);
    let from_environment = [("KEYLEDGER_MASTER_KEY", key.as_str())];
    let file = Some("master_key_file = \"/etc/master\"\n");
    assert!(matches!(
        load(file, &flags(), &from_environment).unwrap().master_key,
        MasterKeySource::Environment(_)
    ));
    assert!(matches!(load(file, &flags(), &[]).unwrap().master_key, MasterKeySource::File(path)
        if path == Path::new("/etc/master")));
    let mut flag = flags();
    flag.common.master_key_file = Some("/flag".into());
    assert!(matches!(load(file, &flag, &from_environment).unwrap().master_key, MasterKeySource::File(path)
        if path == Path::new("/flag")));
    let both = [("KEYLEDGER_MASTER_KEY", key.as_str()), ("KEYLEDGER_MASTER_KEY_FILE", "/x")];
    assert!(matches!(load(None, &flags(), &both), Err(Error::TwoMasterKeys)));
}

#[test]
fn a_master_key_in_the_wrong_place_is_not_shown() {
    let key = "0f".repeat(32);
    for name in ["KEYLEDGER_MASTER_KEY_FILE", "KEYLEDGER_LISTEN", "KEYLEDGER_LOG_LEVEL"] {
        let error = load(None, &flags(), &[(name, &key)]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("0f0f"), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn debug_does_not_show_the_master_key() {
    let key = "0f".repeat(32);
    let config = load(None, &flags(), &[("KEYLEDGER_MASTER_KEY", &key)]).unwrap();
    assert!(!format!("{config:?}").contains("0f0f"));
}
