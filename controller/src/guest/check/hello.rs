//! HelloReply.

use trimtab_proto::{v1, words::Wire};

use super::{
    MAX_WORDS, Nonsense,
    field::{required, word, words},
};
use crate::model::{
    guest::{AgentInfo, Policy},
    vm::Via,
};

/// Checks who answers.
pub fn hello(reply: v1::HelloReply) -> Result<AgentInfo, Nonsense> {
    Ok(AgentInfo {
        via: Via::Agent,
        version: word("agent_version", reply.agent_version)?,
        kernel: word("kernel", reply.kernel)?,
        boot_id: word("boot_id", reply.boot_id)?,
        features: words("features", reply.features, MAX_WORDS)?,
        policy: policy(required("policy", reply.policy)?).map_err(|error| error.within("policy"))?,
    })
}

fn policy(policy: v1::Policy) -> Result<Policy, Nonsense> {
    Ok(Policy {
        host_may_trim: policy.host_may_trim,
        host_may_probe: policy.host_may_probe,
        fastest: (policy.fastest != 0).then(|| Wire::read(policy.fastest)),
        min_interval_secs: policy.min_interval_secs,
        also_allowed_types: words("also_allowed_types", policy.also_allowed_types, MAX_WORDS)?,
    })
}
