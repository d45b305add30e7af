//! What is kept of what a worker reports, and when it counts as lost.

use super::*;

#[test]
fn a_load_is_kept_as_it_was_reported() {
    let health = Reported::default();
    assert_eq!(health.get(), None);
    for state in [WorkerState::Active, WorkerState::Draining] {
        for (in_flight, capacity) in [(0, 0), (7, 64), (u32::MAX, CAPACITY_MOST)] {
            let load = Load {
                in_flight,
                capacity,
                state,
            };
            health.put(load);
            assert_eq!(health.get(), Some(load));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_ejection_in_a_row_lasts_twice_as_long_and_an_answer_ends_it() {
    let health = Health::new(Instant::now());
    for pause in [250, 500, 1000] {
        assert!(health.eject(Instant::now()));
        tokio::time::advance(Duration::from_millis(pause - 1)).await;
        assert!(health.is_ejected(Instant::now()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!health.is_ejected(Instant::now()));
    }
    health.eject(Instant::now());
    health.readmit();
    assert!(!health.is_ejected(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn a_lost_watch_ejects_until_it_is_heard_again_and_only_silence_ends_waiting() {
    let health = Health::new(Instant::now());
    let mut silenced = std::pin::pin!(health.silenced());
    health.feel(Pulse::Broken);
    assert!(health.is_ejected(Instant::now()));
    // An answer that was under way says nothing of the process as it is now.
    health.readmit();
    assert!(health.is_ejected(Instant::now()));
    assert!(futures_util::poll!(&mut silenced).is_pending());
    health.feel(Pulse::Steady);
    assert!(!health.is_ejected(Instant::now()));
    health.feel(Pulse::Silent);
    assert!(health.is_ejected(Instant::now()));
    silenced.await;
}
