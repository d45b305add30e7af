//! Streams between dialects.

use bytes::Bytes;
use mesh_proto::{
    Binding, Dialect, Fault, Problem, Version, a2a,
    pivot::{Event, Request, Response},
};

use super::{
    all, event,
    peer::{Heard, Listener, Peer, call, kind, listen, said},
    send, task,
};

#[tokio::test]
async fn a_stream_of_any_agent_comes_event_by_event_to_any_client_and_ends_as_it_ends() {
    for agent in all() {
        let peer = Peer::streaming(agent).await;
        for client in all() {
            for request in [
                Request::SendStreamingMessage(send()),
                Request::SubscribeToTask(a2a::SubscribeToTaskRequest {
                    id: "t/1".to_owned(),
                    ..a2a::SubscribeToTaskRequest::default()
                }),
            ] {
                let name = format!("{client} -> {agent}, {:?}", request.operation());
                let mut stream = peer.open(client, &request, &event("1")).await;
                assert_eq!(stream.next().await, Heard::event(event("1")), "{name}");
                peer.write(&event("2")).await;
                assert_eq!(stream.next().await, Heard::event(event("2")), "{name}");
                peer.end().await;
                assert_eq!(stream.next().await, Heard::End, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn what_an_agent_complains_of_before_its_first_event_is_an_ordinary_error() {
    let problem = || Problem::new(Fault::UnsupportedOperation, "it has ended");
    for agent in all() {
        let refusing = Peer::start(agent, "", move |_| Err(problem())).await;
        for client in all() {
            let request = Request::SubscribeToTask(a2a::SubscribeToTaskRequest {
                id: "t".to_owned(),
                ..a2a::SubscribeToTaskRequest::default()
            });
            let answer = call(&refusing.client, client, &request).await;
            assert!(
                client.binding == Binding::Grpc || kind(&answer) != "text/event-stream",
                "{client} -> {agent}"
            );
            let heard = said(client, request.operation(), answer).await.unwrap_err();
            assert_eq!(heard.message, "it has ended", "{client} -> {agent}");
        }
    }
}

#[tokio::test]
async fn what_an_agent_complains_of_later_is_told_within_the_stream() {
    for agent in all() {
        let peer = Peer::streaming(agent).await;
        for client in all() {
            let name = format!("{client} -> {agent}");
            let request = Request::SendStreamingMessage(send());
            let mut stream = peer.open(client, &request, &event("1")).await;
            assert_eq!(stream.next().await, Heard::event(event("1")), "{name}");
            peer.complain(&Problem::new(Fault::Internal, "out of ink"))
                .await;
            match stream.next().await {
                Heard::Problem(problem) => assert_eq!(problem.message, "out of ink", "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_never_looks_whole_in_any_dialect() {
    for agent in all() {
        for client in all() {
            let peer = Peer::streaming(agent).await;
            let name = format!("{client} -> {agent}");
            let request = Request::SendStreamingMessage(send());
            let mut stream = peer.open(client, &request, &event("1")).await;
            assert_eq!(stream.next().await, Heard::event(event("1")), "{name}");
            peer.agent.stop().await;
            match stream.next().await {
                Heard::Problem(problem) => {
                    assert!(problem.message.contains("went away"), "{name}: {problem}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn half_an_event_before_a_clean_end_is_a_break() {
    let agent = Dialect::new(Binding::Rest, Version::V1_0);
    let peer = Peer::streaming(agent).await;
    let client = Dialect::new(Binding::Grpc, Version::V1_0);
    let request = Request::SendStreamingMessage(send());
    let mut stream = peer.open(client, &request, &event("1")).await;
    assert_eq!(stream.next().await, Heard::event(event("1")));
    peer.agent.write(Bytes::from_static(b"data: {\"sta")).await;
    peer.end().await;
    assert!(matches!(stream.next().await, Heard::Problem(_)));
}

#[tokio::test]
async fn a_sign_of_life_opens_the_stream_and_passes_where_there_is_a_form_for_it() {
    let agent = Dialect::new(Binding::Rest, Version::V1_0);
    let peer = Peer::streaming(agent).await;
    let request = Request::SendStreamingMessage(send());
    let json_rpc = Dialect::new(Binding::JsonRpc, Version::V1_0);
    let opening = tokio::task::spawn({
        let (client, request) = (peer.client.clone(), request.clone());
        async move { call(&client, json_rpc, &request).await }
    });
    peer.agent
        .write(Bytes::from_static(b": ping\r\n\r\n"))
        .await;
    let answer = opening.await.unwrap();
    assert_eq!(kind(&answer), "text/event-stream");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    let mut stream = Listener::of(json_rpc, answer);
    assert_eq!(stream.raw(3).await, b":\n\n");
    peer.write(&event("1")).await;
    assert_eq!(stream.next().await, Heard::event(event("1")));
    peer.end().await;
    assert_eq!(stream.next().await, Heard::End);
    // Over gRPC there is none.
    let over_grpc = Dialect::new(Binding::Grpc, Version::V1_0);
    let opening = tokio::task::spawn({
        let client = peer.client.clone();
        async move { listen(&client, over_grpc, &request).await }
    });
    peer.agent.write(Bytes::from_static(b": ping\n\n")).await;
    let mut stream = opening.await.unwrap();
    peer.write(&event("1")).await;
    assert_eq!(stream.next().await, Heard::event(event("1")));
}

#[tokio::test]
async fn an_agent_that_answers_a_call_for_a_stream_in_one_piece_is_a_stream_of_one_event() {
    for agent in all().filter(|each| each.binding != Binding::Grpc) {
        let sent = a2a::send_message_response::Payload::Task(task(a2a::TaskState::Completed));
        let answer = Response::Sent(a2a::SendMessageResponse {
            payload: Some(sent),
        });
        let peer = Peer::start(agent, "", move |_| Ok(answer.clone())).await;
        for client in all().filter(|client| *client != agent) {
            let request = Request::SendStreamingMessage(send());
            let mut stream = listen(&peer.client, client, &request).await;
            let expected = Event {
                payload: Some(a2a::stream_response::Payload::Task(task(
                    a2a::TaskState::Completed,
                ))),
            };
            assert_eq!(
                stream.next().await,
                Heard::event(expected),
                "{client} -> {agent}"
            );
            assert_eq!(stream.next().await, Heard::End, "{client} -> {agent}");
        }
    }
}
