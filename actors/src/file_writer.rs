//! The file-writer: every write to the workspace, in order.
//!
//! ```text
//! edge ── Write ──▶ project ──▶ file-writer ──▶ one blocking task at a time
//! ```
//!
//! The bytes of an upload never come here: they are staged on disk first, and the
//! write that comes is the rename. Supervised by its project; when it dies, writes
//! that wait are answered with an error, and the one in progress is whole or not
//! there, because every write ends in a rename.

use std::collections::VecDeque;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::disk::blocking;

/// One write. It answers its asker itself.
pub(crate) type WriteJob = Box<dyn FnOnce() + Send>;

/// Everything a file-writer can be told.
pub(crate) enum FileWriterMsg {
    /// Ask: do this after all earlier ones.
    Write(WriteJob),
    /// Fact: the write in progress ended.
    Ended,
}

/// The actor.
pub(crate) struct FileWriterActor;

/// What the actor holds.
#[derive(Default)]
pub(crate) struct State {
    waiting: VecDeque<WriteJob>,
    is_writing: bool,
}

impl Actor for FileWriterActor {
    type Msg = FileWriterMsg;
    type State = State;
    type Arguments = ();

    async fn pre_start(
        &self,
        _me: ActorRef<FileWriterMsg>,
        (): (),
    ) -> Result<State, ActorProcessingErr> {
        Ok(State::default())
    }

    async fn handle(
        &self,
        me: ActorRef<FileWriterMsg>,
        message: FileWriterMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            FileWriterMsg::Write(job) => state.waiting.push_back(job),
            FileWriterMsg::Ended => state.is_writing = false,
        }
        state.begin(me);
        Ok(())
    }
}

impl State {
    fn begin(&mut self, me: ActorRef<FileWriterMsg>) {
        if self.is_writing {
            return;
        }
        let Some(job) = self.waiting.pop_front() else {
            return;
        };
        self.is_writing = true;
        // Not owned: a write that has begun must not be cut in half.
        tokio::spawn(async move {
            let ended = blocking(job).await;
            if let Err(error) = ended {
                tracing::error!(%error, "a write panicked; its asker gets an error");
            }
            // A file-writer that was replaced meanwhile has its own queue.
            let _ = me.cast(FileWriterMsg::Ended);
        });
    }
}
