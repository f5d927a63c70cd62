//! `cat` of a large file in a terminal, until its last byte has come.
//!
//! Bytes that a viewer was told it lost do not count. The sandbox may use all cores, as
//! the peers do, which run without a sandbox.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rand::Rng as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use super::Tty;
use crate::Bench;
use crate::memory::Watch;
use crate::peers::{Kind, Peer};
use crate::report::{Row, Verdict};
use crate::samples::{mb, median, rate};
use crate::server::Project;

/// Size of the file.
pub(super) const FILE_BYTES: usize = 200_000_000;
/// Length of its lines.
const LINE_BYTES: usize = 80;
/// How often each terminal shows it.
const ROUNDS: usize = 3;
/// Longest time of one round.
const ROUND_MAX: Duration = Duration::from_secs(120);
/// Least share of socat's rate.
const OF_SOCAT_MIN: f64 = 0.8;
/// Most that the server and init together may grow.
const GROWTH_KIB_MAX: u64 = 16 * 1024;
/// Begins what the shell writes at the end of a flood. Its first byte is nowhere in the file,
/// and a number follows, since a terminal may show what an earlier flood has left.
const END: &str = "FloodIsOver";

/// What the project of a flood is made with.
pub(super) fn settings() -> Value {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    json!({ "limits": { "cpu_millis": cores * 1000 } })
}

/// The end of one flood: what is written, and the command that writes it. The command line is
/// shown as well, and must not look like the end.
pub(super) struct End {
    written: String,
    command: String,
}

impl End {
    /// One that no earlier flood had.
    pub(super) fn new() -> Self {
        static FLOODS: AtomicUsize = AtomicUsize::new(0);
        let number = FLOODS.fetch_add(1, Ordering::Relaxed);
        let (first, rest) = END.split_at(1);
        Self {
            written: format!("{END}{number}."),
            command: format!("echo {first}''{rest}{number}."),
        }
    }

    /// How many of its bytes have come, after so many and this piece. Hardly any piece has
    /// to be looked at closely.
    fn matched(&self, piece: &[u8], mut matched: usize) -> usize {
        let end = self.written.as_bytes();
        if matched == 0 && !piece.contains(&end[0]) {
            return 0;
        }
        for byte in piece {
            match end.get(matched) {
                None => break,
                Some(next) if next == byte => matched += 1,
                Some(_) => matched = usize::from(*byte == end[0]),
            }
        }
        matched
    }
}

/// What one round came to.
pub(super) struct Round {
    /// Bytes that came.
    pub(super) bytes: u64,
    /// From the command until the end of its output.
    pub(super) time: Duration,
}

impl Round {
    pub(super) fn rate(&self) -> f64 {
        rate(self.bytes, self.time)
    }
}

pub(super) async fn measure(
    bench: &mut Bench,
    project: &Project,
    peers: &[Peer],
) -> anyhow::Result<()> {
    let scratch = bench.server.scratch()?;
    let file = make_file(&scratch, FILE_BYTES)?;
    give(bench, project, &file, "flood").await?;
    let mut ours = Tty::of(&bench.server, project).await?;
    ours.prompt().await?;
    let mut theirs = Vec::new();
    for peer in peers {
        let mut tty = peer.open().await?;
        tty.prompt().await?;
        theirs.push((peer, tty, Vec::new(), 0));
    }
    let mut rates = Vec::new();
    let (mut received, mut growth) = (Vec::new(), [0, 0]);
    let init = bench.docker.pid(&project.container).await?;
    // The first round is not counted: it reads the file from the disk.
    for round in 0..=ROUNDS {
        let watches = [Watch::begin(bench.server.pid()), Watch::begin(init)];
        let done = run(&mut ours, "flood", &End::new()).await.context("the project's terminal")?;
        let grown = watches.map(Watch::end);
        if round > 0 {
            growth = [growth[0].max(grown[0]), growth[1].max(grown[1])];
            rates.push(done.rate());
            received.push(done.bytes);
        }
        for (peer, tty, rates, growth) in &mut theirs {
            let watch = peer.pid().map(|pid| Watch::begin(u64::from(pid)));
            let done =
                run(tty, &file.to_string_lossy(), &End::new()).await.context(peer.kind.name())?;
            let grown = watch.map_or(0, Watch::end);
            if round > 0 {
                rates.push(done.rate());
                *growth = grown.max(*growth);
            }
        }
    }
    let all: Vec<_> =
        theirs.into_iter().map(|(peer, _, rates, growth)| (peer.kind, rates, growth)).collect();
    report(bench, &rates, &received, &all);
    told_growth(bench, growth);
    Ok(())
}

