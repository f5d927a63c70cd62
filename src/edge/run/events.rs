//! A run, told as it happens.
//!
//! `command {index, command}` before each, then what [the command says](crate::edge::exec)
//! (`started`, `stdout`, `stderr`, `exit`), `unpacked` if there was an archive, and last
//! `done {files, timed_out}`, or `error` with a problem document.

use std::pin::Pin;

use futures_util::{Stream, stream};
use sandtree_model::Principal;
use tokio::sync::mpsc;

use super::work::{Outcome, Plan, carry_out};
use super::{end_document, unpacked_document};
use crate::edge::context::Context;
use crate::edge::places::Place;
use crate::edge::reply::SseEvent;

/// Events that the client has not taken yet; beyond them, commands wait.
const EVENTS_WAITING_MAX: usize = 4;

type Running = Pin<Box<dyn Future<Output = Vec<SseEvent>> + Send>>;

/// The events of a run. Dropped, they end it.
pub(super) fn tell(
    context: Context,
    by: Principal,
    plan: Plan,
    place: Place,
) -> impl Stream<Item = SseEvent> + Send + 'static {
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    let running: Running = Box::pin(async move {
        let _place = place;
        match carry_out(&context, &by, plan, Some(sender)).await {
            Ok(outcome) => last_of(&outcome),
            Err(problem) => vec![SseEvent::json("error", &problem.document())],
        }
    });
    stream::unfold(
        Telling { receiver, running: Some(running), last: Vec::new() },
        |mut telling| async move {
            let event = telling.next().await?;
            Some((event, telling))
        },
    )
}

struct Telling {
    receiver: mpsc::Receiver<SseEvent>,
    running: Option<Running>,
    /// What comes at the end, the last first.
    last: Vec<SseEvent>,
}

impl Telling {
    async fn next(&mut self) -> Option<SseEvent> {
        while let Some(running) = &mut self.running {
            tokio::select! {
                biased;
                Some(event) = self.receiver.recv() => return Some(event),
                last = running => {
                    self.last = last;
                    self.last.reverse();
                    self.running = None;
                }
            }
        }
        // What was sent just before the end is still there.
        match self.receiver.try_recv() {
            Ok(event) => Some(event),
            Err(_) => self.last.pop(),
        }
    }
}

fn last_of(outcome: &Outcome) -> Vec<SseEvent> {
    let unpacked = outcome.unpacked.as_ref();
    let unpacked =
        unpacked.map(|unpacked| SseEvent::json("unpacked", &unpacked_document(unpacked)));
    let done = SseEvent::json("done", &end_document(outcome.files.as_ref(), outcome.timed_out));
    unpacked.into_iter().chain([done]).collect()
}
