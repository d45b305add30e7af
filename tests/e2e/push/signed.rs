//! A worker of ours that signs what it tells webhooks: who receives it can check that by hand.

use std::{io::Write as _, path::Path};

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{Binding, a2a};
use mesh_tests::{
    caller::words::question,
    eventually::eventually,
    process,
    recorder::{Answer, Recorder, Seen},
};
use rcgen::KeyPair;
use tempfile::NamedTempFile;

use crate::stage::{self, mesh};

fn file(bytes: &[u8]) -> Result<NamedTempFile> {
    let mut file = NamedTempFile::new()?;
    file.write_all(bytes)?;
    Ok(file)
}

/// What `daca push verify` says of a body, and whether it holds.
async fn verified(seen: &Seen, body: &[u8], url: &str, keys: &Path) -> Result<(bool, String)> {
    let signature = seen.headers.get("x-a2a-notification-signature");
    let signature = signature.context("it is signed")?.to_str()?;
    let body = file(body)?;
    let mut command = process::daca(stage::program());
    command
        .args(["push", "verify", "--signature", signature, "--url", url])
        .arg("--keys")
        .arg(keys)
        .arg(body.path());
    let output = process::run(command).await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((output.status.success(), said))
}

#[tokio::test]
async fn a_webhook_can_tell_what_this_mesh_has_said_from_what_it_has_not() -> Result<()> {
    let key = KeyPair::generate()?;
    let (private, public) = (key.serialize_pem(), key.public_key_pem());
    let (private, public) = (file(private.as_bytes())?, file(public.as_bytes())?);
    let hook = Recorder::start().await?;
    hook.answer(Answer::whole("/hook", "application/json", "{}"));
    let agents = file(b"agents:\n  - {name: echo, description: Says it again., model: echo}\n")?;
    let mesh = mesh(1)
        .agents(agents.path(), &["echo"])
        .worker("--push-allow")
        .worker("127.0.0.0/8")
        .worker("--push-sign")
        .worker(private.path())
        .worker("--push-sign-id")
        .worker("mesh-1")
        .start()
        .await?;
    let url = format!("{}/hook", hook.url());
    let mut request = question("hello");
    let configuration = request.configuration.get_or_insert_default();
    configuration.task_push_notification_config = Some(a2a::TaskPushNotificationConfig {
        url: url.clone(),
        ..Default::default()
    });
    let caller = mesh.router().caller("echo", Binding::JsonRpc);
    let task = caller.send(request).await??;
    let told = eventually("the webhook hears of the end", async || {
        let heard = hook.all("/hook").into_iter();
        let mut ends =
            heard.filter(|seen| String::from_utf8_lossy(&seen.body).contains("COMPLETED"));
        Ok(ends.next())
    })
    .await?;
    let body = String::from_utf8(told.body.to_vec())?;
    let (holds, said) = verified(&told, body.as_bytes(), &url, public.path()).await?;
    ensure!(holds && said.contains("\"mesh-1\""), "{said}");
    let forged = body.replace(&task.id, "another");
    for (body, url, why) in [
        (&forged, url.as_str(), "this body and key"),
        (&body, "https://elsewhere.example/hook", "another receiver"),
    ] {
        let (holds, said) = verified(&told, body.as_bytes(), url, public.path()).await?;
        ensure!(!holds && said.contains(why), "{said}");
    }
    Ok(())
}
