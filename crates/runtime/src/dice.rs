//! Fresh ids: the one place that makes them.
//!
//! Inside of a simulation they come from the thread's own dice, which its seed throws, so that a run
//! can be repeated; everywhere else from the operating system, so that nobody can guess them.

use uuid::Uuid;

use crate::socket::is_simulated;

/// An id that nobody has (UUID v4).
#[must_use]
pub fn uuid() -> Uuid {
    if is_simulated() {
        return uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid();
    }
    Uuid::new_v4()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ids_differ_and_are_random_ones() {
        let (one, other) = (uuid(), uuid());
        assert_ne!(one, other);
        assert_eq!(one.get_version_num(), 4);
    }
}
