//! Signed cards between us and the SDKs for Python and JavaScript: each side verifies what the other has
//! signed, the Python SDK and we sign the same bytes, and what nobody should believe is refused.
//!
//! # Invariants
//! - The SDK does its own signing and verifying; the mesh is its command line.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use anyhow::{Context as _, Result, ensure};
use mesh_card::{Form, canonical};
use mesh_tests::{
    parts::{Part, folder, repository},
    process,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

/// The algorithms that both sides know.
const ALGORITHMS: [&str; 4] = ["ES256", "EdDSA", "RS256", "PS256"];

/// Cards with what real ones have, and with what is easily written in two ways.
fn cards() -> Vec<Value> {
    let plain = json!({
        "name": "Clock", "description": "Tells the time.", "version": "1.2.0",
        "supportedInterfaces": [
            {"url": "https://agents.example.com/clock", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}],
        "capabilities": {"streaming": true},
        "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
        "skills": [{"id": "now", "name": "Now", "description": "The time.", "tags": ["time"]}],
    });
    let mut full = plain.clone();
    for (name, value) in [
        (
            "description",
            json!("Zeit — überall, 時間, \u{1f552}, \"quoted\"\\ \u{1} </script>"),
        ),
        ("documentationUrl", json!("")),
        ("iconUrl", json!("https://agents.example.com/icon.png")),
        (
            "provider",
            json!({"organization": "Example", "url": "https://example.com"}),
        ),
        ("defaultOutputModes", json!([])),
        (
            "supportedInterfaces",
            json!([
                {"url": "https://a.example/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0", "tenant": "t"},
                {"url": "a.example:443", "protocolBinding": "GRPC", "protocolVersion": "1.0", "tenant": "", "weight": 3},
                {"url": "https://a.example/old", "protocolBinding": "JSONRPC", "protocolVersion": "0.3"}]),
        ),
        (
            "capabilities",
            json!({"streaming": false, "pushNotifications": false, "extendedAgentCard": true, "extensions": [
                {"uri": "https://example.com/ext", "required": false, "description": "", "params": {
                    "zero": 0, "no": false, "nothing": null, "empty": "", "list": [1, "", null, {}, [], false],
                    "float": 12.50, "large": 1e21, "small": 0.0000001, "whole": 3.0, "negative": -0.0,
                    "\u{fb33}": 1, "\u{1f600}": 2, "deep": {"deeper": {"deepest": []}}}},
                {"uri": "urn:required", "required": true}]}),
        ),
        (
            "securitySchemes",
            json!({
                "key": {"apiKeySecurityScheme": {"location": "header", "name": "X-Key", "description": ""}},
                "bearer": {"httpAuthSecurityScheme": {"scheme": "bearer", "bearerFormat": "JWT"}},
                "oauth": {"oauth2SecurityScheme": {"flows": {"authorizationCode": {
                    "authorizationUrl": "https://a.example/auth", "tokenUrl": "https://a.example/token",
                    "scopes": {"read": "Reads", "write": ""}, "pkceRequired": true}}}},
                "mtls": {"mtlsSecurityScheme": {"description": "A certificate."}},
                "oidc": {"openIdConnectSecurityScheme": {"openIdConnectUrl": "https://a.example/.well-known"}}}),
        ),
        (
            "securityRequirements",
            json!([{"schemes": {"oauth": {"list": ["read"]}, "key": {"list": []}}}]),
        ),
        ("x-own-field", json!({"kept": "by the agent"})),
        ("generation", json!(7)),
    ] {
        full[name] = value;
    }
    let mut bare = plain.clone();
    bare["capabilities"] = json!({});
    bare["skills"] = json!([]);
    vec![plain, full, bare]
}

/// A folder to sign in, and the SDK.
struct Bench {
    folder: TempDir,
    python: PathBuf,
}

impl Bench {
    /// `None` where the SDK is not here.
    fn find() -> Result<Option<Self>> {
        let folder = TempDir::new()?;
        let python = Part::Python.find()?;
        Ok(python.map(|python| Self { folder, python }))
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        Ok(fs::write(self.folder.path().join(name), bytes)?)
    }

    /// A key pair as `<name>.pem` and `<name>.public.pem`.
    async fn key(&self, name: &str, algorithm: &str) -> Result<()> {
        let line = format!("keys --key {name} --alg {algorithm}");
        self.by_sdk(b"", &line).await.map(drop)
    }

    async fn sdk(&self, card: &[u8], line: &str) -> Result<Output> {
        let script = repository().join("tests/interop/python/sign.py");
        let program = [self.python.as_path(), &script];
        self.reading(card, program, line).await
    }

    /// The SDK for JavaScript, whose packages must be beside the script.
    async fn js(&self, card: &[u8], line: &str) -> Result<Output> {
        let script = self.folder.path().join("sign.mjs");
        if !script.exists() {
            fs::copy(repository().join("tests/interop/js/sign.mjs"), &script)?;
            let packages = folder().join("js/node_modules");
            std::os::unix::fs::symlink(packages, self.folder.path().join("node_modules"))?;
        }
        let program = [Path::new("node"), &script];
        self.reading(card, program, line).await
    }

    /// Runs a script with the card as its standard input, which the shell makes of a file.
    async fn reading(&self, card: &[u8], program: [&Path; 2], line: &str) -> Result<Output> {
        self.put("stdin.json", card)?;
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$0\" \"$@\" <stdin.json"])
            .args(program)
            .args(line.split_whitespace())
            .current_dir(self.folder.path());
        process::run(command).await
    }

    /// What the SDK prints.
    async fn by_sdk(&self, card: &[u8], line: &str) -> Result<Vec<u8>> {
        let output = self.sdk(card, line).await?;
        ensure!(output.status.success(), "{line}: {output:?}");
        Ok(output.stdout)
    }

    async fn daca(&self, line: &str) -> Result<Output> {
        let mut command = process::daca(env!("CARGO_BIN_EXE_daca-under-test").as_ref());
        command
            .args(line.split_whitespace())
            .current_dir(self.folder.path());
        process::run(command).await
    }

    /// Verifies `card` here and gives the verdict, which the exit code must agree with.
    async fn verdict(&self, card: &[u8], how: &str) -> Result<Value> {
        self.put("card.json", card)?;
        let line = format!("card verify card.json --output json {how}");
        let output = self.daca(&line).await?;
        let said: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{line}: {output:?}"))?;
        let exit = if said["verified"] == true { 0 } else { 1 };
        ensure!(output.status.code() == Some(exit), "{line}: {output:?}");
        Ok(said)
    }
}

