//! Three replicas of somebody else's agent, each with a memory of its own, behind two routers that know
//! nothing of each other.

mod shop;

use bytes::Bytes;
use mesh_proto::{a2a, grpc};
use prost::Message as _;
use serde_json::{Value, json};

use crate::client;
use shop::{Mesh, message, rpc};

#[tokio::test]
async fn a_task_is_found_by_any_router_and_the_agent_sees_its_own_ids_only() {
    let mesh = Mesh::start(3, &["", ""]).await;
    let [one, two] = [&mesh.clients[0], &mesh.clients[1]];
    let mut replicas = std::collections::BTreeSet::new();
    for number in 0..12 {
        let name = format!("message-{number}");
        let sent = rpc(one, "shop", "SendMessage", message(&name, &json!({}))).await;
        let task = &sent["result"]["task"];
        let (id, context) = (&task["id"], &task["contextId"]);
        assert!(id.as_str().unwrap().starts_with("z10."), "{sent}");
        assert!(context.as_str().unwrap().starts_with("z10."), "{sent}");
        assert_eq!(
            (
                &task["history"][0]["taskId"],
                &task["history"][0]["contextId"]
            ),
            (id, context)
        );
        let native = task["metadata"]["taskId"].as_str().unwrap();
        assert!(native.starts_with("task "), "{sent}");
        replicas.insert(native.to_owned().split_off(5));
        // The other router, by the task alone: same replica, same spellings.
        let got = rpc(two, "shop", "GetTask", json!({ "id": id })).await;
        assert_eq!(&got["result"], task);
        // A following message names everything sealed; the replica sees everything bare.
        let name = format!("following-{number}");
        let more = json!({"taskId": id, "contextId": context, "referenceTaskIds": [id, "bare"]});
        let followed = rpc(two, "shop", "SendMessage", message(&name, &more)).await;
        assert_eq!(&followed["result"]["task"], task);
        let arrived = mesh.last(&name);
        assert_eq!(arrived.len(), 1);
        let body: Value = serde_json::from_slice(&arrived[0].1.body).unwrap();
        let arrived = &body["params"]["message"];
        assert_eq!(arrived["taskId"], native);
        assert!(
            arrived["contextId"]
                .as_str()
                .unwrap()
                .starts_with("context/")
        );
        assert_eq!(arrived["referenceTaskIds"], json!([native, "bare"]));
        // Only the conversation: it stays on its replica, too.
        let name = format!("next-{number}");
        let more = json!({"contextId": context});
        let next = rpc(two, "shop", "SendMessage", message(&name, &more)).await;
        assert_eq!(&next["result"]["task"]["contextId"], context);
        assert_ne!(&next["result"]["task"]["id"], id);
    }
    let used: std::collections::BTreeSet<_> =
        replicas.iter().filter_map(|id| id.chars().next()).collect();
    assert!(used.len() > 1, "{replicas:?}");
}

#[tokio::test]
async fn only_ids_change_in_a_body_that_no_encoder_of_ours_would_write() {
    let mesh = Mesh::start(3, &["", ""]).await;
    let sent = rpc(
        &mesh.clients[0],
        "shop",
        "SendMessage",
        message("m", &json!({})),
    )
    .await;
    let id = sent["result"]["task"]["id"].as_str().unwrap();
    let native = sent["result"]["task"]["metadata"]["taskId"]
        .as_str()
        .unwrap();
    let odd = |id: &str| {
        format!(
            "{{ \"params\" : {{\"unknown\":[1.0e3, {{\"taskId\":\"x\"}}],\t\"message\":{{\"parts\":[{{\"text\":\"h\\u00e4\"}}],\
             \"\\u0074askId\" :\"{id}\",\"messageId\":\"odd\"}}}},\n\"id\":\"x 7\",\"method\":\"SendMessage\",\"jsonrpc\":\"2.0\"}} "
        )
    };
    mesh.clients[1].post("/shop", odd(id).as_bytes(), &[]).await;
    let arrived = mesh.last("x 7");
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].1.body, odd(native).as_bytes());
    assert_eq!(arrived[0].1.header("accept-encoding"), None);
}

