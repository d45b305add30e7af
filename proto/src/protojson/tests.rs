//! Every message comes back from JSON as it was, and the official Rust SDK's types agree.

use proptest::prelude::*;
use prost::Message as _;

use crate::{
    a2a, json,
    pivot::tests::made::{Content, Maker},
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_message_comes_back_from_json_as_it_was(seed: u64) {
        let mut maker = Maker::new(seed, Content::Any);
        let event: a2a::StreamResponse = maker.message("StreamResponse");
        let text = json::to_bytes(&event);
        prop_assert_eq!(json::from_slice::<a2a::StreamResponse>(&text), Ok(event));
        let card: a2a::AgentCard = maker.message("AgentCard");
        let text = json::to_bytes(&card);
        prop_assert_eq!(json::from_slice::<a2a::AgentCard>(&text), Ok(card));
    }

    #[test]
    fn the_official_types_read_what_we_write_and_we_read_what_they_write(seed: u64) {
        let task: a2a::Task = Maker::new(seed, Content::Tame).message("Task");
        let ours = json::to_bytes(&task);
        let theirs: a2a_pb::protojson::Task = serde_json::from_slice(&ours).unwrap();
        prop_assert_eq!(&a2a::Task::decode(theirs.encode_to_vec().as_slice()).unwrap(), &task);
        let text = serde_json::to_vec(&theirs).unwrap();
        prop_assert_eq!(json::from_slice::<a2a::Task>(&text), Ok(task));
    }
}
