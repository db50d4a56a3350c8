//! What Cfg asks of one file.

use std::path::{Component, Path, PathBuf};

use kraken_engine::{id::Name, path::Pattern, schema::digest_of, state::State};
use nix::unistd::{Gid, Group, Uid, User};
use serde::{Deserialize, Serialize};

use super::{SPEC_INPUTS, TOP};
use crate::asked::{Asked, UnknownVariable};

const MODE_DEFAULT: u32 = 0o644;

/// What Cfg asks for cannot be. Trying again without a change cannot help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// The mode.
    #[error("mode {0:?} is not three or four octal digits, as \"0644\"")]
    Mode(String),
    /// The path would lead out of its folder.
    #[error("path {0:?} must not hold `..`")]
    Climbs(String),
    /// The owner.
    #[error("user {0:?} does not exist on this machine")]
    NoUser(String),
    /// The group.
    #[error("group {0:?} does not exist on this machine")]
    NoGroup(String),
    /// A variable that is not ours to give.
    #[error(transparent)]
    UnknownVariable(#[from] UnknownVariable),
}

/// A file as it is to be, and as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wanted {
    /// Where.
    pub(super) at: PathBuf,
    /// The bytes.
    pub(super) content: String,
    /// The permissions.
    pub(super) mode: u32,
    /// The user id; absent: not looked at.
    pub(super) uid: Option<u32>,
    /// The group id; absent: not looked at.
    pub(super) gid: Option<u32>,
    /// The digest of the Cfg that asks for it.
    pub(super) spec: String,
}

/// Reads what is asked of a file; relative paths start at `root`.
pub(super) fn wanted(node: &Name, name: &Name, cfg: &State, root: &Path) -> Result<Wanted, Error> {
    let asked = asked(name, cfg);
    let (uid, gid) = asked.text("owner").map_or(Ok((None, None)), owner)?;
    Ok(Wanted {
        at: place(node, name, cfg, root)?,
        content: asked.text("content").unwrap_or_default().to_owned(),
        mode: asked.text("mode").map_or(Ok(MODE_DEFAULT), mode)?,
        uid,
        gid,
        spec: spec(name, cfg),
    })
}

/// Where a file is asked to be.
pub(super) fn place(node: &Name, name: &Name, cfg: &State, root: &Path) -> Result<PathBuf, Error> {
    let variables = [("node.name", node.as_str()), ("file.name", name.as_str())];
    let path = asked(name, cfg).expanded("path", &variables)?;
    let path = path.filter(|path| !path.is_empty()).unwrap_or_else(|| name.to_string());
    if Path::new(&path).components().any(|part| part == Component::ParentDir) {
        return Err(Error::Climbs(path));
    }
    Ok(root.join(path))
}

/// Whether drift of a file is only to be reported.
pub(super) fn only_reports(name: &Name, cfg: &State) -> bool {
    asked(name, cfg).text("onDrift") == Some("REPORT")
}

fn asked<'a>(name: &'a Name, cfg: &'a State) -> Asked<'a> {
    Asked { cfg, top: TOP, name: name.as_str() }
}

fn spec(name: &Name, cfg: &State) -> String {
    let patterns = SPEC_INPUTS.map(|key| Pattern::new(format!("{TOP}/*/{key}")));
    let patterns: Vec<Pattern> = patterns.into_iter().flatten().collect();
    let digest = digest_of(cfg, &patterns, &vec![name.as_str().into()]);
    digest.as_str().unwrap_or_default().to_owned()
}

fn mode(text: &str) -> Result<u32, Error> {
    let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| octal);
    mode.ok_or_else(|| Error::Mode(text.to_owned()))
}

fn owner(text: &str) -> Result<(Option<u32>, Option<u32>), Error> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let uid = match user.parse::<u32>() {
        _ if user.is_empty() => None,
        Ok(uid) => Some(Uid::from_raw(uid)),
        Err(_) => {
            let found = User::from_name(user).ok().flatten();
            Some(found.ok_or_else(|| Error::NoUser(user.to_owned()))?.uid)
        }
    };
    let gid = match group.map(|group| (group, group.parse::<u32>())) {
        None | Some(("", _)) => None,
        Some((_, Ok(gid))) => Some(Gid::from_raw(gid)),
        Some((group, Err(_))) => {
            let found = Group::from_name(group).ok().flatten();
            Some(found.ok_or_else(|| Error::NoGroup(group.to_owned()))?.gid)
        }
    };
    Ok((uid.map(Uid::as_raw), gid.map(Gid::as_raw)))
}

#[cfg(test)]
mod tests {
    use kraken_engine::{path::Path as StatePath, value::Value};

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Wanted, String> {
        let mut cfg = State::new();
        for (key, value) in pairs {
            let path = StatePath::new(format!("/files/motd/{key}")).unwrap();
            cfg.set(path, Value::from(*value)).unwrap();
        }
        let (node, name) = (Name::new("n1").unwrap(), Name::new("motd").unwrap());
        wanted(&node, &name, &cfg, Path::new("/root")).map_err(|error| error.to_string())
    }

    #[test]
    fn paths_start_at_the_root_or_are_absolute_and_never_climb() {
        for (path, expected) in [
            (None, Ok("/root/motd")),
            (Some("a/b"), Ok("/root/a/b")),
            (Some("/etc/motd"), Ok("/etc/motd")),
            (Some("${node.name}/${file.name}"), Ok("/root/n1/motd")),
            (Some("../x"), Err("path \"../x\" must not hold `..`")),
            (Some("/a/../x"), Err("path \"/a/../x\" must not hold `..`")),
        ] {
            let pairs: Vec<_> = path.map(|path| ("path", path)).into_iter().collect();
            let found = read(&pairs).map(|wanted| wanted.at.display().to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{path:?}");
        }
    }

    #[test]
    fn modes_are_octal() {
        for (mode, expected) in
            [("0644", Some(0o644)), ("755", Some(0o755)), ("4755", Some(0o4755)), ("644x", None)]
        {
            assert_eq!(read(&[("mode", mode)]).ok().map(|wanted| wanted.mode), expected, "{mode}");
        }
        for bad in ["", "8", "0888", "00644", "+644", "rw"] {
            assert!(read(&[("mode", bad)]).unwrap_err().contains("octal"), "{bad}");
        }
        assert_eq!(read(&[]).unwrap().mode, 0o644);
    }

    #[test]
    fn owners_are_names_or_numbers() {
        for (owner, expected) in [
            ("root", Ok((Some(0), None))),
            ("root:root", Ok((Some(0), Some(0)))),
            ("1234:5678", Ok((Some(1234), Some(5678)))),
            (":0", Ok((None, Some(0)))),
            ("no-such-user", Err("user \"no-such-user\" does not exist on this machine")),
            ("0:no-such", Err("group \"no-such\" does not exist on this machine")),
        ] {
            let found = read(&[("owner", owner)]).map(|wanted| (wanted.uid, wanted.gid));
            assert_eq!(found, expected.map_err(str::to_owned), "{owner}");
        }
    }
}
