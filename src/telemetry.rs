//! Log lines, to standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::Log;
use crate::engine::docker::LOG_DIRECTIVE;

/// Makes the log go to standard error.
///
/// # Errors
///
/// When it goes somewhere already.
pub fn install(log: &Log) -> Result<(), TryInitError> {
    let filter = filter(&log.level);
    let registry = tracing_subscriber::registry().with(filter);
    if log.json {
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
        registry.with(lines.with_writer(std::io::stderr)).try_init()
    } else {
        let colours = std::io::stderr().is_terminal();
        let lines = tracing_subscriber::fmt::layer().with_ansi(colours);
        let lines = lines.with_writer(std::io::stderr);
        registry.with(lines).try_init()
    }
}

/// The directives of the configuration, which was checked, with ours before them: bollard
/// would log the bodies of requests, in which there may be secrets.
fn filter(level: &str) -> Targets {
    let ours: Targets = LOG_DIRECTIVE.parse().unwrap_or_default();
    let given: Targets = level.parse().unwrap_or_default();
    let default = given.default_level();
    let filter = ours.with_targets(given);
    match default {
        Some(level) => filter.with_default(level),
        None => filter,
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_level_for_everything_leaves_bodies_of_requests_out() {
        let all = filter("trace");
        assert!(all.would_enable("sandtree::edge", &Level::TRACE));
        assert!(!all.would_enable("bollard::uri", &Level::DEBUG));
        let part = filter("warn,sandtree::edge=debug");
        assert!(part.would_enable("sandtree::edge::front", &Level::DEBUG));
        assert!(!part.would_enable("sandtree::store", &Level::INFO));
    }
}
