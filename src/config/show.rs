//! How configuration is printed: effective values with their sources, and faults.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use toml::Value;

use super::layers::{Key, Leaf, Source};

/// What is shown in place of a secret.
const MASK: &str = "***";

/// One value as it may be printed: without what is secret.
pub(super) fn value(key: &Key, value: &Value) -> String {
    let key = key.to_string();
    let text = value.as_str().unwrap_or_default();
    match key.as_str() {
        "auth.admin_key" if !text.is_empty() => format!("{MASK:?}"),
        "store.url" => format!("{:?}", without_password(text)),
        // What a project's programs are given may well be a token.
        _ if key.contains(".env.") && is_secret_name(&key) => format!("{MASK:?}"),
        _ => value.to_string(),
    }
}

fn is_secret_name(key: &str) -> bool {
    let name = key.rsplit('.').next().unwrap_or(key).to_ascii_uppercase();
    ["KEY", "TOKEN", "SECRET", "PASSWORD"].iter().any(|word| name.contains(word))
}

/// A URL with `***` in place of the password that it may have.
fn without_password(url: &str) -> String {
    let masked = || {
        let (scheme, rest) = url.split_once("://")?;
        let (user, host) = rest.rsplit_once('@')?;
        let (name, _) = user.split_once(':')?;
        Some(format!("{scheme}://{name}:{MASK}@{host}"))
    };
    let url = masked().unwrap_or_else(|| url.to_owned());
    match url.split_once("password=") {
        Some((before, rest)) => {
            let after = rest.find('&').map_or("", |end| &rest[end..]);
            format!("{before}password={MASK}{after}")
        }
        None => url,
    }
}

/// All values with their sources, one in a line.
pub(super) fn effective(leaves: &BTreeMap<Key, Leaf>) -> String {
    let lines: Vec<(String, &Leaf)> = leaves
        .iter()
        .map(|(key, leaf)| (format!("{key} = {}", value(key, &leaf.value)), leaf))
        .collect();
    let built_in = |leaf: &Leaf| leaf.source == Source::BuiltIn;
    let mut text = String::new();
    for (line, leaf) in lines {
        let from = if leaf.inherited { ", by profile default" } else { "" };
        let mark = if built_in(leaf) { ' ' } else { '*' };
        let _ = writeln!(text, "{mark} {line}  # {}{from}", leaf.source);
    }
    text
}
