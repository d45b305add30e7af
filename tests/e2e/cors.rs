//! Web pages may call the mesh, as far as it is told to let them.

use anyhow::{Result, ensure};
use http::Method;
use mesh_tests::wire::Ask;

use crate::stage::mesh;

const PAGE: &str = "https://page.example.org";

#[tokio::test]
async fn a_preflight_is_answered_and_the_answer_may_be_read_by_the_page() -> Result<()> {
    let mesh = mesh(1).start().await?;
    let preflight = Ask::get("/assistant")
        .method(Method::OPTIONS)
        .header("origin", PAGE)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,a2a-version");
    let allowed = mesh.router().exchange(&preflight).await?;
    ensure!(
        allowed.status.is_success(),
        "{}: {}",
        allowed.status,
        allowed.text()
    );
    ensure!(
        allows(allowed.header("access-control-allow-origin")),
        "{:?}",
        allowed.headers
    );
    let methods = allowed.header("access-control-allow-methods");
    ensure!(
        methods == "*" || methods.contains("POST"),
        "{:?}",
        allowed.headers
    );
    let headers = allowed
        .header("access-control-allow-headers")
        .to_lowercase();
    ensure!(headers.contains("a2a-version"), "{:?}", allowed.headers);

    let body = r#"{"message":{"messageId":"m-page","role":"ROLE_USER","parts":[{"text":"1+1"}]}}"#;
    let ask = Ask::post("/assistant/message:send", "application/json", body)
        .header("a2a-version", "1.0")
        .header("origin", PAGE);
    let answer = mesh.router().exchange(&ask).await?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    ensure!(
        allows(answer.header("access-control-allow-origin")),
        "{:?}",
        answer.headers
    );

    // An error must be readable, too, or the page sees only that something failed.
    let nobody = Ask::get("/nobody/tasks/1").header("origin", PAGE);
    let refused = mesh.router().exchange(&nobody).await?;
    ensure!(
        allows(refused.header("access-control-allow-origin")),
        "{:?}",
        refused.headers
    );
    Ok(())
}

fn allows(origin: &str) -> bool {
    origin == "*" || origin == PAGE
}
