//! This host, as plans and stores know it.

use std::{fs, path::Path};

/// What tells this host from others: its machine id (machine-id(5)), which stays over reboots; where it has none, its
/// name. Only for what this program keeps: never shown to a guest.
pub fn id() -> String {
    id_under(Path::new("/"))
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
