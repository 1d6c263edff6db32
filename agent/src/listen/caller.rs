//! Who makes a call on a connection that was let in: one that knows the token, where the guest's owner asks for one.
//! Every call is looked at, Hello too.

use std::sync::Arc;

use tonic::{Code, Request, Status, service::Interceptor};
use trimtab_proto::{token::HEADER, words::Refusal};

use super::gate::{Gate, Peer};
use crate::{
    service::refusal,
    token::{Refused, Token},
};

/// The caller at the other end of one connection.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) peer: Peer,
    pub(super) gate: Gate,
    pub(super) token: Option<Arc<Token>>,
}

impl Interceptor for Caller {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(token) = &self.token else { return Ok(request) };
        let brought = request.metadata().get(HEADER).map(|value| value.as_encoded_bytes());
        let (reason, text) = match token.judge(brought) {
            Ok(()) => return Ok(request),
            Err(Refused::Missing) => {
                (Refusal::TokenMissing, "this guest's owner wants a token with every call")
            }
            Err(Refused::Wrong) => (Refusal::TokenWrong, "this is not the token of this guest"),
        };
        self.gate.refused_call(self.peer, reason.as_str());
        Err(refusal(Code::Unauthenticated, reason, text, &[]))
    }
}
