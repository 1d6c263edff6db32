//! This host, as plans and stores know it.

use std::{fs, path::Path};

/// What tells this host from others: its machine id (machine-id(5)), which stays over reboots; where it has none, its
/// name. Only for what this program keeps: never shown to a guest.
pub fn id() -> String {
    id_under(Path::new("/"))
}

/// What people call it: its host name; empty where it has none.
pub fn name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

/// The uuid that firmware tells of this machine: of a libvirt domain it is the domain's own. Only root reads it; `None` where
/// there is none, or one that says nothing.
pub fn product_uuid() -> Option<String> {
    product_uuid_under(Path::new("/"))
}

fn product_uuid_under(root: &Path) -> Option<String> {
    let told = fs::read_to_string(root.join("sys/class/dmi/id/product_uuid")).ok()?;
    let uuid: uuid::Uuid = told.trim().parse().ok()?;
    (!uuid.is_nil() && !uuid.is_max()).then(|| uuid.to_string())
}

fn id_under(root: &Path) -> String {
    let read = |file: &str| {
        let text = fs::read_to_string(root.join(file)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let machine = ["etc/machine-id", "var/lib/dbus/machine-id"].into_iter().find_map(|file| {
        read(file).filter(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
    });
    machine.or_else(|| read("proc/sys/kernel/hostname")).unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uuid_of_firmware() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("sys/class/dmi/id");
        fs::create_dir_all(&folder).unwrap();
        let uuid = "00112233-4455-6677-8899-aabbccddeeff";
        for (told, expected) in [
            ("00112233-4455-6677-8899-AABBCCDDEEFF\n", Some(uuid)),
            ("00000000-0000-0000-0000-000000000000\n", None),
            ("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF\n", None),
            ("Not Settable\n", None),
        ] {
            fs::write(folder.join("product_uuid"), told).unwrap();
            assert_eq!(product_uuid_under(root.path()).as_deref(), expected, "{told}");
        }
    }

    #[test]
    fn a_machine_id_or_a_name() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(id_under(root.path()), "localhost");
        write("proc/sys/kernel/hostname", "node1\n");
        assert_eq!(id_under(root.path()), "node1");
        write("etc/machine-id", "uninitialized\n");
        assert_eq!(id_under(root.path()), "node1", "systemd's word while the first boot goes on");
        write("var/lib/dbus/machine-id", "0123456789abcdef0123456789abcdef\n");
        assert_eq!(id_under(root.path()), "0123456789abcdef0123456789abcdef");
    }
}
