//! Profiles: named sets of sandbox settings. What a profile cannot express, no
//! sandbox can have: there is no word here for privileged mode, host
//! namespaces, devices or the engine's socket.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::durations::{Span, Timeout};
use crate::limits::Limits;

/// Name of a profile, as in `[profiles.<name>]` of the configuration.
pub type ProfileName = Box<str>;

/// The settings that a sandbox gets unless its project says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The image, by the name that the engine knows.
    pub image: Box<str>,
    /// Who runs in the sandbox.
    pub user: User,
    /// Whether the root file system can be written.
    pub read_only_root: bool,
    /// What is added to an otherwise empty set of capabilities.
    pub capabilities: Vec<Capability>,
    /// What the sandbox can reach.
    pub network: Network,
    /// Name of the OCI runtime, such as `runsc`; empty means the engine's default.
    pub runtime: Box<str>,
    /// What one sandbox may use.
    pub limits: Limits,
    /// Variables of every program in the sandbox.
    pub env: BTreeMap<Box<str>, Box<str>>,
    /// The shell of the terminal: the first that exists in the image.
    pub shells: Vec<Box<str>>,
    /// Stopped after so long without activity.
    pub idle_timeout: Timeout,
    /// Stopped so long after its start, whatever it does.
    pub max_lifetime: Timeout,
    /// Time between TERM and KILL when the sandbox is stopped.
    pub stop_grace: Span,
    /// How often a sandbox that ended behind our back is started again within
    /// ten minutes; then it is failed.
    pub restarts_max: u32,
    /// What becomes of a project whose `idle_timeout` or `max_lifetime` is over.
    pub expiry: Expiry,
    /// A project that is stopped for so long is deleted, files and all.
    pub stopped_retention: Timeout,
    /// Most stopped projects of this profile; beyond that the one that was stopped
    /// first is deleted. 0: as many as there are.
    pub stopped_max: u32,
}

/// The home directory of a profile that names none.
pub const HOME_DIR: &str = "/home/sandbox";

impl Profile {
    /// The home directory of its user: `HOME` of its environment, if that can be one. It is
    /// kept with the root file system, where that can be written, and temporary elsewhere.
    #[must_use]
    pub fn home_dir(&self) -> &str {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        let home = self.env.get("HOME").map(|home| home.trim_end_matches('/'));
        let is_good = |home: &&str| {
            let below = home.strip_prefix("/home/").unwrap_or_default();
            let is_name = !below.is_empty() && below.split('/').all(|part| !part.is_empty());
            (is_name || *home == "/root") && home.chars().all(is_plain) && !home.contains("..")
        };
        home.filter(is_good).unwrap_or(HOME_DIR)
    }
}

/// What becomes of a project whose time is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expiry {
    /// It is stopped; its files and its container stay.
    #[default]
    Stop,
    /// It is deleted, files and all.
    Delete,
}

/// Who runs in the sandbox; always a number, so that images need no user table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum User {
    /// A uid of its own for every sandbox, from the range of the configuration.
    Own,
    /// The same uid and gid for every sandbox of the profile.
    Fixed {
        /// Numeric user.
        uid: u32,
        /// Numeric group.
        gid: u32,
    },
    /// Who the image says, when the project is created; perhaps root.
    Image,
}

impl TryFrom<String> for User {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "own" {
            return Ok(User::Own);
        }
        if text == "image" {
            return Ok(User::Image);
        }
        let wrong = || "must be \"own\", \"image\" or \"<uid>:<gid>\" in numbers".to_owned();
        let (uid, gid) = text.split_once(':').ok_or_else(wrong)?;
        Ok(User::Fixed {
            uid: uid.parse().map_err(|_| wrong())?,
            gid: gid.parse().map_err(|_| wrong())?,
        })
    }
}

impl From<User> for String {
    fn from(user: User) -> String {
        match user {
            User::Own => "own".to_owned(),
            User::Image => "image".to_owned(),
            User::Fixed { uid, gid } => format!("{uid}:{gid}"),
        }
    }
}

/// The capabilities that a profile may add back; there are no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Capability {
    /// Change owners of files.
    Chown,
    /// Ignore permissions of files.
    DacOverride,
    /// Act as the owner of any file.
    Fowner,
    /// Become another user.
    Setuid,
    /// Become another group.
    Setgid,
}

impl Capability {
    /// The kernel's name without its `CAP_` prefix.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Capability::Chown => "CHOWN",
            Capability::DacOverride => "DAC_OVERRIDE",
            Capability::Fowner => "FOWNER",
            Capability::Setuid => "SETUID",
            Capability::Setgid => "SETGID",
        }
    }
}

/// What a sandbox can reach, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nothing: only a loopback interface. Previews come in through init.
    None,
    /// The engine's bridge, with the way out that it has.
    Bridge,
}

impl Network {
    /// The word used in the API and in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Network::None => "none",
            Network::Bridge => "bridge",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_own_the_images_or_two_numbers() {
        assert_eq!(User::try_from("own".to_owned()), Ok(User::Own));
        assert_eq!(User::try_from("image".to_owned()), Ok(User::Image));
        let nobody = User::Fixed { uid: 65534, gid: 65534 };
        assert_eq!(User::try_from("65534:65534".to_owned()), Ok(nobody));
        for bad in ["root", "1000", "-1:0", "a:b", "1:2:3"] {
            assert!(User::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_home_is_a_plain_place_below_home() {
        let profile: Profile = serde_json::from_value(serde_json::json!({
            "image": "i", "user": "own", "read_only_root": true, "capabilities": [],
            "network": "none", "runtime": "", "env": {}, "shells": [],
            "limits": {"memory_bytes": 1, "cpu_millis": 1, "pids": 1, "tmp_bytes": 1},
            "idle_timeout": "never", "max_lifetime": "never", "stop_grace": "1s",
            "restarts_max": 0, "expiry": "stop", "stopped_retention": "never", "stopped_max": 0,
        }))
        .unwrap();
        let home = |home: &str| Profile {
            env: BTreeMap::from([("HOME".into(), home.into())]),
            ..profile.clone()
        };
        assert_eq!(profile.home_dir(), HOME_DIR);
        for good in ["/home/daiv-sandbox", "/home/a/b", "/root"] {
            assert_eq!(home(good).home_dir(), good);
        }
        for bad in ["", "/", "/home", "/home/", "/home//a", "/home/../etc", "/etc", "/home/a,b"] {
            assert_eq!(home(bad).home_dir(), HOME_DIR, "{bad}");
        }
    }

    #[test]
    fn privileged_words_do_not_exist() {
        for word in ["SYS_ADMIN", "NET_ADMIN", "ALL"] {
            assert!(serde_json::from_str::<Capability>(&format!("\"{word}\"")).is_err(), "{word}");
        }
        assert!(serde_json::from_str::<Network>("\"host\"").is_err());
    }
}
