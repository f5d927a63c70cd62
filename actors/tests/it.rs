//! The whole tree, with an engine and a store whose faults are planned.

#[path = "it/crash.rs"]
mod crash;
#[path = "it/engine.rs"]
mod engine;
#[path = "it/events.rs"]
mod events;
#[path = "it/files.rs"]
mod files;
#[path = "it/init.rs"]
mod init;
#[path = "it/janitor.rs"]
mod janitor;
#[path = "it/jobs.rs"]
mod jobs;
#[path = "it/life.rs"]
mod life;
#[path = "it/once.rs"]
mod once;
#[path = "it/pool.rs"]
mod pool;
#[path = "it/power_cut.rs"]
mod power_cut;
#[path = "it/store.rs"]
mod store;
#[path = "it/turns.rs"]
mod turns;
#[path = "it/world.rs"]
mod world;
