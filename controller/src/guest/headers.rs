//! Headers and trailers of an answer, before tonic reads them.
//!
//! tonic 0.14 panics on a `grpc-status-details-bin` that is not base64 (`Status::from_header_map`). A header that
//! does not decode carries no details, so it is taken out.

use http_body_util::BodyExt;
use tonic::{
    body::Body,
    codegen::http::{HeaderMap, Response},
    metadata::MetadataMap,
};

const DETAILS: &str = "grpc-status-details-bin";

/// Takes out of an answer's headers and trailers what must not be decoded.
pub(super) fn clean(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    clean_map(&mut parts.headers);
    let body = body.map_frame(|mut frame| {
        if let Some(trailers) = frame.trailers_mut() {
            clean_map(trailers);
        }
        frame
    });
    Response::from_parts(parts, Body::new(body))
}

/// Judged by the same decoder that tonic uses afterwards.
fn clean_map(headers: &mut HeaderMap) {
    if !headers.contains_key(DETAILS) {
        return;
    }
    let bad = MetadataMap::from_headers(headers.clone())
        .get_all_bin(DETAILS)
        .iter()
        .any(|details| details.to_bytes().is_err());
    if bad {
        headers.remove(DETAILS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_decode_goes() {
        for (details, stays) in [
            ("", true),
            ("CAcSAmhp", true),
            ("CAcSAmg=", true),
            ("CAcSAmg", true),
            ("!", false),
            ("CAcSAmh", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(DETAILS, details.parse().unwrap());
            headers.insert("grpc-status", "7".parse().unwrap());
            clean_map(&mut headers);
            assert_eq!(headers.contains_key(DETAILS), stays, "{details:?}");
            assert!(headers.contains_key("grpc-status"));
            assert!(tonic::Status::from_header_map(&headers).is_some());
        }
    }
}
