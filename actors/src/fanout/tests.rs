//! What a fan-out promises to fast, slow and late readers.

use std::future::Future;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::timeout;

use super::*;

fn at(offset: u64) -> Cursor {
    Cursor { epoch: 1, offset }
}

fn output(from: u64, bytes: usize) -> Bytes {
    (0..bytes as u64).map(|index| ((from + index) * 7 % 253) as u8).collect()
}

/// Pushes so many bytes more.
fn push(fanout: &Fanout, bytes: usize) {
    fanout.push(output(fanout.cursor().offset, bytes));
}

/// What is there, with neighbouring bytes joined.
fn rest(reader: &mut FanoutReader) -> Vec<FanoutItem> {
    let mut items = Vec::new();
    while let Some(item) = reader.try_next() {
        match (items.last_mut(), item) {
            (Some(FanoutItem::Bytes(last)), FanoutItem::Bytes(more)) => {
                *last = [&last[..], &more[..]].concat().into();
            }
            (_, item) => items.push(item),
        }
    }
    items
}

fn bytes(from: u64, to: u64) -> FanoutItem {
    FanoutItem::Bytes(output(from, usize::try_from(to - from).unwrap()))
}

fn gap(bytes: u64) -> FanoutItem {
    FanoutItem::Gap { bytes }
}

#[test]
fn every_reader_gets_every_byte() {
    let fanout = Fanout::new(1_000, at(0));
    let mut readers: Vec<_> = (0..3).map(|_| fanout.join(at(0))).collect();
    for size in [1, 10, 300] {
        push(&fanout, size);
    }
    for reader in &mut readers {
        assert_eq!(rest(reader), [bytes(0, 311)]);
        assert_eq!(reader.cursor(), at(311));
    }
}

#[test]
fn a_reader_that_was_overtaken_is_told_how_much_it_lost() {
    let fanout = Fanout::new(1_000, at(0));
    let mut slow = fanout.join(at(0));
    let mut fast = fanout.join(at(0));
    for from in (0..5_000).step_by(100) {
        push(&fanout, 100);
        assert_eq!(rest(&mut fast), [bytes(from, from + 100)]);
    }
    assert_eq!(rest(&mut slow), [gap(4_000), bytes(4_000, 5_000)]);
    assert_eq!(fanout.oldest(), at(4_000));
}

#[test]
fn one_push_larger_than_the_ring_leaves_its_end() {
    let fanout = Fanout::new(1_000, at(0));
    let mut reader = fanout.join(at(0));
    push(&fanout, 2_500);
    assert_eq!(rest(&mut reader), [gap(1_500), bytes(1_500, 2_500)]);
}

#[test]
fn a_reader_joins_in_the_middle_of_a_chunk() {
    let fanout = Fanout::new(1_000_000, at(50));
    push(&fanout, 200_000);
    push(&fanout, 10);
    assert_eq!(rest(&mut fanout.join(at(100_001))), [bytes(100_001, 200_060)]);
    assert_eq!(rest(&mut fanout.join(at(0)))[0], gap(50));
    assert_eq!(rest(&mut fanout.join(at(200_060))), []);
}

#[test]
fn a_position_that_means_nothing_here_starts_afresh() {
    let fanout = Fanout::new(1_000, at(0));
    push(&fanout, 100);
    for stranger in [at(101), Cursor { epoch: 0, offset: 3 }, Cursor { epoch: 2, offset: 0 }] {
        let fresh = FanoutItem::Fresh { at: at(0) };
        assert_eq!(rest(&mut fanout.join(stranger)), [fresh, bytes(0, 100)]);
    }
}

#[test]
fn bytes_that_come_again_are_left_out_and_a_jump_is_a_gap() {
    let fanout = Fanout::new(1_000, at(0));
    let mut reader = fanout.join(at(0));
    for (from, size) in [(0, 100), (0, 100), (50, 60), (20, 10), (200, 50)] {
        fanout.push_at(from, output(from, size));
    }
    fanout.skip_to(240);
    fanout.skip_to(300);
    assert_eq!(rest(&mut reader), [bytes(0, 110), gap(90), bytes(200, 250), gap(50)]);
    assert_eq!(fanout.cursor(), at(300));
}

