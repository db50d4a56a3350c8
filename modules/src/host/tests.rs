//! The module under the harness: on machines made of files, and on this one.

use std::{fs, os::unix::fs::symlink};

use kraken_actors::{
    host::attempt::Conduct,
    module::{
        ObjectView, conformance, fake,
        harness::{self, Harness, Time},
    },
};
use kraken_engine::{catalog::Catalog, value::Value};
use serde_json::json;

use super::*;

/// A machine made of files.
struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new() -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        for (path, text) in [
            ("proc/sys/kernel/hostname", "n1\n"),
            ("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"),
            ("proc/sys/kernel/random/boot_id", "b9a5\n"),
            ("proc/stat", "cpu  1 2 3\nbtime 1700000000\n"),
            ("proc/cpuinfo", "processor\t: 0\nmodel name\t: Fast One\n"),
            ("proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 620000 kB\n"),
            ("proc/loadavg", "0.80 0.5 0.5 1/2 3\n"),
            (
                "proc/self/mountinfo",
                "1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 8:1 /x /x rw - ext4 s rw\n",
            ),
            ("sys/devices/system/cpu/online", "0-7\n"),
            ("etc/os-release", "PRETTY_NAME=\"Debian 12\"\nID=debian\nVERSION_ID=12\n"),
            ("sys/block/loop0/size", "8\n"),
            ("sys/class/net/bonding_masters", "\n"),
        ] {
            fixture.write(path, text);
        }
        fixture.disk("sda");
        fixture.disk("sdb");
        fixture.interface("eth0");
        fixture
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_dir_all(self.0.path().join(path)).unwrap();
    }

    fn disk(&self, name: &str) {
        self.write(&format!("sys/block/{name}/size"), "2048\n");
        self.write(&format!("sys/block/{name}/queue/rotational"), "1\n");
        self.write(&format!("sys/block/{name}/device/model"), "SPINNER  9 \n");
    }

    fn interface(&self, name: &str) {
        let at = |key: &str| format!("sys/devices/{name}/{key}");
        self.write(&at("address"), "52:54:00:00:00:01\n");
        self.write(&at("mtu"), "1500\n");
        self.write(&at("operstate"), "up\n");
        self.write(&at("speed"), "-1\n");
        let net = self.0.path().join("sys/class/net");
        symlink(self.0.path().join("sys/devices").join(name), net.join(name)).unwrap();
    }

    fn sensor(&self, hwmon: &str, chip: &str, label: &str, milli: &str) {
        let at = |key: &str| format!("sys/class/hwmon/{hwmon}/{key}");
        self.write(&at("name"), chip);
        self.write(&at("temp1_label"), label);
        self.write(&at("temp1_input"), milli);
    }

    async fn harness(&self) -> Harness {
        Harness::start(Host::factory(), json!({ "root": self.0.path() })).await.unwrap()
    }
}

async fn look(host: &mut Harness, node: &Arc<ObjectView>) {
    assert_eq!(host.poll(std::slice::from_ref(node)).await, Conduct::Answered);
}

/// Looks at a machine and checks what is then seen.
async fn check(host: &mut Harness, expected: &[(&str, &str)]) {
    let node = fake::node("n1");
    look(host, &node).await;
    for (key, value) in expected {
        assert_eq!(seen(host, &format!("/host/{key}")), *value, "{key}");
    }
    assert!(host.refused_paths().is_empty());
}

