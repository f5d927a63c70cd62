use proptest::prelude::*;

use super::*;
use crate::message::{ExecEvent, ExitStatus};

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn read_all(mut bytes: &[u8]) -> Result<Vec<(Kind, Vec<u8>)>, FrameError> {
    block_on(async {
        let (mut frames, mut buffer) = (Vec::new(), Vec::new());
        loop {
            match read_frame(&mut bytes, &mut buffer).await {
                Ok(frame) => frames.push((frame.kind, frame.payload.to_vec())),
                Err(FrameError::Closed) => return Ok(frames),
                Err(error) => return Err(error),
            }
        }
    })
}

#[test]
fn frames_come_out_as_they_went_in() {
    let head = RecordHead { offset: 7, at: 8, stream: 2 };
    let status = ExecEvent::Exited { status: ExitStatus::Code(3), timed_out: false };
    let mut bytes = Vec::new();
    block_on(async {
        write_frame(&mut bytes, Kind::Data, [b"ab", b"cd"]).await.unwrap();
        write_frame(&mut bytes, Kind::End, [&[], &[]]).await.unwrap();
        write_frame(&mut bytes, Kind::Record, [&head.to_bytes(), b"log"]).await.unwrap();
        write_message(&mut bytes, &status).await.unwrap();
    });
    let frames = read_all(&bytes).unwrap();
    assert_eq!(frames[0], (Kind::Data, b"abcd".to_vec()));
    assert_eq!(frames[1], (Kind::End, vec![]));
    let record = Frame { kind: frames[2].0, payload: &frames[2].1 };
    assert_eq!(record.record().unwrap(), (head, &b"log"[..]));
    let message = Frame { kind: frames[3].0, payload: &frames[3].1 };
    assert_eq!(message.message::<ExecEvent>().unwrap(), status);
}

#[test]
fn a_length_above_the_limit_allocates_nothing() {
    for kind in [0_u8, 1, 2, 3, 4] {
        let mut bytes = vec![kind];
        bytes.extend(u32::MAX.to_le_bytes());
        let mut buffer = Vec::new();
        let read = block_on(async {
            read_frame(&mut bytes.as_slice(), &mut buffer).await.map(|frame| frame.kind)
        });
        assert!(matches!(read, Err(FrameError::TooLong { .. })), "{kind}");
        assert_eq!(buffer.capacity(), 0, "{kind}");
    }
}

#[test]
fn a_payload_above_the_limit_is_not_sent() {
    let long = vec![0; DATA_BYTES_MAX + 1];
    let mut bytes = Vec::new();
    let sent = block_on(write_frame(&mut bytes, Kind::Data, [&long, &[]]));
    assert!(matches!(sent, Err(FrameError::TooLong { .. })));
    assert!(bytes.is_empty());
}

proptest! {
    #[test]
    fn any_bytes_end_in_frames_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(frames) = read_all(&bytes) {
            let total: usize = frames.iter().map(|(_, payload)| payload.len() + 5).sum();
            prop_assert_eq!(total, bytes.len());
        }
    }

    #[test]
    fn a_cut_stream_never_yields_a_frame_that_was_not_sent(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..6),
        cut in 0_usize..200,
    ) {
        let mut bytes = Vec::new();
        block_on(async {
            for payload in &payloads {
                write_frame(&mut bytes, Kind::Data, [payload, &[]]).await.unwrap();
            }
        });
        bytes.truncate(cut);
        if let Ok(frames) = read_all(&bytes) {
            for ((_, got), sent) in frames.iter().zip(&payloads) {
                prop_assert_eq!(got, sent);
            }
        }
    }
}
