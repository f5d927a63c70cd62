//! Bodies and queries of requests about projects. A field that is not here is refused.

use sandtree_actors::ports::Filter;
use sandtree_actors::{CreateRequest, PatchRequest};
use sandtree_model::durations::{Span, Timeout};
use sandtree_model::project::{Idempotency, Texts, TextsPatch};
use sandtree_model::{LimitsPatch, Network, Phase, ProjectId};
use serde::{Deserialize, Serialize};

use super::invalid;
use crate::edge::errors::Problem;
use crate::edge::object::Object;

/// `POST /v1/projects`. Written out again, it is what the idempotency key stands for.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CreateBody {
    id: Option<ProjectId>,
    profile: Option<Box<str>>,
    image: Option<Box<str>>,
    env: Texts,
    labels: Texts,
    limits: Object<LimitsPatch>,
    network: Option<Network>,
    idle_timeout: Option<Timeout>,
    max_lifetime: Option<Timeout>,
    start: bool,
}

impl CreateBody {
    pub(super) fn starts(&self) -> bool {
        self.start
    }

    pub(super) fn into_request(self, idempotency: Option<Idempotency>) -> CreateRequest {
        CreateRequest {
            id: self.id,
            name: None,
            profile: self.profile,
            image: self.image,
            env: self.env,
            labels: self.labels,
            limits: self.limits.0,
            network: self.network,
            idle_timeout: self.idle_timeout,
            max_lifetime: self.max_lifetime,
            start: self.start,
            idempotency,
        }
    }
}

/// `PATCH /v1/projects/{id}`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PatchBody {
    image: Option<Box<str>>,
    env: Option<TextsPatch>,
    labels: Option<TextsPatch>,
    limits: Object<LimitsPatch>,
    idle_timeout: Option<Timeout>,
    max_lifetime: Option<Timeout>,
}

impl PatchBody {
    pub(super) fn into_request(self) -> PatchRequest {
        PatchRequest {
            image: self.image,
            env: self.env.unwrap_or_default(),
            labels: self.labels.unwrap_or_default(),
            limits: self.limits.0,
            idle_timeout: self.idle_timeout,
            max_lifetime: self.max_lifetime,
        }
    }
}

/// `GET /v1/projects`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ListQuery {
    cursor: Option<Box<str>>,
    limit: Option<u32>,
    phase: Option<Phase>,
    label: Option<Box<str>>,
}

impl ListQuery {
    const LIMIT_DEFAULT: u32 = 100;
    const LIMIT_MAX: u32 = 1000;

    pub(super) fn into_filter(self) -> Result<Filter, Problem> {
        let limit = self.limit.unwrap_or(Self::LIMIT_DEFAULT);
        if !(1..=Self::LIMIT_MAX).contains(&limit) {
            let problem = format!("must be from 1 to {}, not {limit}", Self::LIMIT_MAX);
            return Err(invalid("limit", problem).limit(Self::LIMIT_MAX.into()));
        }
        if self.cursor.as_ref().is_some_and(|cursor| cursor.parse::<ProjectId>().is_err()) {
            return Err(invalid("cursor", "must be a next_cursor that this server sent"));
        }
        let label = self.label();
        Ok(Filter { after: self.cursor, phase: self.phase, label, limit })
    }

    /// `name:value`; a name alone stands for an empty value.
    fn label(&self) -> Option<(Box<str>, Box<str>)> {
        let label = self.label.as_deref()?;
        let (name, value) = label.split_once(':').unwrap_or((label, ""));
        Some((name.into(), value.into()))
    }
}

/// `GET /v1/projects/{id}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShowQuery {
    /// Answer when the project is in this phase, or when the time is over.
    pub(super) wait_for: Option<Phase>,
    /// How long to wait.
    pub(super) timeout: Option<Span>,
}

impl ShowQuery {
    /// How long a request waits that does not say so.
    pub(super) const TIMEOUT_DEFAULT: Span = Span::from_secs(30);
}

/// `DELETE /v1/projects/{id}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoveQuery {
    /// Leave the files on disk.
    #[serde(default)]
    pub(super) keep_files: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::body::parse_json;
    use crate::edge::context::parse_query;

    #[test]
    fn a_create_names_what_is_wrong_with_it() {
        for (text, field) in [
            (r#"{"id": "Not/Good"}"#, "id"),
            (r#"{"imge": "x"}"#, "imge"),
            (r#"{"limits": {"pids": -1}}"#, "limits.pids"),
            (r#"{"limits": [1, 2, 3, 4]}"#, "limits"),
            (r#"{"limits": {"cpus": 1}}"#, "limits.cpus"),
            (r#"{"network": "host"}"#, "network"),
            (r#"{"idle_timeout": "10"}"#, "idle_timeout"),
            (r#"{"env": {"A": 1}}"#, "env.A"),
        ] {
            let problem = parse_json::<CreateBody>(text.as_bytes()).unwrap_err();
            assert_eq!(problem.document()["field"], field, "{text}: {problem:?}");
        }
    }

    #[test]
    fn the_same_request_in_other_words_is_the_same_request() {
        let canonical = |text: &str| {
            serde_json::to_vec(&parse_json::<CreateBody>(text.as_bytes()).unwrap()).unwrap()
        };
        let one = canonical(r#"{"id":"a","labels":{"x":"1","y":"2"},"idle_timeout":"60s"}"#);
        let same = canonical(
            r#"{ "idle_timeout": "1m", "labels": {"y":"2","x":"1"}, "id": "a", "start": false}"#,
        );
        assert_eq!(one, same);
        assert_ne!(one, canonical(r#"{"id":"a"}"#));
    }

    #[test]
    fn a_patch_sets_removes_and_leaves() {
        let patch = parse_json::<PatchBody>(br#"{"env": {"a": null, "c": "3"}}"#).unwrap();
        let request = patch.into_request();
        assert!(request.labels.is_empty());
        let env = TextsPatch::from([("a".into(), None), ("c".into(), Some("3".into()))]);
        assert_eq!(request.env, env);
    }

    #[test]
    fn a_list_has_bounds_and_a_label_may_hold_colons() {
        let filter = |text: &str| parse_query::<ListQuery>(text).and_then(ListQuery::into_filter);
        assert_eq!(filter("").unwrap().limit, 100);
        let label = filter("label=a:b:c&phase=running").unwrap().label.unwrap();
        assert_eq!((&*label.0, &*label.1), ("a", "b:c"));
        for (text, field) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("cursor=%2F", "cursor"),
            ("phase=up", "phase"),
        ] {
            assert_eq!(filter(text).unwrap_err().document()["field"], field, "{text}");
        }
    }
}
