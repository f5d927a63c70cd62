//! `sandtree shell`, on a terminal of its own.

use sandtree_testkit::{Pty, TestServer};

use super::{PROGRAM, url};
use crate::support::{Project, server};

fn open(server: &TestServer, project: &str, size: (u16, u16)) -> Pty {
    Pty::spawn(PROGRAM, &["shell", project, "--server", &url(server)], size)
}

/// Types a command; waits until the line that it prints is on the screen, and answers
/// what follows `mark` there. The mark is typed in two parts, so that its echo is not it.
async fn ask(pty: &mut Pty, command: &str, mark: &str) -> String {
    let (left, right) = mark.split_at(1);
    pty.type_text(&format!("echo {left}''{right}$({command}).\r"));
    let found = |screen: &str| {
        let start = screen.rfind(mark)? + mark.len();
        let end = screen[start..].find('.')?;
        Some(screen[start..start + end].to_owned())
    };
    let screen = pty.wait_for_screen(mark, |screen| found(screen).is_some()).await;
    found(&screen).expect("just seen")
}

#[tokio::test]
async fn keys_screen_size_and_exit_code_are_the_shells() {
    let server = server().start().await;
    Project::small(&server.client(), "demo").await;
    let mut pty = open(&server, "demo", (80, 24));
    assert_eq!(ask(&mut pty, "stty size", "S1=").await, "24 80");
    assert!(pty.is_raw(), "keys go to the shell one by one");

    pty.resize(100, 30);
    // A key may overtake the size.
    let resized = "until stty size | grep -q '30 100'; do sleep 0.1; done; stty size";
    assert_eq!(ask(&mut pty, resized, "S2=").await, "30 100");
    // Ctrl-C is the shell's, not ours.
    pty.type_text("sh -c 'echo be\"\"gun; exec sleep 600'\r");
    pty.wait_for_screen("the command", |screen| screen.contains("begun")).await;
    pty.type_text("\x03");
    assert_eq!(ask(&mut pty, "echo here", "S3=").await, "here");

    pty.type_text("exit 9\r");
    assert_eq!(pty.wait_for_exit().await.code(), Some(9));
    assert!(!pty.is_raw(), "the terminal is as it was");
}

#[tokio::test]
async fn leaving_keeps_the_shell_and_coming_back_shows_its_screen() {
    let server = server().start().await;
    Project::small(&server.client(), "demo").await;
    let mut pty = open(&server, "demo", (80, 24));
    let pid = ask(&mut pty, "echo $$", "P1=").await;
    pty.type_text("~?");
    pty.wait_for_screen("the keys", |screen| screen.contains("~. leaves")).await;
    pty.type_text("~.");
    assert_eq!(pty.wait_for_exit().await.code(), Some(0));
    assert!(!pty.is_raw(), "the terminal is as it was");
    pty.wait_for_screen("the way back", |screen| screen.contains("sandtree shell demo")).await;

    let mut pty = open(&server, "demo", (80, 24));
    pty.wait_for_screen("the screen as it was", |screen| screen.contains("P1=")).await;
    assert_eq!(ask(&mut pty, "echo $$", "P2=").await, pid);
}

#[tokio::test]
async fn the_shell_is_reached_again_after_the_server_was_killed() {
    let mut server = server().start().await;
    Project::small(&server.client(), "demo").await;
    let mut pty = open(&server, "demo", (80, 24));
    let pid = ask(&mut pty, "echo $$", "P1=").await;
    pty.type_text("KEPT=yes\r");
    // Output that is written while the server is away comes when it is back.
    pty.type_text("mkfifo gate; (read x < gate; echo w''ritten) &\r");
    pty.wait_for_screen("the job", |screen| screen.contains("gate; echo w''ritten) &")).await;

    server.kill9().await;
    pty.wait_for_screen("a notice", |screen| screen.contains("the server is away")).await;
    server.restart_in_place().await;
    let project = Project::existing(&server.client(), "demo");
    project.wait_for_exec().await;
    project.sh("echo go > gate").await;
    let screen = pty.wait_for_screen("the output", |screen| screen.contains("written")).await;
    assert_eq!(screen.matches("P1=").count(), 1, "nothing is there twice or lost:\n{screen}");
    assert_eq!(ask(&mut pty, "echo $KEPT-$$", "P2=").await, format!("yes-{pid}"));
    assert!(!pty.screen().contains("the server is away"), "{}", pty.screen());
}

#[tokio::test]
async fn a_signal_that_ends_the_program_leaves_a_clean_terminal() {
    let server = server().start().await;
    Project::small(&server.client(), "demo").await;
    let mut pty = open(&server, "demo", (80, 24));
    ask(&mut pty, "true", "S1=").await;
    pty.type_text("printf '\\033[?1049h\\033[?25lALT''ERNATE'\r");
    pty.wait_for_screen("the other screen", |screen| screen.starts_with("ALTERNATE")).await;
    pty.signal(rustix::process::Signal::TERM);
    assert_eq!(pty.wait_for_exit().await.code(), Some(143));
    pty.wait_for_screen("the screen of before", |screen| !screen.contains("ALTERNATE")).await;
    assert!(!pty.is_raw(), "the terminal is as it was");
}

#[tokio::test]
async fn a_shell_whose_sandbox_stops_ends_with_the_reason_and_a_clean_terminal() {
    let server = server().start().await;
    let project = Project::running(&server.client(), "demo").await;
    let mut pty = open(&server, "demo", (80, 24));
    pty.type_text("vim -u NONE -N -i NONE\r");
    let tildes = |screen: &str| screen.lines().filter(|line| line.starts_with('~')).count() > 10;
    pty.wait_for_screen("vim's tildes", tildes).await;

    project.operate("stop").await;
    assert_eq!(pty.wait_for_exit().await.code(), Some(125));
    let reason = |screen: &str| screen.contains("sandtree project start");
    let screen = pty.wait_for_screen("the reason", reason).await;
    assert!(!tildes(&screen), "vim's screen is gone:\n{screen}");
    assert!(!pty.is_raw(), "the terminal is as it was");
}
