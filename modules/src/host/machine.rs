//! The machine: where its facts stand in `/proc` and `/sys`. Reads block; texts are understood in
//! [`parse`](super::parse).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use kraken_engine::value::{Finite, Value};

use super::{
    facts::{Facts, Shown, shown_int},
    parse,
    steps::{load_step, settle},
};

/// How much of one file is read, in bytes.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Most disks that are told.
const DISKS_MAX: usize = 256;
/// Most mounts that are told.
const MOUNTS_MAX: usize = 64;
/// Most interfaces that are told; those with a device come first.
const INTERFACES_MAX: usize = 128;
/// Most sensors that are told.
const SENSORS_MAX: usize = 128;
/// The step of a percentage.
const PERCENT_STEP: i64 = 5;
/// The step of a temperature, in thousandths of a degree.
const TEMPERATURE_STEP: i64 = 5_000;
/// What a sensor may say; beyond, it is not connected. In thousandths of a degree.
const TEMPERATURES: std::ops::RangeInclusive<i64> = -100_000..=500_000;
/// The step of the time of boot in milliseconds: the kernel computes it anew as clocks are set.
const BOOT_STEP: i64 = 60_000;
/// Kinds of file systems that keep files on a disk of the machine.
const DISK_FILE_SYSTEMS: [&str; 12] = [
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs3", "vfat", "xfs",
    "zfs",
];
/// Block devices that are no disks, or have a medium only at times: these letters and a number.
const NO_DISKS: [&str; 5] = ["fd", "loop", "ram", "sr", "zram"];
/// Sensors in drives: asking them keeps a drive from sleeping.
const DRIVE_SENSORS: &str = "drivetemp";

/// The machine under one root.
#[derive(Debug)]
pub(super) struct Machine {
    root: PathBuf,
}

/// One temperature in thousandths of a degree.
struct Sensor {
    name: String,
    milli: i64,
}

impl Machine {
    /// The machine whose `proc`, `sys` and `etc` are below `root`.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Looks at everything. `shown` is what was told before, within whose steps values stay.
    pub(super) fn read(&self, shown: &Shown) -> Facts {
        let mut facts = Facts::default();
        self.system(shown, &mut facts);
        self.load_and_memory(shown, &mut facts);
        self.disks(&mut facts);
        self.mounts(shown, &mut facts);
        self.interfaces(&mut facts);
        self.temperatures(shown, &mut facts);
        facts
    }

    fn system(&self, shown: &Shown, facts: &mut Facts) {
        facts.put("name", self.line("proc/sys/kernel/hostname"));
        for path in ["arch", "/arch"] {
            facts.put(path, Some(std::env::consts::ARCH));
        }
        facts.put("kernel", self.line("proc/sys/kernel/osrelease"));
        let release = self.text("etc/os-release").or_else(|| self.text("usr/lib/os-release"));
        facts.put("/platform", release.as_deref().and_then(parse::platform));
        facts.put("os", release.as_deref().and_then(parse::os_name));
        facts.put("bootId", self.line("proc/sys/kernel/random/boot_id"));
        let booted = self.text("proc/stat").and_then(|text| parse::booted_ms(&text));
        // Told as it was read, not as a multiple: only its wandering is hidden.
        let before = shown_int(shown, "bootedMs");
        let kept = |ms: i64| before.filter(|shown| shown.abs_diff(ms) < BOOT_STEP.unsigned_abs());
        facts.put("bootedMs", booted.map(|ms| kept(ms).unwrap_or(ms)));
        let online = self.text("sys/devices/system/cpu/online");
        facts.put("cpu/count", online.and_then(|text| parse::cpu_list(&text)));
        let cpuinfo = self.text("proc/cpuinfo");
        facts.put("cpu/model", cpuinfo.and_then(|text| parse::cpu_model(&text)));
    }

    fn load_and_memory(&self, shown: &Shown, facts: &mut Facts) {
        let meminfo = self.text("proc/meminfo").unwrap_or_default();
        let total = parse::memory(&meminfo, "MemTotal");
        facts.put("memory/totalBytes", total);
        let available = parse::memory(&meminfo, "MemAvailable").zip(total);
        let available = available.map(|(bytes, total)| {
            let key = "memory/availableBytes";
            settle(bytes, total / 20, shown_int(shown, key)).min(total)
        });
        facts.put("memory/availableBytes", available);
        let load = self.text("proc/loadavg").and_then(|text| parse::load(&text));
        let load = load.map(|load| settle(load, load_step(load), shown_load(shown)));
        facts.put("load/1m", load.and_then(hundredths));
    }

