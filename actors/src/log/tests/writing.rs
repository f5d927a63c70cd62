use std::fs::File;
use std::os::unix::fs::PermissionsExt;

use rustix::fs::{MemfdFlags, SealFlags};

use super::super::format::FRAME_BYTES;
use super::*;

#[test]
fn records_come_back_as_they_were_appended() {
    let log = Log::new();
    let mut writer = log.open();
    assert_eq!(writer.end(), None);
    append(&mut writer, 1, 0, 10);
    let head = RecordHead { offset: 10, at: 77, stream: 2 };
    writer.append(1, head, &output(1, 10, 100_000)).unwrap();
    writer.process_ended(1, ExitStatus::Signal(9), 100_000).unwrap();
    log.flush(&mut writer);

    assert_eq!(writer.end(), Some(cursor(1, 100_000)));
    assert_eq!(log.read(None), [bytes(1, 0, 100_000), Told::Ended(1, ExitStatus::Signal(9))]);
    let mut reader = log.reader(Some(cursor(1, 10)));
    let Some(LogItem::Record(record)) = block_on(reader.next()).unwrap() else { panic!() };
    assert_eq!((record.at, record.time, record.stream), (cursor(1, 10), 77, 2));
}

#[test]
fn only_the_server_can_look_into_a_log() {
    let log = Log::new();
    drop(log.open());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&log.path()), mode(&log.newest())), (0o700, 0o600));
}

#[test]
fn a_log_goes_on_where_it_ended() {
    let log = Log::new();
    let mut writer = log.open();
    append(&mut writer, 4, 0, 50);
    writer.sync().unwrap();
    drop(writer);

    let mut writer = log.open();
    assert_eq!((writer.end(), writer.ended(4)), (Some(cursor(4, 50)), false));
    append(&mut writer, 4, 50, 80);
    writer.process_ended(4, ExitStatus::Code(3), 80).unwrap();
    log.flush(&mut writer);
    drop(writer);

    let writer = log.open();
    assert_eq!(
        (writer.end(), writer.ended(4), writer.ended(5)),
        (Some(cursor(4, 80)), true, false)
    );
    assert_eq!(log.read(None), [bytes(4, 0, 80), Told::Ended(4, ExitStatus::Code(3))]);
}

#[test]
fn what_was_not_flushed_is_not_there() {
    let log = Log::new();
    let mut writer = log.open();
    append(&mut writer, 1, 0, 50);
    log.flush(&mut writer);
    append(&mut writer, 1, 50, 60);
    drop(writer);
    assert_eq!(log.open().end(), Some(cursor(1, 50)));
}

#[test]
fn a_record_torn_at_any_byte_is_cut_off_and_can_be_appended_again() {
    for last in ["record", "gap", "ended"] {
        let log = Log::new();
        let mut writer = log.open();
        append(&mut writer, 1, 0, 40);
        log.flush(&mut writer);
        let whole = length(&log.newest());
        match last {
            "record" => append(&mut writer, 1, 40, 90),
            "gap" => writer.gap(1, 40, 90).unwrap(),
            _ => writer.process_ended(1, ExitStatus::Lost, 40).unwrap(),
        }
        log.flush(&mut writer);
        drop(writer);
        for torn in (whole..length(&log.newest())).rev() {
            cut(&log.newest(), torn);
            assert_eq!(log.read(None), [bytes(1, 0, 40)], "{last} torn at {torn}, before open");
            let writer = log.open();
            assert_eq!(writer.end(), Some(cursor(1, 40)), "{last} torn at {torn}");
            assert!(!writer.ended(1), "{last} torn at {torn}");
            assert_eq!(length(&log.newest()), whole, "{last} torn at {torn}");
        }
        let mut writer = log.open();
        append(&mut writer, 1, 40, 90);
        log.flush(&mut writer);
        assert_eq!(log.read(None), [bytes(1, 0, 90)], "{last}");
    }
}

#[test]
fn a_tail_of_zeros_or_of_rubbish_is_cut_off() {
    for rubbish in [vec![0; 5000], vec![0xff; 5000], b"\x1e\0\0\0abcdefghijk".to_vec()] {
        let log = Log::new();
        let mut writer = log.open();
        append(&mut writer, 1, 0, 40);
        log.flush(&mut writer);
        let mut content = std::fs::read(log.newest()).unwrap();
        content.extend(rubbish);
        std::fs::write(log.newest(), content).unwrap();
        assert_eq!(log.open().end(), Some(cursor(1, 40)));
        assert_eq!(log.read(None), [bytes(1, 0, 40)]);
    }
}

