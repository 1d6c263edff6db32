use super::{files::Source, *};

fn source(text: &str) -> Source {
    Source { path: "/etc/trimtab/agent.toml".into(), text: text.to_owned() }
}

/// One file's text over the defaults.
fn read(text: &str) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    file::apply(&source(text), &mut config)?;
    check::together(&config)?;
    Ok(config)
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
fn a_file_that_was_named_is_read_alone() {
    let dir = tempfile::tempdir().unwrap();
    let roots = Roots::under(dir.path());
    std::fs::create_dir_all(roots.etc.join("trimtab/agent.toml.d")).unwrap();
    std::fs::write(roots.etc.join("trimtab/agent.toml"), "max_connections = 1").unwrap();
    std::fs::write(roots.etc.join("trimtab/agent.toml.d/1.toml"), "allow_cids = [7]").unwrap();
    let both = load(&roots, None).unwrap();
    assert_eq!((both.max_connections, both.allow_cids), (1, vec![7]));
    let named = dir.path().join("mine.toml");
    std::fs::write(&named, "idle_exit_secs = 0").unwrap();
    let alone = load(&roots, Some(&named)).unwrap();
    assert_eq!(alone.idle_exit, None);
    assert_eq!((alone.max_connections, alone.allow_cids), (DEFAULT_CONNECTIONS, vec![HOST_CID]));
    assert_eq!(alone.files, [named]);
}

