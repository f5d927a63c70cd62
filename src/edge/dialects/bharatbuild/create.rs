//! Making a container, or finding the one that is there.

use std::time::Duration;

use sandtree_actors::{CreateRequest, PatchRequest, View};
use sandtree_model::durations::{LONGEST, Timeout};
use sandtree_model::project::{Texts, TextsPatch};
use sandtree_model::{
    Failure, LimitsPatch, Network, Phase, ProjectId, ProjectKey, Refusal, limits,
};
use serde::Deserialize;
use serde_json::{Value, json};
use warp::http::StatusCode;

use super::ports;
use super::project::{self, COMMAND_TIMEOUT, DELETED, PORTS, TYPE};
use super::sizes::{Size, millis};
use crate::edge::body::parse_value;
use crate::edge::context::Call;
use crate::edge::errors::Problem;
use crate::edge::exec::TIMEOUT_MAX;
use crate::edge::reply::{self, Answered};
use crate::edge::time::rfc3339;

/// The profile of this dialect's projects.
const PROFILE: &str = "bharatbuild";
/// The type of a project whose type is not told, or not known.
const TYPE_DEFAULT: &str = "node";
/// Longest name of a type, in bytes.
const TYPE_BYTES_MAX: usize = 64;
/// Most ports that a client can ask for.
const PORTS_MAX: usize = 32;
/// How often a create that lost a race looks again.
const ATTEMPTS: usize = 3;

/// The body in its nested form. In the flat one the fields of `config` stand beside it; what
/// stands in it wins.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CreateBody {
    project_type: Option<String>,
    config: Option<Config>,
}

/// What a client can say about a container. Its capabilities, and whether it has a root file
/// system that can be written, are the profile's.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
struct Config {
    memory_limit: Option<Size>,
    cpu_limit: Option<f64>,
    /// Seconds.
    idle_timeout: Option<u64>,
    /// Seconds.
    max_lifetime: Option<u64>,
    /// Seconds.
    command_timeout: Option<u64>,
    network_enabled: Option<bool>,
    exposed_ports: Option<Vec<u16>>,
    privileged: Option<bool>,
}

