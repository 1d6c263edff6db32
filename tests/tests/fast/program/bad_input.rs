//! Bad input: a clear error that names the thing and the next step, nothing begun, no hang.

use std::{
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    process::Command,
    thread,
    time::Duration,
};

use trimtab_tests::{
    hostile::{HostileAgent, Misdeed},
    trimtab::Running,
};

use super::{read_by_a_person, with_inventory, write_inventory};

const ONE: &str = "[[vm]]\nname = \"web-12\"\nagent = \"unix:DIR/vsock\"\n";

#[test]
fn what_is_wrong_with_the_command_line_or_the_inventory() {
    let one_more = |text: &str| format!("{ONE}{text}");
    let cases: [(&str, String, &[&str], &str); 9] = [
        (
            "an unknown VM",
            ONE.to_owned(),
            &["trim", "web-21"],
            "trimtab: no VM is called \"web-21\"\n  did you mean web-12? `trimtab list` shows all\n",
        ),
        (
            "no VM",
            ONE.to_owned(),
            &["trim"],
            "trimtab: trim needs to be told which VMs\n  name them (trimtab trim web-12), select them (--select label=prod), \
             or say --all\n",
        ),
        (
            "an unknown key",
            one_more("agnet = \"x\"\n"),
            &["list"],
            "trimtab: DIR/fleet.toml:4: unknown field `agnet`, expected one of `name`, `uuid`, `agent`, `via`, `token`, `qmp`, `labels`, `disk`\n",
        ),
        (
            "a name twice",
            one_more(ONE),
            &["list"],
            "trimtab: DIR/fleet.toml:5: name: \"web-12\" stands here a second time\n",
        ),
        (
            "an image that is not there",
            one_more("[[vm.disk]]\nimage = \"DIR/gone.img\"\nformat = \"raw\"\n"),
            &["list"],
            "trimtab: DIR/fleet.toml:5: image: DIR/gone.img does not exist\n  correct the path, or take the VM out of the \
             inventory\n",
        ),
        (
            "a format that is not known",
            one_more("[[vm.disk]]\nimage = \"DIR/fleet.toml\"\nformat = \"probe\"\n"),
            &["list"],
            "trimtab: DIR/fleet.toml:6: format: \"probe\" is not known: raw or qcow2\n",
        ),
        (
            "a way to an agent that is none",
            "[[vm]]\nname = \"a\"\nagent = \"vsock:2\"\n".to_owned(),
            &["list"],
            "trimtab: DIR/fleet.toml:3: agent: CID 2 is the host, not a guest\n",
        ),
        (
            "a deadline that is none",
            ONE.to_owned(),
            &["trim", "web-12", "--deadline", "0s"],
            "error: invalid value '0s' for '--deadline <TIME>': from 1s to 168h\n",
        ),
        (
            "a layer that there is not",
            ONE.to_owned(),
            &["trim", "web-12", "--anyway", "everything"],
            "error: invalid value 'everything' for '--anyway <LAYER>'\n",
        ),
    ];
    for (name, inventory, words, expected) in cases {
        let (folder, trimtab) = with_inventory(&inventory);
        let ended = trimtab.run(words).unwrap();
        assert_eq!(ended.exit, 2, "{name}: {ended:?}");
        assert_eq!(ended.stdout, "", "{name}");
        let said = read_by_a_person(&folder, &ended);
        assert!(said.starts_with(expected), "{name}:\n{said}instead of\n{expected}");
        // The same for a program.
        let ended = trimtab.run(&[words, &["--json"]].concat()).unwrap();
        let document = ended.document().unwrap().0;
        assert_eq!((ended.exit, &document["exit"]), (2, &2.into()), "{name}: {document:#}");
        assert!(document["error"]["kind"].is_string() && document["vms"].is_null(), "{name}: {document:#}");
    }
}

