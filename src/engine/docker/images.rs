//! Images: found on this machine, under an alias, or fetched from a registry,
//! and never waited for without a limit.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::future::{BoxFuture, FutureExt, Shared, WeakShared};
use futures_util::{Stream, StreamExt};
use sandtree_actors::Fullness;
use sandtree_actors::ports::EngineError;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::call::{Daemon, Trouble};

/// How long it is believed that an image is still there.
const KNOWN_FOR: Duration = Duration::from_secs(30);
/// Most bytes of an image's name.
const NAME_BYTES_MAX: usize = 300;

/// An image that is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    /// The name it was found under: the one asked for, or its alias.
    pub(super) name: Box<str>,
    /// Directories that it declares as volumes.
    pub(super) volumes: Vec<Box<str>>,
    /// Who its programs run as, in its own words; empty is root.
    pub(super) user: Box<str>,
}

/// How images are had.
#[derive(Debug, Clone)]
pub(super) struct ImageRules {
    pub(super) aliases: BTreeMap<Box<str>, Box<str>>,
    pub(super) pull_timeout: Duration,
    pub(super) pull_begin_timeout: Duration,
    /// Most images that are fetched at once.
    pub(super) pulls_max: usize,
    /// Most images that are remembered.
    pub(super) known_max: usize,
}

type Found = Result<Arc<Image>, EngineError>;
type Known = (Instant, Arc<Image>);
type Search = Shared<BoxFuture<'static, Found>>;

/// What is known of images, and the searches under way.
pub(super) struct Images {
    daemon: Arc<Daemon>,
    rules: ImageRules,
    known: Mutex<HashMap<Box<str>, Known>>,
    searches: Mutex<HashMap<Box<str>, WeakShared<BoxFuture<'static, Found>>>>,
    pulls: Semaphore,
}

impl Images {
    pub(super) fn new(daemon: Arc<Daemon>, rules: ImageRules) -> Arc<Self> {
        Arc::new(Self {
            daemon,
            pulls: Semaphore::new(rules.pulls_max),
            rules,
            known: Mutex::default(),
            searches: Mutex::default(),
        })
    }

    /// The image, fetched if need be. Whoever asks for the same one meanwhile
    /// shares the search and its outcome.
    pub(super) async fn ensure(self: &Arc<Self>, name: &str) -> Found {
        check_name(name)?;
        match self.remembered(name) {
            Some(image) => Ok(image),
            None => self.search(name).await,
        }
    }

