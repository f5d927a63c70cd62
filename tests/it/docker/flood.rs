//! More output of a terminal than anything on its way can hold: who keeps up gets all of
//! it, and who does not slows nobody.

use futures_util::{SinkExt as _, StreamExt as _};
use sandtree_testkit::{Client, LONG, until, within};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Project, server};

/// Files that a command of the shell makes before and after its flood.
const BEGUN: &str = "/v1/projects/p/files/begun";
const OVER: &str = "/v1/projects/p/files/over";
/// Lines of a flood that no buffer takes: 8 MB.
const LINES: u64 = 1_000_000;

async fn is_there(client: &Client, path: &str) -> bool {
    client.get(path).await.status == 200
}

/// What a terminal shows of `seq 1 lines`. It goes through `cat`, which writes in large pieces.
fn counted(lines: u64) -> String {
    (1..=lines).map(|line| format!("{line}\r\n")).collect()
}

#[tokio::test]
async fn a_viewer_that_keeps_up_gets_every_byte() {
    let server = server().start().await;
    let client = server.client();
    Project::small(&client, "p").await;
    let mut viewer = client.terminal("p", "cols=80&rows=24").await;
    viewer.type_text("seq 1 300000 | cat; echo o''ver\r").await;
    let is_over = |seen: &[u8]| {
        let end = &seen[seen.len().saturating_sub(100)..];
        end.windows(6).any(|end| end == b"over\r\n")
    };
    viewer.wait_for_output("the end", is_over).await;
    let seen = String::from_utf8_lossy(viewer.output());
    assert_eq!(viewer.gap_bytes(), 0);
    assert!(seen.contains(&counted(300_000)), "{} bytes", seen.len());
}

#[tokio::test]
async fn a_viewer_that_stands_still_takes_nothing_from_the_others() {
    let server = server().start().await;
    let client = server.client();
    Project::small(&client, "p").await;
    let open = async || client.websocket("/v1/projects/p/terminal").await.expect("a terminal");
    let (mut reader, mut stalled) = (open().await, open().await);
    let typed = format!("seq 1 {LINES} | cat; echo o''ver\r");
    reader.send(Message::binary(typed)).await.expect("a terminal that takes keys");
    let (mut bytes, mut end) = (0, Vec::new());
    within(LONG, "the end of the flood", async {
        while !end.ends_with(b"over\r\n") {
            let message = reader.next().await.expect("a terminal that lives").expect("a message");
            assert!(!message.to_text().unwrap_or_default().contains("gap"), "{message}");
            if let Message::Binary(piece) = message {
                bytes += piece.len();
                // The prompt may have come with it.
                end.extend_from_slice(&piece);
                let over = end.windows(6).rposition(|end| end == b"over\r\n");
                end.truncate(over.map_or(end.len(), |over| over + 6));
                end.drain(..end.len().saturating_sub(6));
            }
        }
    })
    .await;
    assert!(bytes >= counted(LINES).len(), "{bytes} bytes");
    // The other comes back, and is told.
    within(LONG, "a gap", async {
        loop {
            let message = stalled.next().await.expect("a terminal that lives").expect("a message");
            if message.is_text() && message.to_text().expect("a text").contains("gap") {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_shell_waits_for_no_viewer_that_left_or_stands_still() {
    let server = server().start().await;
    let client = server.client();
    Project::small(&client, "p").await;
    for stays in [false, true] {
        let mut viewer = client.websocket("/v1/projects/p/terminal").await.expect("a terminal");
        let typed = format!("touch begun; seq 1 {LINES} | cat; touch over\r");
        viewer.send(Message::binary(typed)).await.expect("a terminal that takes keys");
        until("the flood", async || is_there(&client, BEGUN).await).await;
        let stayed = stays.then_some(viewer);
        until("the end of the flood", async || is_there(&client, OVER).await).await;
        for file in [BEGUN, OVER] {
            let _ = client.delete(file).await.expect(204);
        }
        drop(stayed);
    }
}

#[tokio::test]
async fn ctrl_c_ends_a_flood_that_nobody_reads() {
    let server = server().start().await;
    let client = server.client();
    Project::small(&client, "p").await;
    let mut viewer = client.websocket("/v1/projects/p/terminal").await.expect("a terminal");
    let typed = "sh -c 'trap \"touch over; exit\" INT; touch begun; yes'\r";
    viewer.send(Message::binary(typed)).await.expect("a terminal that takes keys");
    until("the flood", async || is_there(&client, BEGUN).await).await;
    viewer.send(Message::binary(&b"\x03"[..])).await.expect("a terminal that takes keys");
    until("the end of the flood", async || is_there(&client, OVER).await).await;
}
