//! Conversations as they go over the wire.

use super::*;

fn message(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().saturating_add(4);
    kind.into_iter().chain(length.to_be_bytes()).chain(body.iter().copied()).collect()
}

fn startup() -> Vec<u8> {
    message(None, &[&PROTOCOL.to_be_bytes()[..], b"user\0op\0\0"].concat())
}

/// What a client says that prepares a claim, runs it twice, asks whether anybody is there, and begins a transaction.
fn client() -> Vec<u8> {
    let bind = message(Some(b'B'), b"\0s1\0\0\x01\0\x01\0\x02\0\0\0\x02no\0\0");
    let execute = message(Some(b'E'), b"\0\0\0\0\0");
    let sync = message(Some(b'S'), b"");
    [
        startup(),
        message(Some(b'P'), b"s1\0SELECT * FROM claim($1)\0\0\0"),
        message(Some(b'D'), b"Ss1\0"),
        sync.clone(),
        bind.clone(),
        execute.clone(),
        sync.clone(),
        bind,
        execute,
        sync.clone(),
        sync,
        message(Some(b'Q'), b"BEGIN\0"),
    ]
    .concat()
}

fn meanings(said: &[u8], at_a_time: usize) -> Vec<Means> {
    let (mut cutter, mut client) = (Cutter::of_client(), Client::default());
    let mut meanings = Vec::new();
    for part in said.chunks(at_a_time) {
        cutter.room().extend_from_slice(part);
        while let Some(message) = cutter.next().unwrap() {
            meanings.push(client.says(&message));
        }
    }
    assert!(cutter.room().is_empty(), "nothing is left");
    meanings
}

#[test]
fn what_a_client_runs_however_its_bytes_come() {
    let claim = || Means::Runs("SELECT * FROM claim($1)".to_owned());
    let expected = [
        Means::Answer,
        Means::Nothing,
        Means::Nothing,
        Means::Answer,
        claim(),
        Means::Nothing,
        Means::Answer,
        claim(),
        Means::Nothing,
        Means::Answer,
        Means::Answer,
        Means::Runs("BEGIN".to_owned()),
    ];
    let said = client();
    for at_a_time in 1..=said.len() {
        assert_eq!(meanings(&said, at_a_time), expected, "{at_a_time} bytes at a time");
    }
}

#[test]
fn a_server_begins_with_a_kind_and_nothing_is_lost() {
    let said = [message(Some(b'R'), &[0; 4]), message(Some(b'Z'), b"I")].concat();
    let mut cutter = Cutter::of_server();
    cutter.room().extend_from_slice(&said);
    let cut: Vec<Message> = std::iter::from_fn(|| cutter.next().unwrap()).collect();
    assert_eq!(cut.iter().map(|message| message.kind).collect::<Vec<_>>(), [Some(b'R'), Some(b'Z')]);
    assert_eq!(cut.iter().flat_map(|message| message.bytes.to_vec()).collect::<Vec<u8>>(), said);
}

#[test]
fn what_is_no_such_protocol_is_refused() {
    for (name, said) in [
        ("TLS is asked for", message(None, &80_877_103_u32.to_be_bytes())),
        ("no length", vec![0, 0, 0, 3]),
        ("another version", message(None, &[0, 2, 0, 0])),
    ] {
        let mut cutter = Cutter::of_client();
        cutter.room().extend_from_slice(&said);
        assert!(cutter.next().is_err(), "{name}");
    }
}

#[test]
fn the_function_that_is_called() {
    for (sql, function, expected) in [
        ("SELECT * FROM claim($1, $2)", "claim", true),
        ("SELECT run, answer FROM heartbeat($1)", "heartbeat", true),
        ("SELECT baseline($1, $2)", "baseline", true),
        ("SELECT newest()", "newest", true),
        ("SELECT reclaim($1)", "claim", false),
        ("SELECT claim_all($1)", "claim", false),
        ("SELECT claim FROM run", "claim", false),
        ("", "claim", false),
    ] {
        assert_eq!(calls(sql, function), expected, "{sql}");
    }
}
