//! Which campaign a person means: the one that is named, or the only one that is not over.

use crate::{
    campaign::{
        account::{CampaignState, Summary},
        store::Store,
    },
    model::trouble::{Kind, Trouble},
};

/// The number that was given, if the store has it; without one, the only campaign that is not over. `or_last` takes the
/// newest where all are over: what only looks has no harm to do.
pub(super) async fn which<S: Store>(store: &S, id: Option<i64>, or_last: bool) -> Result<i64, Trouble> {
    choose(&store.list().await?, id, or_last)
}

fn choose(campaigns: &[Summary], id: Option<i64>, or_last: bool) -> Result<i64, Trouble> {
    let unknown = |text: String| {
        Trouble::new(Kind::UnknownCampaign, text).hint("`trimtab campaign list` shows all that there are")
    };
    if let Some(id) = id {
        let found = campaigns.iter().any(|campaign| campaign.id == id);
        return if found { Ok(id) } else { Err(unknown(format!("there is no campaign {id}"))) };
    }
    let open: Vec<i64> =
        campaigns.iter().filter(|campaign| !is_over(campaign.state)).map(|campaign| campaign.id).collect();
    let newest = campaigns.iter().map(|campaign| campaign.id).max().filter(|_| or_last);
    match (open.as_slice(), newest) {
        ([only], _) => Ok(*only),
        ([], Some(newest)) => Ok(newest),
        ([], None) => Err(unknown("no campaign is under way".to_owned())),
        (several, _) => {
            let numbers: Vec<String> = several.iter().map(i64::to_string).collect();
            Err(Trouble::new(Kind::Usage, format!("several campaigns are under way: {}", numbers.join(", ")))
                .hint("name one of them by its number"))
        }
    }
}

fn is_over(state: CampaignState) -> bool {
    matches!(state, CampaignState::Aborted | CampaignState::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::campaign::samples;

    #[test]
    fn the_only_one() {
        let campaign = |id, state| Summary { id, state, ..samples::summary() };
        let done = campaign(1, CampaignState::Done);
        let active = campaign(2, CampaignState::Active);
        let stopped = campaign(3, CampaignState::Stopped);
        for (name, campaigns, id, or_last, expected) in [
            ("named", vec![&done, &active], Some(1), false, Ok(1)),
            ("named and not there", vec![&done], Some(9), true, Err("there is no campaign 9")),
            ("the only one", vec![&done, &active], None, false, Ok(2)),
            ("a stopped one is not over", vec![&stopped], None, false, Ok(3)),
            ("two", vec![&active, &stopped], None, true, Err("several campaigns are under way: 2, 3")),
            ("none to order about", vec![&done], None, false, Err("no campaign is under way")),
            ("the last to look at", vec![&done], None, true, Ok(1)),
            ("none at all", vec![], None, true, Err("no campaign is under way")),
        ] {
            let campaigns: Vec<Summary> = campaigns.into_iter().cloned().collect();
            let got = choose(&campaigns, id, or_last).map_err(|trouble| trouble.text);
            assert_eq!(got, expected.map_err(str::to_owned), "{name}");
        }
    }
}
