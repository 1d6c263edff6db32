//! What every engine's fault can say; what only one knows stands in its `fault.rs`.

use super::fault::Fault;
use crate::model::trouble::{Kind, Trouble};

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl Fault {
    pub(super) fn damaged(what: String) -> Self {
        Self::Damaged(what)
    }

    pub(super) fn defect(what: String) -> Self {
        Self::Told(Trouble::new(Kind::Internal, format!("the store of campaigns: {what}")))
    }

    pub(super) fn no_campaign(campaign: i64) -> Self {
        let text = format!("the store has no campaign {campaign}");
        Self::Told(Trouble::new(Kind::UnknownCampaign, text).hint("trimtab campaign list shows them"))
    }
}
