//! Names of things. Each is its own type, so that a tenant can never be passed
//! where a project is meant, and each is valid from the moment it exists.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Longest id a tenant may choose, in bytes.
pub const ID_BYTES_MAX: usize = 63;
/// Length of every opaque uid, in characters.
pub const UID_CHARS: usize = 20;

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must match {pattern}")]
pub struct BadId {
    /// The regular expression that the text should have matched.
    pub pattern: &'static str,
}

fn is_chosen(text: &str) -> bool {
    let lower_or_digit = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=ID_BYTES_MAX).contains(&bytes.len())
        && lower_or_digit(bytes[0])
        && bytes.iter().all(|c| lower_or_digit(*c) || *c == b'-')
}

fn is_opaque(text: &str) -> bool {
    text.len() == UID_CHARS && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:ident, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// What the text of such an id matches, as a regular expression.
            pub const PATTERN: &'static str = $pattern;

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                if $check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(BadId { pattern: Self::PATTERN })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;

            fn try_from(text: String) -> Result<Self, BadId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// Who owns projects.
    TenantId, is_chosen, "^[a-z0-9][a-z0-9-]{0,62}$"
);
text_id!(
    /// A project's name, chosen by its tenant and unique within it.
    ProjectId, is_chosen, "^[a-z0-9][a-z0-9-]{0,62}$"
);
text_id!(
    /// A project's identity: global, opaque, never used again.
    ProjectUid, is_opaque, "^[a-z0-9]{20}$"
);
text_id!(
    /// A sandbox's identity; its container's name and labels carry only this.
    SandboxUid, is_opaque, "^[a-z0-9]{20}$"
);
text_id!(
    /// One installation of the server: what it may adopt, stop and remove.
    InstanceId, is_opaque, "^[a-z0-9]{20}$"
);

/// Longest name that a client of another system may give a project, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest readable part of an id that was made of a name.
const READABLE_BYTES: usize = 30;

/// Why a text cannot be a project's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be 1 to {NAME_BYTES_MAX} bytes without /, \\ and control characters, and not . or .."
)]
pub struct BadName;

impl ProjectId {
    /// The id of a project that clients of another system know by `name`. A name that
    /// is an id stands for itself, so systems share the projects whose names allow it.
    /// Any other is its readable part and a hash: the same name gives the same id, so no
    /// table of names is needed, and nobody finds two names of one id.
    ///
    /// # Errors
    ///
    /// [`BadName`].
    ///
    /// # Panics
    ///
    /// Never: what is built here is an id.
    pub fn of_name(name: &str) -> Result<Self, BadName> {
        let is_odd = |c: char| c.is_control() || matches!(c, '/' | '\\');
        let is_name = (1..=NAME_BYTES_MAX).contains(&name.len())
            && !name.contains(is_odd)
            && !matches!(name, "." | "..");
        if !is_name {
            return Err(BadName);
        }
        if let Ok(id) = name.parse() {
            return Ok(id);
        }
        let plain = |c: char| c.is_ascii_alphanumeric().then(|| c.to_ascii_lowercase());
        let readable: String =
            name.chars().take(READABLE_BYTES).map(|c| plain(c).unwrap_or('-')).collect();
        let readable = readable.trim_matches('-');
        let hash = Sha256::digest(name);
        let mut id = if readable.is_empty() { "x".to_owned() } else { readable.to_owned() };
        id.push('-');
        for byte in &hash[..16] {
            // Writing to a String cannot fail.
            let _ = write!(id, "{byte:02x}");
        }
        Ok(id.parse().expect("letters, digits and hyphens, 63 at most"))
    }
}

/// The address of a project: ids are unique within a tenant only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectKey {
    /// The owner.
    pub tenant: TenantId,
    /// The owner's name for it.
    pub id: ProjectId,
}

impl fmt::Display for ProjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.id)
    }
}

/// Who makes a request. Written into every transition that the request causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// Whose projects the request may touch.
    pub tenant: TenantId,
    /// A name for logs and the transition log, such as `key:admin` or `janitor`.
    pub name: Box<str>,
}

/// Who has the server's own key, in logs.
const ADMIN: &str = "key:admin";

impl Principal {
    /// The tenant that everything belongs to until there are tenants and keys.
    ///
    /// # Panics
    ///
    /// Never: the text is a valid id.
    #[must_use]
    pub fn of_default_tenant(name: &str) -> Self {
        Self { tenant: "default".parse().expect("a valid id"), name: name.into() }
    }

    /// Who has the server's own key.
    #[must_use]
    pub fn of_admin() -> Self {
        Self::of_default_tenant(ADMIN)
    }

    /// Whether it has the server's own key.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        &*self.name == ADMIN
    }

    /// Whoever needs no key where others do: a tenant of its own, so that nothing that was
    /// made with a key is in its reach.
    ///
    /// # Panics
    ///
    /// Never: the text is a valid id.
    #[must_use]
    pub fn of_anonymous() -> Self {
        Self { tenant: "anonymous".parse().expect("a valid id"), name: "anonymous".into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_their_pattern() {
        let longest = "a".repeat(63);
        for good in ["a", "0", "a-b", "a--", longest.as_str()] {
            assert!(good.parse::<ProjectId>().is_ok(), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in ["", "-a", "A", "a_b", "a/b", "ä", "a\0", too_long.as_str()] {
            assert!(bad.parse::<ProjectId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_its_own_id_or_has_one_of_its_own() {
        let id = |name: &str| ProjectId::of_name(name).unwrap();
        assert_eq!(id("demo-1").as_str(), "demo-1");
        let longest = "\u{e4}".repeat(127);
        let names = ["Demo-1", "demo_1", "demo 1", "-demo-1", "\u{e4}", "a.b", &longest, "sess_x"];
        let ids: std::collections::BTreeSet<_> = names.iter().map(|name| id(name)).collect();
        assert_eq!(ids.len(), names.len(), "{ids:?}");
        assert_eq!(id("Demo-1"), id("Demo-1"));
        assert!(id("My App").as_str().starts_with("my-app-"));
        let too_long = "A".repeat(256);
        for bad in ["", ".", "..", "a/b", "a\\b", "a\0", "a\n", &too_long] {
            assert_eq!(ProjectId::of_name(bad), Err(BadName), "{bad:?}");
        }
    }

    #[test]
    fn uids_are_twenty_characters() {
        assert!("abcdefghij0123456789".parse::<ProjectUid>().is_ok());
        for bad in ["abcdefghij012345678", "abcdefghij01234567890", "abcdefghij-123456789"] {
            assert!(bad.parse::<ProjectUid>().is_err(), "{bad}");
        }
    }

    #[test]
    fn deserialising_checks_too() {
        assert!(serde_json::from_str::<ProjectId>("\"a b\"").is_err());
        assert_eq!(serde_json::from_str::<ProjectId>("\"ab\"").unwrap().as_str(), "ab");
    }
}
