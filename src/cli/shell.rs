//! `sandtree shell`: a project's terminal, in this one.
//!
//! ```text
//! keyboard ──▶ keys (~. leaves) ──▶ WebSocket ──▶ the shell
//!   screen ◀── stdout ◀── emulator ◀── WebSocket ◀── its output
//! ```
//!
//! The shell lives in the sandbox. When the connection is lost, this program connects
//! again and goes on after the last byte that it has shown; only when it was told that
//! bytes are lost does it show the screen anew. However it ends, the terminal is left
//! as it was found.

mod keys;
mod screen;

use std::cell::RefCell;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use sandtree_client::{Client, Position, Terminal, TerminalItem, TerminalReader, TerminalWriter};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::failed::Failed;
use super::remote::{self, Remote, get, note, project, say};
use super::retry::Retry;
use super::tty::{self, Raw};
use keys::{Keys, Wish};
use screen::Screen;

/// A server that is back sooner is not spoken of.
const NOTICE_AFTER: Duration = Duration::from_millis(700);
/// A connection that lived so long was a good one.
const GOOD_AFTER: Duration = Duration::from_secs(10);
/// Longest time for the last words on the screen.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

const AWAY: &str = " the server is away; trying again (Enter ~. leaves) ";
const HELP: &str = " ~. leaves and the shell goes on, ~~ types a ~, ~? shows this ";

/// `sandtree shell`.
#[derive(Debug, Args)]
#[command(after_help = "\
Keys, at the start of a line:
  ~.  leave; the shell and what runs in it go on
  ~~  type one ~
  ~?  show these keys

The shell outlives this program, the connection and the server. When the server is away,
the shell is reached again as soon as it is back, at most ten minutes later.

Exit codes: the shell's when it ends, 0 after ~., 125 if Sandtree failed.")]
pub(super) struct Shell {
    /// Project whose terminal it is.
    project: String,
    #[command(flatten)]
    remote: Remote,
}

/// Runs it; the exit code of the shell.
pub(super) fn run(shell: Shell) -> Result<u8, Failed> {
    remote::run(shell.run()).map_err(|failed| Failed::NotTheCommand(Box::new(failed)))
}

/// How a session ends.
enum End {
    /// The shell ended.
    Exit(i32),
    /// The user leaves.
    Left,
    /// The connection is lost.
    Lost,
}

impl Shell {
    async fn run(self) -> Result<u8, Failed> {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            let text = "a shell needs a terminal; use `sandtree exec` in scripts and pipes";
            return Err(Failed::Usage(text.to_owned()));
        }
        let client = self.remote.client()?;
        let sizes = signal(SignalKind::window_change());
        let sizes = sizes.map_err(|error| Failed::here("signals cannot be followed", &error))?;
        let size = tty::size();
        // Before anything is changed, so that a refusal is a plain message.
        let terminal = client.terminal(&self.project, size, None).await?;
        let no_raw = |error| Failed::here("the terminal cannot be used", &error);
        let raw = Raw::enter().map_err(no_raw)?;
        let mut session = Session {
            client,
            project: self.project.clone(),
            typed: tty::keys(),
            keys: Keys::default(),
            sizes,
            screen: RefCell::new(Screen::new(size)),
            at: None,
            has_left: false,
        };
        let outcome = session.run(terminal).await;
        session.farewell().await;
        drop(raw);
        match outcome? {
            End::Exit(code) => {
                // A shell that a signal ended may have gone with its sandbox.
                if code > 128 {
                    self.check_phase(&session.client).await?;
                }
                Ok(u8::try_from(code).unwrap_or(1))
            }
            End::Left | End::Lost => {
                note(&format!("left; the shell goes on: `sandtree shell {}`", self.project));
                Ok(0)
            }
        }
    }
}

impl Shell {
    /// That the project runs.
    async fn check_phase(&self, client: &Client) -> Result<(), Failed> {
        let shown = get(client, &project(&self.project, "")).await?;
        match shown["phase"].as_str() {
            None | Some("running") => Ok(()),
            Some(phase) => Err(Failed::Other(
                format!(
                    "the sandbox has ended, the project is {phase}\n  \
                     `sandtree project start {}` makes it run.",
                    self.project
                )
                .into(),
            )),
        }
    }
}

/// A terminal that is looked at, over one connection after another.
struct Session {
    client: Client,
    project: String,
    typed: mpsc::Receiver<Bytes>,
    keys: Keys,
    sizes: Signal,
    /// Two loops of one task use it, and neither while it waits.
    screen: RefCell<Screen>,
    /// Where the next connection goes on.
    at: Option<Position>,
    /// The screen is as it was found.
    has_left: bool,
}

impl Session {
    async fn run(&mut self, mut terminal: Terminal) -> Result<End, Failed> {
        let mut retry = Retry::default();
        loop {
            let begun = Instant::now();
            let end = self.attend(terminal).await?;
            if !matches!(end, End::Lost) {
                return Ok(end);
            }
            if begun.elapsed() > GOOD_AFTER {
                retry = Retry::default();
            }
            terminal = match self.connect_again(&mut retry).await? {
                Some(terminal) => terminal,
                None => return Ok(End::Left),
            };
        }
    }

