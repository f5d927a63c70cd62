//! Ports and the URLs that lead to them.
//!
//! A sandbox has no port on the host: what listens in it is reached through this server. So
//! the host's port of every mapping is this server's own, and each URL is one of the
//! [`preview`](super::preview) proxy: with the port in its path, or without it for the port
//! that is active.

use std::collections::BTreeMap;

use sandtree_actors::View;
use serde::Deserialize;
use serde_json::{Value, json};
use warp::http::StatusCode;
use warp::http::header::HOST;

use super::project::{self, ACTIVE_PORT, PORTS};
use crate::edge::context::Call;
use crate::edge::errors::{Problem, kinds};
use crate::edge::forwarded;
use crate::edge::reply::{self, Answered};

/// Where a preview leads when no server has said where it listens.
pub(super) const PORT_DEFAULT: u16 = 3000;
/// The part of a preview's path in front of a port.
pub(super) const BY_PORT: &str = "_port";

/// Ports that are shown unless the client names others.
const EXPOSED: [u16; 5] = [3000, 3001, 5000, 8000, 8080];

#[derive(Debug, Deserialize)]
struct Query {
    port: Option<u16>,
}

/// Where the preview is, in the words of both versions of the contract.
///
/// # Errors
///
/// 404 without a container.
pub(super) async fn preview(call: Call) -> Answered {
    let Query { port } = call.query()?;
    let none = || Problem::new(kinds::NOT_FOUND, "Preview not available - container not found");
    let (_, key) = project::key(&call)?;
    let view = project::look_up(&call.context.tree, &key).await?.ok_or_else(none)?;
    let port = port.filter(|port| *port != 0).unwrap_or(PORT_DEFAULT);
    let active = active(&view);
    let direct = url_of(&call, active.unwrap_or(port));
    let body = json!({
        "url": path(&call),
        "preview_url": direct,
        "direct_url": direct,
        "port": port,
        "active_port": active,
        "auto_detected": active.is_some(),
        "routing_method": "reverse_proxy",
        "status": project::status(view.project.phase),
        "note": "url leads to the active port; direct_url has the port in its path",
    });
    Ok(reply::json(StatusCode::OK, &body))
}

/// Every port and its URL.
///
/// # Errors
///
/// 404 without a container.
pub(super) async fn all(call: Call) -> Answered {
    let view = project::find(&call).await?;
    let (name, _) = project::key(&call)?;
    let urls: BTreeMap<_, _> =
        shown(&view).into_iter().map(|port| (port, url_of(&call, port))).collect();
    let body = json!({
        "project_id": name,
        "active_port": active(&view),
        "port_mappings": mappings(&call, &view),
        "preview_urls": urls,
    });
    Ok(reply::json(StatusCode::OK, &body))
}

/// The port that a server of the project has announced.
pub(super) fn active(view: &View) -> Option<u16> {
    project::label(view, ACTIVE_PORT)?.parse().ok().filter(|port| *port != 0)
}

/// Ports of the container, and the host's port of each: this server's.
pub(super) fn mappings(call: &Call, view: &View) -> BTreeMap<u16, u16> {
    let host = host_port(call);
    shown(view).into_iter().map(|port| (port, host)).collect()
}

/// URLs: of the active port, as a path alone, and of each port.
pub(super) fn preview_urls(call: &Call, view: &View) -> BTreeMap<String, Value> {
    let named = [
        ("primary".to_owned(), format!("{}{}", origin(call), path(call))),
        ("reverse_proxy".to_owned(), path(call)),
    ];
    let numbered = shown(view).into_iter().map(|port| (port.to_string(), url_of(call, port)));
    named.into_iter().chain(numbered).map(|(name, url)| (name, url.into())).collect()
}

fn shown(view: &View) -> Vec<u16> {
    let own = project::label(view, PORTS);
    let own = own.map(|ports| ports.split(' ').filter_map(|port| port.parse().ok()).collect());
    let mut ports: Vec<u16> = own.unwrap_or_else(|| EXPOSED.to_vec());
    ports.extend(active(view).filter(|port| !ports.contains(port)));
    ports
}

/// The path of the preview, with the name as the client wrote it.
fn path(call: &Call) -> String {
    format!("{}{}/", super::PREVIEW, call.raw_param("id"))
}

fn url_of(call: &Call, port: u16) -> String {
    format!("{}{}{BY_PORT}/{port}/", origin(call), path(call))
}

/// Where clients reach this server: as it is configured, else as this request came. Empty
/// when neither is known; then URLs are paths.
fn origin(call: &Call) -> String {
    let configured = &call.context.settings.dialects.bharatbuild.public_url;
    if !configured.is_empty() {
        return configured.trim_end_matches('/').to_owned();
    }
    let host = call.headers.get(HOST).and_then(|value| value.to_str().ok());
    let scheme = if forwarded::is_https(&call.headers) { "https" } else { "http" };
    host.map_or(String::new(), |host| format!("{scheme}://{host}"))
}

fn host_port(call: &Call) -> u16 {
    port_of_origin(&origin(call))
}

fn port_of_origin(origin: &str) -> u16 {
    let (scheme, authority) = origin.split_once("://").unwrap_or(("http", origin));
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.unwrap_or(if scheme == "https" { 443 } else { 80 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_a_port() {
        for (origin, port) in [
            ("http://localhost:8080", 8080),
            ("https://ide.example.com", 443),
            ("http://ide.example.com", 80),
            ("http://[::1]:9000", 9000),
            ("http://[::1]", 80),
            ("", 80),
        ] {
            assert_eq!(port_of_origin(origin), port, "{origin}");
        }
    }
}
