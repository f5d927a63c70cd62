use proptest::prelude::*;

use super::*;

/// Everything that was ever written, byte by byte, and how much of it is left.
#[derive(Default)]
struct Model {
    written: Vec<(u8, u8)>,
    durable: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Push { stream: u8, after_us: u64, bytes: Vec<u8> },
    Free { back: u64 },
    Read { back: u64, bytes_max: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let push = (1..=2u8, 0..3000u64, proptest::collection::vec(any::<u8>(), 0..6000));
    prop_oneof![
        6 => push.prop_map(|(stream, after_us, bytes)| Step::Push { stream, after_us, bytes }),
        1 => (0..9000u64).prop_map(|back| Step::Free { back }),
        2 => (0..9000u64, 1..9000usize).prop_map(|(back, bytes_max)| Step::Read { back, bytes_max }),
    ]
}

/// Splits frames into `(offset, stream, bytes)`.
fn records(mut frames: &[u8]) -> Vec<(u64, u8, Vec<u8>)> {
    let mut records = Vec::new();
    while let [kind, a, b, c, d, rest @ ..] = frames {
        assert_eq!(*kind, Kind::Record as u8);
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        let (payload, rest) = rest.split_at(length);
        let offset = u64::from_le_bytes(payload[..8].try_into().unwrap());
        records.push((offset, payload[16], payload[17..].to_vec()));
        frames = rest;
    }
    records
}

fn check_read(ring: &Ring, model: &Model, from: u64, bytes_max: usize) {
    let mut out = Vec::new();
    let next = ring.frames(from, &mut out, bytes_max);
    let mut expected = from;
    for (offset, stream, bytes) in records(&out) {
        assert_eq!(offset, expected, "records follow each other without a hole");
        let start = usize::try_from(offset).unwrap();
        for (index, byte) in bytes.iter().enumerate() {
            assert_eq!(model.written[start + index], (stream, *byte), "byte {}", start + index);
        }
        expected += bytes.len() as u64;
    }
    assert_eq!(next, expected);
    assert!(next > from || from == ring.end(), "a read from what is kept makes progress");
}

proptest! {
    // Each case compares every kept byte after every step.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_ring_holds_the_newest_bytes_of_everything_written(
        bytes in RING_BYTES_MIN..20_000,
        merge_us in prop_oneof![Just(0u64), Just(1000u64)],
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut ring = Ring::new(bytes, merge_us).unwrap();
        let mut model = Model::default();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Push { stream, after_us, bytes } => {
                    now += after_us;
                    ring.push(stream, now, &bytes);
                    model.written.extend(bytes.iter().map(|byte| (stream, *byte)));
                }
                Step::Free { back } => {
                    let offset = ring.end().saturating_sub(back);
                    ring.free_before(offset);
                    model.durable = model.durable.max(offset);
                    prop_assert!(ring.kept_from() >= offset);
                }
                Step::Read { back, bytes_max } => {
                    let from = ring.end().saturating_sub(back).max(ring.kept_from());
                    check_read(&ring, &model, from, bytes_max);
                }
            }
            prop_assert_eq!(ring.end(), model.written.len() as u64);
            prop_assert!(ring.used() <= ring.capacity());
            prop_assert!(ring.kept_from() >= model.durable);
            check_read(&ring, &model, ring.kept_from(), usize::MAX);
        }
    }
}

#[test]
fn what_fits_into_the_room_loses_nothing() {
    let mut ring = Ring::new(4096, 0).unwrap();
    while ring.room() > 0 {
        let bytes = vec![7; ring.room().min(100)];
        ring.push(1, 0, &bytes);
    }
    assert_eq!(ring.kept_from(), 0);
    ring.push(1, 0, b"x");
    assert!(ring.kept_from() > 0);
}

#[test]
fn bytes_of_the_same_millisecond_become_one_record_only_when_asked() {
    for (merge_us, pieces) in [(0, 3), (1000, 2)] {
        let mut ring = Ring::new(4096, merge_us).unwrap();
        ring.push(1, 10, b"a");
        ring.push(1, 20, b"b");
        ring.push(1, 2000, b"c");
        assert_eq!(ring.pieces.len(), pieces, "merge_us {merge_us}");
    }
}

#[test]
fn a_durable_offset_inside_a_piece_frees_its_front() {
    let mut ring = Ring::new(4096, 0).unwrap();
    ring.push(1, 5, b"abcdef");
    ring.free_before(4);
    let mut out = Vec::new();
    assert_eq!(ring.frames(4, &mut out, 1000), 6);
    assert_eq!(records(&out), [(4, 1, b"ef".to_vec())]);
    assert_eq!(ring.kept_from(), 4);
}