#[test]
fn offsets_that_nobody_can_reach_do_no_harm() {
    let fanout = Fanout::new(1_000, at(u64::MAX));
    let start = fanout.cursor();
    fanout.skip_to(u64::MAX);
    fanout.push_at(u64::MAX - 1, output(0, 100));
    let mut reader = fanout.join(start);
    assert_eq!(rest(&mut reader), [bytes(0, 100)]);
    assert_eq!(rest(&mut fanout.join(at(5))).len(), 2);
}

#[test]
fn the_end_comes_after_the_last_byte_and_once() {
    let fanout = Fanout::new(1_000, at(0));
    let mut reader = fanout.join(at(0));
    push(&fanout, 10);
    fanout.end(ExitStatus::Code(7));
    let ended = FanoutItem::Ended(ExitStatus::Code(7));
    assert_eq!(rest(&mut reader), [bytes(0, 10), ended.clone()]);
    assert_eq!(rest(&mut reader), []);
    assert_eq!(rest(&mut fanout.join(at(4))), [bytes(4, 10), ended]);
}

#[test]
fn a_new_shell_starts_everybody_afresh() {
    let fanout = Fanout::new(1_000, at(0));
    let mut reader = fanout.join(at(0));
    push(&fanout, 10);
    fanout.end(ExitStatus::Code(0));
    rest(&mut reader);
    fanout.restart(2);
    push(&fanout, 5);
    let fresh = FanoutItem::Fresh { at: Cursor { epoch: 2, offset: 0 } };
    assert_eq!(rest(&mut reader), [fresh.clone(), bytes(0, 5)]);
    assert_eq!(rest(&mut fanout.join(at(3))), [fresh, bytes(0, 5)]);
    fanout.end(ExitStatus::Code(1));
    assert_eq!(rest(&mut reader), [FanoutItem::Ended(ExitStatus::Code(1))]);
}

#[test]
fn a_program_that_writes_byte_by_byte_does_not_make_a_chunk_of_each() {
    let fanout = Fanout::new(100_000, at(0));
    for _ in 0..50_000 {
        push(&fanout, 1);
    }
    let mut reader = fanout.join(at(0));
    let items = std::iter::from_fn(|| reader.try_next()).count();
    assert!(items < 30, "{items}");
}

#[test]
fn chunks_are_shared_and_not_copied() {
    let fanout = Fanout::new(1_000_000, at(0));
    let chunk = output(0, 50_000);
    fanout.push(chunk.clone());
    let Some(FanoutItem::Bytes(read)) = fanout.join(at(10)).try_next() else { panic!() };
    assert_eq!(read.as_ptr(), chunk[10..].as_ptr());
}

#[tokio::test(start_paused = true)]
async fn a_waiting_reader_is_woken_and_a_cancelled_wait_loses_nothing() {
    let fanout = Fanout::new(1_000, at(0));
    let mut reader = fanout.join(at(0));
    for round in 0..3 {
        let waited = timeout(Duration::from_secs(1), reader.next()).await;
        assert!(waited.is_err());
        push(&fanout, 10);
        assert_eq!(reader.next().await, Some(bytes(round * 10, round * 10 + 10)));
    }
    let waiting = async { reader.next().await };
    let pushing = async { push(&fanout, 10) };
    let (item, ()) = tokio::join!(waiting, pushing);
    assert_eq!(item, Some(bytes(30, 40)));
}

