//! Making a project, with a sandbox of the pool if there is one like it.

use rand::TryRngCore as _;
use sandtree_model::{
    Answer, Failure, Fault, NewProject, Principal, Project, ProjectKey, ProjectUid, Refusal, Target,
};

use super::{Operation, Tree};
use crate::clear_up::{Made, clear_up};
use crate::pool::Claimed;
use crate::ports::{Write, Written};
use crate::request::CreateRequest;
use crate::shape::Shape;
use crate::stages::{self, timed};
use crate::view::View;

impl Tree {
    /// Makes a project; the flag is false when an earlier request with the same
    /// idempotency key had made it. With `start`, answers once it runs. A request
    /// that is answered with an error leaves no project behind.
    ///
    /// # Errors
    ///
    /// [`Refusal::Exists`], [`Refusal::Invalid`], and faults of the engine.
    ///
    /// # Cancel safety
    ///
    /// What was begun goes on when its asker is gone: a row that nobody drives would
    /// stay as it is.
    pub async fn create(&self, by: &Principal, request: CreateRequest) -> Answer<(View, bool)> {
        self.create_with(by, request, fresh_uid()?).await
    }

    /// As [`Tree::create`], with an identity that the caller has chosen.
    pub(crate) async fn create_with(
        &self,
        by: &Principal,
        request: CreateRequest,
        uid: ProjectUid,
    ) -> Answer<(View, bool)> {
        let (tree, by) = (self.clone(), by.clone());
        let creating = async move { tree.create_whole(&by, request, uid).await };
        let made = self.context().tasks.spawn(creating);
        made.await.unwrap_or_else(|error| Err(Fault::Internal(error.to_string().into()).into()))
    }

    async fn create_whole(
        &self,
        by: &Principal,
        request: CreateRequest,
        uid: ProjectUid,
    ) -> Answer<(View, bool)> {
        self.check_owner()?;
        let began = tokio::time::Instant::now();
        let mut new = self.new_project(by, &request, uid)?;
        if request.start && !*self.context().engine_is_here.borrow() {
            self.context().check_engine().await?;
        }
        let _tenant_place = self.tenant_place(&by.tenant)?;
        let claimed = if request.start { self.claim(&mut new).await } else { None };
        if claimed.is_none() {
            let profile = self.context().profile(&new.settings.profile)?;
            new.owner = self.context().owner_of(profile, &new.settings.image).await?;
        }
        stages::note("admission", began);
        let (uid, has_idempotency_key) = (new.uid.clone(), new.idempotency.is_some());
        let writing = self.context().write(None, Write::Create(Box::new(new)));
        let written = match timed("commit", writing).await {
            Ok(written) => written,
            Err(failure) => {
                if let Failure::Faulted(_) = &failure {
                    // It may be written all the same.
                    claimed.into_iter().for_each(Claimed::abandon);
                    clear_up(self, by, Made::Perhaps { uid, has_idempotency_key });
                }
                return Err(failure);
            }
        };
        let row = match written {
            Written::Row(row) => row,
            Written::Repeated(row) => {
                if !row.is_at_rest() {
                    self.rouse(&row.key).await?;
                }
                return Ok((self.get(&row.key).await?, false));
            }
            Written::Taken(row) => return Err(taken(&row).into()),
            Written::KeyReused => {
                let why = "the idempotency key was used for a different request";
                return Err(Refusal::Conflict { why: why.into() }.into());
            }
            Written::NoOwnerLeft => {
                let why = "the range of uids for sandboxes is used up; an operator has to widen it";
                return Err(Fault::StoreAway(why.into()).into());
            }
            Written::Done | Written::Owner(_) | Written::Stale => return Err(odd_outcome().into()),
        };
        let (key, uid) = (row.key.clone(), row.uid.clone());
        // A stop would undo a start that somebody else has asked for since the commit.
        let operation = request.start.then_some(Operation::Start);
        let made = self.make(*row, claimed, by, operation).await;
        if made.is_err() {
            clear_up(self, by, Made::Project(key, uid));
        }
        if request.start {
            stages::note("ready", began);
        }
        Ok((made?, true))
    }

    /// A ready sandbox for a new project, if there is one like it.
    async fn claim(&self, new: &mut NewProject) -> Option<Claimed> {
        if !self.settings().pool_sizes.contains_key(&new.settings.profile) {
            return None;
        }
        let claimed = self.context().pool()?.claim(Shape::of(&new.settings)).await?;
        let (sandbox, owner, container) = claimed.parts()?;
        new.sandbox = sandbox.clone();
        new.owner = Some(owner);
        new.container = Some(container.clone());
        Some(claimed)
    }

    async fn make(
        &self,
        row: Project,
        claimed: Option<Claimed>,
        by: &Principal,
        operation: Option<Operation>,
    ) -> Answer<View> {
        let key = row.key.clone();
        self.enter_with(&key, Some((row, claimed.and_then(Claimed::keep)))).await?;
        self.operate_because(by, &key, operation, "created".into(), false).await
    }

    fn new_project(
        &self,
        by: &Principal,
        request: &CreateRequest,
        uid: ProjectUid,
    ) -> Answer<NewProject> {
        let name = request.profile.as_deref().unwrap_or("default");
        let profile = self.context().profile(name)?;
        let settings = request.settings(name, profile, self.context().settings.network_max)?;
        let id = match &request.id {
            Some(id) => id.clone(),
            None => opaque("p")?.parse().map_err(|_| odd_outcome())?,
        };
        Ok(NewProject {
            uid,
            key: ProjectKey { tenant: by.tenant.clone(), id },
            target: if request.start { Target::Running } else { Target::Stopped },
            settings,
            sandbox: opaque("")?.parse().map_err(|_| odd_outcome())?,
            owner: None,
            container: None,
            idempotency: request.idempotency.clone(),
            principal: by.name.clone(),
            at: self.context().clock.now(),
        })
    }
}

fn taken(row: &Project) -> Refusal {
    if row.target.is_delete() {
        let why = "a project with this id is still being deleted; try again in a moment";
        return Refusal::Conflict { why: why.into() };
    }
    Refusal::Exists { what: format!("project \"{}\"", row.key.id).into() }
}

pub(super) fn odd_outcome() -> Fault {
    Fault::Internal("the store answered something else".into())
}

/// A fresh identity.
pub(crate) fn fresh_uid() -> Answer<ProjectUid> {
    Ok(opaque("")?.parse().map_err(|_| odd_outcome())?)
}

/// A fresh opaque text of 20 characters, or of `prefix` and 19.
pub(crate) fn opaque(prefix: &str) -> Answer<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0_u8; sandtree_model::ids::UID_CHARS];
    let filled = rand::rngs::OsRng.try_fill_bytes(&mut bytes);
    filled.map_err(|error| Fault::Internal(error.to_string().into()))?;
    let letters = bytes.iter().map(|byte| LETTERS[usize::from(byte % 32)] as char);
    Ok(prefix.chars().chain(letters.skip(prefix.len())).collect())
}
