//! Random appends, crashes and rotations against a model of two sets: which bytes
//! the process wrote, and which of them were told to be lost.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// Init sends so many bytes, from this far before the log's end.
    Append {
        back: u64,
        bytes: u64,
    },
    /// Init lost so many bytes.
    Lose {
        bytes: u64,
    },
    Gap {
        bytes: u64,
    },
    End {
        missing: u64,
    },
    NextEpoch,
    Flush,
    Sync,
    /// The server dies; of the last file this many bytes are gone, up to what was synced.
    Crash {
        torn: u64,
    },
    Read,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0_u64..300, 0_u64..400).prop_map(|(back, bytes)| Step::Append { back, bytes }),
        4 => (1_u64..2_000).prop_map(|bytes| Step::Append { back: 0, bytes }),
        1 => (1_u64..500).prop_map(|bytes| Step::Lose { bytes }),
        1 => (0_u64..500).prop_map(|bytes| Step::Gap { bytes }),
        1 => (0_u64..20).prop_map(|missing| Step::End { missing }),
        1 => Just(Step::NextEpoch),
        4 => Just(Step::Flush),
        2 => Just(Step::Sync),
        3 => (0_u64..3_000).prop_map(|torn| Step::Crash { torn }),
        3 => Just(Step::Read),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What may be missing in a log that loses no files.
#[derive(Default)]
struct Model {
    /// Starts and ends of what was told to be lost, by epoch.
    lost: BTreeSet<(u64, u64, u64)>,
}

impl Model {
    fn lose(&mut self, epoch: u64, from: u64, to: u64) {
        if from < to {
            self.lost.insert((epoch, from, to));
        }
    }

    fn is_lost(&self, epoch: u64, offset: u64) -> bool {
        self.lost
            .iter()
            .any(|(lost_epoch, from, to)| *lost_epoch == epoch && (*from..*to).contains(&offset))
    }

    /// Every byte up to `end`, once and in order, or told as lost. The first item of
    /// a log that lost files may start anywhere.
    fn check(&self, told: &[Told], start: Option<Cursor>, end: Option<Cursor>) {
        let mut at = start;
        for told in told {
            match told {
                Told::Bytes(from, bytes) => {
                    self.expect_start(at, *from);
                    let to = from.offset + bytes.len() as u64;
                    assert_eq!(*bytes, output(from.epoch, from.offset, to));
                    at = Some(cursor(from.epoch, to));
                }
                Told::Gap(lost, to) => {
                    let from = match at {
                        Some(at) if at.epoch == to.epoch => at.offset,
                        _ => 0,
                    };
                    assert_eq!(*lost, Some(to.offset - from));
                    assert!((from..to.offset).all(|offset| self.is_lost(to.epoch, offset)));
                    at = Some(*to);
                }
                Told::Ended(epoch, _) => {
                    at = Some(at.filter(|at| at.epoch == *epoch).unwrap_or(cursor(*epoch, 0)))
                }
            }
        }
        assert_eq!(at, end);
    }

    fn expect_start(&self, at: Option<Cursor>, from: Cursor) {
        match at {
            Some(at) if at.epoch == from.epoch => assert_eq!(at, from),
            Some(_) => assert_eq!(from.offset, 0),
            None => assert!(from.offset == 0 || self.lost.is_empty()),
        }
    }
}

struct Run {
    log: Log,
    writer: LogWriter,
    model: Model,
    epoch: u64,
    synced: (PathBuf, u64),
    /// Reads along, as a client that stays.
    follower: LogReader,
    followed: Vec<Told>,
}

impl Run {
    fn new(log: Log) -> Self {
        let writer = log.open();
        let synced = (log.newest(), length(&log.newest()));
        let follower = log.reader(None);
        Self {
            log,
            writer,
            model: Model::default(),
            epoch: 1,
            synced,
            follower,
            followed: Vec::new(),
        }
    }

    fn end(&self) -> u64 {
        self.writer.end().filter(|end| end.epoch == self.epoch).map_or(0, |end| end.offset)
    }

    fn step(&mut self, step: &Step) {
        let (epoch, end) = (self.epoch, self.end());
        match *step {
            Step::Append { back, bytes } => {
                let from = end.saturating_sub(back);
                append(&mut self.writer, epoch, from, from + bytes);
            }
            Step::Lose { bytes } => {
                self.model.lose(epoch, end, end + bytes);
                append(&mut self.writer, epoch, end + bytes, end + bytes + 10);
            }
            Step::Gap { bytes } => {
                self.model.lose(epoch, end, end + bytes);
                self.writer.gap(epoch, end, end + bytes).unwrap();
            }
            Step::End { missing } => {
                if !self.writer.ended(epoch) {
                    self.model.lose(epoch, end, end + missing);
                }
                self.writer.process_ended(epoch, ExitStatus::Code(0), end + missing).unwrap();
            }
            Step::NextEpoch => self.epoch += 1,
            Step::Flush => self.log.flush(&mut self.writer),
            Step::Sync => self.sync(),
            Step::Crash { torn } => self.crash(torn),
            Step::Read => self.read(),
        }
    }

    fn sync(&mut self) {
        self.writer.sync().unwrap();
        self.log.flush(&mut self.writer);
        self.synced = (self.log.newest(), length(&self.log.newest()));
    }

    /// A crash tears what was not synced. Clients of the dead server are gone.
    fn crash(&mut self, torn: u64) {
        let newest = self.log.newest();
        let floor = if self.synced.0 == newest { self.synced.1 } else { 0 };
        let length = length(&newest);
        cut(&newest, length.saturating_sub(torn).max(floor.min(length)));
        self.writer = self.log.open();
        self.sync();
        let end = self.writer.end();
        self.epoch = self.epoch.max(end.map_or(1, |end| end.epoch));
        self.follower = self.log.reader(None);
        self.followed.clear();
    }

    fn read(&mut self) {
        self.log.flush(&mut self.writer);
        let more = block_on(rest(&mut self.follower));
        self.followed.extend(more);
        self.model.check(&self.followed, None, self.writer.end());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_byte_is_there_once_and_in_order(steps in steps(), file_bytes in 200_u64..5_000) {
        let mut run = Run::new(Log::small(file_bytes, 10_000));
        for step in &steps {
            run.step(step);
        }
        run.read();
        let told = run.log.read(None);
        run.model.check(&told, None, run.writer.end());
        for after in [1, 7, 100] {
            let Some(end) = run.writer.end() else { continue };
            let start = cursor(end.epoch, end.offset.saturating_sub(after));
            run.model.check(&run.log.read(Some(start)), Some(start), Some(end));
        }
    }

    #[test]
    fn what_is_kept_of_a_rotated_log_is_its_whole_end(
        sizes in proptest::collection::vec(1_u64..700, 1..80),
        file_bytes in 200_u64..3_000,
        files in 1_u32..5,
    ) {
        let log = Log::small(file_bytes, files);
        let mut writer = log.open();
        let mut end = 0;
        for bytes in sizes {
            append(&mut writer, 1, end, end + bytes);
            end += bytes;
        }
        log.flush(&mut writer);
        let told = log.read(None);
        let Some(Told::Bytes(first, _)) = told.first() else { panic!("{told:?}") };
        prop_assert_eq!(&told, &[bytes(1, first.offset, end)]);
        let kept = files::numbers(&log.path()).unwrap().len();
        prop_assert!(kept <= files as usize);
        if first.offset > 0 {
            let gap = Told::Gap(Some(first.offset), *first);
            prop_assert_eq!(log.read(Some(cursor(1, 0))), [gap, bytes(1, first.offset, end)]);
        }
    }
}