    fn disks(&self, facts: &mut Facts) {
        let disks = self.list("sys/block").into_iter().filter(|name| is_disk(name));
        let disks: Vec<(String, i64)> = disks
            .filter_map(|name| {
                // In sectors of 512 bytes whatever the disk's own are.
                let sectors = self.number(&format!("sys/block/{name}/size"))?;
                Some((name, sectors.checked_mul(512).filter(|bytes| *bytes > 0)?))
            })
            .collect();
        for (name, bytes) in within(disks, DISKS_MAX, facts) {
            let at = |key: &str| format!("sys/block/{name}/{key}");
            let rotational = self.number(&at("queue/rotational")).map(|number| number != 0);
            let values = vec![
                ("sizeBytes", Some(bytes.into())),
                ("model", self.line(&at("device/model")).map(Value::from)),
                ("rotational", rotational.map(Value::from)),
            ];
            facts.put_all("disks", &name, values);
        }
    }

    fn mounts(&self, shown: &Shown, facts: &mut Facts) {
        let mountinfo = self.text("proc/self/mountinfo").unwrap_or_default();
        let mut mounts = parse::mounts(&mountinfo);
        mounts.retain(|m| m.point == "/" || DISK_FILE_SYSTEMS.contains(&m.fs_type.as_str()));
        mounts.sort_by(|a, b| (a.point.len(), &a.point).cmp(&(b.point.len(), &b.point)));
        let mut met = BTreeSet::new();
        mounts.retain(|mount| met.insert(mount.device.clone()));
        for mount in within(mounts, MOUNTS_MAX, facts) {
            let Some(name) = parse::mount_segment(&mount.point) else {
                facts.skip(1);
                continue;
            };
            let point = self.root.join(mount.point.trim_start_matches('/'));
            let Ok(stat) = rustix::fs::statvfs(&point) else { continue };
            let used = stat.f_blocks.saturating_sub(stat.f_bfree);
            let percent = percent(used, used.saturating_add(stat.f_bavail)).map(|percent| {
                let key = format!("mounts/{name}/usedPercent");
                settle(percent, PERCENT_STEP, shown_int(shown, &key)).clamp(0, 100)
            });
            let size = stat.f_blocks.checked_mul(stat.f_frsize);
            let size = size.and_then(|bytes| i64::try_from(bytes).ok());
            let values = vec![
                ("sizeBytes", size.map(Value::from)),
                ("usedPercent", percent.map(Value::from)),
            ];
            facts.put_all("mounts", &name, values);
        }
    }

    fn interfaces(&self, facts: &mut Facts) {
        let net = "sys/class/net";
        let mut names = self.list(net);
        // The driver of bonds keeps a file of its own among the interfaces.
        names.retain(|name| self.path(&format!("{net}/{name}")).is_dir());
        names.sort_by_key(|name| !self.path(&format!("{net}/{name}/device")).exists());
        for name in within(names, INTERFACES_MAX, facts) {
            let at = |key: &str| format!("{net}/{name}/{key}");
            let operstate = self.text(&at("operstate")).unwrap_or_default();
            let state = parse::link_state(&operstate, self.number(&at("carrier")));
            let mac = self.text(&at("address")).and_then(|text| parse::mac(&text));
            let speed = self.number(&at("speed")).filter(|mbps| *mbps > 0);
            let values = vec![
                ("state", state.map(Value::from)),
                ("mac", mac.map(Value::from)),
                ("mtu", self.number(&at("mtu")).map(Value::from)),
                ("speedMbps", speed.map(Value::from)),
            ];
            facts.put_all("interfaces", &name, values);
        }
    }

    fn temperatures(&self, shown: &Shown, facts: &mut Facts) {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for sensor in within(self.sensors(), SENSORS_MAX, facts) {
            let count = counts.entry(sensor.name.clone()).or_default();
            *count += 1;
            let name = match *count {
                1 => sensor.name,
                count => format!("{}.{count}", sensor.name),
            };
            let key = format!("temperatures/{name}/celsius");
            let before = shown_int(shown, &key).and_then(|celsius| celsius.checked_mul(1_000));
            let celsius = settle(sensor.milli, TEMPERATURE_STEP, before) / 1_000;
            facts.put_all("temperatures", &name, vec![("celsius", Some(celsius.into()))]);
        }
    }

