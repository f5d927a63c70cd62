use std::collections::BTreeSet;
use std::time::Duration;

use sandtree_model::durations::Timeout;

use super::*;

fn load(file: &str, env: &[(&str, &str)], flags: Overrides) -> Result<Config, Faults> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.toml");
    std::fs::write(&path, file).unwrap();
    let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Config::load(&Overrides { file: Some(path), ..flags }, env)
}

/// The faults of a configuration, as (key, problem).
fn faults(file: &str, env: &[(&str, &str)]) -> Vec<(String, String)> {
    let faults = load(file, env, Overrides::default()).unwrap_err().0;
    let key = |fault: &Fault| fault.key.as_ref().map_or(String::new(), ToString::to_string);
    faults.iter().map(|fault| (key(fault), fault.problem.clone())).collect()
}

#[test]
fn the_defaults_alone_are_a_configuration() {
    let config = Config::load(&Overrides::default(), []).unwrap();
    assert_eq!(config.server.listen, "127.0.0.1:8080".parse().unwrap());
    let file = StorePlace::Sqlite("/var/lib/sandtree/sandtree.db".into());
    assert_eq!(config.store.place, file);
    assert_eq!(config.server.preview_domain.as_deref(), Some("localhost"));
    let names: Vec<&str> = config.profiles.keys().map(|name| &**name).collect();
    let of_dialects = ["bharatbuild", "builder", "daiv", "daiv_run", "terminal_server"];
    assert!(of_dialects.iter().chain(&["default", "small"]).all(|name| names.contains(name)));
    assert_eq!(config.profiles["default"].limits.memory_bytes, 512 * 1024 * 1024);
}

/// What the contracts of two dialects say is so unless somebody says otherwise.
#[test]
fn the_defaults_of_the_dialects_are_those_of_their_contracts() {
    let shown = Config::load(&Overrides::default(), []).unwrap().effective();
    let prune = r#"".git", ".hg", ".svn", ".idea", ".vs", "__pycache__", ".ruff_cache", ".mypy_cache", ".pytest_cache", ".pyre", ".pytype", ".hypothesis", ".ipynb_checkpoints", "*.egg-info", ".eggs", ".next", ".nuxt", ".svelte-kit", ".turbo", ".parcel-cache", ".angular", ".vite", ".astro", ".docusaurus", ".cache", ".phpunit.cache", ".gradle", "target", "obj""#;
    let prune = format!("dialects.daiv.prune_dirs = [{prune}]");
    for line in [
        // BharatBuild: its guide, section "Configuration Options", and the table of images.
        "profiles.bharatbuild.limits.memory_bytes = 536870912",
        "profiles.bharatbuild.limits.cpu_millis = 500",
        "profiles.bharatbuild.idle_timeout = \"1h\"",
        "profiles.bharatbuild.max_lifetime = \"24h\"",
        "profiles.bharatbuild.expiry = \"delete\"",
        "profiles.bharatbuild.network = \"bridge\"",
        "profiles.bharatbuild.read_only_root = false",
        "profiles.bharatbuild.capabilities = [\"CHOWN\", \"SETUID\", \"SETGID\"]",
        "profiles.bharatbuild.env.NODE_ENV = \"development\"",
        "profiles.bharatbuild.env.TERM = \"xterm-256color\"",
        "dialects.bharatbuild.command_timeout = \"5m\"",
        "dialects.bharatbuild.validator = \"normal\"",
        "dialects.bharatbuild.files_format = \"object\"",
        "dialects.bharatbuild.anonymous = false",
        "dialects.bharatbuild.images.node = \"node:20-alpine\"",
        "dialects.bharatbuild.images.python = \"python:3.11-slim\"",
        "dialects.bharatbuild.images.java = \"eclipse-temurin:17-jdk\"",
        "dialects.bharatbuild.images.go = \"golang:1.21-alpine\"",
        "dialects.bharatbuild.images.rust = \"rust:1.75-alpine\"",
        "dialects.bharatbuild.images.ruby = \"ruby:3.2-alpine\"",
        "dialects.bharatbuild.images.php = \"php:8.2-cli-alpine\"",
        "dialects.bharatbuild.images.static = \"nginx:alpine\"",
        // daiv-sandbox: sections 1.3 and 1.6 of its contract.
        "dialects.daiv.run_timeout = \"10m\"",
        "dialects.daiv.command_timeout = \"never\"",
        "dialects.daiv.busy_wait = \"30s\"",
        &prune,
        "profiles.daiv.user = \"1000:1000\"",
        "profiles.daiv.network = \"none\"",
        "profiles.daiv.idle_timeout = \"4h\"",
        "profiles.daiv.expiry = \"delete\"",
        "profiles.daiv.stopped_retention = \"12h\"",
        "profiles.daiv.stopped_max = 50",
        "profiles.daiv.stop_grace = \"2s\"",
        "profiles.daiv.env.HOME = \"/home/daiv-sandbox\"",
        "profiles.daiv_run.user = \"image\"",
        "profiles.daiv_run.network = \"bridge\"",
        "profiles.daiv_run.read_only_root = false",
        "run.languages.python.file = \"main.py\"",
    ] {
        assert!(shown.contains(&format!(" {line} ")), "{line}\n{shown}");
    }
}

