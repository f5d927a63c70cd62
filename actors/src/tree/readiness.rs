//! Whether engine and store answer. Nobody needs a key to ask, so however many ask, each
//! is asked once at a time: places at the engine are for those who work.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use super::Tree;
use crate::context::Context;
use crate::ports::StoreError;

/// What the server stands on, by name, and what is wrong with it.
type Parts = Vec<(&'static str, Result<(), Box<str>>)>;
type Asked = BoxFuture<'static, Parts>;

/// Those who are being asked, as long as somebody waits for the answer.
#[derive(Default)]
pub(super) struct Readiness(Mutex<Option<WeakShared<Asked>>>);

impl Readiness {
    fn join(&self, ask: impl FnOnce() -> Asked) -> Shared<Asked> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = latest.as_ref().and_then(WeakShared::upgrade);
        if let Some(asked) = asked.filter(|asked| asked.peek().is_none()) {
            return asked;
        }
        let asked = ask().shared();
        *latest = asked.downgrade();
        asked
    }
}

impl Tree {
    /// Whether engine and store answer, for `/ready`: name, and what is wrong.
    pub async fn readiness(&self) -> Parts {
        let context = Arc::clone(self.context());
        self.0.readiness.join(|| ask(context).boxed()).await
    }
}

async fn ask(context: Arc<Context>) -> Parts {
    let engine = context.check_engine().await;
    let store = context.store.ping().await;
    vec![
        ("engine", engine.map_err(|failure| failure.to_string().into())),
        ("store", store.map_err(|StoreError(why)| why)),
    ]
}
