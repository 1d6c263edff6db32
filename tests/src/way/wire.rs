//! What of PostgreSQL's protocol a [`super::Way`] reads (PostgreSQL's manual, "Message Formats"): where a message ends, and which
//! statement a client has run. Pure.

use std::{collections::HashMap, io};

use bytes::{Buf, Bytes, BytesMut};

/// Protocol 3.0, all that a client without TLS begins with.
const PROTOCOL: u32 = 3 << 16;

/// A message, whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Message {
    /// Its first byte; a client's very first message has none.
    pub(super) kind: Option<u8>,
    /// As it came.
    pub(super) bytes: Bytes,
}

impl Message {
    /// What follows its kind and its length.
    fn body(&self) -> &[u8] {
        self.bytes.get(if self.kind.is_some() { 5 } else { 4 }..).unwrap_or_default()
    }
}

/// Cuts what comes into messages.
#[derive(Debug)]
pub(super) struct Cutter {
    come: BytesMut,
    has_kind: bool,
}

impl Cutter {
    /// Of what a client says.
    pub(super) fn of_client() -> Self {
        Self { come: BytesMut::new(), has_kind: false }
    }

    /// Of what a server says.
    pub(super) fn of_server() -> Self {
        Self { come: BytesMut::new(), has_kind: true }
    }

    /// Where the next bytes go.
    pub(super) fn room(&mut self) -> &mut BytesMut {
        self.come.reserve(1 << 13);
        &mut self.come
    }

    /// The next message that is whole.
    ///
    /// # Errors
    /// This is no such protocol.
    pub(super) fn next(&mut self) -> io::Result<Option<Message>> {
        let (before, head) = if self.has_kind { (1, 5) } else { (0, 4) };
        let Some(mut length) = self.come.get(before..head) else { return Ok(None) };
        let length = usize::try_from(length.get_u32()).unwrap_or(usize::MAX);
        let whole = length.checked_add(before).filter(|_| length >= 4);
        let whole = whole.ok_or_else(|| io::Error::other("a message without a length"))?;
        if self.come.len() < whole {
            return Ok(None);
        }
        let bytes = self.come.split_to(whole).freeze();
        let kind = self.has_kind.then(|| bytes.first().copied()).flatten();
        let message = Message { kind, bytes };
        if !self.has_kind && message.body().get(..4) != Some(PROTOCOL.to_be_bytes().as_slice()) {
            return Err(io::Error::other("a client without TLS was expected: sslmode=disable"));
        }
        self.has_kind = true;
        Ok(Some(message))
    }
}

/// What a client's message means to the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Means {
    /// This SQL is run now: it is bound, which is followed by its execution, or said as it is.
    Runs(String),
    /// An answer that ends with ReadyForQuery is due.
    Answer,
    /// Neither.
    Nothing,
}

/// The statements that a client has prepared.
#[derive(Default, Debug)]
pub(super) struct Client {
    statements: HashMap<Vec<u8>, String>,
}

impl Client {
    /// Takes note of a message.
    pub(super) fn says(&mut self, message: &Message) -> Means {
        let mut rest = message.body();
        match message.kind {
            // Parse: a name, its SQL, types.
            Some(b'P') => {
                let name = word(&mut rest).to_vec();
                self.statements.insert(name, String::from_utf8_lossy(word(&mut rest)).into_owned());
                Means::Nothing
            }
            // Bind: a portal, a statement's name, parameters.
            Some(b'B') => {
                word(&mut rest);
                Means::Runs(self.statements.get(word(&mut rest)).cloned().unwrap_or_default())
            }
            Some(b'Q') => Means::Runs(String::from_utf8_lossy(word(&mut rest)).into_owned()),
            // Sync, and the beginning.
            Some(b'S') | None => Means::Answer,
            Some(_) => Means::Nothing,
        }
    }
}

/// What ends with a zero byte.
fn word<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after.get(1..).unwrap_or_default();
    word
}

/// Whether this SQL calls the function.
pub(super) fn calls(sql: &str, function: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    sql.match_indices(function).any(|(at, _)| {
        let before = sql.get(..at).and_then(|before| before.bytes().last());
        let after = sql.get(at..).and_then(|rest| rest.strip_prefix(function));
        !before.is_some_and(is_part) && after.is_some_and(|after| after.starts_with('('))
    })
}

#[cfg(test)]
mod tests;
