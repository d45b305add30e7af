//! Decides: slots, view, placement, route token, admission. No I/O, no clock.