    fn sensors(&self) -> Vec<Sensor> {
        let mut sensors = Vec::new();
        let mut chips = BTreeSet::new();
        for hwmon in self.list("sys/class/hwmon") {
            let at = format!("sys/class/hwmon/{hwmon}");
            let Some(chip) = self.line(&format!("{at}/name")) else { continue };
            if chip == DRIVE_SENSORS {
                continue;
            }
            for file in self.list(&at) {
                let Some(sensor) = file.strip_suffix("_input").filter(|s| s.starts_with("temp"))
                else {
                    continue;
                };
                let label = self.line(&format!("{at}/{sensor}_label"));
                let name = format!("{chip}-{}", label.as_deref().unwrap_or(sensor));
                sensors.extend(self.sensor(&name, &format!("{at}/{file}")));
            }
            chips.insert(chip);
        }
        for zone in self.list("sys/class/thermal") {
            let at = format!("sys/class/thermal/{zone}");
            let Some(name) = self.line(&format!("{at}/type")) else { continue };
            // Most zones are found among the chips as well, where a dash is not allowed.
            if zone.starts_with("thermal_zone") && !chips.contains(&name.replace('-', "_")) {
                sensors.extend(self.sensor(&name, &format!("{at}/temp")));
            }
        }
        sensors
    }

    fn sensor(&self, name: &str, path: &str) -> Option<Sensor> {
        let milli = self.number(path).filter(|milli| TEMPERATURES.contains(milli))?;
        Some(Sensor { name: parse::segment(name), milli })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The names in a folder, with numbers in their order: `hwmon2` before `hwmon10`.
    fn list(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        names
    }

    /// A file's text; `None` where there is none, or the kernel has nothing to say.
    fn text(&self, path: &str) -> Option<String> {
        read_text(&self.path(path))
    }

    fn line(&self, path: &str) -> Option<String> {
        parse::line(&self.text(path)?)
    }

    fn number(&self, path: &str) -> Option<i64> {
        parse::number(&self.text(path)?)
    }
}

fn read_text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// As many as are told; the others are counted.
fn within<T>(mut all: Vec<T>, max: usize, facts: &mut Facts) -> Vec<T> {
    facts.skip(all.len().saturating_sub(max));
    all.truncate(max);
    all
}

fn is_disk(name: &str) -> bool {
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    letters == name || !NO_DISKS.contains(&letters)
}

/// How much of a whole a part is, in percent, rounded up as `df` does.
fn percent(part: u64, whole: u64) -> Option<i64> {
    let percent = (u128::from(part) * 100).div_ceil(u128::from(whole).max(1));
    (whole > 0).then(|| i64::try_from(percent).unwrap_or(100))
}

fn hundredths(load: i64) -> Option<Value> {
    let (whole, part) = (i32::try_from(load / 100).ok()?, i32::try_from(load % 100).ok()?);
    Finite::new(f64::from(whole) + f64::from(part) / 100.0).map(Value::Float)
}

fn shown_load(shown: &Shown) -> Option<i64> {
    let load = shown.get("/host/load/1m")?.as_number()?;
    // As it is shown: two digits after the point and never negative.
    let text = format!("{load:.2}");
    parse::load(&text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn disks_are_told_from_what_only_looks_like_one() {
        for (name, disk) in [
            ("sda", true),
            ("nvme0n1", true),
            ("vda", true),
            ("md127", true),
            ("dm-0", true),
            ("loop0", false),
            ("ram15", false),
            ("zram0", false),
            ("sr0", false),
            ("fd0", false),
            ("loop", true),
        ] {
            assert_eq!(is_disk(name), disk, "{name}");
        }
    }

    #[test]
    fn percent_counts_as_df_does() {
        for (part, whole, expected) in [
            (0, 100, Some(0)),
            (1, 1_000, Some(1)),
            (50, 100, Some(50)),
            (u64::MAX, u64::MAX, Some(100)),
            (0, 0, None),
        ] {
            assert_eq!(percent(part, whole), expected, "{part} of {whole}");
        }
    }

    proptest! {
        #[test]
        fn a_load_that_is_shown_is_read_again_as_it_was(load in 0_i64..10_000_000) {
            let path = kraken_engine::path::Path::new("/host/load/1m").unwrap();
            let shown = Shown::from([(path, hundredths(load).unwrap())]);
            prop_assert_eq!(shown_load(&shown), Some(load));
        }
    }
}