/// Shows a file in a terminal and counts what comes.
pub(super) async fn run(tty: &mut Tty, path: &str, end: &End) -> anyhow::Result<Round> {
    let began = Instant::now();
    tty.input(format!("cat {path}; {}\n", end.command).as_bytes()).await?;
    let round = see(tty, began, end).await?;
    tty.settle().await?;
    Ok(round)
}

/// Counts what comes until the end of the file.
pub(super) async fn see(tty: &mut Tty, began: Instant, end: &End) -> anyhow::Result<Round> {
    let (mut bytes, mut matched) = (0, 0);
    let flowing = async {
        while matched < end.written.len() {
            let piece = tty.output().await?;
            bytes += piece.len() as u64;
            matched = end.matched(&piece, matched);
        }
        anyhow::Ok(())
    };
    timeout(ROUND_MAX, flowing).await.context("the flood does not end")??;
    Ok(Round { bytes, time: began.elapsed() })
}

/// Lines of letters and digits, never the same.
pub(super) fn make_file(scratch: &TempDir, bytes: usize) -> anyhow::Result<PathBuf> {
    let mut random = rand::rng();
    let letters = b"abcdefghijklmnopqrstuvwxyz0123456789     ";
    let line = |_| {
        let mut line: Vec<u8> =
            (1..LINE_BYTES).map(|_| letters[random.random_range(0..letters.len())]).collect();
        line.push(b'\n');
        line
    };
    let block: Vec<u8> = (0..1000).flat_map(line).collect();
    let path = scratch.path().join("flood");
    std::fs::write(&path, block.repeat(bytes / block.len()))?;
    Ok(path)
}

/// Puts the file into the workspace.
pub(super) async fn give(
    bench: &Bench,
    project: &Project,
    file: &Path,
    name: &str,
) -> anyhow::Result<()> {
    let path = format!("/v1/projects/{}/files/{name}", project.id);
    bench.server.upload(&path, file).await.map(drop)
}

fn report(bench: &mut Bench, rates: &[f64], received: &[u64], theirs: &[(Kind, Vec<f64>, u64)]) {
    let ours = median(rates);
    let least = received.iter().min().copied().unwrap_or_default();
    for (kind, rates, growth) in theirs {
        let (rate, is_socat) = (median(rates), *kind == Kind::Socat);
        let least = if is_socat { OF_SOCAT_MIN } else { 1.0 };
        bench.report.add(Row {
            what: format!("terminal throughput, beside {}", kind.name()),
            budget: format!(">= {least} of it"),
            ours: format!("{ours:.0} MB/s"),
            beside: format!("{} {rate:.0} MB/s, grew {growth} KiB", kind.name()),
            ratio: format!("{:.2} of it", ours / rate),
            verdict: Verdict::of(ours / rate >= least),
        });
    }
    // Of each line the terminal makes one byte more.
    let sent = FILE_BYTES + FILE_BYTES / LINE_BYTES;
    let text = format!("{} of {}", mb(f64_of(least)), mb(f64_of(sent as u64)));
    bench.report.add(Row::told("  bytes that came, least of the rounds", text));
    let bars = theirs.iter().map(|(kind, rates, _)| (kind.name().to_owned(), median(rates)));
    let bars = std::iter::once(("sandtree".to_owned(), ours)).chain(bars).collect();
    bench.report.bars("flood", "Terminal throughput: cat of 200 MB", "MB/s", bars);
}

fn told_growth(bench: &mut Bench, [server, init]: [u64; 2]) {
    let text = format!("server grew {server} KiB, init {init} KiB");
    let is_flat = server + init <= GROWTH_KIB_MAX;
    let what = "terminal throughput, memory meanwhile";
    bench.report.add(Row::alone(what, "flat: <= 16 MiB", text, is_flat));
}

#[expect(clippy::cast_precision_loss, reason = "fifteen digits are enough")]
fn f64_of(bytes: u64) -> f64 {
    bytes as f64
}
