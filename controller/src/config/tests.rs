//! What outranks what, and how mistakes are named.

use super::*;
use crate::{layers::samples::Sample, model::vm::Vm};

fn merged(flag: Option<u16>, env: Option<&str>, file: &str) -> Result<Config, Trouble> {
    let flags = Flags { parallel: flag, ..Flags::default() };
    let env = |name: &str| env.filter(|_| name == "TRIMTAB_PARALLEL").map(str::to_owned);
    Config::merge(flags, env, File::parse(Path::new("/c"), file)?)
}

#[test]
fn flags_then_environment_then_file_then_default() {
    let cases = [
        (Some(1), Some("2"), "parallel = 3", 1),
        (None, Some("2"), "parallel = 3", 2),
        (None, None, "parallel = 3", 3),
        (None, None, "", DEFAULT_PARALLEL),
    ];
    for (flag, env, file, expected) in cases {
        assert_eq!(merged(flag, env, file).unwrap().parallel, expected, "{flag:?} {env:?} {file}");
    }
}

#[test]
fn where_metrics_go() {
    let merged = |env: Option<&str>, file: &str| {
        let env = |name: &str| env.filter(|_| name == "TRIMTAB_METRICS").map(str::to_owned);
        let merged = Config::merge(Flags::default(), env, File::parse(Path::new("/c"), file)?);
        merged.map(|config| config.metrics)
    };
    let file = "metrics = \"/file.prom\"";
    assert_eq!(merged(Some("/env.prom"), file), Ok(Some("/env.prom".into())));
    assert_eq!(merged(None, file), Ok(Some("/file.prom".into())));
    assert_eq!(merged(None, ""), Ok(None));
    for wrong in ["env.prom", "/env.txt"] {
        let trouble = merged(Some(wrong), file).unwrap_err();
        assert!(trouble.kind == Kind::Config && trouble.text.contains("TRIMTAB_METRICS"), "{trouble}");
    }
}

#[test]
fn which_libvirt() {
    let merged = |flag: Option<&str>, env: Option<&str>, file: &str| {
        let flags = Flags { connect: flag.map(str::to_owned), ..Flags::default() };
        let env = |name: &str| env.filter(|_| name == "TRIMTAB_CONNECT").map(str::to_owned);
        Config::merge(flags, env, File::parse(Path::new("/c"), file)?).map(|config| config.sources.connect)
    };
    let to = |uri: &str| Ok(Connect::To(uri.parse().unwrap()));
    let file = "connect = \"qemu:///session\"";
    assert_eq!(merged(Some("ch:///system"), Some("qemu:///system"), file), to("ch:///system"));
    assert_eq!(merged(None, Some("qemu:///system"), file), to("qemu:///system"));
    assert_eq!(merged(None, None, file), to("qemu:///session"));
    assert_eq!(merged(None, None, ""), Ok(Connect::IfThere));
    assert_eq!(merged(Some("none"), None, file), Ok(Connect::Never));
    let remote = merged(Some("qemu+ssh://node2/system"), None, "").unwrap_err();
    assert_eq!((remote.kind, remote.hint.as_deref()), (Kind::Usage, Some("run trimtab on that host")));
    let wrong = merged(None, None, "connect = \"system\"").unwrap_err();
    assert!(wrong.kind == Kind::Config && wrong.text.contains("trimtab.toml: connect: "), "{wrong}");
}

#[test]
fn mistakes_are_named() {
    for (flag, env, file, what) in [
        (None, Some("many"), "", "TRIMTAB_PARALLEL"),
        (None, None, "parallel = 0", "parallel: 0"),
        (None, None, "\nparalel = 3", "/c:2: unknown field `paralel`"),
        (None, None, "parallel = \"x\"", "/c:1: parallel: invalid type"),
        (None, None, "token = \"secret\"", "/c:1: token: it says where the agents' token lies"),
        (None, None, "store = \"trimtab.db\"", "/c:1: store: not an absolute path"),
        (None, None, "metrics = \"/m/trimtab.txt\"", "/c:1: metrics: node_exporter reads only files"),
        (None, None, "io_pressure_percent = 101", "/c:1: io_pressure_percent: 101 is more than 100"),
        (None, None, "[labels]\n\"web-[\" = [\"prod\"]", "/c:2: labels: \"web-[\" is no pattern"),
        (None, None, "[labels]\nweb = [\"a b\"]", "/c:2: labels: \"a b\" is empty, or has a space"),
        (None, None, "[labels]\nweb = \"prod\"", "/c:2: web: invalid type"),
        (None, None, "[[datastore]]\nname = \"fast\"", "/c:1: missing field `match`"),
        (None, None, "[[datastore]]\nname = \"\"\nmatch = \"*\"", "/c:2: name: \"\" is empty"),
        (
            None,
            None,
            "[[gate]]\nname = \"x\"\ncommand = [\"ceph\"]",
            "/c:3: command: a program by its absolute",
        ),
        (None, None, "[[gate]]\nname = \"x\"\ncommand = []", "/c:3: command: a program by its absolute"),
        (
            None,
            None,
            "[[gate]]\nname = \"x\"\ncommand = [\"/a\"]\ntimeout_secs = 0",
            "/c:4: timeout_secs: 0 is not",
        ),
    ] {
        let trouble = merged(flag, env, file).unwrap_err();
        assert!(trouble.kind == Kind::Config && trouble.text.contains(what), "{}", trouble.text);
    }
}

