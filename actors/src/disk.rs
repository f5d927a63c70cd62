//! The one door to work that blocks, which is work on the disk.

use std::panic::AssertUnwindSafe;

use sandtree_model::{Answer, Fault};
use tokio::runtime::{Handle, RuntimeFlavor};

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

/// As [`blocking`], for work that the disk may refuse.
pub(crate) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Answer<T> {
    Ok(blocking(work).await?.map_err(|error| Fault::Disk(error.to_string().into()))?)
}
