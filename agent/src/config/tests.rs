use super::*;

fn read(text: &str) -> Result<Config, ConfigError> {
    parse(Path::new("/etc/trimtab/agent.toml"), text)
}

#[test]
fn an_absent_file_is_the_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let roots = Roots::under(dir.path());
    assert_eq!(load(&roots, None).unwrap(), Config::default());
    let named = dir.path().join("mine.toml");
    let error = load(&roots, Some(&named)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot read {}", named.display()),
        "a file that was named must be there"
    );
}

#[test]
fn an_empty_file_changes_nothing() {
    let config = read("").unwrap();
    assert_eq!(Config { file: None, ..config }, Config::default());
}

#[test]
fn every_key() {
    let config = read(
        r#"listen = "unix:/run/agent.sock"
allow_cids = [2, 1]
max_connections = 3
idle_exit_secs = 300

[trim]
pace = "gentle"
fastest = "steady"
host_may_trim = false
host_may_probe = false
min_interval_secs = 3600
exclude = ["/srv/*", "/var/lib/**"]
also_types = ["f2fs"]
linger_secs = 5
"#,
    )
    .unwrap();
    assert_eq!(config.listen, Listen::Unix { path: "/run/agent.sock".into() });
    assert_eq!(config.allow_cids, [2, 1]);
    assert_eq!(config.max_connections, 3);
    assert_eq!(config.idle_exit, Some(Duration::from_secs(300)));
    assert_eq!((config.trim.pace, config.trim.fastest), (Pace::Gentle, Pace::Steady));
    assert!(!config.trim.host_may_trim && !config.trim.host_may_probe);
    assert_eq!(config.trim.min_interval, Duration::from_secs(3600));
    assert_eq!(
        config.trim.exclude.iter().map(glob::Pattern::as_str).collect::<Vec<_>>(),
        ["/srv/*", "/var/lib/**"]
    );
    assert_eq!(config.trim.also_types, ["f2fs"]);
    assert_eq!(config.trim.linger, Duration::from_secs(5));

    let settings = config.settings();
    assert!(settings.iter().all(|s| s.line.is_some()), "each came from the file: {settings:?}");
    let pace = settings.iter().find(|s| s.key == "trim.pace").unwrap();
    assert_eq!((pace.value.as_deref(), pace.line), (Some("\"gentle\""), Some(7)));
}

#[test]
fn what_is_printed_reads_back() {
    let config = Config::default();
    let (tables, top): (Vec<Setting>, Vec<Setting>) =
        config.settings().into_iter().partition(|s| s.key.starts_with("trim."));
    let print = |settings: &[Setting]| {
        let line = |s: &Setting| Some(format!("{} = {}\n", s.key.rsplit('.').next()?, s.value.as_ref()?));
        settings.iter().filter_map(line).collect::<String>()
    };
    let text = format!("{}[trim]\n{}", print(&top), print(&tables));
    let again = read(&text).unwrap();
    assert_eq!(Config { file: None, lines: BTreeMap::new(), ..again }, config);
}

#[test]
fn mistakes_name_file_line_and_key() {
    for (text, expected) in [
        ("\nlisten = \"tcp:1\"", "2: listen: \"tcp:1\" is neither \"vsock:PORT\" nor \"unix:/PATH\""),
        ("listen = \"vsock:x\"", "1: listen: \"x\" is not a vsock port"),
        ("listen = \"vsock:4294967295\"", "1: listen: \"4294967295\" is not a vsock port"),
        ("listen = \"unix:relative\"", "1: listen: \"unix:relative\" is neither"),
        ("max_connections = 0", "1: max_connections: 0 is not from 1 to 64"),
        ("max_connections = \"8\"", "1: max_connections: invalid type: string \"8\", expected u32"),
        ("allow_cids = [\n  2,\n  -1,\n]", "allow_cids: invalid value: integer `-1`, expected u32"),
        ("port = 874", "1: unknown field `port`, expected one of"),
        (
            "[trim]\npace = \"fast\"",
            "2: pace: unknown variant `fast`, expected one of `gentle`, `steady`, `full`",
        ),
        ("[trim]\n\nlinger_secs = 11", "3: trim.linger_secs: 11 is not from 0 to 10"),
        (
            "[trim]\nexclude = [\"srv\"]",
            "2: trim.exclude: \"srv\" matches no mount point: begin it with / or *",
        ),
        ("[trim]\nexclude = [\"/a[\"]", "2: trim.exclude: \"/a[\": invalid range pattern"),
        ("[trim]\nalso_types = [\"a b\"]", "2: trim.also_types: \"a b\" is no filesystem type"),
        ("[trimming]", "1: unknown field `trimming`"),
        ("listen = ", "1: listen: "),
    ] {
        let error = read(text).unwrap_err().to_string();
        let (file, rest) = error.split_at("/etc/trimtab/agent.toml:".len());
        assert_eq!(file, "/etc/trimtab/agent.toml:");
        assert!(rest.contains(expected), "{text:?} gave {rest:?}, not {expected:?}");
    }
}
