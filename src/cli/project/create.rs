//! `sandtree project create`.

use clap::{Args, ValueEnum};
use hyper::Method;
use serde_json::{Map, Value, json};

use crate::cli::failed::Failed;
use crate::cli::progress::waiting;
use crate::cli::remote::{Remote, ask, say_line};
use crate::cli::units::{parse_bytes, parse_cpus, parse_pair};

/// `sandtree project create`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Create {
    /// Id of the project; absent: the server chooses one.
    #[arg(value_name = "PROJECT")]
    id: Option<String>,
    /// Start it, and wait until it runs.
    #[arg(short, long)]
    start: bool,
    /// Named set of settings.
    #[arg(long)]
    profile: Option<String>,
    /// Image of its sandbox.
    #[arg(long)]
    image: Option<String>,
    /// Variable of everything that is run in it; may be repeated.
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    env: Vec<(String, String)>,
    /// Label; may be repeated.
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    label: Vec<(String, String)>,
    /// Memory, such as 512m.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Cores, such as 1.5.
    #[arg(long, value_name = "CORES", value_parser = parse_cpus)]
    cpus: Option<u64>,
    /// Processes and threads.
    #[arg(long, value_name = "NUMBER")]
    pids: Option<u64>,
    /// Size of each temporary file system, such as 256m.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    tmp: Option<u64>,
    /// Way to the outside.
    #[arg(long)]
    network: Option<Network>,
    /// Stop it after so long without activity, such as 30m, or never.
    #[arg(long, value_name = "DURATION")]
    idle_timeout: Option<String>,
    /// Stop it so long after its start, such as 24h, or never.
    #[arg(long, value_name = "DURATION")]
    max_lifetime: Option<String>,
    /// Print the project as JSON instead of its id.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Network {
    None,
    Bridge,
}

impl Create {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let client = self.remote.client()?;
        let what = if self.start { "creating and starting" } else { "creating" };
        let body = self.body();
        let asked = ask(&client, Method::POST, "/v1/projects", Some(&body));
        let made = waiting(what, asked).await?.json()?;
        if self.json {
            say_line(&made.to_string()).await
        } else {
            say_line(made["id"].as_str().unwrap_or_default()).await
        }
    }

    /// The request: what is not named is left to the server.
    fn body(&self) -> Value {
        let limits = [
            ("memory_bytes", self.memory),
            ("cpu_millis", self.cpus),
            ("pids", self.pids),
            ("tmp_bytes", self.tmp),
        ];
        let limits = limits.into_iter().filter_map(|(name, value)| Some((name, json!(value?))));
        let network = self.network.map(|network| match network {
            Network::None => "none",
            Network::Bridge => "bridge",
        });
        let texts = [
            ("id", self.id.as_deref()),
            ("profile", self.profile.as_deref()),
            ("image", self.image.as_deref()),
            ("network", network),
            ("idle_timeout", self.idle_timeout.as_deref()),
            ("max_lifetime", self.max_lifetime.as_deref()),
        ];
        let texts = texts.into_iter().filter_map(|(name, value)| Some((name, json!(value?))));
        let objects = [
            ("env", object(&self.env)),
            ("labels", object(&self.label)),
            ("limits", limits.map(|(name, value)| (name.to_owned(), value)).collect()),
        ];
        let objects = objects.into_iter().filter(|(_, object)| !object.is_empty());
        let objects = objects.map(|(name, object)| (name, Value::Object(object)));
        let mut body: Map<String, Value> =
            texts.chain(objects).map(|(name, value)| (name.to_owned(), value)).collect();
        body.insert("start".to_owned(), self.start.into());
        Value::Object(body)
    }
}

fn object(pairs: &[(String, String)]) -> Map<String, Value> {
    pairs.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    #[test]
    fn what_is_named_is_asked_for_and_nothing_else() {
        let body = |line: &[&str]| {
            let line = std::iter::once(&"create").chain(line);
            Line::try_parse_from(line).unwrap().create.body()
        };
        assert_eq!(body(&[]), json!({ "start": false }));
        let all = body(&[
            "demo",
            "--start",
            "--image",
            "x:1",
            "-e",
            "A=b=c",
            "-l",
            "team=blue",
            "--memory",
            "64m",
            "--cpus",
            "0.5",
            "--network",
            "none",
            "--idle-timeout",
            "never",
        ]);
        let expected = json!({
            "id": "demo", "start": true, "image": "x:1", "env": { "A": "b=c" },
            "labels": { "team": "blue" }, "network": "none", "idle_timeout": "never",
            "limits": { "memory_bytes": 67_108_864, "cpu_millis": 500 },
        });
        assert_eq!(all, expected);
    }
}