#[test]
fn no_way_to_the_agent() {
    let (folder, trimtab) = with_inventory(ONE);
    let stale = folder.path().join("vsock");
    let cases: [(&str, &dyn Fn(), &str); 3] = [
        (
            "no socket",
            &|| {},
            "web-12: the vsock socket DIR/vsock does not exist\n  is the VM running, and is this the path that its monitor \
             was given?\n",
        ),
        (
            "nobody behind it",
            &|| drop(UnixListener::bind(&stale).unwrap()),
            "web-12: nobody serves the vsock socket",
        ),
        (
            "a file",
            &|| {
                std::fs::remove_file(&stale).unwrap();
                std::fs::write(&stale, "").unwrap();
            },
            "web-12: nobody serves the vsock socket",
        ),
    ];
    for (name, make, expected) in cases {
        make();
        let ended = trimtab.run(&["trim", "web-12"]).unwrap();
        assert_eq!(ended.exit, 32, "{name}: {ended:?}");
        assert!(ended.took < Duration::from_secs(5), "{name}: {:?}", ended.took);
        let said = read_by_a_person(&folder, &ended);
        assert!(said.contains(expected), "{name}:\n{said}instead of\n{expected}");
    }
    std::fs::remove_file(&stale).unwrap();
    let _nobody = HostileAgent(Misdeed::NoListener).serve(&stale).unwrap();
    let said = read_by_a_person(&folder, &trimtab.run(&["trim", "web-12"]).unwrap());
    assert!(
        said.starts_with("web-12: no agent answers at unix:DIR/vsock: the guest has no listener on port 874"),
        "{said}"
    );
}

#[test]
fn a_socket_that_this_user_may_not_open() {
    let (folder, trimtab) = with_inventory(ONE);
    let socket = folder.path().join("vsock");
    let _listener = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o000)).unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = trimtab.command(&["trim", "web-12", "--json"]);
    if nix::unistd::geteuid().is_root() {
        // Root may open anything; and nobody may not look into every clone.
        let copy = folder.path().join("trimtab");
        std::fs::copy(command.get_program(), &copy).unwrap();
        let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy).args(words);
    }

    let ended = Running::start(command).unwrap().end().unwrap();

    let document = ended.document().unwrap();
    let error = &document.vm("web-12").unwrap()["error"];
    assert_eq!((ended.exit, &error["kind"]), (32, &"no_permission".into()), "{ended:?}");
    assert!(error["hint"].as_str().unwrap().contains("run as root"), "{error:#}");
}

#[test]
fn what_sits_behind_qmp() {
    const QMP: &str = "[[vm]]\nname = \"web-12\"\nagent = \"unix:DIR/vsock\"\nqmp = \"DIR/qmp\"\n";
    type Case = (&'static str, Option<&'static [u8]>, &'static str, &'static str);
    let cases: [Case; 3] = [
        ("nothing", None, "vm_off", "web-12: QMP socket DIR/qmp does not exist\n  the VM is off, or"),
        (
            "another protocol",
            Some(b"SSH-2.0-OpenSSH_9.2\r\n"),
            "qmp_nonsense",
            "is this the QMP socket of a QEMU?",
        ),
        ("another client holds it", Some(b""), "no_qmp", "another client holds it: QMP serves one at a time"),
    ];
    for (name, says, kind, expected) in cases {
        let (folder, trimtab) = with_inventory(QMP);
        if let Some(says) = says {
            let listener = UnixListener::bind(folder.path().join("qmp")).unwrap();
            thread::spawn(move || {
                for client in listener.incoming() {
                    let mut client = client.unwrap();
                    // The caller may be gone already.
                    let _ = client.write_all(says).and_then(|()| client.read(&mut [0; 64]));
                }
            });
        }
        let ended = trimtab.run(&["trim", "web-12"]).unwrap();
        let said = read_by_a_person(&folder, &ended);
        assert_eq!(ended.exit, 32, "{name}: {said}");
        assert!(said.contains(expected), "{name}:\n{said}instead of\n{expected}");
        assert!(ended.took < Duration::from_secs(10), "{name}: {:?}", ended.took);
        let document = trimtab.trim(&["web-12"]).unwrap().document().unwrap();
        assert_eq!(document.vm("web-12").unwrap()["error"]["kind"], kind, "{name}: {document}");
    }
}

#[test]
fn an_inventory_that_is_not_there_or_not_text() {
    let (folder, trimtab) = with_inventory("");
    std::fs::remove_file(folder.path().join("fleet.toml")).unwrap();
    let ended = trimtab.run(&["list"]).unwrap();
    let said = read_by_a_person(&folder, &ended);
    assert_eq!(ended.exit, 2, "{said}");
    assert!(said.starts_with("trimtab: DIR/fleet.toml: No such file"), "{said}");
    let trimtab = write_inventory(folder.path(), "[[vm]]\nname");
    let said = read_by_a_person(&folder, &trimtab.run(&["list"]).unwrap());
    assert!(said.starts_with("trimtab: DIR/fleet.toml:2: key with no value"), "{said}");
}
