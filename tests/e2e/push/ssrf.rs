//! What a stranger's webhook must never reach, from inside a network that has all those addresses: each
//! is listened on, and nobody may come.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result, ensure};
use mesh_tests::{
    mesh::Mesh,
    network,
    recorder::{Answer, Recorder},
    wire::Ask,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    names::{self, Names},
    stage::{mesh, odd_agent},
};

/// Addresses that nobody may call, beside those of loopback.
const FORBIDDEN: [&str; 7] = [
    "169.254.169.254",
    "168.63.129.16",
    "10.0.0.5",
    "100.100.100.200",
    "fd00:ec2::254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
];
/// An address as good as any in the world.
const PUBLIC: &str = "93.184.216.34";
/// One that is allowed by hand: documentation's, so that nothing else allows it.
const ALLOWED: &str = "203.0.113.10";
const PORT: u16 = 8443;

const TEST: &str = "push::ssrf::no_webhook_leads_where_nobody_may_be_called";

/// Listens, and counts who comes.
async fn count(address: IpAddr) -> Result<Arc<AtomicUsize>> {
    let listener = TcpListener::bind((address, PORT))
        .await
        .with_context(|| format!("{address}"))?;
    let came = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&came);
    drop(tokio::task::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    }));
    Ok(came)
}

/// A webhook that sends whoever comes elsewhere, by the last part of the path.
async fn redirect(address: IpAddr) -> Result<()> {
    let listener = TcpListener::bind((address, PORT)).await?;
    drop(tokio::task::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut read = Vec::new();
            while !read.windows(4).any(|end| end == b"\r\n\r\n") {
                if socket.read_buf(&mut read).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let head = String::from_utf8_lossy(&read).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let to = path.strip_prefix("/to/").map(|to| to.replace('_', ":"));
            let answer = match to {
                Some(to) => {
                    format!("HTTP/1.1 307 x\r\nlocation: http://{to}/\r\ncontent-length: 0\r\n\r\n")
                }
                None => "HTTP/1.1 204 x\r\n\r\n".to_owned(),
            };
            drop(socket.write_all(answer.as_bytes()).await);
        }
    }));
    Ok(())
}

fn names() -> Result<Names> {
    let lists = |lists: &[&[&str]]| {
        let list = |list: &&[&str]| {
            list.iter()
                .map(|text| network::ip(text))
                .collect::<Result<_>>()
        };
        lists.iter().map(list).collect::<Result<Vec<_>>>()
    };
    Ok(HashMap::from([
        ("metadata.test", lists(&[&["169.254.169.254"]])?),
        ("azure.test", lists(&[&["168.63.129.16"]])?),
        ("alibaba.test", lists(&[&["100.100.100.200"]])?),
        ("aws6.test", lists(&[&["fd00:ec2::254"]])?),
        ("mapped.test", lists(&[&["::ffff:169.254.169.254"]])?),
        ("nat64.test", lists(&[&["64:ff9b::a9fe:a9fe"]])?),
        ("6to4.test", lists(&[&["2002:a9fe:a9fe::1"]])?),
        ("home.test", lists(&[&["127.0.0.1"]])?),
        ("home6.test", lists(&[&["::1"]])?),
        ("zero.test", lists(&[&["0.0.0.0"]])?),
        ("mixed.test", lists(&[&[PUBLIC, "10.0.0.5"]])?),
        ("mixed6.test", lists(&[&[PUBLIC, "fd00:ec2::254"]])?),
        // Public for whoever looks first, and private for whoever looks again.
        ("rebind.test", lists(&[&[PUBLIC], &["169.254.169.254"]])?),
        ("rebind6.test", lists(&[&[PUBLIC], &["fd00:ec2::254"]])?),
        ("public.test", lists(&[&[PUBLIC]])?),
        ("hook.test", lists(&[&[ALLOWED]])?),
    ]))
}

