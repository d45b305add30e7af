//! `daca card` on files and on an agent in this process: what it prints, and how it ends.

#![expect(
    clippy::unwrap_used,
    reason = "a test's own fault should fail the test at once"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use axum::{Json, Router, routing::get};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, process::Command};

fn card() -> Value {
    json!({
        "name": "Clock", "description": "Tells the time.", "version": "1.2.0",
        "supportedInterfaces": [{"url": "https://agents.example.com/clock",
            "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}],
        "capabilities": {"streaming": true},
        "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
        "skills": [{"id": "now", "name": "Now", "description": "The time.", "tags": ["time"]}],
    })
}

/// A folder with a card, a private key and its public key.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(TempDir::new().unwrap());
        desk.put("card.json", &card().to_string());
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        desk.put("key.pem", &key.serialize_pem());
        desk.put("public.pem", &key.public_key_pem());
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn get(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    async fn daca(&self, line: &str) -> Output {
        daca(self.0.path(), line).await
    }

    /// Signs `from` into `to`.
    async fn sign(&self, from: &str, to: &str, more: &str) {
        let line = format!("card sign {from} --key key.pem {more}");
        let output = self.daca(&line).await;
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        self.put(to, &stdout(&output));
    }
}

async fn daca(folder: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_daca"))
        .args(line.split_whitespace())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Something that serves one document at a card's place, and one as a key set.
async fn serve(card: Value, jwks: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new()
        .route("/.well-known/agent-card.json", get(async || Json(card)))
        .route("/jwks.json", get(async || Json(jwks)));
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    tokio::spawn(async { axum::serve(listener, app).await });
    format!("http://{address}")
}

#[tokio::test]
async fn what_is_signed_here_is_verified_here_by_pem_and_by_key_set() {
    let desk = Desk::new();
    desk.sign("card.json", "signed.json", "--kid k1 --jwks jwks.json")
        .await;
    for keys in ["public.pem", "key.pem", "jwks.json"] {
        let output = desk
            .daca(&format!("card verify signed.json --keys {keys}"))
            .await;
        assert_eq!(output.status.code(), Some(0), "{keys}: {}", stdout(&output));
        assert_eq!(
            stdout(&output),
            "verified: signed with ES256 by the key \"k1\"\n"
        );
    }
    let set = fs::read_to_string(desk.path("jwks.json")).unwrap();
    assert!(!set.contains("\"d\""), "{set}");
}

#[tokio::test]
async fn a_second_signature_leaves_the_first_and_either_key_verifies() {
    let desk = Desk::new();
    desk.sign("card.json", "once.json", "--kid old --jwks old.json")
        .await;
    let new = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    desk.put("key.pem", &new.serialize_pem());
    desk.sign("once.json", "twice.json", "--kid new --jwks new.json")
        .await;
    assert_eq!(
        desk.get("twice.json")["signatures"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    for (keys, algorithm) in [("old", "ES256"), ("new", "EdDSA")] {
        let line = format!("card verify twice.json --keys {keys}.json --output json");
        let output = desk.daca(&line).await;
        let said: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert_eq!(
            (&said["keyId"], &said["algorithm"]),
            (&json!(keys), &json!(algorithm))
        );
    }
}

#[tokio::test]
async fn a_card_that_does_not_verify_ends_with_one_and_says_why_in_both_formats() {
    let desk = Desk::new();
    desk.sign("card.json", "signed.json", "--kid k1").await;
    let mut changed = desk.get("signed.json");
    changed["name"] = json!("Thief");
    desk.put("changed.json", &changed.to_string());
    for (file, words) in [
        ("changed.json", "does not belong to this card and key"),
        ("card.json", "the card is not signed"),
    ] {
        let line = format!("card verify {file} --keys public.pem");
        let output = desk.daca(&line).await;
        assert_eq!(output.status.code(), Some(1), "{file}");
        assert!(
            stdout(&output).contains(words),
            "{file}: {}",
            stdout(&output)
        );
        let output = desk.daca(&format!("{line} --output json")).await;
        let said: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(
            (output.status.code(), &said["verified"]),
            (Some(1), &json!(false))
        );
        assert!(said["message"].as_str().unwrap().contains(words), "{said}");
    }
    let output = desk
        .daca("card verify signed.json --keys public.pem --algorithm EdDSA")
        .await;
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
}

#[tokio::test]
async fn an_agents_card_is_verified_with_the_key_set_that_it_names_if_that_is_allowed() {
    let desk = Desk::new();
    desk.sign("card.json", "plain.json", "--kid k1 --jwks jwks.json")
        .await;
    // The set's address is known only once it is served, and is part of what is signed.
    let set = serve(Value::Null, desk.get("jwks.json")).await;
    desk.sign(
        "card.json",
        "signed.json",
        &format!("--kid k1 --jku {set}/jwks.json"),
    )
    .await;
    let agent = serve(desk.get("signed.json"), Value::Null).await;
    let line = format!("card verify {agent} --jku-allow {set}/jwks.json");
    let output = desk.daca(&line).await;
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        stdout(&output),
        stderr(&output)
    );

    let other = format!("card verify {agent} --jku-allow {set}/other.json");
    let output = desk.daca(&other).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).contains("which is not allowed"),
        "{}",
        stdout(&output)
    );
}

#[tokio::test]
async fn a_key_set_that_is_not_to_be_had_is_a_failure_of_its_own() {
    let desk = Desk::new();
    let set = serve(Value::Null, Value::Null).await;
    for (path, exit) in [("jwks.json", 3), ("gone.json", 3)] {
        let url = format!("{set}/{path}");
        desk.sign("card.json", "signed.json", &format!("--kid k1 --jku {url}"))
            .await;
        let line = format!("card verify signed.json --jku-allow {url}");
        let output = desk.daca(&line).await;
        assert_eq!(
            output.status.code(),
            Some(exit),
            "{path}: {}",
            stderr(&output)
        );
        // Unless a pinned key verifies.
        let output = desk.daca(&format!("{line} --keys public.pem")).await;
        assert_eq!(output.status.code(), Some(0), "{path}: {}", stderr(&output));
    }
}

#[tokio::test]
async fn what_the_signature_does_not_cover_is_said_when_signing_and_when_verifying() {
    let desk = Desk::new();
    let mut old = card();
    old["url"] = json!("https://agents.example.com/clock");
    desk.put("both.json", &old.to_string());
    let output = desk
        .daca("card sign both.json --key key.pem --kid k1")
        .await;
    assert_eq!(stderr(&output), "not signed: /url\n");
    desk.put("signed.json", &stdout(&output));
    let output = desk.daca("card verify signed.json --keys public.pem").await;
    assert!(
        stdout(&output).ends_with("may have written them: /url\n"),
        "{}",
        stdout(&output)
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_card_is_listed_and_an_error_ends_with_one() {
    let desk = Desk::new();
    let output = desk.daca("card lint card.json").await;
    assert_eq!(stdout(&output), "nothing is wrong with it\n");
    assert_eq!(output.status.code(), Some(0));

    let mut wrong = card();
    wrong["supportedInterfaces"][0]["url"] = json!("agents.example.com");
    wrong["skills"] = json!([]);
    desk.put("wrong.json", &wrong.to_string());
    let output = desk.daca("card lint wrong.json").await;
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(
        text.contains("error    /supportedInterfaces/0/url: "),
        "{text}"
    );
    assert!(text.contains("warning  /skills: "), "{text}");

    // Warnings alone are no failure. The agent of this test is on this machine, over plain http.
    let agent = serve(card(), Value::Null).await;
    let mut local = card();
    local["supportedInterfaces"][0]["url"] = json!(format!("{agent}/rpc"));
    let agent = serve(local, Value::Null).await;
    let output = desk.daca(&format!("card lint {agent} --output json")).await;
    let said: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said[0]["severity"], "warning");
    assert_eq!(said[0]["pointer"], "/supportedInterfaces/0/url");
}

#[tokio::test]
async fn files_and_keys_that_are_none_are_faults_of_the_command_line() {
    let desk = Desk::new();
    for line in [
        "card lint nothing.json",
        "card verify card.json --keys nothing.pem",
        "card verify card.json --keys card.json",
        "card sign card.json --key public.pem --kid k",
        "card sign card.json --key key.pem --kid k --algorithm RS256",
        "card sign key.pem --key key.pem --kid k",
    ] {
        let output = desk.daca(line).await;
        assert_eq!(output.status.code(), Some(2), "{line}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{line}");
    }
}

#[tokio::test]
async fn fetch_is_the_long_name_of_what_card_does_with_a_url() {
    let desk = Desk::new();
    let agent = serve(card(), Value::Null).await;
    let short = desk.daca(&format!("card {agent}")).await;
    let long = desk.daca(&format!("card fetch {agent}")).await;
    assert_eq!(short.status.code(), Some(0), "{}", stderr(&short));
    assert_eq!(stdout(&short), stdout(&long));
    assert!(
        stdout(&short).starts_with("Clock 1.2.0"),
        "{}",
        stdout(&short)
    );
}
