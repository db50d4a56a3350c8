//! What the kernel's texts say. Pure functions over text; what does not parse is unknown.

/// Longest text that is taken for a fact, in characters.
pub(super) const TEXT_CHARS_MAX: usize = 256;

/// One line of `/proc/self/mountinfo`, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// `major:minor` of the file system.
    pub(super) device: String,
    /// Where it is mounted.
    pub(super) point: String,
    /// What kind of file system it is.
    pub(super) fs_type: String,
}

/// A short text on one line, made printable; `None` where nothing is left.
pub(super) fn line(text: &str) -> Option<String> {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control() || c == '\u{fffd}');
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let line: String = words.join(" ").chars().take(TEXT_CHARS_MAX).collect();
    (!line.is_empty()).then_some(line)
}

/// A whole number on a line of its own.
pub(super) fn number(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

/// A value of `/proc/meminfo` in bytes.
pub(super) fn memory(meminfo: &str, key: &str) -> Option<i64> {
    let value = field(meminfo, key)?;
    let kib: i64 = value.strip_suffix("kB").unwrap_or(value).trim().parse().ok()?;
    kib.checked_mul(1_024).filter(|bytes| *bytes >= 0)
}

/// How many processors a list such as `0-3,8` holds.
pub(super) fn cpu_list(text: &str) -> Option<i64> {
    let mut count: i64 = 0;
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        count = count.checked_add(i64::from(last.checked_sub(first)?) + 1)?;
    }
    Some(count)
}

/// The model of the first processor of `/proc/cpuinfo`, which each architecture tells otherwise.
pub(super) fn cpu_model(cpuinfo: &str) -> Option<String> {
    let keys = ["model name", "Model", "Hardware", "cpu model", "cpu", "uarch"];
    keys.iter().find_map(|key| line(field(cpuinfo, key)?))
}

/// The load average of one minute, in hundredths.
pub(super) fn load(loadavg: &str) -> Option<i64> {
    let (whole, part) = loadavg.split_whitespace().next()?.split_once('.')?;
    let (whole, part): (u32, u32) = (whole.parse().ok()?, part.get(..2)?.parse().ok()?);
    Some(i64::from(whole) * 100 + i64::from(part))
}

/// When the machine was booted, from `/proc/stat`, in milliseconds since the Unix epoch.
pub(super) fn booted_ms(stat: &str) -> Option<i64> {
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    number(seconds)?.checked_mul(1_000).filter(|ms| *ms >= 0)
}

/// The distribution's name for people, from `os-release`.
pub(super) fn os_name(release: &str) -> Option<String> {
    release_value(release, "PRETTY_NAME").or_else(|| release_value(release, "NAME"))
}

/// The distribution's name for programs, from `os-release`, as `debian 12`.
pub(super) fn platform(release: &str) -> Option<String> {
    let id = release_value(release, "ID")?;
    let version = release_value(release, "VERSION_ID");
    Some(version.map_or_else(|| id.clone(), |version| format!("{id} {version}")))
}

/// A value of os-release(5).
fn release_value(release: &str, key: &str) -> Option<String> {
    let mut lines = release.lines();
    let value = lines.find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
    line(&unquoted(value))
}

/// The mounts of `/proc/self/mountinfo`; see proc_pid_mountinfo(5).
pub(super) fn mounts(mountinfo: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ');
        let device = before.nth(2)?.to_owned();
        let point = unescaped(before.nth(1)?);
        let fs_type = after.split(' ').next()?.to_owned();
        Some(Mount { device, point, fs_type })
    };
    mountinfo.lines().filter_map(mount).collect()
}

/// An interface's state in our words, from `operstate` and `carrier`; drivers that keep no state
/// may have a carrier all the same.
pub(super) fn link_state(operstate: &str, carrier: Option<i64>) -> Option<&'static str> {
    match operstate.trim() {
        "up" => Some("UP"),
        "down" => Some("DOWN"),
        "lowerlayerdown" => Some("LOWER_LAYER_DOWN"),
        "dormant" => Some("DORMANT"),
        "testing" => Some("TESTING"),
        "notpresent" => Some("NOT_PRESENT"),
        _ => carrier.map(|carrier| if carrier == 0 { "DOWN" } else { "UP" }),
    }
}