    /// The image, if it is on this machine.
    pub(super) async fn local(&self, name: &str) -> Result<Option<Arc<Image>>, EngineError> {
        check_name(name)?;
        if let Some(image) = self.remembered(name) {
            return Ok(Some(image));
        }
        let alias = self.rules.aliases.get(name).map(|alias| &**alias);
        for candidate in [Some(name), alias].into_iter().flatten() {
            check_name(candidate)?;
            if let Some(image) = self.look_at(candidate).await? {
                self.remember(name, &image);
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    /// Forgets an image that turned out to be gone.
    pub(super) fn forget(&self, name: &str) {
        lock(&self.known).remove(name);
    }

    /// How many are being fetched, and how many are remembered.
    pub(super) fn fullness(&self) -> [Fullness; 2] {
        [
            Fullness::of_places("pulls", &self.pulls, self.rules.pulls_max),
            Fullness::of_one("images_known", lock(&self.known).len(), self.rules.known_max),
        ]
    }

    fn search(self: &Arc<Self>, name: &str) -> Search {
        let mut searches = lock(&self.searches);
        searches.retain(|_, search| search.upgrade().is_some_and(|search| search.peek().is_none()));
        if let Some(search) = searches.get(name).and_then(WeakShared::upgrade) {
            return search;
        }
        let (images, wanted) = (Arc::clone(self), Box::<str>::from(name));
        let search = async move { images.find_or_pull(&wanted).await }.boxed().shared();
        if let Some(weak) = search.downgrade() {
            searches.insert(name.into(), weak);
        }
        search
    }

    async fn find_or_pull(&self, name: &str) -> Found {
        if let Some(image) = self.local(name).await? {
            return Ok(image);
        }
        self.pull(name).await?;
        let pulled = self.local(name).await?;
        pulled.ok_or_else(|| unavailable(name, "it was fetched but is not there"))
    }

    async fn look_at(&self, name: &str) -> Result<Option<Arc<Image>>, EngineError> {
        let client = self.daemon.client()?;
        let found = match self.daemon.ask("image_inspect", client.inspect_image(name)).await {
            Ok(found) => found,
            Err(Trouble::Gone(_)) => return Ok(None),
            Err(trouble) => return Err(trouble.into()),
        };
        let config = found.config.unwrap_or_default();
        let volumes = config.volumes.unwrap_or_default();
        let volumes = volumes.into_iter().map(String::into_boxed_str).collect();
        let user = config.user.unwrap_or_default().into();
        Ok(Some(Arc::new(Image { name: name.into(), volumes, user })))
    }

    async fn pull(&self, name: &str) -> Result<(), EngineError> {
        let client = self.daemon.client()?;
        let mut options = CreateImageOptionsBuilder::default().from_image(name);
        if !has_tag(name) {
            // Without a tag the daemon would fetch every one that there is.
            options = options.tag("latest");
        }
        let end = Instant::now() + self.rules.pull_timeout;
        let _place = timeout_at(end, self.pulls.acquire())
            .await
            .map_err(|_| unavailable(name, "too many other images are being fetched"))?;
        tracing::info!(image = name, "fetching an image");
        let progress = client.create_image(Some(options.build()), None, None);
        self.follow(name, progress, end).await
    }

    async fn follow(
        &self,
        name: &str,
        progress: impl Stream<Item = Result<CreateImageInfo, bollard::errors::Error>>,
        end: Instant,
    ) -> Result<(), EngineError> {
        let mut progress = std::pin::pin!(progress);
        let begin_limit = self.rules.pull_begin_timeout;
        let mut step = timeout(begin_limit, progress.next()).await.map_err(|_| {
            let limit = humantime::format_duration(begin_limit);
            unavailable(name, &format!("no registry answered within {limit}"))
        })?;
        while let Some(item) = step {
            item.map_err(|error| match Trouble::from(error) {
                Trouble::Away(why) => EngineError::Away(why),
                Trouble::Gone(why) | Trouble::Conflict(why) | Trouble::Refused(why) => {
                    unavailable(name, &why)
                }
            })?;
            step = timeout_at(end, progress.next()).await.map_err(|_| {
                let limit = humantime::format_duration(self.rules.pull_timeout);
                unavailable(name, &format!("it was not fetched completely within {limit}"))
            })?;
        }
        Ok(())
    }

    fn remembered(&self, name: &str) -> Option<Arc<Image>> {
        let known = lock(&self.known);
        let (since, image) = known.get(name)?;
        (since.elapsed() < KNOWN_FOR).then(|| Arc::clone(image))
    }

    fn remember(&self, name: &str, image: &Arc<Image>) {
        let mut known = lock(&self.known);
        if known.len() >= self.rules.known_max {
            known.retain(|_, (since, _)| since.elapsed() < KNOWN_FOR);
        }
        if known.len() < self.rules.known_max {
            known.insert(name.into(), (Instant::now(), Arc::clone(image)));
        }
    }
}

/// The map is whole even if a thread panicked while it held the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The image cannot be had, with what to do about it.
pub(super) fn unavailable(name: &str, why: &str) -> EngineError {
    let why = format!(
        "it is not on this machine, and {why}; build it with `images/build`, \
         or check that the engine can reach the registry"
    );
    EngineError::Image { image: name.into(), why: why.into() }
}

/// Names become part of a path that bollard normalises: `../containers/x` would
/// ask for something else.
fn check_name(name: &str) -> Result<(), EngineError> {
    let fits = name.len() <= NAME_BYTES_MAX
        && name.split('/').all(|part| part.starts_with(|c: char| c.is_ascii_alphanumeric()))
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-:/@".contains(&c));
    if fits {
        return Ok(());
    }
    let why = format!(
        "it is not the name of an image: at most {NAME_BYTES_MAX} of a-z, 0-9 and ._-:/@, \
         each part beginning with a letter or digit"
    );
    Err(EngineError::Image {
        image: name.chars().take(64).collect::<String>().into(),
        why: why.into(),
    })
}

fn has_tag(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.contains([':', '@'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_lead_elsewhere_are_refused() {
        for good in ["busybox", "a/b:c", "localhost:5000/a/b@sha256:00", "python:3.11-slim"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for bad in
            ["", "../x", "a/../x", "a//b", "/a", "a/", "a?b", "a#b", "a b", "a%2e", "ä", &long]
        {
            assert!(matches!(check_name(bad), Err(EngineError::Image { .. })), "{bad}");
        }
    }

    #[test]
    fn a_port_is_not_a_tag() {
        assert!(has_tag("a:1") && has_tag("localhost:5000/a@sha256:00"));
        assert!(!has_tag("a") && !has_tag("localhost:5000/a"));
    }
}
