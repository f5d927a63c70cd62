//! Jobs and their output, which stay while the server is away.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sandtree_wire::frame::RecordHead;
use sandtree_wire::{
    AttachEvent, ExitStatus, FrameError, Job, JobSpec, JobState, Kind, read_frame, write_frame,
    write_message,
};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::Shared;

#[derive(Default)]
pub(super) struct Jobs {
    jobs: BTreeMap<Job, FakeJob>,
    started: u32,
}

struct FakeJob {
    ring_bytes: u64,
    state: JobState,
    records: VecDeque<(RecordHead, Vec<u8>)>,
}

/// What an attached server gets next.
enum Piece {
    Record(RecordHead, Vec<u8>),
    Gap { from: u64, to: u64 },
    Ended { status: ExitStatus, end: u64 },
    Unknown,
    NothingYet,
}

impl Jobs {
    pub(super) fn states(&self) -> Vec<JobState> {
        self.jobs.values().map(|job| job.state).collect()
    }

    pub(super) fn has(&self, job: Job, epoch: u64) -> bool {
        self.jobs.get(&job).is_some_and(|it| it.state.epoch == epoch)
    }

    /// Starts a job; the flag is false when it was there already.
    pub(super) fn start(&mut self, spec: JobSpec) -> Result<(JobState, bool), String> {
        if let Some(there) = self.jobs.get(&spec.job) {
            if there.state.epoch >= spec.epoch {
                return Ok((there.state, false));
            }
            if there.state.ended.is_none() {
                return Err(format!("epoch {} still runs", there.state.epoch));
            }
        }
        self.started += 1;
        let state = JobState {
            job: spec.job,
            epoch: spec.epoch,
            pid: 100 + self.started,
            kept_from: 0,
            end: 0,
            ended: None,
        };
        let job = FakeJob { ring_bytes: spec.ring_bytes, state, records: VecDeque::new() };
        self.jobs.insert(spec.job, job);
        Ok((state, true))
    }

    pub(super) fn say(&mut self, job: Job, stream: u8, bytes: &[u8]) {
        let Some(job) = self.jobs.get_mut(&job).filter(|job| job.state.ended.is_none()) else {
            return;
        };
        for piece in bytes.chunks(sandtree_wire::DATA_BYTES_MAX) {
            let head = RecordHead { offset: job.state.end, at: now(), stream };
            job.state.end += piece.len() as u64;
            job.records.push_back((head, piece.to_vec()));
        }
        let oldest = job.state.end.saturating_sub(job.ring_bytes);
        job.free(oldest);
    }

    pub(super) fn end(&mut self, job: Job, status: ExitStatus) -> Option<JobState> {
        let job = self.jobs.get_mut(&job).filter(|job| job.state.ended.is_none())?;
        job.state.ended = Some(status);
        Some(job.state)
    }

    /// Output before `offset` is durable; an ended job that is all durable is forgotten.
    pub(super) fn free(&mut self, job: Job, epoch: u64, offset: u64) {
        let Some(found) = self.jobs.get_mut(&job).filter(|it| it.state.epoch == epoch) else {
            return;
        };
        found.free(offset);
        if found.state.ended.is_some() && offset >= found.state.end {
            self.jobs.remove(&job);
        }
    }

    fn piece(&self, job: Job, epoch: u64, from: u64) -> Piece {
        let Some(job) = self.jobs.get(&job).filter(|job| job.state.epoch == epoch) else {
            return Piece::Unknown;
        };
        if from < job.state.kept_from {
            return Piece::Gap { from, to: job.state.kept_from };
        }
        let after =
            |(head, bytes): &&(RecordHead, Vec<u8>)| head.offset + bytes.len() as u64 > from;
        match (job.records.iter().find(after), job.state.ended) {
            (Some((head, bytes)), _) => {
                let skip = usize::try_from(from - head.offset).expect("within a record");
                Piece::Record(RecordHead { offset: from, ..*head }, bytes[skip..].to_vec())
            }
            (None, Some(status)) => Piece::Ended { status, end: job.state.end },
            (None, None) => Piece::NothingYet,
        }
    }
}

impl FakeJob {
    /// Whole records only, so what is kept may begin a little before `offset`.
    fn free(&mut self, offset: u64) {
        while let Some((head, bytes)) = self.records.front() {
            if head.offset + bytes.len() as u64 > offset {
                break;
            }
            self.state.kept_from = head.offset + bytes.len() as u64;
            self.records.pop_front();
        }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_micros()).expect("a date of our time")
}

impl Shared {
    /// Sends a job's output from `from` on and takes its input, until either side ends.
    pub(super) async fn attach(
        self: &Arc<Self>,
        connection: UnixStream,
        job: Job,
        epoch: u64,
        from: u64,
    ) -> Result<(), FrameError> {
        let (reader, writer) = connection.into_split();
        tokio::select! {
            biased;
            ended = self.send_output(writer, job, epoch, from) => ended,
            ended = self.take_input(reader, job) => ended,
        }
    }

    async fn send_output(
        &self,
        mut writer: OwnedWriteHalf,
        job: Job,
        epoch: u64,
        mut from: u64,
    ) -> Result<(), FrameError> {
        let mut changed = self.changed.subscribe();
        loop {
            self.thawed().await;
            changed.borrow_and_update();
            let piece = self.lock().jobs.piece(job, epoch, from);
            let event = match piece {
                Piece::Record(head, bytes) => {
                    write_frame(&mut writer, Kind::Record, [&head.to_bytes(), &bytes]).await?;
                    from += bytes.len() as u64;
                    continue;
                }
                Piece::NothingYet => {
                    // The sender is in `self`.
                    let _ = changed.changed().await;
                    continue;
                }
                Piece::Gap { from: lost, to } => {
                    from = to;
                    AttachEvent::Gap { from: lost, to }
                }
                Piece::Ended { status, end } => AttachEvent::Ended { status, end },
                Piece::Unknown => AttachEvent::Unknown,
            };
            write_message(&mut writer, &event).await?;
            if !matches!(event, AttachEvent::Gap { .. }) {
                return Ok(());
            }
        }
    }

    /// A terminal echoes; at a line `exit` its shell ends.
    async fn take_input(&self, mut reader: OwnedReadHalf, job: Job) -> Result<(), FrameError> {
        let (mut buffer, mut line) = (Vec::new(), Vec::new());
        loop {
            let frame = read_frame(&mut reader, &mut buffer).await?;
            if frame.kind != Kind::Data {
                return Err(FrameError::Unexpected);
            }
            self.say(job, 1, frame.payload);
            for byte in frame.payload {
                match byte {
                    b'\r' | b'\n' if line == b"exit" => self.end(job, ExitStatus::Code(0)),
                    b'\r' | b'\n' => line.clear(),
                    byte => line.push(*byte),
                }
            }
        }
    }
}