#[tokio::test]
async fn readers_of_a_fan_out_that_is_gone_read_what_there_was() {
    let fanout = Fanout::new(1_000, at(0));
    let mut reader = fanout.join(at(0));
    push(&fanout, 10);
    fanout.end(ExitStatus::Code(0));
    drop(fanout);
    assert_eq!(reader.next().await, Some(bytes(0, 10)));
    assert_eq!(reader.next().await, Some(FanoutItem::Ended(ExitStatus::Code(0))));
    assert_eq!(reader.next().await, None);
    assert_eq!(reader.next().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_readers_beside_a_busy_writer_account_for_every_byte() {
    const BYTES: u64 = 2_000_000;
    let fanout = Fanout::new(200_000, at(0));
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        readers.spawn(account(fanout.join(at(0))));
    }
    readers.spawn(async move {
        while fanout.cursor().offset < BYTES {
            push(&fanout, 4_000);
            tokio::task::yield_now().await;
        }
        BYTES
    });
    while let Some(bytes) = readers.join_next().await {
        assert_eq!(bytes.unwrap(), BYTES);
    }
}

/// Reads to the end and compares each byte; answers bytes read and lost.
async fn account(mut reader: FanoutReader) -> u64 {
    let mut offset = 0;
    while let Some(item) = reader.next().await {
        match item {
            FanoutItem::Bytes(bytes) => {
                assert_eq!(bytes, output(offset, bytes.len()));
                offset += bytes.len() as u64;
            }
            FanoutItem::Gap { bytes } => offset += bytes,
            FanoutItem::Fresh { .. } | FanoutItem::Ended(_) => panic!("{item:?}"),
        }
        assert_eq!(reader.cursor(), at(offset));
    }
    offset
}

#[tokio::test(start_paused = true)]
async fn the_writer_waits_for_readers_that_are_paced_and_for_no_others() {
    let fanout = Fanout::new(1_000, at(0));
    let _other = fanout.join(at(0));
    let mut reader = fanout.join_paced(at(0));
    push(&fanout, 499);
    fanout.room().await;
    push(&fanout, 1);
    let is_held = async || timeout(Duration::from_millis(10), fanout.room()).await.is_err();
    assert!(is_held().await);
    // What it has in its hands is not passed on yet.
    assert_eq!(reader.try_next(), Some(bytes(0, 500)));
    assert!(is_held().await);
    assert_eq!(rest(&mut reader), []);
    assert!(!is_held().await);
    push(&fanout, 500);
    tokio::join!(fanout.room(), async { rest(&mut reader) });
    push(&fanout, 500);
    tokio::join!(fanout.room(), async { drop(reader) });
}

#[tokio::test]
async fn a_reader_that_is_paced_misses_nothing_though_another_stands_still() {
    const BYTES: u64 = 100_000;
    let fanout = Fanout::new(1_000, at(0));
    let mut stalled = fanout.join_paced(at(0));
    let reader = fanout.join_paced(at(0));
    let writing = async {
        while fanout.cursor().offset < BYTES {
            fanout.room().await;
            push(&fanout, 250);
        }
        fanout.end(ExitStatus::Code(0));
    };
    let (read, ()) = tokio::join!(read_all(reader), writing);
    assert_eq!(read, BYTES);
    assert_eq!(rest(&mut stalled)[0], gap(BYTES - 1_000));
}

/// Reads without a gap to the end; answers how many bytes there were.
async fn read_all(mut reader: FanoutReader) -> u64 {
    while let Some(item) = reader.next().await {
        match item {
            FanoutItem::Bytes(_) => {}
            FanoutItem::Ended(_) => break,
            FanoutItem::Gap { .. } | FanoutItem::Fresh { .. } => panic!("{item:?}"),
        }
    }
    reader.cursor().offset
}

proptest! {
    #[test]
    fn what_is_kept_is_the_newest_and_what_is_not_is_a_gap(
        ring_bytes in 1_usize..20_000,
        pushes in proptest::collection::vec((0_usize..9_000, 0_u64..50, any::<bool>()), 1..60),
    ) {
        let fanout = Fanout::new(ring_bytes, at(0));
        let mut reader = fanout.join(at(0));
        let (mut read, mut lost, mut skipped) = (0, 0, 0);
        for (size, skip, reads) in pushes {
            fanout.skip_to(fanout.cursor().offset + skip);
            skipped += skip;
            push(&fanout, size);
            if !reads {
                continue;
            }
            let end = fanout.cursor().offset;
            for item in rest(&mut reader) {
                match item {
                    FanoutItem::Bytes(bytes) => {
                        prop_assert_eq!(&bytes, &output(read + lost, bytes.len()));
                        read += bytes.len() as u64;
                    }
                    FanoutItem::Gap { bytes } => lost += bytes,
                    FanoutItem::Fresh { .. } | FanoutItem::Ended(_) => prop_assert!(false),
                }
            }
            prop_assert_eq!(read + lost, end);
        }
        prop_assert!(lost >= skipped || read + lost < fanout.cursor().offset);
    }
}

/// The compiler's word that a reader can be awaited in any task.
#[test]
fn a_reader_can_be_awaited_anywhere() {
    fn sendable<F: Future + Send>(_: &F) {}
    let fanout = Fanout::new(10, at(0));
    let mut reader = fanout.join(at(0));
    sendable(&reader.next());
}
