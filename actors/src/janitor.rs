//! The janitor: goes round every so often and ends what has had its time.
//!
//! Stops sandboxes that idled too long or lived too long, or deletes their projects, deletes
//! projects that have rested too long, writes down when projects were last active, sweeps
//! orphans, lets projects at rest go, and gives free memory back.

use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use sandtree_model::durations::Span;
use sandtree_model::profile::{Expiry, Profile};
use sandtree_model::{Phase, Principal, Project, ProjectKey};
use tokio::task::JoinSet;

use crate::directory::Entry;
use crate::disk::blocking;
use crate::files::sweep_trash;
use crate::memory;
use crate::ports::{StoreError, Write};
use crate::project::ProjectMsg;
use crate::reconciler::sweep;
use crate::tasks::survive;
use crate::tree::{Operation, Tree};

/// Rounds between two sweeps: for orphans, in the trash, of free memory.
const ROUNDS_PER_SWEEP: u32 = 20;
/// Projects of one profile at rest that one round looks at.
const RESTING_PER_ROUND: u32 = 100;
/// Activity is written down at most this often, in microseconds.
const ACTIVITY_EVERY_US: u64 = 60_000_000;

/// Everything the janitor can be told.
pub(crate) enum JanitorMsg {
    /// Tell: go round.
    GoRound,
    /// Fact: a round ended.
    Ended,
    /// Fact: the trash was looked through.
    Swept,
}

/// The actor.
pub(crate) struct JanitorActor;

/// What the actor holds.
pub(crate) struct State {
    tree: Tree,
    rounds: u32,
    /// Memory and trash are being looked through: beside the rounds, for what code in a
    /// sandbox has left in the trash may take any time.
    is_sweeping: bool,
    tasks: JoinSet<()>,
}

impl Actor for JanitorActor {
    type Msg = JanitorMsg;
    type State = State;
    type Arguments = Tree;

    async fn pre_start(
        &self,
        me: ActorRef<JanitorMsg>,
        tree: Tree,
    ) -> Result<State, ActorProcessingErr> {
        me.send_after(tree.context().settings.janitor_interval, || JanitorMsg::GoRound);
        Ok(State { tree, rounds: 0, is_sweeping: false, tasks: JoinSet::new() })
    }

    async fn handle(
        &self,
        me: ActorRef<JanitorMsg>,
        message: JanitorMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            JanitorMsg::GoRound => {
                state.rounds = state.rounds.wrapping_add(1);
                let with_sweep = state.rounds.is_multiple_of(ROUNDS_PER_SWEEP);
                if with_sweep {
                    state.sweep_beside(me.clone());
                }
                let tree = state.tree.clone();
                state.tasks.spawn(async move {
                    if survive(go_round(&tree, with_sweep)).await.is_err() {
                        tracing::error!("a round of the janitor panicked");
                    }
                    // The actor that owns this task outlives it.
                    let _ = me.cast(JanitorMsg::Ended);
                });
            }
            JanitorMsg::Ended => {
                while state.tasks.try_join_next().is_some() {}
                me.send_after(state.tree.context().settings.janitor_interval, || {
                    JanitorMsg::GoRound
                });
            }
            JanitorMsg::Swept => state.is_sweeping = false,
        }
        Ok(())
    }
}

impl State {
    fn sweep_beside(&mut self, me: ActorRef<JanitorMsg>) {
        if std::mem::replace(&mut self.is_sweeping, true) {
            return;
        }
        let tree = self.tree.clone();
        self.tasks.spawn(async move {
            sweep_memory().await;
            sweep_disk(&tree).await;
            let _ = me.cast(JanitorMsg::Swept);
        });
    }
}

async fn go_round(tree: &Tree, with_sweep: bool) {
    let entries = tree.context().directory.entries();
    write_activity(tree, &entries).await;
    for entry in entries {
        if let Some(reason) = is_due(tree, &entry) {
            let operation = when_expired(tree, &entry);
            end(tree, entry.key, operation, reason);
        } else if entry.live.row().is_at_rest() {
            // One that has ended already needs no telling.
            let _ = entry.actor.cast(ProjectMsg::Passivate);
        }
    }
    for (name, profile) in &tree.context().settings.profiles {
        if let Err(StoreError(why)) = end_resting(tree, name, profile).await {
            tracing::warn!(profile = %name, %why, "projects at rest could not be looked at");
        }
    }
    if with_sweep && let Err(failure) = sweep(tree).await {
        tracing::warn!(%failure, "orphans could not be swept");
    }
}

