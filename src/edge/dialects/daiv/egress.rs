//! Egress: what a session may reach through a proxy. There is no proxy here that could add
//! secrets to requests, so an object that can be read is refused as by a server that has no
//! certificate authority.

use serde_json::Value;
use warp::http::StatusCode;

use super::refused::Refused;
use super::session::Session;
use super::validate::{self, Fields, SMALL_BYTES_MAX, Spot, types};
use crate::edge::context::Call;
use crate::edge::reply::Response;

/// Most rules of a policy.
const RULES_MAX: usize = 1000;
/// Most methods of a rule.
const METHODS_MAX: usize = 100;

/// An egress object that was read. What it says is not kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Egress;

/// A policy, as far as the secrets have to fit it.
struct Policy {
    is_closed: bool,
    injected: Vec<String>,
    rules: usize,
}

impl Egress {
    pub(super) fn read(value: &Value, spot: &mut Spot) -> Option<Self> {
        let fields = Fields::of(value, spot)?;
        let policy = fields.required(spot, "policy", Policy::read);
        let secrets = fields.or(
            spot,
            "secrets",
            std::collections::BTreeMap::new(),
            types::dictionary(secret),
        );
        let (policy, secrets) = (policy?, secrets?);
        let unknown = policy.injected.iter().find(|name| !secrets.contains_key(name.as_str()));
        // The secrets are not told back.
        let shown = &value["policy"];
        if let Some(name) = unknown {
            let words = format!("rule injects unknown secret '{name}'");
            return spot.refuse_value(shown, &words);
        }
        if policy.is_closed && policy.rules == 0 {
            return spot.refuse_value(shown, "egress policy permits nothing");
        }
        Some(Self)
    }
}

impl Policy {
    fn read(value: &Value, spot: &mut Spot) -> Option<Self> {
        let fields = Fields::of(value, spot)?;
        let default = fields.or(spot, "default", "deny", types::one_of(&["deny", "allow"]));
        let intercept =
            fields.or(spot, "intercept", "all", types::one_of(&["all", "credentialed"]));
        let rules = fields.or(spot, "rules", Vec::new(), types::list(RULES_MAX, rule));
        let (default, _, rules) = (default?, intercept?, rules?);
        Some(Self {
            is_closed: default == "deny",
            rules: rules.len(),
            injected: rules.into_iter().flatten().collect(),
        })
    }
}

/// A rule; answers the secret that it names.
fn rule(value: &Value, spot: &mut Spot) -> Option<Option<String>> {
    let fields = Fields::of(value, spot)?;
    let host = fields.required(spot, "host", |value, spot| {
        let host = types::text(value, spot)?;
        let is_odd = |c: char| c.is_whitespace() || c.is_control();
        if host.is_empty() || host.contains(is_odd) {
            let words = "host must be non-empty, without spaces and control characters";
            return spot.refuse_value(value, words);
        }
        Some(host)
    });
    let methods = fields.or(spot, "methods", vec!["*".to_owned()], |value, spot| {
        let methods = types::list(METHODS_MAX, types::text)(value, spot)?;
        if methods.is_empty() || methods.iter().any(String::is_empty) {
            return spot.refuse_value(value, "methods must not be empty");
        }
        Some(methods)
    });
    let inject = fields.nullable(spot, "inject", types::text);
    host.and(methods)?;
    inject
}

fn secret(value: &Value, spot: &mut Spot) -> Option<()> {
    let fields = Fields::of(value, spot)?;
    let header = fields.required(spot, "header", |value, spot| {
        let header = types::text(value, spot)?;
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if header.is_empty() || !header.chars().all(is_token) {
            return spot.refuse_value(value, "header must be an RFC 7230 token");
        }
        Some(())
    });
    let value = fields.required(spot, "value", |value, spot| {
        let text = types::text(value, spot)?;
        if text.contains(['\r', '\n', '\0']) {
            // Not told back: it is a secret.
            return spot.refuse_value(&Value::Null, "value must not contain CR, LF or NUL");
        }
        Some(())
    });
    header.and(value)
}

/// What a start with an egress object is told.
pub(super) fn without_authority() -> Refused {
    let words = "Egress is not configured on this server: it has no egress CA certificate";
    Refused::said(StatusCode::BAD_REQUEST, words)
}

/// Changes what a session may reach. No session has a proxy.
pub(super) async fn refresh(mut call: Call) -> Result<Response, Refused> {
    validate::body(&mut call, SMALL_BYTES_MAX, Egress::read).await?;
    Session::find(&call, "Session not found").await?;
    let words = "Session has no egress proxy; nothing to refresh";
    Err(Refused::said(StatusCode::CONFLICT, words))
}
