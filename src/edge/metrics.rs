//! Numbers for Prometheus. Labels come from sets that clients cannot grow: templates of
//! routes, known methods, known status codes.

mod fullness;

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use warp::http::{Method, StatusCode};

use super::context::Call;
use super::errors::Problem;
use super::reply::{self, Answered};

/// Requests that were answered.
const REQUESTS: &str = "sandtree_http_requests_total";
/// Time from a request's head to its response's head.
const SECONDS: &str = "sandtree_http_request_seconds";
/// Requests that wait for their response's head.
const IN_FLIGHT: &str = "sandtree_http_requests_in_flight";
/// Connections.
const CONNECTIONS: &str = "sandtree_http_connections";
/// Bounds of the histograms, in seconds: from a cheap read to a cold create.
const BUCKETS: [f64; 13] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0];

/// Makes this process's metrics go to Prometheus. Call [`PrometheusHandle::run_upkeep`]
/// now and then.
///
/// # Errors
///
/// When they go somewhere already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()
}

/// Renders all metrics.
///
/// # Errors
///
/// Where no recorder is installed.
pub async fn render(call: Call) -> Answered {
    call.principal()?;
    let handle = call.context.metrics.as_ref();
    let handle = handle.ok_or_else(|| Problem::not_implemented("a recorder of metrics"))?;
    fullness::show(&call.context);
    let text = reply::bytes(StatusCode::OK, handle.render());
    Ok(reply::typed(text, "text/plain; version=0.0.4; charset=utf-8"))
}

/// Counts a response.
pub(super) fn answered(route: &'static str, method: &Method, status: StatusCode, time: Duration) {
    let (method, status) = (label(method), known(status));
    counter!(REQUESTS, "route" => route, "method" => method, "status" => status).increment(1);
    histogram!(SECONDS, "route" => route, "method" => method).record(time.as_secs_f64());
}

fn label(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| method == known).unwrap_or("other")
}

/// What a server in a sandbox answers goes through a preview as it is, and has three digits.
fn known(status: StatusCode) -> String {
    status.canonical_reason().map_or("other", |_| status.as_str()).to_owned()
}

/// Counts a request while it lives.
pub(super) struct InFlight(&'static str);

impl InFlight {
    /// A request whose response is not there yet.
    pub(super) fn begin() -> Self {
        Self::of(IN_FLIGHT)
    }

    fn of(name: &'static str) -> Self {
        gauge!(name).increment(1.0);
        Self(name)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!(self.0).decrement(1.0);
    }
}

/// Counts a connection while it lives.
pub(crate) struct Connected {
    _count: InFlight,
}

impl Connected {
    /// A connection that was accepted.
    pub(crate) fn begin() -> Self {
        Self { _count: InFlight::of(CONNECTIONS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_has_more_values_than_are_known() {
        let all = (100..1000).filter_map(|code| StatusCode::from_u16(code).ok());
        let statuses: std::collections::BTreeSet<_> = all.map(known).collect();
        assert!(statuses.contains("404") && statuses.contains("other"), "{statuses:?}");
        assert!(statuses.len() < 70, "{statuses:?}");
        let odd = Method::from_bytes(b"PURGE").unwrap();
        assert_eq!([label(&odd), label(&Method::PUT)], ["other", "PUT"]);
    }
}
