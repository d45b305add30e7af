//! Inputs of the benches: the same for every row of a group, made without a random source.
//!
//! Run them all with `cargo bench -p mesh-bench -- --quick`, one file with
//! `cargo bench -p mesh-bench --bench slots -- --quick`, one row by adding its name.
//!
//! # Invariants
//! - A row that claims to be fast stands beside a baseline in the same group, so that both are
//!   measured in the same run on the same machine.

use mesh_core::slots::Member;
use mesh_proto::mesh::WorkerId;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_have_the_length_of_a_uuid() {
        let mut ids = ids(4096);
        assert!(ids.iter().all(|id| id.len() == 36));
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 4096);
    }
}