/// A hardware address; none of nothing but zeros, as of the loopback interface.
pub(super) fn mac(address: &str) -> Option<String> {
    line(address).filter(|mac| mac.chars().any(|c| c != '0' && c != ':'))
}

/// A label as the segment of a path.
pub(super) fn segment(label: &str) -> String {
    label.split_whitespace().collect::<Vec<_>>().join("_")
}

/// A mount point as the segment of a path; `None` where two would be named alike.
pub(super) fn mount_segment(point: &str) -> Option<String> {
    (!point.contains(':')).then(|| point.replace('/', ":"))
}

/// The value of the first line `key : value`.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines();
    lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then_some(value.trim()).filter(|value| !value.is_empty())
    })
}

/// A value without the quotes and backslashes of a shell.
fn unquoted(value: &str) -> String {
    let value = value.trim();
    let quoted = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q));
    let mut out = String::new();
    let mut chars = quoted.unwrap_or(value).chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

/// A path of mountinfo, in which space, tab, newline and backslash are written as `\040`.
fn unescaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                out.push(byte);
                rest = &tail[3..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:       16303208 kB\nMemFree:  1 kB\n\
                    MemAvailable:   8000 kB\nHugePages_Total:  3\n";
        assert_eq!(memory(text, "MemTotal"), Some(16_303_208 * 1_024));
        assert_eq!(memory(text, "MemAvailable"), Some(8_000 * 1_024));
        for key in ["MemAvail", "Nothing", ""] {
            assert_eq!(memory(text, key), None, "{key}");
        }
        for text in
            ["MemTotal: x kB", "MemTotal:", "MemTotal: -1 kB", "MemTotal: 9223372036854775807 kB"]
        {
            assert_eq!(memory(text, "MemTotal"), None, "{text}");
        }
    }

    #[test]
    fn processors_are_counted() {
        for (text, count) in [
            ("0\n", Some(1)),
            ("0-3\n", Some(4)),
            ("0-1,4,6-7", Some(5)),
            ("", None),
            ("3-1", None),
            ("0-", None),
            ("a", None),
            ("0-4294967295,0-4294967295", Some(8_589_934_592)),
        ] {
            assert_eq!(cpu_list(text), count, "{text:?}");
        }
    }

    #[test]
    fn each_architecture_tells_its_model() {
        for (text, model) in [
            (
                "processor\t: 0\nmodel\t: 7\nmodel name\t: Intel(R)  Xeon(R)\n",
                Some("Intel(R) Xeon(R)"),
            ),
            (
                "processor\t: 0\nBogoMIPS\t: 1\n\nModel\t\t: Raspberry Pi 4\n",
                Some("Raspberry Pi 4"),
            ),
            ("processor : 0\ncpu : POWER9\n", Some("POWER9")),
            ("processor : 0\n", None),
            ("", None),
        ] {
            assert_eq!(cpu_model(text).as_deref(), model, "{text:?}");
        }
    }

    #[test]
    fn load_is_read_in_hundredths() {
        for (text, expected) in [
            ("0.42 0.36 0.30 1/123 4567\n", Some(42)),
            ("12.05 1 1", Some(1_205)),
            ("nan 0 0", None),
            ("", None),
            ("1", None),
            ("1.5", None),
        ] {
            assert_eq!(load(text), expected, "{text:?}");
        }
    }

    #[test]
    fn boot_time_is_found_among_the_rest() {
        assert_eq!(booted_ms("cpu 1 2\nbtime 1700000000\nprocesses 3"), Some(1_700_000_000_000));
        for text in ["", "btime", "btime x", "btime 9223372036854775807"] {
            assert_eq!(booted_ms(text), None, "{text:?}");
        }
    }

    #[test]
    fn distributions_quote_as_they_like() {
        for (text, name) in [
            (
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=x",
                Some("Debian GNU/Linux 12 (bookworm)"),
            ),
            ("NAME=Alpine\nID=alpine", Some("Alpine")),
            ("PRETTY_NAME='It\\'s \\$5'", Some("It's $5")),
            ("PRETTY_NAME=\"\"\nNAME=b", Some("b")),
            ("PRETTY_NAME=\"", Some("\"")),
            ("", None),
        ] {
            assert_eq!(os_name(text).as_deref(), name, "{text:?}");
        }
        for (text, name) in [
            ("VERSION_ID=\"12\"\nID=debian", Some("debian 12")),
            ("ID=arch", Some("arch")),
            ("VERSION_ID=1", None),
        ] {
            assert_eq!(platform(text).as_deref(), name, "{text:?}");
        }
    }

    #[test]
    fn mounts_are_read_with_what_their_names_hide() {
        let text = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                    22 27 0:21 / /proc rw shared:5 master:1 - proc proc rw\n\
                    30 27 8:1 /x /mnt/a\\040b\\134\\999 rw - xfs /dev/sda1 rw\nbroken\n1 2 3:4 / - x\n";
        let mounts = mounts(text);
        let found: Vec<_> = mounts
            .iter()
            .map(|m| (m.device.as_str(), m.point.as_str(), m.fs_type.as_str()))
            .collect();
        assert_eq!(
            found,
            [("254:0", "/", "ext4"), ("0:21", "/proc", "proc"), ("8:1", "/mnt/a b\\\\999", "xfs")]
        );
    }

    #[test]
    fn links_have_a_state_where_the_kernel_has_one() {
        for (operstate, carrier, expected) in [
            ("up\n", None, Some("UP")),
            ("down", Some(1), Some("DOWN")),
            ("lowerlayerdown", None, Some("LOWER_LAYER_DOWN")),
            ("unknown", Some(1), Some("UP")),
            ("unknown", Some(0), Some("DOWN")),
            ("unknown", None, None),
            ("", None, None),
        ] {
            assert_eq!(link_state(operstate, carrier), expected, "{operstate} {carrier:?}");
        }
        assert_eq!(mac("52:54:00:12:34:56\n").as_deref(), Some("52:54:00:12:34:56"));
        assert_eq!(mac("00:00:00:00:00:00\n"), None);
        assert_eq!(mac("\n"), None);
    }

    #[test]
    fn names_become_segments() {
        for (point, expected) in
            [("/", Some(":")), ("/var/lib", Some(":var:lib")), ("/a:b", None), ("", Some(""))]
        {
            assert_eq!(mount_segment(point).as_deref(), expected, "{point}");
        }
        assert_eq!(segment("Package id 0\n"), "Package_id_0");
    }

    #[test]
    fn a_line_is_short_and_printable() {
        assert_eq!(line("  a\tb\n\u{7}c \u{fffd}").as_deref(), Some("a b c"));
        assert_eq!(line(" \n"), None);
        assert_eq!(line(&"ä".repeat(TEXT_CHARS_MAX + 1)).unwrap().chars().count(), TEXT_CHARS_MAX);
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(
            text in "(?s).{0,200}|(MemTotal|model name|btime|PRETTY_NAME)[ :=].{0,40}|\
                     [0-9,. \\\\:/-]{0,60}"
        ) {
            let all = (line(&text), number(&text), memory(&text, "MemTotal"), cpu_list(&text));
            let more = (cpu_model(&text), load(&text), booted_ms(&text), os_name(&text));
            let rest = (mounts(&text), link_state(&text, None), mac(&text), segment(&text));
            let texts = (mount_segment(&text), unescaped(&text), unquoted(&text));
            drop((all, more, rest, platform(&text), texts));
        }
    }
}
