//! Canned commands.

use std::sync::Arc;
use std::time::Duration;

use sandtree_wire::{
    DATA_BYTES_MAX, ExecEvent, ExecInput, ExecSpec, ExitStatus, FrameError, Kind, StartError,
    read_frame, write_frame, write_message,
};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::Shared;

struct InFlight<'a>(&'a Shared);

impl<'a> InFlight<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.lock().execs += 1;
        shared.note();
        Self(shared)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.lock().execs -= 1;
        self.0.note();
    }
}

/// Runs a command until it ends, its time is up, or the server hangs up.
pub(super) async fn run(
    shared: &Arc<Shared>,
    connection: UnixStream,
    spec: ExecSpec,
) -> Result<(), FrameError> {
    let _in_flight = InFlight::new(shared);
    let (reader, mut writer) = connection.into_split();
    let env = shared.lock().configuration.clone().map(|it| it.env).unwrap_or_default();
    let limit = spec.timeout_ms.map_or(Duration::MAX, Duration::from_millis);
    let mut command = Command { spec, env, reader, writer: &mut writer };
    let (status, timed_out) = match tokio::time::timeout(limit, command.work()).await {
        Ok(Ok(Some(status))) => (status, false),
        Ok(Ok(None)) => return Ok(()),
        Ok(Err(error)) => return Err(error),
        Err(_) => (ExitStatus::Signal(9), true),
    };
    write_message(&mut writer, &ExecEvent::Exited { status, timed_out }).await
}

struct Command<'a> {
    spec: ExecSpec,
    env: sandtree_wire::Env,
    reader: OwnedReadHalf,
    writer: &'a mut OwnedWriteHalf,
}

impl Command<'_> {
    /// How it ended; `None` when it could not be started.
    async fn work(&mut self) -> Result<Option<ExitStatus>, FrameError> {
        let argv = self.spec.argv.clone();
        let mut words: Vec<&str> = argv.iter().map(String::as_str).collect();
        // A shell that knows words and nothing else.
        if let ["/bin/sh", "-c", text] = words.as_slice() {
            words = text.split_whitespace().collect();
        }
        let Some((program, rest)) = words.split_first() else { return self.missing("").await };
        if !PROGRAMS.contains(program) {
            return self.missing(program).await;
        }
        write_message(self.writer, &ExecEvent::Started { pid: 2 }).await?;
        let mut code = 0;
        match *program {
            "echo" => self.say(Kind::Data, format!("{}\n", rest.join(" ")).as_bytes()).await?,
            "complain" => {
                self.say(Kind::Stderr, format!("{}\n", rest.join(" ")).as_bytes()).await?
            }
            "env" => self.say_env().await?,
            "flood" => self.flood(number(rest)).await?,
            "cat" => return self.cat().await.map(Some),
            "hang" => return self.hang().await.map(Some),
            "false" => code = 1,
            "exit" => code = i32::try_from(number(rest)).unwrap_or(255),
            _ => {}
        }
        Ok(Some(ExitStatus::Code(code)))
    }

    async fn missing(&mut self, program: &str) -> Result<Option<ExitStatus>, FrameError> {
        let error = StartError { errno: 2, what: format!("run {program:?}") };
        write_message(self.writer, &ExecEvent::Failed(error)).await?;
        Ok(None)
    }

    async fn say(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), FrameError> {
        write_frame(self.writer, kind, [bytes, &[]]).await
    }

    async fn say_env(&mut self) -> Result<(), FrameError> {
        let mut env = self.env.clone();
        env.extend(self.spec.env.clone());
        let text: String = env.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        self.say(Kind::Data, text.as_bytes()).await
    }

    async fn flood(&mut self, bytes: u64) -> Result<(), FrameError> {
        let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
        while left > 0 {
            let piece = left.min(DATA_BYTES_MAX);
            self.say(Kind::Data, &vec![b'x'; piece]).await?;
            left -= piece;
        }
        Ok(())
    }

    async fn cat(&mut self) -> Result<ExitStatus, FrameError> {
        let mut buffer = Vec::new();
        while self.spec.stdin {
            let frame = read_frame(&mut self.reader, &mut buffer).await?;
            match frame.kind {
                Kind::Data => {
                    let bytes = frame.payload.to_vec();
                    self.say(Kind::Data, &bytes).await?;
                }
                Kind::Message => {
                    let ExecInput::Signal(signal) = frame.message()?;
                    return Ok(ExitStatus::Signal(signal));
                }
                Kind::End | Kind::Stderr | Kind::Record => break,
            }
        }
        Ok(ExitStatus::Code(0))
    }

    /// Until it gets a signal; the server hanging up is an error of the stream.
    async fn hang(&mut self) -> Result<ExitStatus, FrameError> {
        let mut buffer = Vec::new();
        loop {
            let frame = read_frame(&mut self.reader, &mut buffer).await?;
            if frame.kind == Kind::Message {
                let ExecInput::Signal(signal) = frame.message()?;
                return Ok(ExitStatus::Signal(signal));
            }
        }
    }
}

const PROGRAMS: [&str; 9] =
    ["echo", "complain", "env", "flood", "cat", "hang", "true", "false", "exit"];

fn number(words: &[&str]) -> u64 {
    words.first().and_then(|word| word.parse().ok()).unwrap_or(0)
}
