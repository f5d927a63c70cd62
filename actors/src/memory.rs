//! What the allocator keeps.

/// Gives memory that is free back to the kernel.
///
/// glibc does so by itself only at the end of a thread's heap: one small piece that lives
/// keeps everything below it, so a server would stay as large as it was at its busiest.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "no crate offers this call without")]
    // SAFETY: touches only what the allocator has free.
    unsafe {
        libc::malloc_trim(0);
    }
}
