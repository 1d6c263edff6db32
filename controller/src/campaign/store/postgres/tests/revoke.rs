//! A host that is shut out, and one that is forgotten.

use super::{
    rights::{as_role, both, nothing, of, two_hosts},
    *,
};
use crate::{
    campaign::{
        seen::{SeenHost, SeenVm},
        store::fleet::Has,
    },
    model::trouble::Kind,
};

#[tokio::test]
async fn who_is_shut_out_may_do_nothing_more() {
    let (database, operator) = two_hosts().await;
    let id = operator.apply(&both()).await.unwrap();
    let (thief, other) = (as_role(&database, "h").await, as_role(&database, "other").await);
    thief.recover(&of("h")).await.unwrap();
    let mut session = PgConnection::connect(&server::url(&format!("{database}-h"), &database)).await.unwrap();

    let said = revoke(&server::url("trimtab", &database), "h", false).await.unwrap().said.join("\n");
    let role = format!("{database}-h");
    assert!(
        said.starts_with(&format!("role {role} may no longer work for host h\nended its sessions here: ")),
        "{said}"
    );
    assert!(
        said.contains(&format!("runs of campaign {id} that wait there until their VMs are elsewhere: 2;")),
        "{said}"
    );

    assert!(sqlx::raw_sql("SELECT 1").execute(&mut session).await.is_err(), "it has ended");
    let refused = thief.claim(id, &of("h")).await.unwrap_err();
    assert!(refused.hint.unwrap().contains("trimtab store grant lets a host's role in"), "{}", refused.text);
    let mut again = PgConnection::connect(&server::url(&role, &database)).await.unwrap();
    for call in ["trimtab.terms()", "trimtab.latest()", "trimtab.leave('h', '')", "trimtab.host_role"] {
        let call = format!("SELECT * FROM {call}");
        assert!(sqlx::raw_sql(sqlx::AssertSqlSafe(call)).execute(&mut again).await.is_err(), "{role}");
    }
    other.recover(&of("other")).await.unwrap();
    assert!(matches!(other.claim(id, &of("other")).await.unwrap(), Claim::Run(_)));

    let said = revoke(&server::url("trimtab", &database), "h", false).await.unwrap().said;
    assert!(said[0].starts_with("no role stands for host h"), "{said:?}");
    grant(&server::url("trimtab", &database), "h", &role).await.unwrap();
    assert!(matches!(thief.claim(id, &of("h")).await.unwrap(), Claim::Run(_)), "it was let in again");
}

#[tokio::test]
async fn who_is_gone_for_good_is_forgotten() {
    let url = server::database().await;
    init(&url, Terms { lease: Duration::from_secs(1) }).await.unwrap();
    let store = PgStore::open(&url).await.unwrap();
    let vm = SeenVm::not_looked_at("db1".into(), Some("1".into()), Vec::new(), true);
    let says = async |host: &str, name: &str, vms: &[&SeenVm]| {
        let about = Some(SeenHost { name: name.into(), ..SeenHost::default() });
        let changed = vms.iter().map(|vm| (*vm).clone().into()).collect();
        store.publish(&of(host), &News { about, changed, ..nothing() }).await.unwrap();
    };
    says("1a", "kvm01", &[&vm]).await;
    says("2b", "kvm02", &[&vm]).await;
    says("3c", "kvm02", &[]).await;

    let refused = async |host: &str| revoke(&url, host, true).await.unwrap_err();
    let heard = refused("kvm01").await;
    assert_eq!(heard.kind, Kind::Busy);
    assert!(heard.text.starts_with("host 1a was heard within the last 1 s"), "{heard}");
    let both = refused("kvm02").await;
    assert!(both.text.ends_with("2 hosts call themselves kvm02: 2b, 3c"), "{both}");
    assert!(refused("kvm03").await.text.ends_with("knows no host kvm03"));

    // It is silent, and the others are not.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    store.heartbeat(&of("2b"), None, &[]).await.unwrap();
    let said = revoke(&url, "kvm01", true).await.unwrap().said.join("\n");
    assert!(said.ends_with("from an image any more: 1"), "{said}");
    let left = store.published().await.unwrap();
    let hosts: Vec<_> = left.iter().map(|host| host.host.as_str()).collect();
    assert_eq!(hosts, ["2b", "3c"]);
    assert!(matches!(left[0].vms[0].has, Has::Yes), "who claimed it has it");
    assert!(refused("1a").await.text.ends_with("knows no host 1a"));
}