    /// Carries bytes both ways until something ends it.
    async fn attend(&mut self, terminal: Terminal) -> Result<End, Failed> {
        let Terminal { mut reader, mut writer } = terminal;
        let Session { typed, keys, sizes, screen, .. } = self;
        let end = tokio::select! {
            end = show(&mut reader, screen) => end,
            end = send(&mut writer, typed, keys, sizes, screen) => end,
        };
        self.at = reader.position().or(self.at);
        if matches!(end, Ok(End::Left)) {
            writer.close().await;
        }
        end
    }

    /// A new connection; `None` when the user does not want to wait for it. What is
    /// typed meanwhile is dropped, as nobody could see where it goes.
    async fn connect_again(&mut self, retry: &mut Retry) -> Result<Option<Terminal>, Failed> {
        loop {
            let size = tty::size();
            self.screen.get_mut().resize(size);
            let attempt = async {
                let terminal = self.client.terminal(&self.project, size, self.at).await;
                if terminal.as_ref().is_err_and(|error| error.is_passing() && retry.may_go_on()) {
                    retry.pause().await;
                }
                terminal
            };
            let connected = tokio::select! {
                connected = attempt => connected,
                () = leaves(&mut self.typed, &mut self.keys) => return Ok(None),
            };
            match connected {
                Ok(terminal) => {
                    let without_notice = self.screen.get_mut().without_notice();
                    say(without_notice).await?;
                    return Ok(Some(terminal));
                }
                Err(error) if error.is_passing() && retry.may_go_on() => {
                    if retry.elapsed() > NOTICE_AFTER {
                        let notice = self.screen.get_mut().notice(AWAY);
                        say(notice).await?;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Leaves the screen as a program should.
    async fn farewell(&mut self) {
        let farewell = self.last_words();
        // A terminal that takes nothing cannot be told anything.
        let _ = tokio::time::timeout(FAREWELL_MAX, say(farewell)).await;
    }

    fn last_words(&mut self) -> Vec<u8> {
        self.has_left = true;
        [&self.screen.get_mut().farewell()[..], b"\r\n"].concat()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.has_left {
            // A signal or a panic ends the program. There is nobody to tell when the
            // terminal is gone.
            let _ = std::io::stdout().lock().write_all(&self.last_words());
        }
    }
}

/// Shows what the terminal says.
async fn show(reader: &mut TerminalReader, screen: &RefCell<Screen>) -> Result<End, Failed> {
    let mut exit = None;
    loop {
        let item = match reader.next().await {
            Ok(item) => item,
            Err(error) if error.is_passing() => return Ok(exit.map_or(End::Lost, End::Exit)),
            Err(error) => return Err(error.into()),
        };
        match item {
            TerminalItem::Bytes(bytes) => {
                screen.borrow_mut().process(&bytes);
                say(bytes).await?;
            }
            TerminalItem::Ready { fresh: true, .. } => {
                let clear = screen.borrow_mut().clear();
                say(clear).await?;
            }
            TerminalItem::Exit(code) => exit = Some(code),
            TerminalItem::Closed { .. } => return Ok(exit.map_or(End::Lost, End::Exit)),
            TerminalItem::Ready { .. } | TerminalItem::Gap(_) | TerminalItem::Pong => {}
        }
    }
}

/// Sends what is typed, and sizes.
async fn send(
    writer: &mut TerminalWriter,
    typed: &mut mpsc::Receiver<Bytes>,
    keys: &mut Keys,
    sizes: &mut Signal,
    screen: &RefCell<Screen>,
) -> Result<End, Failed> {
    loop {
        let sent = tokio::select! {
            biased;
            _ = sizes.recv() => {
                let size = tty::size();
                screen.borrow_mut().resize(size);
                writer.resize(size.0, size.1).await
            }
            piece = typed.recv() => {
                let Some(piece) = piece else { return Ok(End::Left) };
                let (bytes, wish) = keys.take(&piece);
                // Whatever is typed ends the help.
                let without_notice = screen.borrow_mut().without_notice();
                say(without_notice).await?;
                let sent = if bytes.is_empty() { Ok(()) } else { writer.keys(bytes).await };
                match wish {
                    Some(Wish::Leave) => return Ok(End::Left),
                    Some(Wish::Help) => {
                        let help = screen.borrow_mut().notice(HELP);
                        say(help).await?;
                    }
                    None => {}
                }
                sent
            }
        };
        if sent.is_err() {
            // What the server said last, such as that the shell has ended, is still to
            // be read, and then the loop that reads knows that the connection is lost.
            leaves(typed, keys).await;
            return Ok(End::Left);
        }
    }
}

/// Waits until the user wants to leave, or is gone.
async fn leaves(typed: &mut mpsc::Receiver<Bytes>, keys: &mut Keys) {
    while let Some(piece) = typed.recv().await {
        if let (_, Some(Wish::Leave)) = keys.take(&piece) {
            return;
        }
    }
}