#[tokio::test]
async fn a_conversation_that_the_client_named_keeps_its_name_wherever_it_shows() {
    let mesh = Mesh::start(3, &["", ""]).await;
    let [one, two] = [&mesh.clients[0], &mesh.clients[1]];
    for number in 0..6 {
        let context = json!(format!("mine-{number}"));
        let more = json!({ "contextId": context });
        let sent = rpc(one, "shop", "SendMessage", message("a", &more)).await;
        let task = &sent["result"]["task"];
        assert_eq!(task["contextId"], context);
        assert!(task["id"].as_str().unwrap().starts_with("z10."), "{sent}");
        let got = rpc(two, "shop", "GetTask", json!({"id": task["id"]})).await;
        assert_eq!(&got["result"], task);
        let more = json!({"taskId": task["id"]});
        let again = rpc(two, "shop", "SendMessage", message("b", &more)).await;
        assert_eq!(&again["result"]["task"], task);
    }
}

#[tokio::test]
async fn ids_of_another_agent_or_tenant_are_foreign() {
    let mesh = Mesh::start(3, &[""]).await;
    let client = &mesh.clients[0];
    let sent = rpc(client, "shop", "SendMessage", message("m", &json!({}))).await;
    let id = &sent["result"]["task"]["id"];
    for (agent, params) in [
        ("other", json!({ "id": id })),
        ("shop", json!({ "id": id, "tenant": "else" })),
    ] {
        let got = rpc(client, agent, "GetTask", params).await;
        assert_eq!(got["error"]["code"], -32001, "{got}");
    }
    // They passed as they came, and every replica was asked.
    let asked = mesh.last(id.as_str().unwrap());
    assert_eq!(asked.len(), 6);
    // The agent's own spelling is found by asking, and goes back as it came.
    let native = &sent["result"]["task"]["metadata"]["taskId"];
    let got = rpc(client, "shop", "GetTask", json!({ "id": native })).await;
    assert_eq!(&got["result"]["id"], native);
}

#[tokio::test]
async fn events_are_sealed_as_they_come_and_keep_their_frames() {
    let mesh = Mesh::start(3, &[""]).await;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage",
        "params": message("streamed", &json!({"contextId": "mine"}))});
    let body = body.to_string();
    let mut stream = mesh.clients[0].stream("/shop", body.as_bytes(), &[]).await;
    client::eventually("the call to arrive", async || {
        mesh.last("streamed").len() == 1
    })
    .await;
    let agent = &mesh.agents[mesh.last("streamed")[0].0];
    agent.write(Bytes::from_static(b": ping\r\n\r\n")).await;
    assert_eq!(stream.read(10).await, b": ping\r\n\r\n");
    // Cut within an id: nothing half comes out.
    agent
        .write(Bytes::from_static(
            b"id: 7\r\ndata: {\"result\" : {\"task\":{\"id\":\"na",
        ))
        .await;
    agent
        .write(Bytes::from_static(
            b"tive\",\"contextId\":\"mine\"}}}\r\n\r\n",
        ))
        .await;
    let head = b"id: 7\r\ndata: {\"result\" : {\"task\":{\"id\":\"".len();
    let tail = b"\",\"contextId\":\"mine\"}}}\r\n\r\n";
    let event = stream.read(head + 27 + 6 + tail.len()).await;
    let text = std::str::from_utf8(&event).unwrap();
    assert!(
        text.contains("\"id\":\"z10.") && text.contains(".native\""),
        "{text}"
    );
    assert!(event.ends_with(tail), "{text}");
    // Another event's id has the same spelling.
    let sealed = text.get(head..head + 33).unwrap();
    let update =
        "data: {\"result\":{\"statusUpdate\":{\"taskId\":\"native\",\"contextId\":\"mine\"}}}\n\n";
    agent.write(Bytes::from_static(update.as_bytes())).await;
    let expected = update.replace("native", sealed);
    assert_eq!(stream.read(expected.len()).await, expected.as_bytes());
    agent.end_stream();
    assert_eq!(stream.rest().await.unwrap(), b"");
}

