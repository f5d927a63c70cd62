//! Writes of files, one after another.

use std::pin::pin;
use std::sync::mpsc;

use sandtree_testkit::until;

use crate::world::*;

fn requests(tree: &Tree) -> usize {
    let all = tree.fullness();
    all.iter().find(|one| one.bound == "project_requests").expect("the bound").used
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_is_a_request_until_it_is_done() {
    let tree = World::new().spawn().await;
    tree.stopped("demo").await;
    let (release, released) = mpsc::channel::<()>();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let first = tree.begin_call(|tree| async move {
        let files = tree.files(&key("demo")).await.expect("the files");
        let write = files.write(move |_| {
            begun.send(()).expect("somebody waits");
            (Ok(released.recv()), Vec::new())
        });
        write.await
    });
    has_begun.await.expect("a write");
    let waiting = tree.call(|tree| async move {
        let files = tree.files(&key("demo")).await.expect("the files");
        let mut write = pin!(files.write(|_| (Ok(()), Vec::new())));
        tokio::select! {
            biased;
            _ = &mut write => panic!("the first one is not done"),
            () = async {} => {}
        }
    });
    waiting.await;
    assert_eq!(tree.call(|tree| async move { requests(&tree) }).await, 2);
    drop(release);
    first.await.expect("no panic").expect("a write").expect_err("no more to come");
    until("both are done", async || tree.call(|tree| async move { requests(&tree) == 0 }).await)
        .await;
    tree.shut_down().await;
}