/// Two replicas of an agent that takes whatever configuration it is given.
async fn agents() -> Result<[Recorder; 2]> {
    let agents = [odd_agent().await?, odd_agent().await?];
    for agent in &agents {
        let task = json!({"jsonrpc": "2.0", "id": 1, "result": {"task": {"id": "t", "contextId": "c",
            "status": {"state": "TASK_STATE_WORKING"}}}});
        agent.answer(Answer::whole(
            "/deep/rpc",
            "application/json",
            task.to_string(),
        ));
    }
    Ok(agents)
}

/// Gives a webhook with a message; the address that the agent got, or the router's refusal.
async fn give(
    mesh: &Mesh,
    agents: &[Recorder],
    number: usize,
    url: &str,
) -> Result<Result<String, String>> {
    let message = format!("m-{number}");
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {
        "message": {"messageId": message, "role": "ROLE_USER", "parts": [{"text": "x"}]},
        "configuration": {"taskPushNotificationConfig": {"url": url}},
    }});
    let ask = Ask::post("/shop", "application/json", call.to_string());
    let answer = mesh
        .router()
        .exchange(&ask.header("a2a-version", "1.0"))
        .await?
        .json()?;
    if let Some(refusal) = answer["error"]["message"].as_str() {
        return Ok(Err(refusal.to_owned()));
    }
    let seen = agents
        .iter()
        .filter_map(|agent| agent.last("/deep/rpc").ok());
    let bodies = seen.filter_map(|seen| serde_json::from_slice::<Value>(&seen.body).ok());
    let mut ours = bodies.filter(|body| body["params"]["message"]["messageId"] == *message);
    let seen = ours.next().with_context(|| format!("{url}: {answer}"))?;
    let config = &seen["params"]["configuration"]["taskPushNotificationConfig"];
    let given = config["url"].as_str().unwrap_or_default();
    let path = given.find("/-/push/").and_then(|at| given.get(at..));
    Ok(Ok(path
        .with_context(|| format!("{given} is not ours"))?
        .to_owned()))
}

/// Tells the router what an agent would; the status.
async fn notify(mesh: &Mesh, path: &str) -> Result<u16> {
    let body = r#"{"task":{"id":"t","contextId":"c"}}"#;
    let ask = Ask::post(path, "application/json", body);
    Ok(mesh.router().exchange(&ask).await?.status.as_u16())
}

#[tokio::test]
async fn no_webhook_leads_where_nobody_may_be_called() -> Result<()> {
    if network::is_inside() {
        return inside().await;
    }
    let addresses = FORBIDDEN.iter().chain([&PUBLIC, &ALLOWED]);
    let addresses = addresses
        .map(|text| network::ip(text))
        .collect::<Result<Vec<_>>>()?;
    // Where that can't be done here, it has been said.
    network::again(TEST, &addresses).await.map(|_| ())
}

async fn inside() -> Result<()> {
    let mut forbidden = Vec::new();
    for text in FORBIDDEN.iter().chain(&["127.0.0.1", "::1"]) {
        let address = network::ip(text)?;
        forbidden.push((SocketAddr::new(address, PORT), count(address).await?));
    }
    let public = count(network::ip(PUBLIC)?).await?;
    redirect(network::ip(ALLOWED)?).await?;
    names::serve("127.0.0.1:53".parse()?, names()?).await?;
    let agents = agents().await?;
    let urls = format!("{},{}", agents[0].url(), agents[1].url());
    let mesh = mesh(0)
        .other("shop", &urls)
        .router("--push-allow")
        .router(format!("{ALLOWED}/32"))
        .start()
        .await?;

    refused_when_given(&mesh, &agents).await?;
    refused_when_called(&mesh, &agents).await?;
    let came = public.load(Ordering::SeqCst);
    ensure!(
        came == 0,
        "a name with one bad address led to its good one {came} times"
    );
    looked_up_once(&mesh, &agents).await?;
    let came = public.load(Ordering::SeqCst);
    ensure!(
        came == 3,
        "{came} and not 3 connections went to the public address"
    );
    redirected(&mesh, &agents).await?;

    for (address, came) in &forbidden {
        let times = came.load(Ordering::SeqCst);
        ensure!(times == 0, "{address} was called {times} times");
    }
    // Whoever had come would have been counted.
    for (address, came) in &forbidden {
        drop(TcpStream::connect(address).await?);
        let counted = async || Ok((came.load(Ordering::SeqCst) == 1).then_some(()));
        mesh_tests::eventually::eventually("a connection to be counted", counted).await?;
    }
    Ok(())
}

