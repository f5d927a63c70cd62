//! Changes of settings: one after another, each of what the one before it left.

use std::sync::Arc;

use ractor::RpcReplyPort;
use sandtree_model::{Answer, Phase};
use tokio::sync::Semaphore;

use super::{State, boot};
use crate::context::Context;
use crate::live::Live;
use crate::ports::Write;
use crate::request::PatchRequest;

impl State {
    /// Changes the settings, in the order of asking.
    pub(super) fn patch(&mut self, request: PatchRequest, reply: RpcReplyPort<Answer<()>>) {
        let (context, live) = (Arc::clone(&self.context), Arc::clone(&self.live));
        let (patching, telling) = (Arc::clone(&self.patching), Arc::clone(&self.telling));
        self.tasks.spawn(async move {
            // It is never closed.
            let _one = patching.acquire().await;
            let _ = reply.send(change(&context, &live, &telling, request).await);
        });
    }
}

async fn change(
    context: &Context,
    live: &Arc<Live>,
    telling: &Semaphore,
    request: PatchRequest,
) -> Answer<()> {
    let row = live.row();
    let patch = request.of(&row.settings, context.clock.now())?;
    let env_changed = patch.env.is_some();
    context.write(Some(live), Write::Patch(row.uid.clone(), Box::new(patch))).await?;
    if env_changed { tell_init(context, live, telling).await } else { Ok(()) }
}

/// Tells init of a changed environment. One that is frozen, or whose link is being made,
/// is told by the task that brings up its link, which looks at the row then.
async fn tell_init(context: &Context, live: &Live, telling: &Semaphore) -> Answer<()> {
    // It is never closed.
    let _one = telling.acquire().await;
    let row = live.row();
    let listens = matches!(row.phase, Phase::Starting | Phase::Running);
    let Some(link) = live.lent.open_link().filter(|_| listens) else {
        return Ok(());
    };
    link.configure(boot::configuration(context, &row)).await.map(drop)
}
