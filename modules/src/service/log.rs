//! What a service writes goes straight into a file, never through the agent, so that neither the
//! agent's end nor its slowness touches the service.
//!
//! The service holds the file open for appending; so it is rotated by copying and cutting, not by
//! renaming. Lines written between the copy and the cut (microseconds) are lost: the price of a
//! file that outlives its agent. While the agent runs, a service's files hold at most
//! `bytesMax * (files + 1)` bytes and what is written within [`ROTATE_INTERVAL`].

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::spec::LogRule;

/// How often the sizes are looked at.
pub(super) const ROTATE_INTERVAL: Duration = Duration::from_secs(1);
/// How much of the end is looked at for a line to show.
const TAIL_BYTES: u64 = 512;

/// Opens the file that takes the output.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).read(true).mode(0o640).open(path)
}

/// Rotates the file if it has outgrown the rule, and removes what the rule does not keep any more.
pub(super) fn rotate(path: &Path, rule: LogRule) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.len() > rule.bytes_max => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(_) | Err(_) => return Ok(()),
    }
    for index in (1..rule.files).rev() {
        rename_if_there(&numbered(path, index), &numbered(path, index + 1))?;
    }
    let file = OpenOptions::new().read(true).append(true).open(path)?;
    if rule.files > 0 {
        copy_end(&file, &numbered(path, 1), rule.bytes_max)?;
    }
    file.set_len(0)?;
    remove_beyond(path, rule.files)
}

/// The last line of the output, shortened; empty if there is none.
pub(super) fn last_line(path: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

/// Copies the end of the file, at most `bytes_max`: it may have grown far while no agent ran.
fn copy_end(mut file: &File, to: &Path, bytes_max: u64) -> io::Result<()> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max)))?;
    let mut copy =
        OpenOptions::new().create(true).write(true).truncate(true).mode(0o640).open(to)?;
    io::copy(&mut file, &mut copy)?;
    Ok(())
}

fn remove_beyond(path: &Path, files: u64) -> io::Result<()> {
    for index in files + 1.. {
        match fs::remove_file(numbered(path, index)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn numbered(path: &Path, index: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn contents(path: &Path) -> Vec<String> {
        let all = std::iter::once(path.to_owned()).chain((1..9).map(|index| numbered(path, index)));
        all.map_while(|path| fs::read_to_string(path).ok()).collect()
    }

    #[test]
    fn a_writer_that_stays_goes_on_in_the_same_file_and_the_files_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.log");
        let rule = LogRule { bytes_max: 4, files: 2 };
        let mut writer = open(&path).unwrap();
        for text in ["aaaaa", "bbbbb", "ccccc", "ddddd", "ee"] {
            writer.write_all(text.as_bytes()).unwrap();
            rotate(&path, rule).unwrap();
        }
        assert_eq!(contents(&path), ["ee", "dddd", "cccc"]);
        assert_eq!(last_line(&path), "ee");
    }

    #[test]
    fn at_the_limit_nothing_is_rotated_and_one_byte_beyond_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.log");
        let rule = LogRule { bytes_max: 4, files: 1 };
        rotate(&path, rule).unwrap();
        fs::write(&path, "1234").unwrap();
        rotate(&path, rule).unwrap();
        assert_eq!(contents(&path), ["1234"]);
        fs::write(&path, "12345").unwrap();
        rotate(&path, rule).unwrap();
        assert_eq!(contents(&path), ["", "2345"]);
    }

    #[test]
    fn fewer_files_are_kept_when_the_rule_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.log");
        for (files, expected) in [(3, 4), (3, 4), (3, 4), (1, 2), (0, 1)] {
            for _ in 0..3 {
                fs::write(&path, "long enough").unwrap();
                rotate(&path, LogRule { bytes_max: 1, files }).unwrap();
            }
            assert_eq!(contents(&path).len(), expected, "{files}");
        }
    }

    #[test]
    fn the_last_line_is_one_with_words_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.log");
        assert_eq!(last_line(&path), "");
        fs::write(&path, "one\n two \n\n").unwrap();
        assert_eq!(last_line(&path), "two");
    }
}