/// Addresses that can be told at once.
async fn refused_when_given(mesh: &Mesh, agents: &[Recorder]) -> Result<()> {
    for (number, url) in [
        "https://169.254.169.254:8443/latest/meta-data/",
        "https://[fd00:ec2::254]:8443/",
        "https://[::ffff:169.254.169.254]:8443/",
        "https://[64:ff9b::169.254.169.254]:8443/",
        "https://[2002:a9fe:a9fe::1]:8443/",
        "https://2852039166:8443/",
        "https://0xa9.0xfe.0xa9.0xfe:8443/",
        "https://127.1:8443/",
        "http://169.254.169.254:8443/",
        "https://hook.test@169.254.169.254:8443/",
    ]
    .into_iter()
    .enumerate()
    {
        let given = give(mesh, agents, number, url).await?;
        ensure!(given.is_err(), "{url} was taken: {given:?}");
    }
    Ok(())
}

/// Names, whose addresses are judged when they are called.
async fn refused_when_called(mesh: &Mesh, agents: &[Recorder]) -> Result<()> {
    for (number, name) in [
        "metadata", "azure", "alibaba", "aws6", "mapped", "nat64", "6to4", "home", "home6", "zero",
        "mixed", "mixed6",
    ]
    .into_iter()
    .enumerate()
    {
        let url = format!("https://{name}.test:{PORT}/hook");
        let path = give(mesh, agents, 100 + number, &url).await?;
        let path = path.map_err(anyhow::Error::msg)?;
        let status = notify(mesh, &path).await?;
        ensure!(status == 403, "{url}: {status}");
    }
    Ok(())
}

/// The address that was judged is the one that is called: the second look-up is the next notification's.
async fn looked_up_once(mesh: &Mesh, agents: &[Recorder]) -> Result<()> {
    for (number, name, second) in [
        (200, "rebind", 403),
        (201, "rebind6", 403),
        (202, "public", 502),
    ] {
        let url = format!("https://{name}.test:{PORT}/hook");
        let path = give(mesh, agents, number, &url).await?;
        let path = path.map_err(anyhow::Error::msg)?;
        // It gets as far as TLS, which nobody speaks there.
        let status = notify(mesh, &path).await?;
        ensure!(status == 502, "{url} at first: {status}");
        if second == 403 {
            let status = notify(mesh, &path).await?;
            ensure!(status == second, "{url} then: {status}");
        }
    }
    Ok(())
}

/// A webhook that may be called can't send us on.
async fn redirected(mesh: &Mesh, agents: &[Recorder]) -> Result<()> {
    for (number, (to, expected)) in [
        ("", 200),
        ("to/169.254.169.254_8443", 502),
        ("to/[fd00_ec2__254]_8443", 502),
        ("to/metadata.test_8443", 502),
        ("to/127.0.0.1_8443", 502),
    ]
    .into_iter()
    .enumerate()
    {
        let url = format!("http://hook.test:{PORT}/{to}");
        let path = give(mesh, agents, 300 + number, &url).await?;
        let path = path.map_err(anyhow::Error::msg)?;
        let status = notify(mesh, &path).await?;
        ensure!(status == expected, "{url}: {status}");
    }
    Ok(())
}