#[test]
fn what_comes_twice_is_kept_once() {
    let log = Log::new();
    let mut writer = log.open();
    append(&mut writer, 1, 0, 100);
    append(&mut writer, 1, 0, 100);
    append(&mut writer, 1, 20, 60);
    append(&mut writer, 1, 90, 130);
    append(&mut writer, 1, 130, 130);
    writer.gap(1, 10, 50).unwrap();
    writer.process_ended(1, ExitStatus::Code(0), 130).unwrap();
    writer.process_ended(1, ExitStatus::Code(0), 130).unwrap();
    log.flush(&mut writer);
    assert_eq!(log.read(None), [bytes(1, 0, 130), Told::Ended(1, ExitStatus::Code(0))]);
}

#[test]
fn a_jump_forward_is_a_gap() {
    let log = Log::new();
    let mut writer = log.open();
    append(&mut writer, 1, 5, 10);
    append(&mut writer, 1, 30, 40);
    writer.gap(1, 35, 50).unwrap();
    append(&mut writer, 1, 50, 60);
    writer.process_ended(1, ExitStatus::Code(0), 70).unwrap();
    log.flush(&mut writer);
    let told = [
        Told::Gap(Some(5), cursor(1, 5)),
        bytes(1, 5, 10),
        Told::Gap(Some(20), cursor(1, 30)),
        bytes(1, 30, 40),
        Told::Gap(Some(10), cursor(1, 50)),
        bytes(1, 50, 60),
        Told::Gap(Some(10), cursor(1, 70)),
        Told::Ended(1, ExitStatus::Code(0)),
    ];
    assert_eq!(log.read(None), told);
}

#[test]
fn an_epoch_begins_at_zero_and_never_comes_back() {
    let log = Log::new();
    let mut writer = log.open();
    append(&mut writer, 1, 0, 10);
    writer.process_ended(1, ExitStatus::Code(1), 10).unwrap();
    append(&mut writer, 2, 0, 20);
    assert_eq!((writer.ended(1), writer.ended(2)), (true, false));
    let late = RecordHead { offset: 10, at: 0, stream: 1 };
    assert_eq!(
        writer.append(1, late, b"late").unwrap_err().kind(),
        std::io::ErrorKind::InvalidInput,
    );
    log.flush(&mut writer);
    let told = [bytes(1, 0, 10), Told::Ended(1, ExitStatus::Code(1)), bytes(2, 0, 20)];
    assert_eq!(log.read(None), told);
}

#[test]
fn an_offset_beyond_all_numbers_is_refused() {
    let mut writer = Log::new().open();
    let head = RecordHead { offset: u64::MAX - 2, at: 0, stream: 1 };
    assert!(writer.append(1, head, b"four").is_err());
    assert_eq!(writer.end(), None);
}

