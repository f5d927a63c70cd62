//! Trying again while a server is away.

use std::time::Duration;

use tokio::time::Instant;

/// Pause before the second attempt; it doubles from attempt to attempt.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A server that is away for longer is given up.
const PATIENCE: Duration = Duration::from_secs(600);

/// Attempts to reach a server that was there before.
#[derive(Debug, Default)]
pub(super) struct Retry {
    since: Option<Instant>,
    attempts: u32,
    is_said: bool,
}

impl Retry {
    /// Whether it is time to say that the server is away: once.
    pub(super) fn may_say_so(&mut self) -> bool {
        !std::mem::replace(&mut self.is_said, true)
    }

    /// Whether another attempt is worth it.
    pub(super) fn may_go_on(&self) -> bool {
        self.since.is_none_or(|since| since.elapsed() < PATIENCE)
    }

    /// How long it has been tried.
    pub(super) fn elapsed(&self) -> Duration {
        self.since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// Waits before the next attempt.
    pub(super) async fn pause(&mut self) {
        self.since.get_or_insert_with(Instant::now);
        let pause = PAUSE.saturating_mul(2_u32.saturating_pow(self.attempts)).min(PAUSE_MAX);
        self.attempts += 1;
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn attempts_become_rarer_and_end() {
        let mut retry = Retry::default();
        assert!(retry.may_say_so() && !retry.may_say_so());
        let mut attempts = 0;
        while retry.may_go_on() {
            retry.pause().await;
            attempts += 1;
        }
        assert!((300..320).contains(&attempts), "{attempts}");
        assert!(retry.elapsed() >= PATIENCE);
    }
}
