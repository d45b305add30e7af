//! What needs no sidecar: what an event says, in which turns messages go, what is refused.
//! The rest is held against real ones, in `tests/fabric`.

use bytes::Bytes;

use super::*;

fn message(id: &str, key: &str) -> Message {
    let topic = "a2a.t.v1".parse().unwrap();
    Message::new(
        topic,
        id.to_owned(),
        key.to_owned(),
        Bytes::from_static(b"\0\xff"),
    )
}

#[test]
fn an_event_carries_its_body_in_base64_and_has_an_id_of_its_own() {
    let event = |_| serde_json::from_slice::<serde_json::Value>(&event::encode(&message("m", "k")));
    let (one, two) = (event(1).unwrap(), event(2).unwrap());
    assert_eq!(
        (&one["data_base64"], &one["messageid"]),
        (&"AP8=".into(), &"m".into())
    );
    assert_ne!(one["id"], two["id"]);
}

#[test]
fn of_two_messages_of_one_key_the_second_goes_in_the_next_turn() {
    let batch = [("1", "a"), ("2", "a"), ("3", "b"), ("4", "a"), ("5", "b")];
    let batch = batch.iter().enumerate();
    let batch = batch.map(|(place, (id, key))| (place, message(id, key)));
    let turns = turns(batch.collect());
    let places = |turn: &Vec<(usize, Message)>| turn.iter().map(|each| each.0).collect::<Vec<_>>();
    let places: Vec<_> = turns.iter().map(places).collect();
    assert_eq!(places, [vec![0, 2], vec![1, 4], vec![3]]);
}

#[test]
fn a_component_that_lacks_what_is_needed_is_refused_with_what_it_lacks() {
    let all = BTreeSet::from(Need::ALL);
    assert_eq!(Kind::of("pubsub.kafka").check("bus", &all), Ok(()));
    let refused = Kind::of("pubsub.redis").check("bus", &all).unwrap_err();
    assert!(
        refused.contains("\"bus\" (pubsub.redis) keeps no order"),
        "{refused}"
    );
    let few = BTreeSet::from([Need::Order]);
    assert_eq!(Kind::of("pubsub.in-memory").check("bus", &few), Ok(()));
    assert!(Kind::of("pubsub.something").check("bus", &few).is_err());
}