#[test]
fn every_key() {
    let config = read(
        r#"listen = "unix:/run/agent.sock"
allow_cids = [2, 1]
peer_port = "privileged"
token = "file:/etc/trimtab/token"
max_connections = 3
idle_exit_secs = 300

[trim]
pace = "gentle"
fastest = "steady"
host_may_trim = false
host_may_probe = false
min_interval_secs = 3600
only = ["/", "/srv/*"]
exclude = ["/srv/*", "/var/lib/**"]
types = ["ext4", "f2fs"]
also_types = ["f2fs"]
linger_secs = 5
"#,
    )
    .unwrap();
    let patterns = |list: &[glob::Pattern]| list.iter().map(|p| p.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(config.listen, Listen::Unix { path: "/run/agent.sock".into() });
    assert_eq!(config.allow_cids, [2, 1]);
    assert_eq!(config.peer_port, PeerPort::Privileged);
    assert_eq!(config.token, TokenSource::File("/etc/trimtab/token".into()));
    assert_eq!(config.max_connections, 3);
    assert_eq!(config.idle_exit, Some(Duration::from_secs(300)));
    assert_eq!((config.trim.pace, config.trim.fastest), (Pace::Gentle, Pace::Steady));
    assert!(!config.trim.host_may_trim && !config.trim.host_may_probe);
    assert_eq!(config.trim.min_interval, Duration::from_secs(3600));
    assert_eq!(patterns(&config.trim.only), ["/", "/srv/*"]);
    assert_eq!(patterns(&config.trim.exclude), ["/srv/*", "/var/lib/**"]);
    assert_eq!(config.trim.types, ["ext4", "f2fs"]);
    assert_eq!(config.trim.also_types, ["f2fs"]);
    assert_eq!(config.trim.linger, Duration::from_secs(5));

    let settings = config.settings();
    assert!(settings.iter().all(|s| s.origin.is_some()), "each came from the file: {settings:?}");
    let pace = settings.iter().find(|s| s.key == "trim.pace").unwrap();
    assert_eq!((pace.value.as_str(), pace.origin.as_ref().unwrap().line), (Some("gentle"), 9));
}

#[test]
fn a_later_file_wins_key_by_key() {
    let mut config = Config::default();
    let site =
        Source { path: "/run/trimtab/agent.toml.d/10-site.toml".into(), ..source("\n[trim]\nexclude = []") };
    file::apply(&source("max_connections = 1\n[trim]\npace = \"full\"\nexclude = [\"/a\"]"), &mut config)
        .unwrap();
    file::apply(&site, &mut config).unwrap();
    assert_eq!((config.max_connections, config.trim.pace), (1, Pace::Full));
    assert_eq!(config.trim.exclude, [], "a list takes the place of the one before");
    let settings = config.settings();
    let origin = |key| settings.iter().find(|s| s.key == key).unwrap().origin.clone().unwrap();
    assert_eq!(origin("trim.exclude"), Origin { file: site.path, line: 3 });
    assert_eq!(origin("trim.pace").file, Path::new("/etc/trimtab/agent.toml"));
}

/// packaging/agent.toml has every key as a comment, so that whoever uncomments a line changes nothing yet.
#[test]
fn the_file_that_packages_bring_shows_the_defaults() {
    let shipped = include_str!("../../../packaging/agent.toml");
    assert_eq!(read(shipped).unwrap(), Config::default(), "as it comes it says nothing");
    // A key is `#key = value`; prose has a blank behind its #.
    let uncommented: String = shipped
        .lines()
        .map(|line| {
            line.strip_prefix('#').filter(|rest| rest.starts_with(char::is_alphabetic)).unwrap_or(line)
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let config = read(&uncommented).unwrap();
    let keys = |config: &Config| config.settings().into_iter().map(|s| (s.key, s.value)).collect::<Vec<_>>();
    assert_eq!(keys(&config), keys(&Config::default()));
    let missing: Vec<_> =
        config.settings().into_iter().filter(|s| s.origin.is_none()).map(|s| s.key).collect();
    assert_eq!(missing, Vec::<&str>::new(), "every key is there");
    let explained = |line: &str| {
        shipped.lines().collect::<Vec<_>>().windows(2).any(|w| w[1] == line && w[0].starts_with("# "))
    };
    for line in
        shipped.lines().filter(|l| l.strip_prefix('#').is_some_and(|l| l.starts_with(char::is_alphabetic)))
    {
        assert!(explained(line), "{line} has no words above it");
    }
}

#[test]
fn mistakes_name_file_line_and_key() {
    for (text, expected) in [
        ("\nlisten = \"tcp:1\"", "2: listen: \"tcp:1\" is neither \"vsock:PORT\" nor \"unix:/PATH\""),
        ("listen = \"vsock:x\"", "1: listen: \"x\" is not a vsock port"),
        ("listen = \"vsock:4294967295\"", "1: listen: \"4294967295\" is not a vsock port"),
        ("listen = \"unix:relative\"", "1: listen: \"unix:relative\" is neither"),
        ("peer_port = \"low\"", "1: peer_port: \"low\" is neither \"any\" nor \"privileged\""),
        ("token = \"file:token\"", "1: token: it says where the token is, and must be \"none\""),
        ("allow_cids = []", "1: allow_cids: nobody may call; 2 is the host"),
        ("max_connections = 0", "1: max_connections: 0 is not from 1 to 64"),
        (
            "max_connections = \"8\"",
            "1: max_connections: invalid type: string \"8\", expected a number from 0 to 4294967295",
        ),
        (
            "allow_cids = [\n  2,\n  -1,\n]",
            "allow_cids: invalid value: integer `-1`, expected a number from 0",
        ),
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
        (
            "[trim]\nonly = [\"/srv/\"]",
            "2: trim.only: \"/srv/\" matches no mount point: end it without the /",
        ),
        ("[trim]\nexclude = [\"/a[\"]", "2: trim.exclude: \"/a[\": invalid range pattern"),
        ("[trim]\nalso_types = [\"a b\"]", "2: trim.also_types: \"a b\" is no filesystem type"),
        ("[trim]\ntypes = [\"vfat\"]", "2: trim.types: \"vfat\" is never trimmed: name it in also_types too"),
        ("[trimming]", "1: unknown field `trimming`"),
        ("listen = ", "1: listen: "),
    ] {
        let error = read(text).unwrap_err().to_string();
        let (file, rest) = error.split_at("/etc/trimtab/agent.toml:".len());
        assert_eq!(file, "/etc/trimtab/agent.toml:");
        assert!(rest.contains(expected), "{text:?} gave {rest:?}, not {expected:?}");
    }
}

#[test]
fn a_secret_that_was_written_in_the_wrong_place_is_not_repeated() {
    let error = read("token = \"correct horse battery staple\"").unwrap_err().to_string();
    assert!(!error.contains("horse"), "{error}");
}
