//! A guest's owner who does not obey every process of the host: each call brings the token, or is refused.

use std::{fs, process::Command};

use tonic::{Code, Request, Status};
use trimtab_proto::{token::HEADER, v1, words::Refusal};

use crate::{
    client::{connect, refusal, request, run_id},
    rig::{Scratch, Serving, agent},
};

const TOKEN: &str = "correct-horse-battery-staple";

/// Makes every call there is, each with this token; what each was refused for.
async fn refusals(agent: &Serving, token: Option<&str>) -> Vec<(&'static str, Option<Status>)> {
    fn with<T>(token: Option<&str>, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = token {
            request.metadata_mut().insert(HEADER, token.parse().unwrap());
        }
        request
    }
    let mut client = connect(&agent.socket).await;
    let steer = v1::SteerRequest { run_id: run_id(1), fence: 1, action: v1::Action::Cancel.into() };
    let get_run = v1::GetRunRequest { run_id: run_id(1) };
    let probe = v1::ProbeRequest { filesystem_id: "0:0".into(), ..v1::ProbeRequest::default() };
    vec![
        ("Hello", client.hello(with(token, v1::HelloRequest::default())).await.err()),
        ("Survey", client.survey(with(token, v1::SurveyRequest {})).await.err()),
        ("Trim", client.trim(with(token, request(1, &["0:0"]))).await.err()),
        ("Steer", client.steer(with(token, steer)).await.err()),
        ("GetRun", client.get_run(with(token, get_run)).await.err()),
        ("Probe", client.probe(with(token, probe)).await.err()),
    ]
}

#[tokio::test]
async fn every_call_brings_it() {
    let scratch = Scratch::new();
    let file = scratch.path("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let credentials = scratch.path("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("trimtab.token"), TOKEN).unwrap();

    let as_file = (format!("token = \"file:{}\"\n", file.display()), agent(&scratch));
    let mut as_credential = ("token = \"credential\"\n".to_owned(), agent(&scratch));
    as_credential.1.env("CREDENTIALS_DIRECTORY", &credentials);
    for (config, command) in [as_file, as_credential] {
        let agent = Serving::spawn(&scratch, &config, command);
        for (token, reason) in [
            (None, Refusal::TokenMissing),
            (Some("correct-horse-battery-stable"), Refusal::TokenWrong),
            (Some(""), Refusal::TokenWrong),
        ] {
            for (call, refused) in refusals(&agent, token).await {
                let status = refused.unwrap_or_else(|| panic!("{call} was answered with {token:?}"));
                assert_eq!(status.code(), Code::Unauthenticated, "{call}");
                assert_eq!(refusal(&status), Some(reason), "{call}");
                assert!(!status.message().contains("horse"), "{call}: {status}");
            }
        }
        for (call, refused) in refusals(&agent, Some(TOKEN)).await {
            assert!(refused.is_none_or(|status| status.code() != Code::Unauthenticated), "{call}");
        }
    }
}

#[test]
fn without_one_that_can_be_read_nothing_starts() {
    let scratch = Scratch::new();
    let short = scratch.path("short");
    fs::write(&short, "horse").unwrap();
    for (name, config, expected) in [
        (
            "no credential",
            "\ntoken = \"credential\"\n".to_owned(),
            "agent.toml:2: token: there is no credential",
        ),
        (
            "no file",
            "token = \"file:/nonexistent\"\n".to_owned(),
            "agent.toml:1: token: cannot read /nonexistent",
        ),
        (
            "too short",
            format!("token = \"file:{}\"\n", short.display()),
            "a token is one line of 16 to 256 visible ASCII",
        ),
    ] {
        let file = scratch.path("agent.toml");
        fs::write(&file, config).unwrap();
        let mut command: Command = agent(&scratch);
        command.arg("--config").arg(&file).args(["serve", "--listen", "unix:/nonexistent/socket"]);
        let out = command.env_remove("CREDENTIALS_DIRECTORY").output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{name}: {said}");
        assert!(said.contains(expected) && !said.contains("horse"), "{name}: {said}");
    }
}
