//! Whether all has come to rest, where the model allows it, with everything else to match.

use std::collections::BTreeSet;
use std::time::Duration;

use sandtree_actors::Tree;
use sandtree_actors::ports::ContainerState;
use sandtree_model::{Phase, Project, Target};
use sandtree_wire::Job;

use crate::acts::{FILE, ID, process};
use crate::case::{Act, EngineFault, Round, What};
use crate::ground::key;
use crate::model::{Answered, At, Circumstances, allowed, must_be_well};
use crate::trace::note;
use crate::world::World;

/// Longer than all pauses between attempts together; paused time makes it short.
pub(crate) const REST_WITHIN: Duration = Duration::from_secs(600);
/// How often it is looked whether all has come to rest.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What was wrong.
pub(crate) type Outcome<T> = Result<T, String>;

impl World {
    /// Waits until nothing moves any more; how the project is then.
    pub(crate) async fn comes_to_rest(
        &self,
        tree: &Tree,
        from: At,
        round: &Round,
        known: &[(Act, Answered)],
        process_may_end: bool,
    ) -> Outcome<At> {
        let refused = |act: &_| known.contains(&(*act, Answered::Badly));
        if let Some(act) = must_be_well(from, round).find(refused) {
            return Err(format!(
                "{act:?} has to be answered well\nbefore: {from:?}\nknown: {known:?}"
            ));
        }
        let refuses = |fault: &EngineFault| matches!(fault.what, What::Refuses | What::Panics);
        let may_fail = round.engine.iter().any(refuses);
        let crashed = round.crash_after_ms.is_some();
        let allowed = allowed(from, known, Circumstances { may_fail, crashed, process_may_end });
        let ends = tokio::time::Instant::now() + REST_WITHIN;
        loop {
            // The clock goes on only when nobody has anything to do at this moment.
            tokio::time::sleep(LOOK_EVERY).await;
            let wrong = match self.is_at_rest(tree, &allowed, may_fail).await {
                Ok(at) => {
                    note(format!("at rest: {at:?}"));
                    return Ok(at);
                }
                Err(wrong) => wrong,
            };
            if tokio::time::Instant::now() >= ends {
                return Err(format!("{wrong}\nbefore: {from:?}\nknown: {known:?}"));
            }
        }
    }

    /// How the project is, as its row and its directory say.
    fn at(&self, row: Option<&Project>) -> Outcome<At> {
        let Some(row) = row else { return Ok(At::default()) };
        let file =
            self.settings.data_dir.join(format!("sandboxes/{}/workspace/{FILE}", row.sandbox));
        let file = match std::fs::read(file).ok().as_deref() {
            None => None,
            Some([version]) => Some(*version),
            Some(torn) => return Err(format!("a file that nobody has written: {torn:?}")),
        };
        let wanted = row.process.as_ref().filter(|record| record.wanted);
        let which = |which: &u8| wanted.is_some_and(|record| record.spec == process(*which));
        let process = (0..=u8::MAX).find(which);
        Ok(At { phase: Some(row.phase), file, process })
    }

    /// Where the project is, if that is where it may be and all else agrees with it.
    async fn is_at_rest(&self, tree: &Tree, allowed: &BTreeSet<At>, may_fail: bool) -> Outcome<At> {
        self.store.assert_sound();
        if self.store.is_writing() {
            return Err("a write is on its way".into());
        }
        let row = self.row();
        let at = self.at(row.as_ref())?;
        if !allowed.contains(&at) {
            return Err(format!("it is {at:?}, and may be {allowed:?}"));
        }
        let containers = self.engine.containers();
        let Some(row) = row else {
            let dirs = std::fs::read_dir(self.settings.data_dir.join("sandboxes"));
            let dirs = dirs.map_or(0, Iterator::count);
            return if containers.is_empty() && dirs == 0 {
                Ok(at)
            } else {
                Err(format!("it is gone, and {dirs} directories and {containers:?} are left"))
            };
        };
        let states: Vec<_> = containers.iter().map(|seen| seen.state).collect();
        let agrees = match (row.phase, row.target) {
            (Phase::Running, Target::Running) => states == [ContainerState::Running],
            (Phase::Paused, Target::Paused) => states == [ContainerState::Paused],
            (Phase::Stopped, Target::Stopped) | (Phase::Failed, _) => {
                let stopped = |it| matches!(it, &ContainerState::NotRunning { .. });
                // An engine that refuses to stop it cannot be made to.
                let is_refused = may_fail && row.phase == Phase::Failed;
                states.len() <= 1 && (states.iter().all(stopped) || is_refused)
            }
            _ => false,
        };
        if !agrees {
            return Err(format!("it is {}, to be {:?}, with {states:?}", row.phase, row.target));
        }
        if row.phase == Phase::Running {
            let leased = tree.sandbox(&key(ID)).await.map(drop);
            leased.map_err(|failure| format!("it runs and cannot be used: {failure}"))?;
            self.has_its_process(&row)?;
        }
        let shown = tree.get(&key(ID)).await.map_err(|failure| failure.to_string())?;
        let (stored, shown) = ((row.phase, row.generation), &shown.project);
        if stored == (shown.phase, shown.generation) {
            Ok(at)
        } else {
            Err(format!("{stored:?} is stored, {} {} shown", shown.phase, shown.generation))
        }
    }

    /// That what runs in the sandbox is what the row says, once.
    fn has_its_process(&self, row: &Project) -> Outcome<()> {
        let jobs = self.engine.init(&row.sandbox).jobs();
        let running = jobs.iter().filter(|job| job.job == Job::Process && job.ended.is_none());
        let running: Vec<_> = running.map(|job| job.epoch).collect();
        let wanted = row.process.as_ref().filter(|record| record.wanted);
        let wanted: Vec<_> = wanted.map(|record| record.epoch).into_iter().collect();
        if running == wanted {
            Ok(())
        } else {
            Err(format!("processes {running:?} run, and {wanted:?} are wanted"))
        }
    }
}