async fn sweep_disk(tree: &Tree) {
    let data_dir = tree.context().settings.data_dir.clone();
    let swept = blocking(move || sweep_trash(&data_dir)).await;
    match swept {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the trash could not be swept"),
        Err(error) => tracing::error!(%error, "sweeping the trash panicked"),
    }
}

/// Threads that allocate may wait meanwhile: a tenth of a millisecond in a heap of 10 MB.
async fn sweep_memory() {
    if let Err(error) = blocking(memory::trim).await {
        tracing::error!(%error, "giving memory back panicked");
    }
}

/// Why a running project has had its time, if it has.
fn is_due(tree: &Tree, entry: &Entry) -> Option<String> {
    let row = entry.live.row();
    if row.phase != Phase::Running {
        return None;
    }
    if let Some(limit) = row.settings.idle_timeout.limit()
        && entry.live.idle_for() >= limit
    {
        return Some(format!("idle for {}", Span(limit)));
    }
    let limit = row.settings.max_lifetime.limit()?;
    let started_at = row.container.as_ref()?.started_at;
    let lived = Duration::from_micros(tree.context().clock.now().saturating_sub(started_at));
    (lived >= limit).then(|| format!("reached its maximum lifetime of {}", Span(limit)))
}

/// What becomes of a running project whose time is over. One whose profile the
/// configuration has no longer keeps its files.
fn when_expired(tree: &Tree, entry: &Entry) -> Operation {
    let profile = tree.context().settings.profiles.get(&entry.live.row().settings.profile);
    match profile.map(|profile| profile.expiry) {
        Some(Expiry::Delete) => Operation::Delete { keep_files: false },
        Some(Expiry::Stop) | None => Operation::Stop,
    }
}

/// Deletes projects of a profile that have rested too long, or that are too many.
async fn end_resting(tree: &Tree, name: &str, profile: &Profile) -> Result<(), StoreError> {
    let (retention, most) = (profile.stopped_retention.limit(), u64::from(profile.stopped_max));
    if retention.is_none() && most == 0 {
        return Ok(());
    }
    let store = &tree.context().store;
    let count = if most == 0 { 0 } else { store.resting_count(name).await? };
    let surplus = usize::try_from(count.saturating_sub(most)).unwrap_or(usize::MAX);
    let resting = store.resting(name, RESTING_PER_ROUND).await?;
    for (place, row) in resting.into_iter().enumerate() {
        let rested = rested_for(tree, &row);
        let reason = match (rested, retention) {
            // Somebody is at work on it.
            (None, _) => continue,
            (Some(rested), Some(limit)) if rested >= limit => {
                format!("was stopped for {}", Span(limit))
            }
            (Some(_), _) if place < surplus => {
                format!("was stopped first of more than {most} of its profile")
            }
            (Some(_), _) => continue,
        };
        end(tree, row.key, Operation::Delete { keep_files: false }, reason);
    }
    Ok(())
}

/// How long nobody has done anything about a project at rest; nothing of one that is used.
fn rested_for(tree: &Tree, row: &Project) -> Option<Duration> {
    let active_at = match tree.context().directory.find(&row.key) {
        Some(entry) if entry.live.is_busy() => return None,
        Some(entry) if entry.live.row().generation != row.generation => return None,
        Some(entry) => entry.live.active_at(),
        None => row.active_at,
    };
    let since = row.updated_at.max(active_at);
    Some(Duration::from_micros(tree.context().clock.now().saturating_sub(since)))
}

fn end(tree: &Tree, key: ProjectKey, operation: Operation, reason: String) {
    let by = Principal { tenant: key.tenant.clone(), name: "janitor".into() };
    let job = tree.clone();
    tree.context().tasks.spawn(async move {
        let (operation, reason) = (Some(operation), reason.into());
        if let Err(failure) = job.operate_because(&by, &key, operation, reason, true).await {
            tracing::warn!(project = %key, %failure, "could not be ended; the next round tries again");
        }
    });
}

async fn write_activity(tree: &Tree, entries: &[Entry]) {
    let due =
        |entry: &&Entry| entry.live.active_at() >= entry.live.row().active_at + ACTIVITY_EVERY_US;
    let times: Vec<_> = entries
        .iter()
        .filter(due)
        .map(|entry| (entry.live.row().uid.clone(), entry.live.active_at()))
        .collect();
    if times.is_empty() {
        return;
    }
    match tree.context().write(None, Write::Activity(times)).await {
        Ok(_) => entries.iter().filter(due).for_each(|entry| entry.live.note_active_at_written()),
        Err(failure) => tracing::warn!(%failure, "activity could not be written down"),
    }
}
