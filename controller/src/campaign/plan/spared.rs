//! VMs that a campaign must not slow down unless a person names them: the one that the store's database runs in, and the
//! one that trimtab itself runs in. Pure.

use crate::campaign::seen::SeenVm;

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spared {
    /// Its uuid, its name, or the host name that it goes by.
    pub called: String,
    /// What runs in it, as a sentence.
    pub why: String,
}

/// Why a VM is spared, if it is.
pub(super) fn why_spared<'a>(spared: &'a [Spared], vm: &SeenVm) -> Option<&'a str> {
    let is_it = |one: &&Spared| {
        one.called == vm.name
            || vm.uuid.as_deref().is_some_and(|uuid| same_uuid(&one.called, uuid))
            || is_host_name(&one.called, &vm.name)
    };
    spared.iter().find(is_it).map(|one| one.why.as_str())
}

/// Firmware that is older than SMBIOS 2.6 tells the first three groups of a uuid the other way round.
fn same_uuid(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (one.parse::<uuid::Uuid>(), other.parse::<uuid::Uuid>()) else { return false };
    one == other || uuid::Uuid::from_bytes(one.to_bytes_le()) == other
}

/// "db" is where "db.example.org" runs. An address is no name.
fn is_host_name(called: &str, vm: &str) -> bool {
    let is_address = called.parse::<std::net::IpAddr>().is_ok();
    !is_address && called.split_once('.').is_some_and(|(first, _)| first == vm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_uuid_and_host_name() {
        let uuid = "00112233-4455-6677-8899-aabbccddeeff";
        let vm = SeenVm::not_looked_at("db".into(), Some(uuid.into()), Vec::new(), true);
        for (called, expected) in [
            ("db", true),
            ("db.example.org", true),
            ("DB", false),
            ("db2.example.org", false),
            (uuid, true),
            ("00112233-4455-6677-8899-AABBCCDDEEFF", true),
            ("33221100-5544-7766-8899-aabbccddeeff", true),
            ("10112233-4455-6677-8899-aabbccddeeff", false),
            ("192.0.2.1", false),
            ("", false),
        ] {
            let spared = [Spared { called: called.into(), why: "w".into() }];
            assert_eq!(why_spared(&spared, &vm).is_some(), expected, "{called}");
        }
        let plain = SeenVm { uuid: None, ..vm };
        assert!(why_spared(&[Spared { called: uuid.into(), why: "w".into() }], &plain).is_none());
        let number = SeenVm { name: "192".into(), ..plain };
        assert!(why_spared(&[Spared { called: "192.0.2.1".into(), why: "w".into() }], &number).is_none());
    }
}
