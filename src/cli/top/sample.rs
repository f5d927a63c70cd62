//! What projects use at a moment.

use std::collections::HashMap;

use futures_util::{StreamExt as _, stream};
use sandtree_client::{Client, ClientError};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::cli::failed::Failed;
use crate::cli::remote::{get, project};

/// Most projects that are looked at.
pub(super) const PROJECTS_MAX: usize = 500;
/// Projects that are asked about at once.
const AT_ONCE: usize = 16;

/// What a running project uses.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Usage {
    /// Its id.
    pub(super) id: String,
    /// Since the sample before, in hundredths of a core; unknown in the first one.
    pub(super) cpu_percent: Option<f64>,
    /// Memory in use.
    pub(super) memory_bytes: u64,
    /// Memory that it may use.
    pub(super) memory_limit_bytes: u64,
    /// Processes and threads.
    pub(super) pids: u64,
    /// Processes and threads that it may have.
    pub(super) pids_limit: u64,
    /// Commands in flight.
    pub(super) execs: u64,
}

/// Takes samples, and knows the last one.
pub(super) struct Sampler {
    client: Client,
    before: HashMap<String, (Instant, u64)>,
    /// There are running projects beyond those that the last sample looked at.
    pub(super) is_cut: bool,
}

impl Sampler {
    /// Nothing is known yet.
    pub(super) fn new(client: Client) -> Self {
        Self { client, before: HashMap::new(), is_cut: false }
    }

    /// What the running projects use now; those that use most of the processor first.
    pub(super) async fn sample(&mut self) -> Result<Vec<Usage>, Failed> {
        let path = format!("/v1/projects?phase=running&limit={PROJECTS_MAX}");
        let page = get(&self.client, &path).await?;
        self.is_cut = !page["next_cursor"].is_null();
        let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ids = items.iter().filter_map(|item| item["id"].as_str());
        let client = &self.client;
        let asked = ids.map(|id| async move {
            let stats = get(client, &project(id, "stats?disk=false")).await;
            (id.to_owned(), Instant::now(), stats)
        });
        let stats: Vec<_> = stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
        let mut usages = Vec::new();
        let mut now = HashMap::new();
        for (id, at, stats) in stats {
            let stats = match stats {
                Ok(stats) => stats,
                // It has been stopped or removed meanwhile, or is being started anew.
                Err(ClientError::Refused(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            let Some(used_us) = stats["cpu"]["used_us"].as_u64() else { continue };
            let percent = self.before.get(&id).map(|before| percent(*before, (at, used_us)));
            usages.push(usage(id.clone(), percent, &stats));
            now.insert(id, (at, used_us));
        }
        self.before = now;
        usages.sort_by(|one, other| {
            let cpu = |usage: &Usage| usage.cpu_percent.unwrap_or_default();
            cpu(other).total_cmp(&cpu(one)).then_with(|| one.id.cmp(&other.id))
        });
        Ok(usages)
    }
}

fn usage(id: String, cpu_percent: Option<f64>, stats: &Value) -> Usage {
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    Usage {
        id,
        cpu_percent,
        memory_bytes: number(&stats["memory"]["used"]),
        memory_limit_bytes: number(&stats["memory"]["limit"]),
        pids: number(&stats["pids"]["used"]),
        pids_limit: number(&stats["pids"]["limit"]),
        execs: number(&stats["execs"]),
    }
}

/// Processor time between two moments, in hundredths of a core.
fn percent((then, used_then): (Instant, u64), (now, used_now): (Instant, u64)) -> f64 {
    // A sandbox that was started anew has used less than before.
    let used_us = used_now.saturating_sub(used_then);
    let passed_us = now.duration_since(then).as_secs_f64() * 1e6;
    #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
    let percent = used_us as f64 / passed_us.max(1.0) * 100.0;
    (percent * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sandtree_client::Limits;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A server that answers every GET with the document of its path.
    async fn server(documents: &'static [(&'static str, &'static str)]) -> Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut head = vec![0; 4096];
                let read = connection.read(&mut head).await.unwrap();
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                let found = documents.iter().find(|(path, _)| head.contains(path));
                let document = found.map_or("{}", |(_, document)| document);
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{document}",
                    document.len()
                );
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Client::new(address.into(), Limits::default())
    }

    #[tokio::test]
    async fn more_projects_than_are_looked_at_are_not_kept_quiet() {
        let stats = ("/v1/projects/a/stats", r#"{"cpu": {"used_us": 1}}"#);
        let all = ("/v1/projects?", r#"{"items": [{"id": "a"}], "next_cursor": null}"#);
        let cut = ("/v1/projects?", r#"{"items": [{"id": "a"}], "next_cursor": "a"}"#);
        for (documents, is_cut) in [([stats, all], false), ([stats, cut], true)] {
            let mut sampler = Sampler::new(server(documents.to_vec().leak()).await);
            let usages = sampler.sample().await.unwrap();
            assert_eq!((usages.len(), sampler.is_cut), (1, is_cut));
        }
    }

    #[test]
    fn a_core_in_full_use_is_a_hundred_percent() {
        let then = Instant::now();
        let now = then + Duration::from_secs(2);
        let used = |used_us| percent((then, 1_000_000), (now, used_us)).to_string();
        assert_eq!((used(3_000_000), used(2_000_000)), ("100".to_owned(), "50".to_owned()));
        assert_eq!(used(5), "0");
    }
}