#[test]
fn where_campaigns_are_kept() {
    let merged = |flag: Option<&str>, env: Option<&str>, file: &str| {
        let flags = Flags { store: flag.map(Into::into), ..Flags::default() };
        let env = |name: &str| env.filter(|_| name == "TRIMTAB_STORE").map(str::to_owned);
        Config::merge(flags, env, File::parse(Path::new("/c"), file).unwrap()).unwrap().store
    };
    let file = "store = \"/c.db\"";
    for (flag, env, file, expected) in [
        (Some("a.db"), Some("/b.db"), file, "a.db"),
        (None, Some("/b.db"), file, "/b.db"),
        (None, None, file, "/c.db"),
        (None, None, "", DEFAULT_STORE),
    ] {
        assert_eq!(merged(flag, env, file), At::File(expected.into()));
    }
    let database = merged(None, None, "store = \"postgres://h1@db/x?passfile=/p\"");
    assert!(matches!(database, At::Database(_)), "{database:?}");
    for (file, what) in [
        ("store = \"c.db\"", "/c:1: store: not an absolute path"),
        ("store = \"postgres://h1:secret@db/x\"", "/c:1: store: a password does not belong here"),
        ("store = \"postgres://h1@db/x?sslmod=require\"", "/c:1: store: this is no URL"),
    ] {
        let trouble = File::parse(Path::new("/c"), file).unwrap_err();
        assert!(trouble.text.starts_with(what) && !trouble.text.contains("secret"), "{trouble}");
    }
}

#[test]
fn names_labels_and_gates() {
    let file = "
        [labels]
        \"web-*\" = [\"prod\", \"web\"]
        web-2 = [\"prod\", \"canary\"]
        [[datastore]]
        name = \"nas\"
        match = \"nfs:nas:*\"
        [[datastore]]
        name = \"fast\"
        match = \"/guests\"
        [[gate]]
        name = \"ceph\"
        command = [\"/usr/bin/ceph\", \"health\"]
        [[gate]]
        name = \"md\"
        command = [\"/usr/local/sbin/md-idle\"]
        timeout_secs = 60
    ";
    let config = merged(None, None, file).unwrap();
    let mut vms =
        [Vm { labels: vec!["web".into()], ..Vm::named("web-1") }, Vm::named("web-2"), Vm::named("db")];
    config.labels.add_to(&mut vms);
    assert_eq!(vms[0].labels, ["web", "prod"], "each once");
    assert_eq!(vms[1].labels, ["prod", "web", "canary"]);
    assert!(vms[2].labels.is_empty());

    let called = |identity: &str, path: &str| {
        let mut sample = Sample::raw();
        let datastore = sample.datastore();
        (datastore.identity, datastore.path) = (identity.into(), path.into());
        config.datastores.of(datastore)
    };
    assert_eq!(called("nfs:nas:/export/a", "/mnt/a"), "nas");
    assert_eq!(called("ext4:u@m", "/guests"), "fast");
    assert_eq!(called("ext4:u@m", "/guests2"), "ext4:u@m");

    let gates: Vec<_> =
        config.gates.iter().map(|gate| (gate.name.as_str(), gate.timeout.as_secs())).collect();
    assert_eq!(gates, [("ceph", 10), ("md", 60)]);
    assert_eq!(config.gates[0].command, ["/usr/bin/ceph", "health"]);
    let twice =
        merged(None, None, &format!("{file}{}", &file[file.find("[[gate]]").unwrap()..])).unwrap_err();
    assert!(twice.text.contains("/c:19: name: the gate \"ceph\" stands here twice"), "{twice}");
}

#[test]
fn the_file_that_is_installed_shows_every_key_and_the_defaults() {
    let installed = include_str!("../../../packaging/trimtab.toml");
    let lines = installed.lines().map(|line| line.strip_prefix('#').unwrap_or(line));
    let shown: String = lines.filter(|line| !line.starts_with(' ')).flat_map(|line| [line, "\n"]).collect();
    let (shown_config, default) = (merged(None, None, &shown).unwrap(), merged(None, None, "").unwrap());
    assert_eq!(shown_config.parallel, default.parallel);
    assert_eq!(shown_config.store, default.store);
    assert_eq!(shown_config.io_pressure_percent, default.io_pressure_percent);
    assert_eq!(shown_config.gates[0].timeout.as_secs(), 10);

    let unknown = merged(None, None, "nonsense = 1").unwrap_err().text;
    let (_, keys) = unknown.split_once("expected one of ").unwrap();
    for key in keys.split(", ").map(|key| key.trim_matches('`')) {
        let there = shown.lines().any(|line| line.starts_with(key) || line.contains(&format!("[{key}]")));
        assert!(there, "{key} is not in packaging/trimtab.toml");
    }
}
