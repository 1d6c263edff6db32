//! The words that the database keeps of hosts are those of the closed lists, all of them and no other.

use std::{collections::BTreeSet, fmt::Debug};

use serde::de::DeserializeOwned;
use sqlx::{Connection as _, PgConnection};

use super::*;
use crate::{
    campaign::{
        plan::Reason,
        run::{Class, Wait},
    },
    layers::Layer,
    ledger::verdict::Verdict,
    model::trouble::Kind,
};

/// All words of a list, by what it says to one that it does not know.
fn words<T: DeserializeOwned + Debug>() -> BTreeSet<String> {
    let refused = serde_json::from_str::<T>("\"no such word\"").unwrap_err().to_string();
    let (_, listed) = refused.split_once("expected one of ").unwrap_or_else(|| panic!("{refused}"));
    listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[tokio::test]
async fn are_those_of_the_lists() {
    let url = server::database().await;
    init(&url, Terms::default()).await.unwrap();
    let mut db = PgConnection::connect(&url).await.unwrap();
    for (name, expected) in [
        ("class", words::<Class>()),
        ("verdict", words::<Verdict>()),
        ("layer", words::<Layer>()),
        ("kind", words::<Kind>()),
        ("reason", words::<Reason>()),
        ("wait", words::<Wait>()),
    ] {
        assert!(expected.len() > 5, "{name}: {expected:?}");
        let kept: Vec<String> = sqlx::query_scalar(
            "SELECT e.enumlabel::TEXT FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid WHERE t.typname = 'word_' || $1",
        )
        .bind(name)
        .fetch_all(&mut db)
        .await
        .unwrap();
        assert_eq!(kept.into_iter().collect::<BTreeSet<_>>(), expected, "{name}");
    }
}