/// A body that was checked.
#[derive(Debug, PartialEq)]
struct Wanted {
    project_type: String,
    limits: LimitsPatch,
    idle_timeout: Option<Timeout>,
    max_lifetime: Option<Timeout>,
    network: Option<Network>,
    labels: Vec<(&'static str, Option<String>)>,
}

/// Makes a container that runs. One that runs already is left as it is; one that is
/// stopped gets what the body says, and is started.
///
/// # Errors
///
/// 422 naming the field, 503 when Docker is away.
pub(super) async fn create(mut call: Call) -> Answered {
    let wanted = Wanted::read(&call.json_or_empty().await?)?;
    let (name, key) = project::key(&call)?;
    let by = call.principal()?.clone();
    let tree = &call.context.tree;
    let mut last = None;
    for _ in 0..ATTEMPTS {
        if let Some(view) = project::look_below(tree, &key).await? {
            let view = reuse(&call, view, &wanted).await?;
            return Ok(created(&call, &name, &view));
        }
        match tree.create(&by, request(&call, &name, &key, &wanted)).await {
            Ok((view, _)) => return Ok(created(&call, &name, &view)),
            // Somebody else was first, or a deletion is not over.
            Err(Failure::Refused(refusal @ Refusal::Exists { .. })) => last = Some(refusal),
            Err(failure) => return Err(failure.into()),
        }
    }
    let gone = || Refusal::Conflict { why: "the container comes and goes; try again".into() };
    Err(last.unwrap_or_else(gone).into())
}

async fn reuse(call: &Call, view: View, wanted: &Wanted) -> Result<View, Problem> {
    let tree = &call.context.tree;
    if view.project.phase == Phase::Running && project::label(&view, DELETED).is_none() {
        if project::label(&view, TYPE).is_some() {
            return Ok(view);
        }
        // Of another dialect until now: from here on its preview is shown.
        return project::set_labels(tree, &view.project.key, wanted.labels.iter().cloned()).await;
    }
    let changes = wanted.labels.iter().cloned().chain([(DELETED, None)]);
    let patch = PatchRequest {
        image: image(call, wanted),
        env: TextsPatch::new(),
        labels: project::labels(changes),
        limits: wanted.limits,
        idle_timeout: wanted.idle_timeout,
        max_lifetime: wanted.max_lifetime,
    };
    let view = tree.patch(&view.project.key, patch).await?;
    project::ensure_running(tree, call.principal()?, view).await
}

fn request(call: &Call, name: &str, key: &ProjectKey, wanted: &Wanted) -> CreateRequest {
    let user = call.principal().map_or("anonymous", |by| &by.name);
    let label =
        |(name, value): &(&str, Option<String>)| Some(((*name).into(), value.as_deref()?.into()));
    CreateRequest {
        id: Some(key.id.clone()),
        name: name.parse::<ProjectId>().is_err().then(|| name.into()),
        profile: Some(PROFILE.into()),
        image: image(call, wanted),
        env: Texts::from([("PROJECT_ID".into(), name.into()), ("USER_ID".into(), user.into())]),
        labels: wanted.labels.iter().filter_map(label).collect(),
        limits: wanted.limits,
        network: wanted.network,
        idle_timeout: wanted.idle_timeout,
        max_lifetime: wanted.max_lifetime,
        start: true,
        idempotency: None,
    }
}

fn image(call: &Call, wanted: &Wanted) -> Option<Box<str>> {
    let images = &call.context.settings.dialects.bharatbuild.images;
    let image = images.get(wanted.project_type.as_str()).or_else(|| images.get(TYPE_DEFAULT));
    image.cloned()
}

fn created(call: &Call, name: &str, view: &View) -> reply::Response {
    let limits = &view.project.settings.limits;
    #[expect(clippy::cast_precision_loss, reason = "thousandths of cores are few")]
    let cpu_limit = limits.cpu_millis as f64 / 1000.0;
    let mappings = ports::mappings(call, view);
    let body = json!({
        "container_id": project::container_id(view),
        "project_id": name,
        "status": project::status(view.project.phase),
        "ports": mappings,
        "port_mappings": mappings,
        "preview_urls": ports::preview_urls(call, view),
        "created_at": rfc3339(view.project.created_at),
        "memory_limit": Size(limits.memory_bytes).to_string(),
        "cpu_limit": cpu_limit,
    });
    reply::json(StatusCode::OK, &body)
}

impl Wanted {
    fn read(body: &Value) -> Result<Self, Problem> {
        let CreateBody { project_type, config } = parse_value(body)?;
        let config: Config = config.unwrap_or_default().over(parse_value(body)?);
        let project_type = project_type.unwrap_or_else(|| TYPE_DEFAULT.to_owned());
        if project_type.is_empty() || project_type.len() > TYPE_BYTES_MAX {
            let problem = format!("must have 1 to {TYPE_BYTES_MAX} bytes");
            return Err(Problem::field("project_type", problem));
        }
        if config.privileged == Some(true) {
            return Err(Problem::field("privileged", "no container can have it"));
        }
        check_cores(config.cpu_limit)?;
        check_memory(config.memory_limit)?;
        let command_timeout = seconds("command_timeout", config.command_timeout, TIMEOUT_MAX)?;
        Ok(Self {
            limits: LimitsPatch {
                memory_bytes: config.memory_limit.map(|Size(bytes)| bytes),
                cpu_millis: config.cpu_limit.map(millis),
                ..LimitsPatch::default()
            },
            idle_timeout: timeout("idle_timeout", config.idle_timeout)?,
            max_lifetime: timeout("max_lifetime", config.max_lifetime)?,
            network: config
                .network_enabled
                .map(|on| if on { Network::Bridge } else { Network::None }),
            labels: vec![
                (TYPE, Some(project_type.clone())),
                (PORTS, exposed(config.exposed_ports)?),
                (COMMAND_TIMEOUT, command_timeout.map(|timeout| timeout.as_secs().to_string())),
            ],
            project_type,
        })
    }
}

impl Config {
    /// This, and where it says nothing, the other.
    fn over(self, other: Self) -> Self {
        Self {
            memory_limit: self.memory_limit.or(other.memory_limit),
            cpu_limit: self.cpu_limit.or(other.cpu_limit),
            idle_timeout: self.idle_timeout.or(other.idle_timeout),
            max_lifetime: self.max_lifetime.or(other.max_lifetime),
            command_timeout: self.command_timeout.or(other.command_timeout),
            network_enabled: self.network_enabled.or(other.network_enabled),
            exposed_ports: self.exposed_ports.or(other.exposed_ports),
            privileged: self.privileged.or(other.privileged),
        }
    }
}

/// The ranges are the core's; here they are told in this contract's words.
fn check_cores(given: Option<f64>) -> Result<(), Problem> {
    let range = limits::cores();
    let problem = || {
        let problem = format!("must be from {} to {} cores", range.start(), range.end());
        Problem::field("cpu_limit", problem)
    };
    if given.is_none_or(|cores| range.contains(&cores)) { Ok(()) } else { Err(problem()) }
}

fn check_memory(given: Option<Size>) -> Result<(), Problem> {
    let [(_, range), ..] = limits::RANGES;
    let problem = || {
        let [least, most] = [Size(*range.start()), Size(*range.end())];
        Problem::field("memory_limit", format!("must be from {least} to {most}"))
    };
    if given.is_none_or(|Size(bytes)| range.contains(&bytes)) { Ok(()) } else { Err(problem()) }
}

fn timeout(field: &'static str, given: Option<u64>) -> Result<Option<Timeout>, Problem> {
    Ok(seconds(field, given, LONGEST)?.map(Timeout::After))
}

fn seconds(
    field: &'static str,
    given: Option<u64>,
    max: Duration,
) -> Result<Option<Duration>, Problem> {
    let Some(given) = given else { return Ok(None) };
    let time = Duration::from_secs(given);
    let problem = || Problem::field(field, format!("must be from 1 to {} seconds", max.as_secs()));
    if given == 0 || time > max { Err(problem()) } else { Ok(Some(time)) }
}

fn exposed(ports: Option<Vec<u16>>) -> Result<Option<String>, Problem> {
    let Some(ports) = ports else { return Ok(None) };
    if ports.len() > PORTS_MAX || ports.contains(&0) {
        let problem = format!("must have at most {PORTS_MAX} ports from 1 to 65535");
        return Err(Problem::field("exposed_ports", problem));
    }
    let words: Vec<_> = ports.iter().map(u16::to_string).collect();
    Ok(Some(words.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Result<Wanted, Problem> {
        Wanted::read(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_body_is_flat_or_nested_and_what_is_nested_wins() {
        let flat = wanted(r#"{"memory_limit": "256m", "cpu_limit": 0.25}"#).unwrap();
        let nested = wanted(r#"{"config": {"memory_limit": "256m", "cpu_limit": 0.25}}"#).unwrap();
        assert_eq!(flat, nested);
        assert_eq!(flat.limits.memory_bytes, Some(256 << 20));
        assert_eq!(flat.limits.cpu_millis, Some(250));
        assert_eq!(flat.project_type, "node");

        let both = r#"{"project_type": "python", "memory_limit": "1g", "cpu_limit": 1,
                       "config": {"memory_limit": "256m"}}"#;
        let both = wanted(both).unwrap();
        assert_eq!(both.limits.memory_bytes, Some(256 << 20));
        assert_eq!(both.limits.cpu_millis, Some(1000));
        assert_eq!(both.project_type, "python");
    }

    #[test]
    fn everything_of_the_guide_is_taken_and_what_is_unknown_is_left() {
        let whole = r#"{"project_type": "node", "odd": 1, "config": {
            "memory_limit": "512m", "cpu_limit": 0.5, "disk_limit": "1g",
            "idle_timeout": 3600, "max_lifetime": 86400, "command_timeout": 300,
            "network_enabled": false, "exposed_ports": [3000, 8080],
            "read_only_root": false, "privileged": false,
            "cap_drop": ["ALL"], "cap_add": ["CHOWN"]}}"#;
        let whole = wanted(whole).unwrap();
        assert_eq!(whole.idle_timeout, Some(Timeout::After(Duration::from_secs(3600))));
        assert_eq!(whole.network, Some(Network::None));
        assert!(whole.labels.contains(&(PORTS, Some("3000 8080".to_owned()))));
        assert!(whole.labels.contains(&(COMMAND_TIMEOUT, Some("300".to_owned()))));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, field) in [
            (r#"{"project_type": ""}"#, "project_type"),
            (r#"{"memory_limit": "lots"}"#, "memory_limit"),
            (r#"{"config": {"memory_limit": "-1m"}}"#, "config.memory_limit"),
            (r#"{"config": {"idle_timeout": 0}}"#, "idle_timeout"),
            (r#"{"config": {"command_timeout": 86401}}"#, "command_timeout"),
            (r#"{"config": {"max_lifetime": 99999999999}}"#, "max_lifetime"),
            (r#"{"config": {"exposed_ports": [0]}}"#, "exposed_ports"),
            (r#"{"config": {"privileged": true}}"#, "privileged"),
        ] {
            let problem = wanted(text).unwrap_err();
            let document = problem.document();
            let named = document["field"].as_str().unwrap_or_default().to_owned();
            assert_eq!(named, field, "{text}: {problem:?}");
        }
    }
}
