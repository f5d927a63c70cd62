//! A keystroke, until the terminal shows it.
//!
//! The same shell in every one, and keys one at a time with a pause between them, as
//! from a person, each terminal in its turn.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Tty;
use super::local::Local;
use crate::Bench;
use crate::peers::{Kind, Peer};
use crate::report::{Row, Verdict};
use crate::samples::{Samples, ms, ratio, times};
use crate::server::Project;

/// Keystrokes in each terminal.
const KEYS: usize = 1000;
/// Pause between two keys.
const PAUSE: Duration = Duration::from_millis(2);
/// Longest time that a key may take on top of what it takes on a local terminal.
const ADDED_P50_MAX: Duration = Duration::from_millis(1);
const ADDED_P99_MAX: Duration = Duration::from_millis(5);
/// The key that is timed, and the one that takes it back.
const KEY: &[u8] = b"x";
const ERASE: &[u8] = b"\x7f";

/// A terminal and the times of its keys.
struct Timed {
    name: &'static str,
    peer: Option<Kind>,
    tty: Tty,
    samples: Samples,
}

pub(super) async fn measure(
    bench: &mut Bench,
    project: &Project,
    peers: &[Peer],
) -> anyhow::Result<()> {
    let docker = bench.docker.shell(&project.container, &["/bin/sh"]).await?;
    let timed = |name, peer, tty| Timed { name, peer, tty, samples: Samples::default() };
    let mut all = vec![
        timed("sandtree", None, Tty::of(&bench.server, project).await?),
        timed("a local terminal", None, Tty::Local(Box::new(Local::open()?))),
        timed("Docker's terminal", None, Tty::Docker(docker)),
    ];
    for peer in peers {
        all.push(timed(peer.kind.name(), Some(peer.kind), peer.open().await?));
    }
    for one in &mut all {
        one.tty.prompt().await?;
    }
    for _ in 0..KEYS {
        for one in &mut all {
            let time = keystroke(&mut one.tty).await?;
            one.samples.add(time);
            sleep(PAUSE).await;
        }
    }
    report(bench, &all);
    Ok(())
}

/// The time of one key, which is taken back afterwards.
async fn keystroke(tty: &mut Tty) -> anyhow::Result<Duration> {
    let began = Instant::now();
    tty.input(KEY).await?;
    while !tty.shown().await?.contains(&KEY[0]) {}
    let echoed = began.elapsed();
    tty.input(ERASE).await?;
    tty.shown().await?;
    Ok(echoed)
}

fn report(bench: &mut Bench, all: &[Timed]) {
    let [ours, local, others @ ..] = all else { return };
    let added = [
        ours.samples.p50().saturating_sub(local.samples.p50()),
        ours.samples.p99().saturating_sub(local.samples.p99()),
    ];
    bench.report.add(Row {
        what: "terminal echo, added to a local terminal".into(),
        budget: "<= 1 ms / <= 5 ms added".into(),
        ours: times(&ours.samples),
        beside: format!("local {}", times(&local.samples)),
        ratio: format!("{} / {} added", ms(added[0]), ms(added[1])),
        verdict: Verdict::of(added[0] <= ADDED_P50_MAX && added[1] <= ADDED_P99_MAX),
    });
    for other in others {
        let [p50, p99] = [
            ratio(ours.samples.p50(), other.samples.p50()),
            ratio(ours.samples.p99(), other.samples.p99()),
        ];
        let is_promised = matches!(other.peer, Some(Kind::Node | Kind::Terminado));
        let verdict =
            if is_promised { Verdict::of(p50 <= 1.0 && p99 <= 1.0) } else { Verdict::Told };
        bench.report.add(Row {
            what: format!("  terminal echo, {}", other.name),
            budget: if is_promised { "no slower".into() } else { String::new() },
            ours: times(&ours.samples),
            beside: format!("{} {}", other.name, times(&other.samples)),
            ratio: format!("{p50:.2} / {p99:.2} times as long"),
            verdict,
        });
    }
    let lines: Vec<_> = all.iter().map(|one| (one.name, &one.samples)).collect();
    bench.report.shares("echo", "Terminal echo: share of keys shown after so long", &lines);
}