#[test]
fn rotation_keeps_the_newest_files_and_absolute_offsets() {
    let log = Log::small(1_000, 3);
    let mut writer = log.open();
    for from in (0..10_000).step_by(100) {
        append(&mut writer, 1, from, from + 100);
    }
    writer.sync().unwrap();
    let numbers = files::numbers(&log.path()).unwrap();
    assert_eq!(numbers.len(), 3);
    assert!(numbers.iter().all(|number| length(&files::path(&log.path(), *number)) <= 1_000));
    let told = log.read(None);
    let [Told::Bytes(first, kept)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(told, [bytes(1, first.offset, 10_000)]);
    assert!(kept.len() >= 2 * 7 * 100);
    drop(writer);
    assert_eq!(log.open().end(), Some(cursor(1, 10_000)));
}

#[test]
fn a_file_that_was_begun_and_not_finished_is_forgotten() {
    for header_bytes in [0, 1, 31, 32] {
        let log = Log::small(1_000, 3);
        let mut writer = log.open();
        append(&mut writer, 1, 0, 500);
        append(&mut writer, 1, 500, 1_000);
        writer.process_ended(1, ExitStatus::Code(0), 1_000).unwrap();
        log.flush(&mut writer);
        cut(&log.newest(), header_bytes);
        let writer = log.open();
        assert_eq!(writer.end(), Some(cursor(1, 500)), "{header_bytes}");
        assert_eq!(log.read(None), [bytes(1, 0, 500)], "{header_bytes}");
    }
}

#[test]
fn a_rotten_header_costs_its_file_alone() {
    let log = Log::small(1_000, 4);
    let mut writer = log.open();
    for from in (0..2_000).step_by(500) {
        append(&mut writer, 1, from, from + 500);
    }
    log.flush(&mut writer);
    rot(&log.newest(), 9);
    let mut writer = log.open();
    assert_eq!(writer.end(), Some(cursor(1, 1_500)));
    append(&mut writer, 1, 2_000, 2_100);
    log.flush(&mut writer);
    let gap = Told::Gap(Some(500), cursor(1, 2_000));
    assert_eq!(log.read(None), [bytes(1, 0, 1_500), gap, bytes(1, 2_000, 2_100)]);
}

/// A file of the length of the log's newest that cannot grow, like a full disk.
fn full_disk(log: &Log) -> File {
    let fd = rustix::fs::memfd_create("full", MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&fd, length(&log.newest())).unwrap();
    rustix::fs::fcntl_add_seals(&fd, SealFlags::GROW).unwrap();
    File::from(fd)
}

#[test]
fn what_a_full_disk_refused_is_appended_again_from_the_end() {
    let log = Log::new();
    let mut writer = log.open();
    append(&mut writer, 1, 0, 100);
    log.flush(&mut writer);
    let mut reader = log.reader(None);
    assert_eq!(block_on(rest(&mut reader)), [bytes(1, 0, 100)]);

    let disk = writer.replace_file(full_disk(&log));
    append(&mut writer, 1, 100, 200);
    writer.process_ended(1, ExitStatus::Code(0), 200).unwrap();
    assert!(writer.flush().is_err());
    assert_eq!((writer.end(), writer.ended(1)), (Some(cursor(1, 100)), false));

    writer.replace_file(disk);
    append(&mut writer, 1, 100, 150);
    append(&mut writer, 1, 150, 250);
    log.flush(&mut writer);
    assert_eq!(block_on(rest(&mut reader)), [bytes(1, 100, 250)]);
    assert_eq!(log.read(None), [bytes(1, 0, 250)]);
    assert_eq!(files::numbers(&log.path()).unwrap().len(), 2);
}

#[test]
fn a_write_that_cannot_be_undone_stops_the_writer_until_it_is_opened_again() {
    let log = Log::new();
    let mut writer = log.open();
    append(&mut writer, 1, 0, 100);
    log.flush(&mut writer);
    writer.replace_file(File::open(log.newest()).unwrap());
    append(&mut writer, 1, 100, 200);
    assert!(writer.flush().is_err());
    let head = RecordHead { offset: 100, at: 0, stream: 1 };
    assert!(writer.append(1, head, b"more").is_err());
    assert!(writer.process_ended(1, ExitStatus::Lost, 100).is_err());
    assert_eq!(log.open().end(), Some(cursor(1, 100)));
}

#[test]
fn a_reader_cuts_what_a_failed_sync_made_the_writer_append_twice() {
    let log = Log::new();
    let mut writer = log.open();
    append(&mut writer, 1, 0, 100);
    writer.sync().unwrap();
    append(&mut writer, 1, 100, 150);
    log.flush(&mut writer);
    let mut reader = log.reader(None);
    assert_eq!(block_on(rest(&mut reader)), [bytes(1, 0, 150)]);

    writer.fail_sync();
    assert_eq!(writer.end(), Some(cursor(1, 100)));
    append(&mut writer, 1, 100, 130);
    append(&mut writer, 1, 130, 300);
    log.flush(&mut writer);
    assert_eq!(block_on(rest(&mut reader)), [bytes(1, 150, 300)]);
    assert_eq!(log.read(None), [bytes(1, 0, 300)]);
}

#[test]
fn a_record_costs_its_output_and_a_frame() {
    let log = Log::new();
    let mut writer = log.open();
    let empty = length(&log.newest());
    append(&mut writer, 1, 0, 1_000);
    log.flush(&mut writer);
    assert_eq!(length(&log.newest()) - empty, 1_000 + FRAME_BYTES as u64);
}