#[test]
fn later_layers_win_and_each_value_knows_its_source() {
    let file = "[server]\nlisten = \"127.0.0.1:1\"\nheaders_max = 50\nwait_max = \"1m\"\n";
    let env = [
        ("SANDTREE_SERVER__LISTEN", "127.0.0.1:2"),
        ("SANDTREE_SERVER__HEADERS_MAX", "60"),
        ("SANDTREE_IGNORED", "without two underscores, so it is no key"),
    ];
    let flags = Overrides { listen: Some("127.0.0.1:3".into()), ..Overrides::default() };
    let config = load(file, &env, flags).unwrap();
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(config.server.headers_max, 60);
    assert_eq!(config.server.wait_max, Duration::from_secs(60));
    let shown = config.effective();
    for line in [
        "* server.listen = \"127.0.0.1:3\"  # flag --listen",
        "* server.headers_max = \"60\"  # environment SANDTREE_SERVER__HEADERS_MAX",
        "  server.json_bytes_max = 1048576  # built in",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let file = "[server]\nlistn = \"127.0.0.1:1\"\nheaders_max = 3\nwait_max = \"soon\"\njson_bytes_max = \"many\"\n\
                [profiles.default]\nnetwork = \"host\"\n[profiles.default.limits]\npids = 1\n[tree]\nlog_files = -1\n";
    let env = [("SANDTREE_STORE__URL", "mysql://u:p@h/d"), ("SANDTREE_DOKER__HOST", "x")];
    let found = faults(file, &env);
    for (key, problem) in [
        ("server.listn", "did you mean server.listen?"),
        ("server.headers_max", "out of range; allowed: 16 to 1000"),
        ("server.wait_max", "is not a duration"),
        ("server.json_bytes_max", "has to be a whole number, not string"),
        ("profiles.default.network", "allowed: none or bridge"),
        ("profiles.default.limits.pids", "allowed: 8 to 65536"),
        ("tree.log_files", "allowed: 2 to 1000"),
        ("store.url", "is not the URL of a store"),
        ("doker.host", "did you mean docker.host?"),
    ] {
        let named = found.iter().filter(|(found, _)| found == key).collect::<Vec<_>>();
        assert_eq!(named.len(), 1, "{key}: {found:#?}");
        assert!(named[0].1.contains(problem), "{key}: {named:?}");
    }
    assert_eq!(found.len(), 9, "{found:#?}");
}

#[test]
fn a_fault_names_its_source_and_value_but_no_secret() {
    let env = [
        ("SANDTREE_AUTH__ADMIN_KEY", "a b"),
        ("SANDTREE_STORE__URL", "mysql://u:hush@h/d?password=hush&x"),
    ];
    let text = load("", &env, Overrides::default()).unwrap_err().to_string();
    assert!(text.contains("(environment SANDTREE_AUTH__ADMIN_KEY)"), "{text}");
    assert!(text.contains("mysql://u:***@h/d?password=***&x"), "{text}");
    assert!(!text.contains("a b") && !text.contains("hush"), "{text}");
    let env = [
        ("SANDTREE_AUTH__ADMIN_KEY", "very-secret"),
        ("SANDTREE_STORE__URL", "postgresql://u:very-secret@[::1]:5433/d?sslmode=disable"),
    ];
    let config = load("", &env, Overrides::default()).unwrap();
    assert!(matches!(config.store.place, StorePlace::Postgres(_)));
    assert!(
        !config.effective().contains("very-secret")
            && !format!("{config:?}").contains("very-secret")
    );
}

#[test]
fn a_profile_inherits_what_it_does_not_say_and_faults_are_told_once() {
    let file = "[profiles.big]\nidle_timeout = \"never\"\n[profiles.big.env]\nEXTRA = \"1\"\n";
    let env = [
        ("SANDTREE_PROFILES__DEFAULT__IMAGE", "mine:1"),
        ("SANDTREE_PROFILES__DEFAULT__ENV__Mixed", "case"),
        ("SANDTREE_PROFILES__BIG__LIMITS__PIDS", "100"),
    ];
    let config = load(file, &env, Overrides::default()).unwrap();
    let big = &config.profiles["big"];
    assert_eq!((&*big.image, big.limits.pids, big.idle_timeout), ("mine:1", 100, Timeout::Never));
    assert_eq!((&*big.env["EXTRA"], &*big.env["Mixed"]), ("1", "case"));
    assert_eq!(&*config.profiles["small"].image, "sandtree/small:latest");
    let found =
        faults("[profiles.default]\nstop_grace = \"2h\"\n[profiles.big]\nuser = \"own\"\n", &[]);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn without_a_key_only_loopback_is_served() {
    let open = [("SANDTREE_SERVER__LISTEN", "0.0.0.0:80")];
    let found = faults("", &open);
    assert!(found[0].0 == "server.listen" && found[0].1.contains("auth.admin_key"), "{found:?}");
    let keyed = [open[0], ("SANDTREE_AUTH__ADMIN_KEY", "k")];
    assert!(load("", &keyed, Overrides::default()).is_ok());
    assert!(load("", &[("SANDTREE_SERVER__LISTEN", "[::1]:0")], Overrides::default()).is_ok());
}

#[test]
fn lists_and_aliases_can_be_set_everywhere() {
    let file = "[images]\naliases = { \"python:3.11-slim\" = \"sandtree/general:latest\" }\n";
    let env = [("SANDTREE_SERVER__ALLOWED_ORIGINS", "https://a.example, http://localhost:5173")];
    let config = load(file, &env, Overrides::default()).unwrap();
    assert_eq!(&*config.docker.image_aliases["python:3.11-slim"], "sandtree/general:latest");
    assert_eq!(config.server.allowed_origins.len(), 2);
    for bad in ["https://a.example/", "a.example", "ftp://a", "*"] {
        let found = faults("", &[("SANDTREE_SERVER__ALLOWED_ORIGINS", bad)]);
        assert_eq!(found[0].0, "server.allowed_origins", "{bad}");
    }
}

#[test]
fn a_source_that_cannot_be_read_is_a_fault() {
    assert!(faults("[server\n", &[])[0].1.starts_with("is not TOML"));
    let missing = Overrides { file: Some("/nowhere/x.toml".into()), ..Overrides::default() };
    let text = Config::load(&missing, []).unwrap_err().to_string();
    assert!(text.starts_with("file /nowhere/x.toml: cannot be read"), "{text}");
}

#[test]
fn a_section_in_place_of_a_value_and_the_reverse_are_told() {
    let found = faults("server = 3\n", &[]);
    assert!(
        found.iter().any(|(key, problem)| key == "server" && problem.contains("is a section")),
        "{found:?}"
    );
    let found = faults("[server.listen]\nport = 1\n", &[]);
    assert_eq!(found.len(), 1, "{found:?}");
}

/// The built-in file is the documentation: each key has a comment with what is allowed,
/// as the program checks it, and with its default.
#[test]
fn the_built_in_files_explain_every_key_as_it_is_checked() {
    let mut leaves = Leaves::default();
    for text in BUILT_IN {
        leaves.add_toml(text, &Source::BuiltIn, &mut Vec::new());
    }
    let mut reader = Reader::new(leaves, Vec::new());
    Config::sections(&mut reader);
    let known = reader.known().clone();
    let mut explained = std::collections::BTreeSet::new();
    for text in BUILT_IN {
        explain(text, &known, &mut explained);
    }
    for key in known.keys().filter(|key| !is_of_other_profile(&key.to_string())) {
        assert!(explained.contains(key), "{key} is in no built-in file");
    }
}

/// What these say is explained in the profile "default", or in the first language.
fn is_of_other_profile(section: &str) -> bool {
    let is_other = |of: &str, first: &str| section.starts_with(of) && !section.starts_with(first);
    is_other("profiles.", "profiles.default") || is_other("run.languages.", "run.languages.python")
}

fn explain(text: &str, known: &BTreeMap<Key, String>, explained: &mut BTreeSet<Key>) {
    let (mut section, mut comment) = (String::new(), String::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some(text) = line.strip_prefix("# ") {
            comment.push_str(text);
            comment.push(' ');
            continue;
        } else if let Some((name, value)) = line.split_once(" = ") {
            // A name in quotes may hold dots.
            let key = Key::of(section.split('.').chain([name.trim_matches('"')]));
            let any_names = [".env", ".images", ".aliases"];
            let has_any_names = any_names.iter().any(|end| section.ends_with(end));
            if !has_any_names && !is_of_other_profile(&section) {
                let value = if value.len() > 80 { "see the line" } else { value };
                let words = format!("Allowed: {}. Default: {value}. ", known[&key]);
                assert!(comment.ends_with(&words), "{key}: {words}\n{comment}");
            }
            explained.insert(key);
        }
        comment.clear();
    }
}
