//! Where a server is.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// The port of `http://` without one.
const PORT_DEFAULT: u16 = 80;

/// The address of a server, from a URL such as `http://127.0.0.1:8080`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    host: String,
    port: u16,
}

/// Why a text is no address of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// It is not such as `http://127.0.0.1:8080`.
    #[error("{0:?} is no address of a server; write it like http://127.0.0.1:8080")]
    Form(String),
    /// It asks for TLS.
    #[error(
        "{0:?} asks for TLS, which this client does not speak; \
         reach the server over http, through a tunnel such as `ssh -L` if it is far away"
    )]
    Tls(String),
}

impl ServerAddress {
    /// The host's name, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, as in the header `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl From<SocketAddr> for ServerAddress {
    fn from(address: SocketAddr) -> Self {
        let host = match address {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        Self { host, port: address.port() }
    }
}

impl FromStr for ServerAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress::Form(text.to_owned());
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => return Err(BadAddress::Tls(text.to_owned())),
            Some(_) => return Err(bad()),
            None => text,
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let uri: hyper::Uri = format!("http://{authority}/").parse().map_err(|_| bad())?;
        let is_plain = uri.path() == "/" && uri.query().is_none() && !authority.contains('@');
        match uri.host() {
            Some(host) if is_plain && !host.is_empty() => {
                // A port that is no number is not the default port.
                let has_port = authority.len() > host.len();
                let port = uri.port_u16();
                if has_port && port.is_none() {
                    return Err(bad());
                }
                Ok(Self { host: host.to_owned(), port: port.unwrap_or(PORT_DEFAULT) })
            }
            Some(_) | None => Err(bad()),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "http://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written() {
        for (text, shown, host) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080", "127.0.0.1"),
            ("localhost:9", "http://localhost:9", "localhost"),
            ("http://build.example", "http://build.example:80", "build.example"),
            ("http://[::1]:8080", "http://[::1]:8080", "::1"),
        ] {
            let address: ServerAddress = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.host()), (shown, host), "{text}");
        }
        let socket: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(ServerAddress::from(socket).authority(), "[::1]:80");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "ftp://a", "http://", "http://a/b", "http://a?b", "http://u:p@a", "a:b"] {
            assert!(text.parse::<ServerAddress>().is_err(), "{text}");
        }
        assert!(matches!("https://a".parse::<ServerAddress>(), Err(BadAddress::Tls(_))));
    }
}
