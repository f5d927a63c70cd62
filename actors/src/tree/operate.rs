//! Operations on the life cycle, and changes of settings.

use sandtree_model::{Answer, Principal, ProjectKey, ProjectUid};

use super::enter::Admitted;
use super::{Operation, Tree};
use crate::ask::ask;
use crate::container::{Asked, ContainerMsg};
use crate::project::ProjectMsg;
use crate::request::PatchRequest;
use crate::view::View;

impl Tree {
    /// Does an operation and answers when it is done. Dropping the future does
    /// not undo it: the target is committed first, and the tree goes on.
    ///
    /// # Errors
    ///
    /// [`Refusal::WrongPhase`](sandtree_model::Refusal::WrongPhase), [`Refusal::Conflict`](sandtree_model::Refusal::Conflict) when a later request won, and
    /// faults.
    pub async fn operate(
        &self,
        by: &Principal,
        key: &ProjectKey,
        operation: Operation,
    ) -> Answer<View> {
        self.operate_because(by, key, Some(operation), "asked for".into(), false).await
    }

    /// As [`Tree::operate`], but answers as soon as the intent is committed.
    ///
    /// # Errors
    ///
    /// As [`Tree::operate`], as far as they are known by then.
    pub async fn operate_later(
        &self,
        by: &Principal,
        key: &ProjectKey,
        operation: Operation,
    ) -> Answer<View> {
        self.operate_because(by, key, Some(operation), "asked for".into(), true).await
    }

    /// As [`Tree::operate`], with the reason that is written down. Without an operation it
    /// waits until the project is made.
    pub(crate) async fn operate_because(
        &self,
        by: &Principal,
        key: &ProjectKey,
        operation: Option<Operation>,
        reason: Box<str>,
        later: bool,
    ) -> Answer<View> {
        let admitted = self.admit(key).await?;
        self.operate_admitted(by, &admitted, operation, reason, later).await?;
        Ok(admitted.hold.live().view())
    }

    /// Deletes this project, but no later one of the same id.
    pub(crate) async fn delete_made(
        &self,
        by: &Principal,
        key: &ProjectKey,
        uid: &ProjectUid,
        why: &str,
    ) -> Answer<()> {
        let admitted = self.admit(key).await?;
        if admitted.entry.live.row().uid != *uid {
            return Ok(());
        }
        let delete = Some(Operation::Delete { keep_files: false });
        self.operate_admitted(by, &admitted, delete, why.into(), false).await
    }

    async fn operate_admitted(
        &self,
        by: &Principal,
        admitted: &Admitted,
        operation: Option<Operation>,
        reason: Box<str>,
        later: bool,
    ) -> Answer<()> {
        let (limit, by) = (self.settings().operation_timeout, by.clone());
        ask(&admitted.entry.actor, limit, |reply| {
            let asked = Asked { operation, by, reason, later, reply };
            ProjectMsg::Container(ContainerMsg::Operate(asked))
        })
        .await?
    }

    /// Changes settings.
    ///
    /// # Errors
    ///
    /// [`Refusal::Invalid`](sandtree_model::Refusal::Invalid), and faults of the store.
    pub async fn patch(&self, key: &ProjectKey, patch: PatchRequest) -> Answer<View> {
        let admitted = self.admit(key).await?;
        self.ask_project(&admitted, |reply| {
            ProjectMsg::Container(ContainerMsg::Patch(Box::new(patch), reply))
        })
        .await?;
        Ok(admitted.hold.live().view())
    }
}