#[tokio::test]
async fn our_canonical_form_is_the_sdks_byte_by_byte() -> Result<()> {
    let Some(bench) = Bench::find()? else {
        return Ok(());
    };
    for card in cards() {
        let theirs = bench
            .by_sdk(card.to_string().as_bytes(), "canonical")
            .await?;
        let ours = canonical::payload(card.to_string().as_bytes(), Form::Compact)?;
        ensure!(
            ours == theirs,
            "ours:\n{}\ntheirs:\n{}",
            String::from_utf8_lossy(&ours),
            String::from_utf8_lossy(&theirs)
        );
        // The SDK's servers add fields of 0.3, in places that a form of 1.0 must pass over.
        let served = bench.by_sdk(card.to_string().as_bytes(), "serve").await?;
        ensure!(
            canonical::payload(&served, Form::Compact)? == theirs,
            "served: {}",
            String::from_utf8_lossy(&served)
        );
    }
    Ok(())
}

#[tokio::test]
async fn each_side_verifies_what_the_other_has_signed() -> Result<()> {
    let Some(bench) = Bench::find()? else {
        return Ok(());
    };
    for name in ALGORITHMS {
        bench.key("key", name).await?;
        // What the forms of a card differ in has nothing to do with the algorithm.
        let all = cards();
        for card in if name == "ES256" {
            &all[..]
        } else {
            &all[1..2]
        } {
            bench.put("card.json", card.to_string())?;
            let line = format!("card sign card.json --key key.pem --kid k1 --algorithm {name}");
            let ours = bench.daca(&line).await?;
            ensure!(ours.status.success(), "{name}: {ours:?}");
            let theirs = bench
                .sdk(
                    &ours.stdout,
                    &format!("verify --key key.public.pem --alg {name}"),
                )
                .await?;
            ensure!(theirs.status.success(), "{name}: {card}: {theirs:?}");

            let line = format!("sign --key key.pem --alg {name}");
            let signed = bench.by_sdk(card.to_string().as_bytes(), &line).await?;
            let said = bench.verdict(&signed, "--keys key.public.pem").await?;
            ensure!(
                said["verified"] == true && said["keyId"] == "k1" && said["algorithm"] == name,
                "{name}: {card}: {said}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_javascript_sdk_and_we_verify_each_other_too() -> Result<()> {
    let (Some(bench), Some(_)) = (Bench::find()?, Part::Js.find()?) else {
        return Ok(());
    };
    bench.key("key", "ES256").await?;
    // The full card has fields that its author left empty, and some that only 0.3 knows.
    let card = cards().swap_remove(1).to_string();
    bench.put("card.json", &card)?;
    let ours = bench
        .daca("card sign card.json --key key.pem --kid k1")
        .await?;
    let theirs = bench
        .js(&ours.stdout, "verify key.public.pem ES256")
        .await?;
    ensure!(theirs.status.success(), "{theirs:?}");

    let signed = bench.js(card.as_bytes(), "sign key.pem ES256").await?;
    let said = bench
        .verdict(&signed.stdout, "--keys key.public.pem")
        .await?;
    ensure!(said["verified"] == true, "{said}");

    let changed = String::from_utf8(ours.stdout)?.replace("Clock", "Thief");
    let theirs = bench
        .js(changed.as_bytes(), "verify key.public.pem ES256")
        .await?;
    ensure!(!theirs.status.success(), "the judge believes everything");
    Ok(())
}

/// The fields of 0.3 that the SDK's server adds are not signed, and whoever verifies is told.
#[tokio::test]
async fn what_the_sdk_adds_for_0_3_is_told_to_be_unsigned() -> Result<()> {
    let Some(bench) = Bench::find()? else {
        return Ok(());
    };
    bench.key("key", "ES256").await?;
    let card = cards().swap_remove(1).to_string();
    let signed = bench.by_sdk(card.as_bytes(), "sign --key key.pem").await?;
    let said = bench.verdict(&signed, "--keys key.public.pem").await?;
    let uncovered = said["uncovered"].as_array().context("a list")?;
    ensure!(uncovered.contains(&json!("/url")), "{said}");
    Ok(())
}

#[tokio::test]
async fn cards_that_nobody_should_believe_are_refused() -> Result<()> {
    let Some(bench) = Bench::find()? else {
        return Ok(());
    };
    bench.key("key", "ES256").await?;
    bench.key("thief", "ES256").await?;
    let card = cards().swap_remove(0).to_string();
    let card = card.as_bytes();
    let trusted = "--keys key.public.pem --jku-allow https://keys.example/jwks.json";
    let honest = bench.by_sdk(card, "sign --key key.pem").await?;
    ensure!(bench.verdict(&honest, trusted).await?["verified"] == true);

    let mut tampered: Value = serde_json::from_slice(&honest)?;
    tampered["supportedInterfaces"][0]["url"] = json!("https://thief.example/clock");
    let expired = "sign --key key.pem --exp 1700000000";
    let foreign = "sign --key thief.pem --kid k2 --jku https://thief.example/jwks.json";
    bench.put(
        "secret",
        "a secret that is as long as an HMAC with SHA-256 wants it",
    )?;
    for (case, signed, words) in [
        (
            "tampered",
            tampered.to_string().into_bytes(),
            "does not belong",
        ),
        (
            "another key",
            bench.by_sdk(card, "sign --key thief.pem").await?,
            "does not belong",
        ),
        (
            "expired",
            bench.by_sdk(card, expired).await?,
            "not valid at this time",
        ),
        (
            "none",
            bench.by_sdk(card, "sign --alg none").await?,
            "the algorithm none is not allowed",
        ),
        (
            "HS256",
            bench.by_sdk(card, "sign --alg HS256 --key secret").await?,
            "the algorithm HS256 is not allowed",
        ),
    ] {
        let said = bench.verdict(&signed, trusted).await?;
        let message = said["message"].as_str().unwrap_or_default();
        ensure!(
            said["verified"] == false && message.contains(words),
            "{case}: {said}"
        );
    }

    // With no key that fits every name, a name that is not known leads to the set that it names.
    bench.put("card.json", card)?;
    let line = "card sign card.json --key key.pem --kid k1 --jwks trusted.json";
    ensure!(bench.daca(line).await?.status.success());
    let signed = bench.by_sdk(card, foreign).await?;
    let said = bench
        .verdict(
            &signed,
            "--keys trusted.json --jku-allow https://keys.example/jwks.json",
        )
        .await?;
    let message = said["message"].as_str().unwrap_or_default();
    ensure!(
        said["verified"] == false
            && message.contains("https://thief.example/jwks.json, which is not allowed"),
        "foreign jku: {said}"
    );

    // A key that has had its time signs nothing any more, though its signatures are as they were.
    let set = fs::read(bench.folder.path().join("trusted.json"))?;
    let mut set: Value = serde_json::from_slice(&set)?;
    set["keys"][0]["exp"] = json!(1_700_000_000);
    bench.put("retired.json", set.to_string())?;
    ensure!(bench.verdict(&honest, "--keys trusted.json").await?["verified"] == true);
    let said = bench.verdict(&honest, "--keys retired.json").await?;
    ensure!(said["verified"] == false, "expired key: {said}");
    Ok(())
}