#[tokio::test]
async fn the_three_bindings_seal_alike_and_read_each_others_ids() {
    let mesh = Mesh::start(3, &["", ""]).await;
    let [one, two] = [&mesh.clients[0], &mesh.clients[1]];
    let body = message("rest", &json!({})).to_string();
    let sent = one
        .post("/shop/message:send", body.as_bytes(), &[])
        .await
        .json();
    let task = &sent["task"];
    let (id, context) = (
        task["id"].as_str().unwrap(),
        task["contextId"].as_str().unwrap(),
    );
    assert!(id.starts_with("z10."), "{sent}");
    let path = format!("/shop/tasks/{}?historyLength=1", id.replace(' ', "%20"));
    let got = two.get(&path).await;
    assert_eq!(&got.json(), task);
    let request = a2a::GetTaskRequest {
        id: id.to_owned(),
        ..a2a::GetTaskRequest::default()
    };
    let frame = grpc::frame(&request);
    let path = "/lf.a2a.v1.A2AService/GetTask";
    let answer = two.grpc(path, frame, &[("a2a-agent", "shop")]).await;
    assert_eq!(
        answer.header("grpc-status"),
        Some("0"),
        "{:?}",
        answer.headers
    );
    let read = a2a::Task::decode(&answer.bytes()[5..]).unwrap();
    assert_eq!((&*read.id, &*read.context_id), (id, context));
    assert_eq!(
        &rpc(one, "shop", "GetTask", json!({ "id": id })).await["result"],
        task
    );
}

#[tokio::test]
async fn a_pool_of_one_and_an_agent_that_opted_out_keep_their_ids() {
    let mut mesh = Mesh::start(3, &["", "[envelope]\nplain = [\"shop\"]"]).await;
    mesh.add_router(1, "").await;
    let sent = rpc(
        &mesh.clients[1],
        "shop",
        "SendMessage",
        message("m", &json!({})),
    )
    .await;
    assert_eq!(
        sent["result"]["task"]["id"],
        sent["result"]["task"]["metadata"]["taskId"]
    );
    let sent = rpc(
        &mesh.clients[1],
        "other",
        "SendMessage",
        message("m", &json!({})),
    )
    .await;
    assert_ne!(
        sent["result"]["task"]["id"],
        sent["result"]["task"]["metadata"]["taskId"]
    );
    let sent = rpc(
        &mesh.clients[2],
        "shop",
        "SendMessage",
        message("m", &json!({})),
    )
    .await;
    assert_eq!(
        sent["result"]["task"]["id"],
        sent["result"]["task"]["metadata"]["taskId"]
    );
    // Ids that were sealed while the pool was larger are good where it is small, and stay as they are.
    let mut found = 0;
    for number in 0..12 {
        let name = format!("m-{number}");
        let sent = rpc(
            &mesh.clients[0],
            "shop",
            "SendMessage",
            message(&name, &json!({})),
        )
        .await;
        let task = &sent["result"]["task"];
        let native = task["metadata"]["taskId"].as_str().unwrap();
        if native.starts_with("task 0:") {
            found += 1;
            let got = rpc(
                &mesh.clients[2],
                "shop",
                "GetTask",
                json!({"id": task["id"]}),
            )
            .await;
            assert_eq!(got["result"]["id"], task["id"], "{got}");
        }
    }
    assert!(found > 0);
}

#[tokio::test]
async fn a_compressed_body_goes_on_uncompressed_where_an_id_in_it_was_opened() {
    let mesh = Mesh::start(3, &[""]).await;
    let client = &mesh.clients[0];
    let sent = rpc(client, "shop", "SendMessage", message("m", &json!({}))).await;
    let task = &sent["result"]["task"];
    let params = message("sealed", &json!({"taskId": task["id"]}));
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params});
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packer, body.to_string().as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    let headers = [("content-encoding", "gzip"), ("accept-encoding", "gzip")];
    let answer = client.post("/shop", &packed, &headers).await;
    assert_eq!(&answer.json()["result"]["task"], task);
    let arrived = mesh.last("sealed");
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].1.header("content-encoding"), None);
    assert_eq!(arrived[0].1.header("accept-encoding"), None);
}

#[tokio::test]
async fn a_stream_that_breaks_within_an_event_ends_with_words_and_without_half_an_event() {
    let mesh = Mesh::start(3, &[""]).await;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage",
        "params": message("streamed", &json!({}))});
    let mut stream = mesh.clients[0]
        .stream("/shop", body.to_string().as_bytes(), &[])
        .await;
    client::eventually("the call to arrive", async || {
        mesh.last("streamed").len() == 1
    })
    .await;
    let agent = &mesh.agents[mesh.last("streamed")[0].0];
    agent
        .write(Bytes::from_static(
            b": here\n\ndata: {\"result\":{\"task\":{\"id\":\"na",
        ))
        .await;
    assert_eq!(stream.read(8).await, b": here\n\n");
    agent.stop().await;
    let rest = String::from_utf8(stream.rest().await.unwrap()).unwrap();
    assert!(
        rest.starts_with("data: {") && rest.contains("\"error\""),
        "{rest}"
    );
    assert!(!rest.contains("\"na"), "{rest}");
}
