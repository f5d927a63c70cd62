//! Suites that start real containers.

#[path = "docker/bad_input.rs"]
mod bad_input;
#[path = "docker/data_dir.rs"]
mod data_dir;
#[path = "docker/engine_faults.rs"]
mod engine_faults;
#[path = "docker/exec_terminal.rs"]
mod exec_terminal;
#[path = "docker/flood.rs"]
mod flood;
#[path = "docker/full_disk.rs"]
mod full_disk;
#[path = "docker/hostile_files.rs"]
mod hostile_files;
#[path = "docker/hostile_wire.rs"]
mod hostile_wire;
#[path = "docker/inside.rs"]
mod inside;
#[path = "docker/main_job.rs"]
mod main_job;
#[path = "docker/metrics.rs"]
mod metrics;
#[path = "docker/pool.rs"]
mod pool;
#[path = "docker/power_cut.rs"]
mod power_cut;
#[path = "docker/private_engine.rs"]
mod private_engine;
#[path = "docker/races.rs"]
mod races;
#[path = "docker/real_program.rs"]
mod real_program;
#[path = "docker/restart_and_engine.rs"]
mod restart_and_engine;
#[path = "docker/run.rs"]
mod run;
#[path = "docker/sandbox_deaths.rs"]
mod sandbox_deaths;
#[path = "docker/sandbox_floor.rs"]
mod sandbox_floor;
#[path = "docker/search.rs"]
mod search;
#[path = "docker/store_faults.rs"]
mod store_faults;
#[path = "docker/survival.rs"]
mod survival;
#[path = "docker/watch.rs"]
mod watch;
