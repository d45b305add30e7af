//! Open-loop load with its report, and the inputs of the benches.
//!
//! [`load`] is what `daca load` runs, [`report`] what it prints, [`machine`] on what it ran; [`bus`] is the
//! same for a bus.
//!
//! The benches' inputs are the same for every row of a group, made without a random source.
//!
//! Run them all with `cargo bench -p mesh-bench -- --quick`, one file with
//! `cargo bench -p mesh-bench --bench slots -- --quick`, one row by adding its name.
//!
//! # Invariants
//! - A row that claims to be fast stands beside a baseline in the same group, so that both are
//!   measured in the same run on the same machine.

pub mod bus;
pub mod load;
pub mod machine;
pub mod report;
mod times;

use mesh_core::slots::Member;
use mesh_proto::{a2a, mesh::WorkerId};

/// Members named as a Kubernetes deployment names its pods, spread over three zones.
#[must_use]
pub fn members(count: usize) -> Vec<Member> {
    let zones = ["a", "b", "c"].map(std::sync::Arc::<str>::from);
    (0..count)
        .zip(zones.into_iter().cycle())
        .map(|(number, zone)| Member {
            zone: Some(zone),
            ..Member::new(WorkerId::new(&format!("daca-worker-{number}")))
        })
        .collect()
}

/// Ids that look like UUIDs, all different.
#[must_use]
pub fn ids(count: usize) -> Vec<String> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = || {
        // A plain xorshift: the ids need to differ, not to be secret.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..count)
        .map(|_| {
            let (high, low) = (draw(), draw());
            let [a, b, c] = [high >> 32, high >> 16 & 0xffff, high & 0xffff];
            let [d, e] = [low >> 48, low & 0xffff_ffff_ffff];
            format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
        })
        .collect()
}

/// What a message is made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Content {
    /// Paragraphs, with the line breaks and quotes that JSON has to escape.
    Text,
    /// One file, which JSON carries in base64.
    File,
}

/// A `SendMessage` with about this many bytes of JSON, and every id that routing looks for.
#[must_use]
pub fn send_request(bytes: usize, content: Content) -> a2a::SendMessageRequest {
    let [message_id, context_id, task_id] = ids(3).try_into().unwrap_or_default();
    let part = |content| a2a::Part {
        content: Some(content),
        ..Default::default()
    };
    let parts = match content {
        Content::Text => {
            let line = "\"Where is the 17:40 to Lahore?\", she asked, and nobody knew.\n";
            let paragraph = line.repeat(bytes.min(2_048).div_ceil(line.len() + 3));
            let count = bytes.div_ceil(2_048);
            let text = a2a::part::Content::Text(paragraph);
            (0..count).map(|_| part(text.clone())).collect()
        }
        Content::File => {
            let file: Vec<u8> = (0..=u8::MAX).cycle().take(bytes / 4 * 3).collect();
            vec![part(a2a::part::Content::Raw(file.into()))]
        }
    };
    a2a::SendMessageRequest {
        tenant: "acme".to_owned(),
        message: Some(a2a::Message {
            message_id,
            context_id,
            task_id,
            role: a2a::Role::User.into(),
            parts,
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use mesh_proto::{Operation, json, scan};

    use super::*;

    #[test]
    fn a_request_has_the_size_and_the_ids_that_its_row_claims() {
        for size in [1_300, 16_000, 262_000] {
            for content in [Content::Text, Content::File] {
                let body = json::to_bytes(&send_request(size, content));
                assert!(body.len() >= size && body.len() < size + 1_000 + size / 10);
                let ids = scan::rest_body(Operation::SendMessage, &body).unwrap();
                assert!(ids.tenant.is_some() && ids.task_id.is_some());
                assert!(ids.context_id.is_some() && ids.message_id.is_some());
            }
        }
    }

    #[test]
    fn ids_differ_and_have_the_length_of_a_uuid() {
        let mut ids = ids(4096);
        assert!(ids.iter().all(|id| id.len() == 36));
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 4096);
    }
}
