//! What the file may say, and that each mistake is named with its line and key.

use super::*;
use crate::model::endpoint::{Cid, Port};

const GOOD: &str = r#"
[[vm]]
name  = "guest1"
uuid  = "00112233445566778899AABBCCDDEEFF"
agent = "unix:/run/vms/guest1.vsock"
qmp   = "/run/vms/guest1.qmp"
labels = ["prod"]
[[vm.disk]]
image  = "/dev/null"
format = "raw"
serial = "DISK0"

[[vm]]
name  = "guest2"
agent = "vsock:3"
token = "file:/etc/trimtab/guest2.token"
"#;

#[test]
fn a_whole_file() {
    let parsed = parse(Path::new("/f"), GOOD).unwrap();
    assert_eq!(parsed.vms.len(), 2);
    let first = &parsed.vms[0];
    assert_eq!(first.labels, ["prod"]);
    assert_eq!(first.uuid(), Some("00112233-4455-6677-8899-aabbccddeeff"));
    assert_eq!(first.disks[0].image, Image { path: "/dev/null".into(), format: Format::Raw });
    assert_eq!(first.disks[0].serial.as_deref(), Some("DISK0"));
    assert_eq!(parsed.vms[1].agent, Some(Endpoint::Vsock { cid: Cid(3), port: Port::AGENT }));
    assert_eq!(parsed.images, [(9, PathBuf::from("/dev/null"))]);
    assert_eq!(parsed.vms[1].token, Some(TokenFile("/etc/trimtab/guest2.token".into())));
    assert!(parse(Path::new("/f"), "").unwrap().vms.is_empty());
}

/// One VM by two names.
const TWICE: &str = "[[vm]]\nname = \"a\"\nuuid = \"00112233-4455-6677-8899-aabbccddeeff\"\n[[vm]]\nname = \"b\"\n\
    uuid = \"00112233-4455-6677-8899-AABBCCDDEEFF\"\n";

#[test]
fn every_mistake_is_named_with_its_line() {
    let cases = [
        ("[[vm]]\nname = \"a\"\nagnet = \"vsock:3\"\n", "/f:3: ", "agnet"),
        ("[[vm]]\nname = \"a\"\n\n[[vm]]\nname = \"a\"\n", "/f:5: name: ", "second time"),
        ("[[vm]]\nname = \"a\"\nuuid = \"7\"\n", "/f:3: uuid: ", "\"7\" is no UUID"),
        (TWICE, "/f:6: uuid: ", "that of \"a\""),
        ("[[vm]]\nname = \"a b\"\n", "/f:2: name: ", "no name of a VM"),
        ("[[vm]]\nname = \"a\"\nagent = \"vsock:2\"\n", "/f:3: agent: ", ""),
        ("[[vm]]\nname = \"a\"\ntoken = \"secret\"\n", "/f:3: token: ", "\"file:/PATH\""),
        ("[[vm]]\nname = \"a\"\nqmp = \"run/q\"\n", "/f:3: qmp: ", "not an absolute path"),
        ("[[vm]]\nagent = \"vsock:3\"\n", "/f:1: ", "name"),
        ("[[vm]]\nname = 3\n", "/f:2: name: ", "expected a string"),
        ("[[vm]]\nname = \"a\"\nlabels = [\n  \"two words\",\n]\n", "/f:4: labels: ", "has a space"),
        (
            "[[vm]]\nname = \"a\"\n[[vm.disk]]\nimage = \"/i\"\nformat = \"raw\"\nserial = \"\"\n",
            "/f:6: serial: ",
            "is empty",
        ),
        ("[[vm]\n", "/f:1: ", ""),
        (
            "[[vm]]\nname = \"a\"\n[[vm.disk]]\nimage = \"/i\"\nformat = \"vmdk\"\n",
            "/f:5: format: ",
            "raw or qcow2",
        ),
        ("[[vm]]\nname = \"a\"\n[[vm.disk]]\nimage = \"i\"\nformat = \"raw\"\n", "/f:4: image: ", "absolute"),
    ];
    for (text, place, what) in cases {
        let trouble = parse(Path::new("/f"), text).err().unwrap_or_else(|| panic!("accepted: {text}"));
        assert_eq!(trouble.kind, Kind::Config);
        assert!(trouble.text.starts_with(place) && trouble.text.contains(what), "{text}\n{}", trouble.text);
    }
}

#[tokio::test]
async fn a_missing_image_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.toml");
    std::fs::write(&path, GOOD.replace("/dev/null", "/nonexistent/image")).unwrap();
    let trouble = load(&path).await.unwrap_err();
    assert!(trouble.text.ends_with(":9: image: /nonexistent/image does not exist"), "{}", trouble.text);
    std::fs::write(&path, GOOD).unwrap();
    assert_eq!(load(&path).await.unwrap().len(), 2);
}

#[test]
fn what_may_not_be_looked_at_is_not_missing() {
    let folder = tempfile::tempdir().unwrap();
    let circle = folder.path().join("circle");
    std::os::unix::fs::symlink("circle", &circle).unwrap();
    assert!(!is_missing(&circle), "ELOOP, as EACCES, says nothing of an image");
    assert!(is_missing(&folder.path().join("none")));
    assert!(is_missing(Path::new("/dev/null/below")));
}

#[tokio::test]
async fn a_missing_file_says_what_to_do() {
    let trouble = load(Path::new("/nonexistent/fleet.toml")).await.unwrap_err();
    assert_eq!(trouble.kind, Kind::Config);
    assert!(trouble.hint.unwrap().contains("--inventory"));
    assert!(load(Path::new("/")).await.unwrap_err().text.contains("no inventory"));
}
