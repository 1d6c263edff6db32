//! Messages on the wire: counts what is in one before it is decoded.
//!
//! A message of 1 MiB may hold half a million empty sub-messages of two bytes each, and each becomes hundreds of
//! bytes in memory. So the fields are counted first, in the encoded bytes, and decoding begins only where the
//! result fits [`crate::guest::check`]'s counts anyway.

use std::{marker::PhantomData, sync::Arc};

use prost::{
    DecodeError, Message,
    bytes::{Buf, Bytes},
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};
use trimtab_proto::v1;

use super::check::{MAX_DEVICES, MAX_FILESYSTEMS, Nonsense};

/// Repeated fields are the first level of reports and surveys: all of them, and as much again for single ones.
const MAX_TOP_FIELDS: usize = 2 * (MAX_DEVICES + MAX_FILESYSTEMS);
/// The second level of a survey: about twenty fields for each device and filesystem, with room for long lists.
const MAX_INNER_FIELDS: usize = 16 * MAX_TOP_FIELDS;

/// A message of a guest, with a bound on its fields.
pub(super) trait Answer: Message + Default + Send + 'static {
    /// The sub-messages whose own fields are counted too: those with something repeated in them.
    const PARTS: &'static [u32];
    /// The most fields inside all of those.
    const MAX_INNER: usize;
}

impl Answer for v1::HelloReply {
    const PARTS: &'static [u32] = &[5];
    const MAX_INNER: usize = 1024;
}

impl Answer for v1::SurveyReply {
    const PARTS: &'static [u32] = &[1, 2, 3];
    const MAX_INNER: usize = MAX_INNER_FIELDS;
}

impl Answer for v1::RunReport {
    const PARTS: &'static [u32] = &[];
    const MAX_INNER: usize = 0;
}

impl Answer for v1::TrimEvent {
    const PARTS: &'static [u32] = &[3, 4, 5, 6];
    const MAX_INNER: usize = MAX_TOP_FIELDS;
}

impl Answer for v1::ProbeEvent {
    const PARTS: &'static [u32] = &[2, 3, 4];
    const MAX_INNER: usize = MAX_TOP_FIELDS;
}

/// Decodes a message, if it may be decoded.
pub(super) fn decode<A: Answer>(message: Bytes) -> Result<A, Nonsense> {
    let not_a_message = |error| Nonsense::new("", format!("not a message of trimtab.v1: {error}"));
    let (top, inner) = count::<A>(message.clone()).map_err(not_a_message)?;
    for (is, max) in [(top, MAX_TOP_FIELDS), (inner, A::MAX_INNER)] {
        if is > max {
            return Err(Nonsense::new("", format!("a message of {is} fields, at most {max}")));
        }
    }
    A::decode(message).map_err(not_a_message)
}

/// The fields of a message, and those inside its parts.
fn count<A: Answer>(mut message: Bytes) -> Result<(usize, usize), DecodeError> {
    let (mut top, mut inner) = (0_usize, 0_usize);
    while message.has_remaining() {
        let (tag, wire_type) = decode_key(&mut message)?;
        top = top.saturating_add(1);
        if wire_type == WireType::LengthDelimited && A::PARTS.contains(&tag) {
            let length = usize::try_from(decode_varint(&mut message)?).unwrap_or(usize::MAX);
            let mut part = message.split_to(length.min(message.len()));
            while part.has_remaining() {
                let (tag, wire_type) = decode_key(&mut part)?;
                skip_field(wire_type, tag, &mut part, DecodeContext::default())?;
                inner = inner.saturating_add(1);
            }
        } else {
            skip_field(wire_type, tag, &mut message, DecodeContext::default())?;
        }
    }
    Ok((top, inner))
}

/// Encodes a `Q`, decodes an `A`.
#[derive(Debug)]
pub(super) struct CountingCodec<Q, A>(PhantomData<fn() -> (Q, A)>);

impl<Q, A> Default for CountingCodec<Q, A> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Q: Message + 'static, A: Answer> Codec for CountingCodec<Q, A> {
    type Encode = Q;
    type Decode = A;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<Q: Message + 'static, A: Answer> Encoder for CountingCodec<Q, A> {
    type Item = Q;
    type Error = Status;

    fn encode(&mut self, question: Q, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        question.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl<Q: Message + 'static, A: Answer> Decoder for CountingCodec<Q, A> {
    type Item = A;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<A>, Status> {
        let message = buffer.copy_to_bytes(buffer.remaining());
        decode(message).map(Some).map_err(|nonsense| {
            let mut status = Status::internal(nonsense.to_string());
            status.set_source(Arc::new(nonsense));
            status
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` times an empty sub-message with a tag.
    fn empty_parts(tag: u8, n: usize) -> Vec<u8> {
        [tag << 3 | 2, 0].repeat(n)
    }

    #[test]
    fn many_nothings_are_counted_before_they_are_decoded() {
        for (name, message) in [
            ("filesystems", empty_parts(2, MAX_TOP_FIELDS + 1)),
            ("devices", empty_parts(3, 524_288)),
            ("unknown fields", empty_parts(15, 524_288)),
            (
                "features inside",
                v1::SurveyReply {
                    agent: Some(v1::HelloReply {
                        features: vec![String::new(); MAX_INNER_FIELDS + 1],
                        ..Default::default()
                    }),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
        ] {
            let error = decode::<v1::SurveyReply>(message.into()).unwrap_err().to_string();
            assert!(error.starts_with("a message of "), "{name}: {error}");
        }
        // A oneof may come several times; its parts then add up.
        let state = [vec![0x1a, 0x82, 0x08], empty_parts(7, 513)].concat();
        let error = decode::<v1::TrimEvent>(state.repeat(100).into()).unwrap_err().to_string();
        assert!(error.starts_with("a message of 51"), "{error}");
    }

    #[test]
    fn the_largest_honest_survey_passes() {
        let id = |n: usize| format!("8:{n}");
        let reply = v1::SurveyReply {
            filesystems: (0..MAX_FILESYSTEMS)
                .map(|n| v1::Filesystem {
                    id: id(n),
                    leaf_ids: (0..8).map(id).collect(),
                    ..Default::default()
                })
                .collect(),
            devices: (0..MAX_DEVICES)
                .map(|n| v1::Device {
                    id: id(n),
                    size: 1,
                    lower_ids: (0..8).map(id).collect(),
                    identity: Some(v1::Identity::default()),
                    discarded: Some(0),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        assert_eq!(decode::<v1::SurveyReply>(reply.encode_to_vec().into()).unwrap(), reply);
    }

    #[test]
    fn what_is_no_message() {
        for (name, bytes) in [
            ("cut in a key", b"\xff".as_slice()),
            ("longer than there is", b"\x12\x7f\x0a"),
            ("a length of 2^64", b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            ("no UTF-8", b"\x0a\x03\x0a\x01\xff"),
            ("an open group", b"\x7b\x7b\x7b"),
            ("groups in groups", &[0x7b; 100_000]),
        ] {
            let error = decode::<v1::SurveyReply>(Bytes::copy_from_slice(bytes)).unwrap_err().to_string();
            assert!(error.starts_with("not a message of trimtab.v1"), "{name}: {error}");
        }
    }
}
