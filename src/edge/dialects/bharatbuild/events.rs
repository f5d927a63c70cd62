//! The events of commands: `data: {"type": ...}` and nothing else.
//!
//! ```text
//! system, status, (stdout | stderr)*, exit, done
//! ```
//!
//! `error` stands where something went wrong, and `done` is always last.

use futures_util::{Stream, StreamExt, stream};
use sandtree_model::ExitStatus;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use warp::http::HeaderValue;
use warp::http::header::CACHE_CONTROL;

use super::display;
use crate::edge::context::Context;
use crate::edge::reply::{self, Response, SseEvent};
use crate::edge::time::of_system;

/// Where events are told. Telling waits for the client, so a client that does not read makes
/// the command wait.
pub(super) struct Told(mpsc::Sender<Value>);

/// A response of the events that `tell` tells, with `done` after them. When the client goes
/// away, `tell` is dropped where it waits.
pub(super) fn response<F>(context: &Context, tell: impl FnOnce(Told) -> F) -> Response
where
    F: Future<Output = Told> + Send + 'static,
{
    let events =
        events(tell).map(|event| SseEvent { data: event.to_string(), ..Default::default() });
    let mut response = reply::sse(context.shutdown.clone(), events);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn events<F>(tell: impl FnOnce(Told) -> F) -> impl Stream<Item = Value> + Send + 'static
where
    F: Future<Output = Told> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(1);
    let telling = tell(Told(sender));
    let telling = stream::once(async {
        telling.await.say(json!({ "type": "done" })).await;
        None
    });
    let said = stream::unfold(receiver, |mut receiver| async {
        let event = receiver.recv().await?;
        Some((Some(event), receiver))
    });
    stream::select(said, telling).filter_map(std::future::ready)
}

impl Told {
    async fn say(&self, event: Value) {
        // It can only fail when nobody listens, and then this is dropped as well.
        let _ = self.0.send(event).await;
    }

    async fn say_now(&self, mut event: Value) {
        event["timestamp"] = of_system(std::time::SystemTime::now()).into();
        self.say(event).await;
    }

    /// Where the command runs.
    pub(super) async fn system(&self, container_id: &str) {
        let data = format!("Container {container_id}");
        self.say_now(json!({ "type": "system", "data": data })).await;
    }

    /// What runs.
    pub(super) async fn status(&self, command: &str) {
        let data = format!("Executing: {command}");
        self.say_now(json!({ "type": "status", "data": data })).await;
    }

    /// A line of output.
    pub(super) async fn line(&self, line: &str, is_error_stream: bool) {
        let kind = if is_error_stream { "stderr" } else { "stdout" };
        let display = display::of_line(line, is_error_stream);
        self.say_now(json!({ "type": kind, "data": line, "display": display })).await;
    }

    /// How it ended; one that was ended by us has no code.
    pub(super) async fn exit(&self, status: Option<ExitStatus>) {
        let code = status.map(ExitStatus::shell_code);
        let exit = json!({
            "type": "exit", "data": code, "code": code, "success": code == Some(0),
        });
        self.say_now(exit).await;
    }

    /// What went wrong.
    pub(super) async fn error(&self, what: &str) {
        self.say_now(json!({ "type": "error", "data": what })).await;
    }

    /// The next command of a batch.
    pub(super) async fn command_start(&self, index: usize, command: &str) {
        self.say(json!({ "type": "command_start", "index": index, "command": command })).await;
    }

    /// The rest of a batch is not run.
    pub(super) async fn batch_stopped(&self) {
        self.say(json!({ "type": "batch_stopped", "reason": "error" })).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told<F>(tell: impl FnOnce(Told) -> F) -> Vec<Value>
    where
        F: Future<Output = Told> + Send + 'static,
    {
        events(tell).collect().await
    }

    #[tokio::test]
    async fn events_come_in_their_order_and_done_is_last() {
        let all = told(|told| async {
            told.system("0123456789ab").await;
            told.status("ls").await;
            told.line("a", false).await;
            told.line("b", true).await;
            told.exit(Some(ExitStatus::Code(3))).await;
            told
        });
        let all = all.await;
        let kinds: Vec<_> = all.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["system", "status", "stdout", "stderr", "exit", "done"]);
        assert_eq!(all[1]["data"], "Executing: ls");
        assert_eq!(all[2]["display"]["level"], "info");
        assert_eq!(all[4]["data"], 3);
        assert_eq!((&all[4]["code"], &all[4]["success"]), (&json!(3), &json!(false)));
        assert_eq!(all[5], json!({ "type": "done" }));
    }

    #[tokio::test]
    async fn a_command_without_a_code_did_not_succeed() {
        let all = told(|told| async {
            told.error("Command timed out after 1s").await;
            told.exit(None).await;
            told
        });
        let all = all.await;
        assert_eq!((&all[1]["data"], &all[1]["success"]), (&Value::Null, &json!(false)));
    }

    #[tokio::test]
    async fn who_tells_is_dropped_with_the_stream() {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let mut stream = Box::pin(events(|told| async move {
            told.system("x").await;
            std::future::pending::<()>().await;
            drop(sender);
            told
        }));
        assert_eq!(stream.next().await.unwrap()["type"], "system");
        drop(stream);
        assert!(receiver.await.is_err());
    }
}
