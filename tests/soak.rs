//! The server is killed again and again, and loaded for a long time, on real Docker.
//!
//! Everything scales by the environment: a short run belongs to `make test`, and
//! `make soak` runs all of it. A failure prints the seed; `SANDTREE_SOAK_SEED` sets it.
//!
//! | variable | what | default |
//! | --- | --- | --- |
//! | `SANDTREE_SOAK_KILLS` | kills at random moments | 30 |
//! | `SANDTREE_SOAK_PROJECTS` | projects, reused from kill to kill | 6 |
//! | `SANDTREE_SOAK_SECONDS` | length of the mixed load | 20 |
//! | `SANDTREE_SOAK_DIALECTS_SECONDS` | length of the load by all dialects at once | 60 |
//! | `SANDTREE_SOAK_REPORT` | file that the results are written to | none |

#[path = "soak/check.rs"]
mod check;
#[path = "soak/dialects.rs"]
mod dialects;
#[path = "soak/kills.rs"]
mod kills;
#[path = "soak/ledger.rs"]
mod ledger;
#[path = "soak/load.rs"]
mod load;
#[path = "soak/report.rs"]
mod report;
#[path = "it/dialects/socket.rs"]
#[expect(dead_code, reason = "shared with the other suites")]
mod socket;
#[path = "it/support.rs"]
#[expect(dead_code, reason = "shared with the other suites")]
mod support;
#[path = "soak/used.rs"]
mod used;
#[path = "soak/verdict.rs"]
mod verdict;
#[path = "soak/worker.rs"]
mod worker;

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is not a number"))
}

/// What random choices follow from.
fn seed() -> u64 {
    let seed = number("SANDTREE_SOAK_SEED", rand::random_range(0..1_000_000));
    println!("SANDTREE_SOAK_SEED={seed}");
    seed
}
