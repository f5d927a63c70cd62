//! Changes of settings: one after another, each of what the one before it left.

use std::sync::Arc;

use ractor::RpcReplyPort;
use sandtree_model::Answer;

use super::{State, boot};
use crate::context::Context;
use crate::link::Link;
use crate::live::Live;
use crate::ports::Write;
use crate::request::PatchRequest;

impl State {
    /// Changes the settings, in the order of asking.
    pub(super) fn patch(&mut self, request: PatchRequest, reply: RpcReplyPort<Answer<()>>) {
        let (context, live) = (Arc::clone(&self.context), Arc::clone(&self.live));
        let (patching, link) = (Arc::clone(&self.patching), self.link.clone());
        self.tasks.spawn(async move {
            // It is never closed.
            let _one = patching.acquire().await;
            let _ = reply.send(change(&context, &live, link, request).await);
        });
    }
}

async fn change(
    context: &Context,
    live: &Arc<Live>,
    link: Option<Arc<Link>>,
    request: PatchRequest,
) -> Answer<()> {
    let row = live.row();
    let patch = request.of(&row.settings, context.clock.now())?;
    let env_changed = patch.env.is_some();
    context.write(Some(live), Write::Patch(row.uid.clone(), Box::new(patch))).await?;
    if let (true, Some(link)) = (env_changed, link) {
        link.configure(boot::configuration(context, &live.row())).await?;
    }
    Ok(())
}
