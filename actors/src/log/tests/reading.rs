use std::task::Poll;
use std::time::Duration;

use super::*;

/// Appends records of 100 bytes from `from` to `to`.
fn fill(log: &Log, writer: &mut LogWriter, from: u64, to: u64) {
    for from in (from..to).step_by(100) {
        append(writer, 1, from, from + 100);
    }
    log.flush(writer);
}

#[test]
fn a_log_that_is_not_there_has_nothing() {
    let log = Log::new();
    assert_eq!(log.read(None), []);
    assert_eq!(log.read(Some(cursor(1, 5))), []);
    assert_eq!(log.reader(None).cursor(), None);
}

#[test]
fn a_reader_goes_on_in_the_middle_of_a_record() {
    let log = Log::new();
    let mut writer = log.open();
    fill(&log, &mut writer, 0, 300);
    assert_eq!(log.read(Some(cursor(1, 150))), [bytes(1, 150, 300)]);
    assert_eq!(log.read(Some(cursor(1, 300))), []);
    assert_eq!(log.read(Some(cursor(9, 0))), []);
    assert_eq!(log.read(Some(cursor(0, 7))), [bytes(1, 0, 300)]);
}

#[test]
fn a_reader_that_comes_too_late_is_told_the_gap() {
    let log = Log::small(1_000, 2);
    let mut writer = log.open();
    fill(&log, &mut writer, 0, 10_000);
    let oldest = {
        let mut reader = log.reader(None);
        block_on(reader.next()).unwrap();
        reader.cursor().unwrap().offset - 100
    };
    let told = log.read(Some(cursor(1, 50)));
    let gap = Told::Gap(Some(oldest - 50), cursor(1, oldest));
    assert_eq!(told, [gap, bytes(1, oldest, 10_000)]);
    let told = log.read(Some(cursor(0, 50)));
    assert_eq!(told[0], Told::Gap(None, cursor(1, oldest)));
}

#[test]
fn a_reader_follows_rotation_and_tells_what_was_rotated_away_under_it() {
    let log = Log::small(1_000, 2);
    let mut writer = log.open();
    fill(&log, &mut writer, 0, 300);
    let mut reader = log.reader(None);
    assert_eq!(block_on(rest(&mut reader)), [bytes(1, 0, 300)]);
    for end in [1_300, 2_000, 2_600, 2_700] {
        let from = reader.cursor().unwrap().offset;
        fill(&log, &mut writer, from, end);
        assert_eq!(block_on(rest(&mut reader)), [bytes(1, from, end)]);
    }
    fill(&log, &mut writer, 2_700, 9_000);
    let told = block_on(rest(&mut reader));
    let [Told::Bytes(_, before), Told::Gap(Some(lost), to), Told::Bytes(..)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(to.offset, 2_700 + before.len() as u64 + lost);
    assert_eq!(told[2], bytes(1, to.offset, 9_000));
}

#[test]
fn a_reader_survives_the_removal_of_the_log() {
    let log = Log::new();
    let mut writer = log.open();
    fill(&log, &mut writer, 0, 300);
    let mut reader = log.reader(None);
    block_on(reader.next()).unwrap();
    std::fs::remove_dir_all(log.path()).unwrap();
    assert_eq!(block_on(rest(&mut reader)), [bytes(1, 100, 300)]);
    assert_eq!(block_on(rest(&mut reader)), []);
}

#[test]
fn a_reader_waits_for_more_and_misses_no_flush() {
    let log = Log::new();
    let mut writer = log.open();
    fill(&log, &mut writer, 0, 100);
    let mut reader = log.reader(None);
    block_on(async {
        assert_eq!(rest(&mut reader).await, [bytes(1, 0, 100)]);
        let idle = tokio::time::timeout(Duration::from_millis(1), reader.more()).await;
        assert!(idle.is_err());
        fill(&log, &mut writer, 100, 200);
        assert!(reader.more().await);
        assert_eq!(rest(&mut reader).await, [bytes(1, 100, 200)]);
        // Flushed between the end of one read and the wait.
        fill(&log, &mut writer, 200, 300);
        assert!(reader.more().await);
        assert_eq!(rest(&mut reader).await, [bytes(1, 200, 300)]);
        drop(log);
        assert!(!reader.more().await);
    });
}

#[test]
fn a_reader_beside_a_busy_writer_gets_every_byte_once() {
    let log = Log::small(20_000, 1_000);
    let mut writer = log.open();
    let mut reader = log.reader(None);
    let end = 2_000_000;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for from in (0..end).step_by(500) {
                append(&mut writer, 1, from, from + 500);
                log.flush(&mut writer);
            }
        });
        block_on(async {
            let mut read = 0;
            while read < end {
                for told in rest(&mut reader).await {
                    let Told::Bytes(at, bytes) = told else { panic!("{told:?}") };
                    assert_eq!(at, cursor(1, read));
                    read += bytes.len() as u64;
                    assert_eq!(bytes, output(1, at.offset, read));
                }
                if read < end {
                    assert!(reader.more().await);
                }
            }
        });
    });
}

#[test]
fn a_cancelled_read_loses_nothing() {
    let log = Log::small(1_000, 100);
    let mut writer = log.open();
    fill(&log, &mut writer, 0, 3_000);
    let mut reader = log.reader(None);
    let mut offset = 0;
    block_on(async {
        while offset < 3_000 {
            // Polled once and dropped, with the read in flight.
            let first = poll_once(reader.next()).await;
            let item = match first {
                Some(item) => item,
                None => reader.next().await,
            };
            offset = expect(item.unwrap(), offset);
        }
    });
}

async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|task| match future.as_mut().poll(task) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn expect(item: Option<LogItem>, offset: u64) -> u64 {
    let Some(LogItem::Record(record)) = item else { panic!("{item:?} at {offset}") };
    assert_eq!(record.at, cursor(1, offset));
    offset + record.bytes.len() as u64
}

#[test]
fn rot_in_the_middle_costs_the_rest_of_that_file_and_is_told() {
    let log = Log::small(1_000, 100);
    let mut writer = log.open();
    fill(&log, &mut writer, 0, 3_000);
    let numbers = files::numbers(&log.path()).unwrap();
    let rotten = files::path(&log.path(), numbers[1]);
    rot(&rotten, 32 + 134 + 60);
    let told = log.read(None);
    let gap = Told::Gap(Some(600), cursor(1, 1_400));
    assert_eq!(told, [bytes(1, 0, 800), gap, bytes(1, 1_400, 3_000)]);
    assert_eq!(told, log.read(Some(cursor(1, 0))));
}