fn seen(host: &mut Harness, path: &str) -> String {
    let value = host.seen(&fake::node("n1"), path);
    value.map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

#[test]
fn the_manifest_compiles_and_changes_nothing() {
    let manifest = Host::manifest();
    assert!(manifest.mutations.is_empty());
    assert_eq!(manifest.discovers.len(), paths().len() + BASE_PATHS.len());
    Catalog::build(&[crate::base(), manifest]).unwrap();
}

#[test]
fn a_machine_is_told_as_its_files_say() {
    harness::run(Time::Real, async {
        let fixture = Fixture::new();
        let mut host = fixture.harness().await;
        let expected = [
            ("name", "n1"),
            ("arch", std::env::consts::ARCH),
            ("kernel", "6.1.0-18-amd64"),
            ("os", "Debian 12"),
            ("bootId", "b9a5"),
            ("bootedMs", "1700000000000"),
            ("cpu/count", "8"),
            ("cpu/model", "Fast One"),
            ("memory/totalBytes", "1024000000"),
            ("memory/availableBytes", "614400000"),
            ("load/1m", "1.0"),
            ("disks/sda/sizeBytes", "1048576"),
            ("disks/sda/model", "SPINNER 9"),
            ("disks/sda/rotational", "true"),
            ("disks/loop0/sizeBytes", "unknown"),
            ("interfaces/eth0/state", "UP"),
            ("interfaces/eth0/mac", "52:54:00:00:00:01"),
            ("interfaces/eth0/mtu", "1500"),
            ("interfaces/eth0/speedMbps", "unknown"),
            ("mounts/:x/sizeBytes", "unknown"),
            ("skipped", "0"),
        ];
        check(&mut host, &expected).await;
        let node = fake::node("n1");
        assert_eq!(seen(&mut host, "/platform"), "debian 12");
        assert!(host.seen(&node, "/host/mounts/:/sizeBytes").unwrap().as_int() > Some(0));
        assert!(host.seen(&node, "/host/mounts/:/usedPercent").unwrap().as_int() <= Some(100));
    });
}

#[test]
fn what_moves_a_little_is_not_told_again() {
    harness::run(Time::Real, async {
        let fixture = Fixture::new();
        let mut host = fixture.harness().await;
        let before = [
            ("memory/availableBytes", "614400000"),
            ("load/1m", "1.0"),
            ("bootedMs", "1700000000000"),
        ];
        check(&mut host, &before).await;
        fixture.write("proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 570000 kB\n");
        fixture.write("proc/loadavg", "0.70 0 0 0 0");
        fixture.write("proc/stat", "btime 1700000001\n");
        check(&mut host, &before).await;
        // Nor after a restart: what was shown is known from the node.
        host.crash().await.unwrap();
        check(&mut host, &before).await;
        fixture.write("proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 500000 kB\n");
        fixture.write("proc/loadavg", "9.10 0 0 0 0");
        fixture.write("proc/stat", "btime 1700009000\n");
        let after = [
            ("memory/availableBytes", "512000000"),
            ("load/1m", "10.0"),
            ("bootedMs", "1700009000000"),
        ];
        check(&mut host, &after).await;
    });
}

#[test]
fn what_is_gone_turns_unknown_also_after_a_restart() {
    harness::run(Time::Real, async {
        let fixture = Fixture::new();
        let mut host = fixture.harness().await;
        let sdb = ("disks/sdb/sizeBytes", "1048576");
        check(&mut host, &[sdb, ("interfaces/eth0/mtu", "1500")]).await;
        fixture.remove("sys/block/sdb");
        let gone = ("disks/sdb/sizeBytes", "unknown");
        check(&mut host, &[gone, ("interfaces/eth0/mtu", "1500")]).await;
        host.crash().await.unwrap();
        fixture.remove("sys/class/net");
        let sda = ("disks/sda/sizeBytes", "1048576");
        check(&mut host, &[gone, ("interfaces/eth0/mtu", "unknown"), sda]).await;
    });
}

#[test]
fn sensors_are_told_apart_and_odd_names_are_counted() {
    harness::run(Time::Real, async {
        let fixture = Fixture::new();
        fixture.sensor("hwmon10", "coretemp\n", "Core 0\n", "71000\n");
        fixture.sensor("hwmon2", "coretemp\n", "Core 0\n", "41000\n");
        fixture.sensor("hwmon3", "drivetemp\n", "x\n", "30000\n");
        fixture.sensor("hwmon4", "acpitz\n", "\n", "-274000000\n");
        fixture.sensor("hwmon5", "odd\n", "a(b)\n", "30000\n");
        fixture.write("sys/class/thermal/thermal_zone0/type", "acpitz\n");
        fixture.write("sys/class/thermal/thermal_zone0/temp", "27000\n");
        fixture.write("sys/class/thermal/thermal_zone1/type", "x86_pkg_temp\n");
        fixture.write("sys/class/thermal/thermal_zone1/temp", "-3000\n");
        fixture.disk("cciss!c0d0");
        let mut host = fixture.harness().await;
        let expected = [
            ("temperatures/coretemp-Core_0/celsius", "40"),
            ("temperatures/coretemp-Core_0.2/celsius", "70"),
            ("temperatures/drivetemp-x/celsius", "unknown"),
            ("temperatures/acpitz-temp1/celsius", "unknown"),
            ("temperatures/acpitz/celsius", "unknown"),
            ("temperatures/x86_pkg_temp/celsius", "-5"),
            ("skipped", "2"),
        ];
        check(&mut host, &expected).await;
        fixture.sensor("hwmon2", "coretemp\n", "Core 0\n", "43500\n");
        check(&mut host, &[("temperatures/coretemp-Core_0/celsius", "40")]).await;
        fixture.sensor("hwmon2", "coretemp\n", "Core 0\n", "45000\n");
        check(&mut host, &[("temperatures/coretemp-Core_0/celsius", "45")]).await;
    });
}

#[test]
fn beyond_a_limit_interfaces_without_a_device_are_left_out_first() {
    harness::run(Time::Real, async {
        let fixture = Fixture::new();
        for index in 0..128 {
            fixture.interface(&format!("a{index}"));
        }
        fixture.write("sys/devices/eth0/device/vendor", "1\n");
        let mut host = fixture.harness().await;
        let expected =
            [("skipped", "1"), ("interfaces/eth0/mtu", "1500"), ("interfaces/a127/mtu", "unknown")];
        check(&mut host, &expected).await;
    });
}

#[test]
fn an_empty_machine_is_unknown_and_none_at_all_is_refused() {
    harness::run(Time::Real, async {
        let empty = tempfile::tempdir().unwrap();
        let config = json!({ "root": empty.path() });
        assert!(Harness::start(Host::factory(), config.clone()).await.is_err());
        fs::create_dir(empty.path().join("proc")).unwrap();
        let mut host = Harness::start(Host::factory(), config).await.unwrap();
        check(&mut host, &[("cpu/count", "unknown"), ("skipped", "0")]).await;
        let seen: Vec<String> =
            host.seen_of(&fake::node("n1")).keys().map(ToString::to_string).collect();
        assert_eq!(seen, ["/arch", "/host/arch", "/host/skipped"]);
    });
}

#[test]
fn this_machine_is_told() {
    harness::run(Time::Real, async {
        let node = fake::node("n1");
        let mut host = Harness::start(Host::factory(), serde_json::Value::Null).await.unwrap();
        look(&mut host, &node).await;
        let catalog = Catalog::build(&[crate::base(), Host::manifest()]).unwrap();
        let schema = &catalog.kind(&node.key.kind).unwrap().schema;
        for (path, value) in host.seen_of(&node) {
            schema.rule_at(&path).unwrap().value_type.check(&value).unwrap();
        }
        for key in ["cpu/count", "memory/totalBytes", "bootedMs"] {
            let seen = host.seen(&node, &format!("/host/{key}")).and_then(Value::as_int);
            assert!(seen > Some(0), "{key}");
        }
        for key in ["kernel", "bootId", "load/1m", "memory/availableBytes"] {
            assert!(host.seen(&node, &format!("/host/{key}")).is_some(), "{key}");
        }
    });
}

#[test]
fn it_passes_the_conformance_suite() {
    harness::run(Time::Real, async {
        let case =
            conformance::Case::looking(Host::factory(), fake::node("n1")).beside(crate::base());
        assert_eq!(conformance::check(&case).await, []);
    });
}
