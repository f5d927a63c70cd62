//! The port that a server says it listens on, found in what it writes.

use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};

use crate::escapes::without_escapes;

/// Smallest port that is taken for a server's.
pub const PORT_MIN: u16 = 1000;
/// Most bytes of a line that are looked at.
const LINE_BYTES_MAX: usize = 4096;

/// How servers say it, in any case; the group is the port. The first that fits is taken.
#[rustfmt::skip]
const WAYS: [(&str, &str); 6] = [
    // Vite, Next.js, Angular, Flask, Uvicorn, Django, Rails, PHP and most others show a URL.
    ("an address of this machine",   r"(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\]):(\d{4,5})\b"),
    ("a URL that is served",         r"\b(?:running|started|starting|serving|server|available|ready)\b.*https?://[^\s/]+?:(\d{4,5})\b"),
    // Express, Go and .NET.
    ("listening on",                 r"\blistening (?:on|at)\b.*?(?:\bport |:)\s*(\d{4,5})\b"),
    ("a server that runs on a port", r"\b(?:running|started|up|ready) (?:on|at) (?:port )?:?(\d{4,5})\b"),
    // Next.js before version 13.
    ("a server that was started",    r"\bstarted server on\b.*:(\d{4,5})\b"),
    // Spring Boot.
    ("a servlet container",          r"\b(?:tomcat|netty|undertow|jetty)\b.*\bports?(?:\(s\))?:?\s*(\d{4,5})\b"),
];

/// What a line says that is about a server which could not be reached or started.
const TROUBLE: [&str; 4] = ["in use", "eaddrinuse", "econnrefused", "refused"];

/// The port that a line of output announces.
#[must_use]
pub fn announced(line: &str) -> Option<u16> {
    let mut end = line.len().min(LINE_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    // Most lines have no number that could be a port.
    if line.bytes().filter(u8::is_ascii_digit).count() < 4 {
        return None;
    }
    let line = without_escapes(&line[..end]);
    let lower = line.to_lowercase();
    if TROUBLE.iter().any(|word| lower.contains(word)) {
        return None;
    }
    let found = COMPILED.iter().find_map(|way| way.captures(&line)?.get(1));
    found?.as_str().parse().ok().filter(|port| *port >= PORT_MIN)
}

static COMPILED: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let compile = |(_, way): &(_, &str)| RegexBuilder::new(way).case_insensitive(true).build();
    let compiled: Result<_, _> = WAYS.iter().map(compile).collect();
    compiled.expect("every way of the table is a regular expression; a test compiles them")
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say_is_understood() {
        let rows = [
            ("  ➜  Local:   http://localhost:5173/", Some(5173)),
            (
                "  \x1b[32m➜\x1b[39m  Local:   \x1b[36mhttp://localhost:\x1b[1m5174\x1b[22m/",
                Some(5174),
            ),
            ("ready - started server on 0.0.0.0:3000, url: http://localhost:3000", Some(3000)),
            ("started server on [::]:3001", Some(3001)),
            ("Listening on port 8080", Some(8080)),
            ("listening on :8081", Some(8081)),
            ("Now listening on: http://[::]:5000", Some(5000)),
            ("Example app listening at http://example:3002", Some(3002)),
            ("Server running on port 4000", Some(4000)),
            ("App running at http://10.0.0.2:8082/", Some(8082)),
            ("Server is up on 4001", Some(4001)),
            ("INFO:     Uvicorn running on http://0.0.0.0:8000 (Press CTRL+C to quit)", Some(8000)),
            (" * Running on http://127.0.0.1:5001", Some(5001)),
            ("Starting development server at http://127.0.0.1:8003/", Some(8003)),
            ("Tomcat started on port(s): 8084 (http) with context path ''", Some(8084)),
            ("Tomcat initialized with port 8085 (http)", Some(8085)),
            ("Netty started on port 8086", Some(8086)),
            ("PHP 8.2 Development Server (http://localhost:8004) started", Some(8004)),
            ("Serving HTTP on 0.0.0.0 port 8005 (http://0.0.0.0:8005/) ...", Some(8005)),
            ("* Listening on http://127.0.0.1:3003", Some(3003)),
            ("at localhost:999", None),
            ("at localhost:65536", None),
            ("at localhost:123456", None),
            ("Error: listen EADDRINUSE: address already in use 0.0.0.0:3000", None),
            ("connect ECONNREFUSED 127.0.0.1:5432", None),
            ("Port 3000 is in use, trying another one...", None),
            ("added 847 packages in 3000 ms", None),
            ("", None),
        ];
        for (line, port) in rows {
            assert_eq!(announced(line), port, "{line}");
        }
        assert_eq!(announced(&format!("{}localhost:3000", "é".repeat(LINE_BYTES_MAX))), None);
    }
}
