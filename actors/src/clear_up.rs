//! What is done about a create that failed, so that it leaves no project behind, and about
//! the project of a request that is over.
//!
//! It goes on in the background, because what made the create fail, such as a store
//! that is away, mostly fails the clearing up as well. A server that ends meanwhile
//! leaves it to the next one, which finds the row and settles it.

use std::time::Duration;

use sandtree_model::{Answer, Failure, Fault, Principal, ProjectKey, ProjectUid, Refusal};

use crate::ports::StoreError;
use crate::tree::Tree;

/// Attempts, and the pause between two: ten minutes in all.
const ATTEMPTS: usize = 600;
const EVERY: Duration = Duration::from_secs(1);

/// What a failed create has made.
pub(crate) enum Made {
    /// This project, and no later one of the same id.
    Project(ProjectKey, ProjectUid),
    /// A row with this uid, or nothing: the store did not answer.
    Perhaps {
        /// The identity that was chosen for it.
        uid: ProjectUid,
        /// Whether who asked can find it again. Then it is not taken back.
        has_idempotency_key: bool,
    },
    /// This project was of one request, which is over.
    Once(ProjectKey, ProjectUid),
}

/// Takes back what a failed create has made, or what a request has used.
pub(crate) fn clear_up(tree: &Tree, by: &Principal, made: Made) {
    let (tree, by) = (tree.clone(), by.clone());
    let tasks = tree.context().tasks.clone();
    tasks.spawn(async move {
        for _ in 0..ATTEMPTS {
            match attempt(&tree, &by, &made).await {
                Ok(()) | Err(Failure::Refused(Refusal::NotFound { .. })) => {
                    tree.context().forget_once(made.uid()).await;
                    return;
                }
                Err(failure) => tracing::warn!(%failure, "a project is not deleted yet"),
            }
            if tree.context().tasks.is_closed() {
                return;
            }
            tokio::time::sleep(EVERY).await;
        }
        tracing::error!(uid = %made.uid(), "a project was not deleted; delete it");
    });
}

async fn attempt(tree: &Tree, by: &Principal, made: &Made) -> Answer<()> {
    let (key, uid) = match made {
        Made::Project(key, uid) | Made::Once(key, uid) => (key.clone(), uid),
        Made::Perhaps { uid, has_idempotency_key } => {
            tree.context().earlier_writes_decided().await?;
            let row = tree.context().store.project_by_uid(uid).await;
            let row = row.map_err(|StoreError(why)| Fault::StoreAway(why))?;
            let Some(row) = row else { return Ok(()) };
            let key = row.key.clone();
            // Now it has actors, which settle it.
            tree.rouse_row(row).await?;
            if *has_idempotency_key {
                return Ok(());
            }
            (key, uid)
        }
    };
    tree.delete_made(by, &key, uid, made.why()).await
}

impl Made {
    fn uid(&self) -> &ProjectUid {
        match self {
            Made::Project(_, uid) | Made::Once(_, uid) | Made::Perhaps { uid, .. } => uid,
        }
    }

    fn why(&self) -> &'static str {
        match self {
            Made::Project(..) | Made::Perhaps { .. } => "could not be created",
            Made::Once(..) => "its request is over",
        }
    }
}
