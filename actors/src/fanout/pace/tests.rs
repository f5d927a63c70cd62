//! Who is waited for, with a clock that the tests turn.

use proptest::prelude::*;

use super::*;

const BEHIND_MAX: u64 = 1_000;

/// A pace of so many readers at 0, and a moment.
fn pace(readers: usize) -> (Pace, Vec<u64>, Instant) {
    let now = Instant::now();
    let mut pace = Pace::new(BEHIND_MAX, now);
    let names: Vec<_> = (0..readers).map(|_| pace.join()).collect();
    for name in &names {
        pace.reads(*name, 0, now);
    }
    (pace, names, now)
}

#[test]
fn nobody_is_waited_for_who_is_not_far_behind() {
    let (mut pace, names, now) = pace(2);
    assert_eq!(pace.holds_until(BEHIND_MAX - 1, now), None);
    assert!(pace.holds_until(BEHIND_MAX, now).is_some());
    pace.reads(names[0], BEHIND_MAX, now);
    assert!(pace.holds_until(BEHIND_MAX, now).is_some(), "one still is");
    pace.leave(names[1]);
    assert_eq!(pace.holds_until(BEHIND_MAX, now), None);
}

#[test]
fn those_who_all_read_are_waited_for_however_slow_they_are() {
    let (mut pace, names, mut now) = pace(2);
    for offset in 1..100 {
        assert!(pace.holds_until(offset - 1 + BEHIND_MAX, now).is_some(), "{offset}");
        now += STALL_MAX - Duration::from_millis(1);
        for name in &names {
            pace.reads(*name, offset, now);
        }
        assert_eq!(pace.holds_until(offset - 1 + BEHIND_MAX, now), None, "{offset}");
    }
}

#[test]
fn when_nobody_reads_all_are_left_behind_until_they_read_again() {
    let (mut pace, names, mut now) = pace(3);
    // A long silence before says nothing.
    now += STALL_MAX * 10;
    assert_eq!(pace.holds_until(0, now), None);
    assert_eq!(pace.holds_until(BEHIND_MAX, now), Some(now + STALL_MAX));
    now += STALL_MAX;
    assert_eq!(pace.holds_until(BEHIND_MAX, now), None);
    assert_eq!(pace.holds_until(BEHIND_MAX * 9, now), None);
    pace.reads(names[0], BEHIND_MAX * 8, now);
    assert_eq!(pace.holds_until(BEHIND_MAX * 9, now), Some(now + STALL_MAX));
}

#[test]
fn who_has_read_everything_waits_for_others_only_for_a_moment() {
    let (mut pace, names, mut now) = pace(2);
    let mut end = BEHIND_MAX;
    pace.reads(names[0], end, now);
    assert_eq!(pace.holds_until(end, now), Some(now + HELD_MAX));
    now += HELD_MAX;
    assert_eq!(pace.holds_until(end, now), None);
    // The other comes back, and finds that there is little patience left.
    now += HELD_MAX;
    pace.reads(names[1], 1, now);
    end += 1;
    pace.reads(names[0], end, now);
    assert_eq!(pace.holds_until(end, now), Some(now + HELD_MAX / HELD_PART));
}

proptest! {
    #[test]
    fn the_slow_hold_the_quick_for_a_small_part_of_the_time_whatever_they_do(
        steps in proptest::collection::vec((1_usize..5, 0_u64..2_000, 1_u64..50), 1..500),
    ) {
        let (mut pace, names, began) = pace(5);
        let (mut now, mut end, mut held) = (began, 0, Duration::ZERO);
        let mut places = [0; 5];
        for (reader, bytes, ms) in steps {
            pace.reads(names[0], end, now);
            let mut passed = Duration::from_millis(ms);
            if let Some(until) = pace.holds_until(end, now) {
                passed = passed.min(until - now);
                held += passed;
            } else {
                end += 500;
            }
            now += passed;
            places[reader] = (places[reader] + bytes).min(end);
            pace.reads(names[reader], places[reader], now);
        }
        prop_assert!(held <= HELD_MAX + (now - began) / HELD_PART, "{held:?}");
    }
}
