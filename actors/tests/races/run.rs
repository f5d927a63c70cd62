//! Runs a case on a real tree.

use sandtree_actors::ports::Clock as _;

use crate::case::Case;
use crate::model::{At, may_end_later};
use crate::rest::{Outcome, REST_WITHIN};
use crate::trace;
use crate::world::{Begun, World, paused};

/// Runs a case; what was wrong.
pub(crate) fn run(case: &Case) -> Outcome<()> {
    trace::clear();
    let mut runtime = paused();
    let world = runtime.block_on(async { World::new() });
    let mut tree = runtime.block_on(world.spawn());
    let (mut at, mut process_may_end) = (At::default(), false);
    for round in &case.rounds {
        let mut acts = runtime.block_on(world.play(&tree, round));
        runtime.block_on(answers(&mut acts))?;
        if round.crash_after_ms.is_some() {
            let now = runtime.block_on(async { world.clock.now() });
            drop(tree);
            // All its tasks are gone with their runtime, at whatever they waited for.
            drop(runtime);
            runtime = paused();
            runtime.block_on(async { world.clock.go_on_from(now) });
            world.engine.move_to(runtime.handle());
            world.end_faults();
            tree = runtime.block_on(world.spawn());
        } else {
            world.end_faults();
        }
        let known: Vec<_> = acts.iter().map(|begun| (begun.act, begun.answered)).collect();
        let rest = world.comes_to_rest(&tree, at, round, &known, process_may_end);
        at = runtime.block_on(rest)?;
        process_may_end = may_end_later(process_may_end, &known, at);
    }
    runtime.block_on(world.tell());
    Ok(())
}

async fn answers(acts: &mut [Begun]) -> Outcome<()> {
    for begun in acts {
        let Some(answer) = begun.answer.take() else { continue };
        let answered = tokio::time::timeout(REST_WITHIN, answer).await;
        let answered = answered.map_err(|_| format!("{:?} is not answered", begun.act))?;
        begun.answered = answered.map_err(|error| format!("{:?}: {error}", begun.act))?;
    }
    Ok(())
}
