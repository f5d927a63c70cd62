//! The one door to work that blocks, which is work on the disk.

use std::ops::Deref;
use std::panic::AssertUnwindSafe;

use sandtree_model::{Answer, Fault};
use tokio::runtime::{Handle, RuntimeFlavor};

#[cfg(test)]
pub(crate) mod lingering;
#[cfg(test)]
mod tests;

/// Does work that blocks, on a thread where that holds up nobody. A runtime of a single
/// thread does it at once: it has chosen one order of all that happens, so that a test
/// can have the same again. The server's has several.
///
/// # Errors
///
/// When the work panicked.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let panicked = || Fault::Internal("work on the disk panicked; the log says where".into());
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        // What the work had borrowed is not used after a panic.
        return std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| panicked());
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| panicked())
}

/// Begins work that blocks and that nobody waits for.
pub(crate) fn begin(work: impl FnOnce() + Send + 'static) {
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() != RuntimeFlavor::CurrentThread => {
            drop(runtime.spawn_blocking(work));
        }
        Ok(_) | Err(_) => work(),
    }
}

/// As [`blocking`], for work that the disk may refuse.
pub(crate) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Answer<T> {
    Ok(blocking(work).await?.map_err(|error| Fault::Disk(error.to_string().into()))?)
}

/// Something that is let go of where that holds up nobody, such as a file or a directory
/// of a workspace: whoever closes one last that was removed meanwhile frees what it takes
/// on the disk, and code in a sandbox decides how long that takes.
#[derive(Debug)]
pub struct Aside<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Aside<T> {
    /// Holds it until it is dropped.
    #[must_use]
    pub fn new(thing: T) -> Self {
        Self(Some(thing))
    }
}

impl<T: Send + 'static> Deref for Aside<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl<T: Send + 'static> Drop for Aside<T> {
    fn drop(&mut self) {
        let thing = self.0.take();
        begin(move || drop(thing));
    }
}
