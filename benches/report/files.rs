//! A file of 1 GiB and a plain tar of as much, both ways.
//!
//! Beside them, on the same file system: `cp` and a wait for the disk, and `tar`. What is
//! still on its way to the disk from before is waited for first.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use crate::Bench;
use crate::memory::Watch;
use crate::report::{Row, Verdict};
use crate::samples::{median, rate};
use crate::server::Project;

/// Size of the file, and of all files in the archive.
const BYTES: usize = 1 << 30;
/// Files in the archive.
const FILES: usize = 64;
/// How often each way is gone.
const ROUNDS: usize = 3;
/// Least share of the rate of `cp` or `tar`.
const SHARE_MIN: f64 = 0.6;
/// Most that the server grows.
const GROWTH_KIB_MAX: u64 = 16 * 1024;

/// One way for the bytes, and what it is compared with.
struct Measured {
    what: &'static str,
    beside: &'static str,
    ours: Vec<f64>,
    theirs: Vec<f64>,
    growth: u64,
}

impl Measured {
    fn new(what: &'static str, beside: &'static str) -> Self {
        Self { what, beside, ours: Vec::new(), theirs: Vec::new(), growth: 0 }
    }

    fn add(&mut self, ours: Duration, growth: u64, theirs: Duration) {
        self.ours.push(rate(BYTES as u64, ours));
        self.theirs.push(rate(BYTES as u64, theirs));
        self.growth = self.growth.max(growth);
    }
}

pub(crate) async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let project = bench.server.create("files").await?;
    let mut all = [
        Measured::new("upload of a 1 GiB file", "cp and fsync"),
        Measured::new("download of a 1 GiB file", "cp and fsync"),
        Measured::new("upload of a 1 GiB tar", "tar -x and sync"),
        Measured::new("download of a 1 GiB tar", "tar -c and fsync"),
    ];
    let scratch = bench.server.scratch()?;
    let dir = scratch.path();
    make(dir).await?;
    for _ in 0..ROUNDS {
        let [up, down, tar_up, tar_down] = &mut all;
        files(bench, &project, dir, [up, down]).await?;
        tars(bench, &project, dir, [tar_up, tar_down]).await?;
    }
    for one in &all {
        report(bench, one);
    }
    let bars = all.iter().flat_map(|one| {
        let name = |who: &str| format!("{}: {who}", one.what.replace(" of a 1 GiB", ","));
        [(name("sandtree"), median(&one.ours)), (name(one.beside), median(&one.theirs))]
    });
    bench.report.bars("files", "1 GiB in and out", "MB/s", bars.collect());
    bench.server.delete(&project.id).await
}

/// The file, a directory with as many bytes, and its archive.
async fn make(dir: &Path) -> anyhow::Result<()> {
    let block: Vec<u8> = (0..1 << 20).map(|_| rand::random()).collect();
    std::fs::write(dir.join("file"), block.repeat(BYTES >> 20))?;
    std::fs::create_dir(dir.join("many"))?;
    for number in 0..FILES {
        let path = dir.join("many").join(format!("{number}"));
        std::fs::write(path, block.repeat((BYTES >> 20) / FILES))?;
    }
    shell(dir, "tar -C many -cf many.tar .").await.map(drop)
}

async fn files(
    bench: &mut Bench,
    project: &Project,
    dir: &Path,
    [up, down]: [&mut Measured; 2],
) -> anyhow::Result<()> {
    let path = format!("/v1/projects/{}/files/file", project.id);
    let server = &bench.server;
    let copy = || async {
        let began = settled(dir).await?;
        Command::new("cp").current_dir(dir).args(["file", "copy"]).status().await?;
        File::open(dir.join("copy"))?.sync_all()?;
        let time = began.elapsed();
        std::fs::remove_file(dir.join("copy"))?;
        anyhow::Ok(time)
    };
    settled(dir).await?;
    let watch = Watch::begin(server.pid());
    let time = server.upload(&path, &dir.join("file")).await?;
    up.add(time, watch.end(), copy().await?);
    settled(dir).await?;
    let watch = Watch::begin(server.pid());
    let time = server.download(&path, &dir.join("down")).await?;
    down.add(time, watch.end(), copy().await?);
    std::fs::remove_file(dir.join("down"))?;
    bench.server.http.delete(&path).await
}

async fn tars(
    bench: &mut Bench,
    project: &Project,
    dir: &Path,
    [up, down]: [&mut Measured; 2],
) -> anyhow::Result<()> {
    let path = format!("/v1/projects/{}/archive?path=many", project.id);
    let server = &bench.server;
    settled(dir).await?;
    let watch = Watch::begin(server.pid());
    let time = server.upload(&path, &dir.join("many.tar")).await?;
    let growth = watch.end();
    settled(dir).await?;
    let theirs = shell(dir, "mkdir out && tar -C out -xf many.tar && sync -f out").await?;
    up.add(time, growth, theirs);
    shell(dir, "rm -r out").await?;
    settled(dir).await?;
    let watch = Watch::begin(server.pid());
    // Without a format it would be compressed.
    let plain = format!("{path}&format=tar");
    let time = server.download(&plain, &dir.join("down.tar")).await?;
    let growth = watch.end();
    settled(dir).await?;
    let theirs = shell(dir, "tar -C many -cf out.tar . && sync out.tar").await?;
    down.add(time, growth, theirs);
    shell(dir, "rm out.tar down.tar").await?;
    let path = format!("/v1/projects/{}/files/many?recursive=true", project.id);
    bench.server.http.delete(&path).await
}

async fn shell(dir: &Path, line: &str) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let done = Command::new("sh").current_dir(dir).args(["-c", line]).status().await?;
    ensure!(done.success(), "`{line}` ended with {done}");
    Ok(began.elapsed())
}

/// Waits until nothing is on its way to the disk.
async fn settled(dir: &Path) -> anyhow::Result<Instant> {
    let done = Command::new("sync").arg("-f").arg(dir).status().await.context("sync")?;
    ensure!(done.success(), "sync ended with {done}");
    Ok(Instant::now())
}

fn report(bench: &mut Bench, one: &Measured) {
    let rates = [median(&one.ours), median(&one.theirs)];
    let share = rates[0] / rates[1];
    bench.report.add(Row {
        what: one.what.into(),
        budget: format!(">= {SHARE_MIN} of {}", one.beside),
        ours: format!("{:.0} MB/s", rates[0]),
        beside: format!("{} {:.0} MB/s", one.beside, rates[1]),
        ratio: format!("{share:.2} of it"),
        verdict: Verdict::of(share >= SHARE_MIN),
    });
    let (what, text) = (format!("  {}, memory", one.what), format!("grew {} KiB", one.growth));
    let is_met = one.growth <= GROWTH_KIB_MAX;
    bench.report.add(Row::alone(&what, "grows <= 16 MiB", text, is_met));
}
