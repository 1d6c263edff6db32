//! QMP's lines (docs/interop/qmp-spec.rst of QEMU): one JSON object each. Pure; knows no socket.
//!
//! ```text
//! server: {"QMP": {…}}                               the greeting, once
//! client: {"execute": "qmp_capabilities"}            leaves the negotiation mode
//! client: {"execute": "query-status"}   server: {"return": {…}} or {"error": {"class": …, "desc": …}}
//!                                       server: {"event": …} at any time
//! ```

use serde::Deserialize;
use serde_json::{Value, json};

/// A line that the server sent.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Line {
    /// `{"QMP": …}`.
    Greeting,
    /// What a command returned.
    Return(Value),
    /// That a command failed.
    Error(Refused),
    /// Something that happened meanwhile; nobody here listens to those.
    Event,
}

/// A command that QEMU refused.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, thiserror::Error)]
#[error("{desc} ({class})")]
pub(super) struct Refused {
    /// "GenericError", "CommandNotFound", "DeviceNotFound", …
    class: String,
    /// A sentence.
    desc: String,
}

/// The members that tell the kinds of line apart.
#[derive(Deserialize)]
struct Members {
    #[serde(rename = "QMP")]
    greeting: Option<Value>,
    #[serde(rename = "return", default, deserialize_with = "present")]
    returned: Option<Value>,
    error: Option<Refused>,
    event: Option<String>,
}

/// `"return": null` is an answer too, and not the same as none.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Reads one line. The error is a sentence without the line itself.
pub(super) fn parse(line: &[u8]) -> Result<Line, String> {
    let members: Members =
        serde_json::from_slice(line).map_err(|error| format!("a line that is not QMP's JSON ({error})"))?;
    match members {
        Members { error: Some(refused), .. } => Ok(Line::Error(refused)),
        Members { returned: Some(value), .. } => Ok(Line::Return(value)),
        Members { event: Some(_), .. } => Ok(Line::Event),
        Members { greeting: Some(_), .. } => Ok(Line::Greeting),
        _ => Err("a line that is neither a greeting, an answer nor an event".to_owned()),
    }
}

/// Writes a command, with the end of its line.
pub(super) fn command(name: &str, arguments: &Value) -> Vec<u8> {
    let object = match arguments {
        Value::Null => json!({ "execute": name }),
        arguments => json!({ "execute": name, "arguments": arguments }),
    };
    let mut line = object.to_string().into_bytes();
    line.extend_from_slice(b"\r\n");
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines() {
        let refused = Refused { class: "GenericError".into(), desc: "no".into() };
        let cases: [(&str, &str, Line); 6] = [
            ("greeting", r#"{"QMP": {"version": {}, "capabilities": ["oob"]}}"#, Line::Greeting),
            ("return", r#"{"return": {"running": true}}"#, Line::Return(json!({"running": true}))),
            ("empty return", "{\"return\": {}}\r", Line::Return(json!({}))),
            ("null return", r#"{"return": null}"#, Line::Return(Value::Null)),
            ("error", r#"{"error": {"class": "GenericError", "desc": "no"}}"#, Line::Error(refused)),
            ("event", r#"{"timestamp": {"seconds": 1}, "event": "STOP"}"#, Line::Event),
        ];
        for (name, line, expected) in cases {
            assert_eq!(parse(line.as_bytes()), Ok(expected), "{name}");
        }
    }

    #[test]
    fn what_is_not_qmp() {
        for line in ["", "SSH-2.0-OpenSSH_9.2", "{}", "[]", "7", r#"{"return": {}"#, r#"{"hello": 1}"#] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn commands() {
        assert_eq!(command("query-status", &Value::Null), b"{\"execute\":\"query-status\"}\r\n");
        assert_eq!(
            String::from_utf8(command("qom-get", &json!({"path": "/m", "property": "serial"}))).unwrap(),
            "{\"arguments\":{\"path\":\"/m\",\"property\":\"serial\"},\"execute\":\"qom-get\"}\r\n"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&line);
        }
    }
}
