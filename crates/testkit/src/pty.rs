//! A program on a terminal, as a person sits before it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::wait::within;

/// Longest time until a screen shows what it has to.
const SCREEN_MAX: Duration = Duration::from_secs(60);
/// Pieces of output that nobody has looked at; then the program waits.
const PIECES_MAX: usize = 64;

/// A program with a terminal of its own: what is typed, and what its screen shows.
pub struct Pty {
    child: Child,
    keyboard: File,
    /// Kept open, so that what the program leaves behind can be looked at.
    terminal: OwnedFd,
    output: mpsc::Receiver<Vec<u8>>,
    parser: vt100::Parser,
}

impl Pty {
    /// Starts a program on a terminal of this size.
    pub fn spawn(program: &str, arguments: &[&str], (cols, rows): (u16, u16)) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("a terminal's rights");
        unlockpt(&master).expect("a terminal's lock");
        let name = ptsname(&master, Vec::new()).expect("a terminal's name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = open(name.as_c_str(), flags, Mode::empty()).expect("the terminal's end");
        let stdio = || Stdio::from(terminal.try_clone().expect("a descriptor"));
        let master = File::from(master);
        set_size(&master, (cols, rows));
        // The program is told of a new size only if the terminal is the one of its session.
        let child = Command::new("setsid")
            .args(["--ctty", program])
            .args(arguments)
            .env("TERM", "xterm-256color")
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .kill_on_drop(true)
            .spawn()
            .expect("a program on a terminal");
        let output = follow(master.try_clone().expect("a descriptor"));
        let parser = vt100::Parser::new(size(rows), size(cols), 0);
        Self { child, keyboard: master, terminal, output, parser }
    }

    /// Types; a line ends with `\r`.
    pub fn type_text(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("a terminal that takes keys");
    }

    /// Changes the size of the terminal.
    pub fn resize(&mut self, cols: u16, rows: u16) {
        self.parser.screen_mut().set_size(size(rows), size(cols));
        set_size(&self.keyboard, (cols, rows));
    }

    /// Waits until the screen shows it; the screen's text.
    ///
    /// # Panics
    ///
    /// When it does not in time, with the screen as it is then.
    pub async fn wait_for_screen(&mut self, what: &str, shows: impl Fn(&str) -> bool) -> String {
        let deadline = tokio::time::Instant::now() + SCREEN_MAX;
        loop {
            let screen = self.screen();
            if shows(&screen) {
                return screen;
            }
            match tokio::time::timeout_at(deadline, self.output.recv()).await {
                Ok(Some(piece)) => self.parser.process(&piece),
                Ok(None) => panic!("no {what} on the screen, and the terminal is gone:\n{screen}"),
                Err(_) => panic!("no {what} on the screen, and time is up:\n{screen}"),
            }
        }
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        kill_process(pid.expect("a program that runs"), signal).expect("a signal");
    }

    /// Waits until the program has ended.
    pub async fn wait_for_exit(&mut self) -> ExitStatus {
        let wait = within(SCREEN_MAX, "the program on the terminal to end", async {
            loop {
                // Its last words have to be read, or it could not say them.
                tokio::select! {
                    status = self.child.wait() => return status,
                    Some(piece) = self.output.recv() => self.parser.process(&piece),
                }
            }
        });
        wait.await.expect("an exit status")
    }

    /// The screen's text; lines have no blanks at their ends.
    #[must_use]
    pub fn screen(&self) -> String {
        let contents = self.parser.screen().contents();
        contents.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// Whether keys come one by one and are not shown by the terminal itself.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.terminal).expect("the terminal's modes").local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }
}

fn size(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("a size that is not zero")
}

fn set_size(terminal: &File, (cols, rows): (u16, u16)) {
    let window = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, window).expect("a terminal that takes a size");
}

fn follow(mut master: File) -> mpsc::Receiver<Vec<u8>> {
    let (sender, output) = mpsc::channel(PIECES_MAX);
    std::thread::spawn(move || {
        let mut piece = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = master.read(&mut piece) {
            if sender.blocking_send(piece[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    output
}
