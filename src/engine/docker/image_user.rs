//! Who the programs of an image run as, in numbers.
//!
//! An image says it in numbers, or in names that only its own files explain. Those are read
//! out of a container that is made for it, never started, and removed again. It carries the
//! labels of this instance: what a crash leaves of it is swept as any sandbox of nobody's.

use std::collections::HashMap;
use std::io::Read as _;

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use rand::TryRngCore as _;
use sandtree_actors::ports::{Engine as _, EngineError};
use sandtree_model::SandboxUid;
use sandtree_model::ids::UID_CHARS;

use super::call::Trouble;
use super::images::{Image, unavailable};
use super::{Docker, INSTANCE_LABEL, SANDBOX_LABEL, container_name};

/// Most bytes of a file of users or of groups, in its archive.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// A user or a group as an image names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named<'a> {
    Number(u32),
    Name(&'a str),
}

impl<'a> Named<'a> {
    fn of(text: &'a str) -> Self {
        match text {
            "" | "root" => Named::Number(0),
            _ => text.parse().map_or(Named::Name(text), Named::Number),
        }
    }

    /// Whether a line of a file, `name:x:number:...`, is about it.
    fn is_of(self, line: &str) -> bool {
        let mut fields = line.split(':');
        match self {
            Named::Name(name) => fields.next() == Some(name),
            Named::Number(number) => {
                fields.nth(2).and_then(|text| text.parse().ok()) == Some(number)
            }
        }
    }
}

impl Docker {
    /// Uid and gid of who an image's programs run as.
    ///
    /// # Errors
    ///
    /// [`EngineError::Image`] for a name that the image does not explain.
    pub(super) async fn user_of(&self, image: &Image) -> Result<(u32, u32), EngineError> {
        let (user, group) = match image.user.split_once(':') {
            Some((user, group)) => (Named::of(user), Some(Named::of(group))),
            None => (Named::of(&image.user), None),
        };
        match (user, group) {
            (Named::Number(0), None) => return Ok((0, 0)),
            (Named::Number(uid), Some(Named::Number(gid))) => return Ok((uid, gid)),
            (Named::Number(_) | Named::Name(_), _) => {}
        }
        let [users, groups] = self.files_of(image, ["/etc/passwd", "/etc/group"]).await?;
        resolve(user, group, &users, &groups).ok_or_else(|| {
            let why = format!("its user {:?} is not in its /etc/passwd and /etc/group", image.user);
            unavailable(&image.name, &why)
        })
    }

    /// Files of an image as texts; one that is not there is empty.
    async fn files_of<const N: usize>(
        &self,
        image: &Image,
        paths: [&str; N],
    ) -> Result<[String; N], EngineError> {
        let sandbox = fresh()?;
        let labels = [
            (INSTANCE_LABEL.to_owned(), self.instance.to_string()),
            (SANDBOX_LABEL.to_owned(), sandbox.to_string()),
        ];
        let host_config =
            HostConfig { network_mode: Some("none".to_owned()), ..HostConfig::default() };
        let body = ContainerCreateBody {
            image: Some(image.name.to_string()),
            // It is never run, but an image need not have one.
            cmd: Some(vec!["true".to_owned()]),
            labels: Some(HashMap::from(labels)),
            host_config: Some(host_config),
            ..ContainerCreateBody::default()
        };
        let name = container_name(&sandbox);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let client = self.daemon.client()?;
        let request = client.create_container(Some(options), body);
        let made = self.daemon.ask("create", request).await?;
        let mut texts = [const { String::new() }; N];
        let mut outcome = Ok(());
        for (text, path) in texts.iter_mut().zip(paths) {
            match self.file_of(&made.id, path).await {
                Ok(read) => *text = read,
                Err(Trouble::Gone(_)) => {}
                Err(trouble) => outcome = Err(trouble.into()),
            }
        }
        self.remove(&made.id).await?;
        outcome.map(|()| texts)
    }

    async fn file_of(&self, container: &str, path: &str) -> Result<String, Trouble> {
        let client = self.daemon.client()?;
        let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
        let reading = async {
            let mut pieces = client.download_from_container(container, Some(options));
            let mut archive = Vec::new();
            while let Some(piece) = pieces.next().await {
                archive.extend_from_slice(&piece?);
                if archive.len() > FILE_BYTES_MAX {
                    break;
                }
            }
            Ok::<_, bollard::errors::Error>(archive)
        };
        let archive = self.daemon.ask("archive", reading).await?;
        Ok(first_file(&archive).unwrap_or_default())
    }
}

/// The first file of a tar, if it is one and is whole.
fn first_file(archive: &[u8]) -> Option<String> {
    let mut archive = tar::Archive::new(archive);
    let mut entry = archive.entries().ok()?.next()?.ok()?;
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// As the engine itself resolves it when it starts a container.
fn resolve(
    user: Named<'_>,
    group: Option<Named<'_>>,
    users: &str,
    groups: &str,
) -> Option<(u32, u32)> {
    let number = |line: &str, field| line.split(':').nth(field).and_then(|it| it.parse().ok());
    let known = users.lines().find(|line| user.is_of(line));
    let uid = match user {
        Named::Number(uid) => uid,
        Named::Name(_) => number(known?, 2)?,
    };
    let gid = match group {
        Some(Named::Number(gid)) => gid,
        Some(name @ Named::Name(_)) => number(groups.lines().find(|line| name.is_of(line))?, 2)?,
        None => known.and_then(|line| number(line, 3)).unwrap_or(0),
    };
    Some((uid, gid))
}

fn fresh() -> Result<SandboxUid, EngineError> {
    let mut bytes = [0_u8; UID_CHARS / 2];
    let wrong = |error: String| EngineError::Refused(error.into());
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(|error| wrong(error.to_string()))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.parse().map_err(|_| wrong("a fresh id is no id".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_number_or_is_found_by_name() {
        let users = "root:x:0:0::/root:/bin/sh\nnode:x:1000:1001::/home/node:/bin/sh\nodd:x\n";
        let groups = "root:x:0:\nstaff:x:50:node\n";
        for (user, group, expected) in [
            ("node", None, Some((1000, 1001))),
            ("1000", None, Some((1000, 1001))),
            ("4000", None, Some((4000, 0))),
            ("node", Some("staff"), Some((1000, 50))),
            ("4000", Some("staff"), Some((4000, 50))),
            ("node", Some("7"), Some((1000, 7))),
            ("root", Some("staff"), Some((0, 50))),
            ("nobody", None, None),
            ("node", Some("wheel"), None),
            ("odd", None, None),
        ] {
            let found = resolve(Named::of(user), group.map(Named::of), users, groups);
            assert_eq!(found, expected, "{user} {group:?}");
        }
    }
}
