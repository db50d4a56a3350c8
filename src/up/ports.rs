//! Free ports that stay usable: below those from which the kernel takes the near ends of outgoing
//! connections, so that a port is still free when the process that listened at it is started again.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

/// The lowest port that is given out.
const LOWEST: u16 = 10_000;
/// Where the kernel's own range begins unless it says otherwise.
const KERNEL_LOWEST: u16 = 32_768;

/// Gives out free ports on loopback, each once.
pub(super) struct Ports {
    next: u16,
    end: u16,
    given: BTreeSet<u16>,
}

impl Ports {
    /// Ports that others are not likely to try at the same time.
    pub(super) fn new() -> Self {
        let end = kernel_lowest().filter(|end| *end > LOWEST + 1_000).unwrap_or(KERNEL_LOWEST);
        let spread = std::process::id().wrapping_mul(37) % u32::from(end - LOWEST);
        let next = LOWEST + u16::try_from(spread).unwrap_or_default();
        Self { next, end, given: BTreeSet::new() }
    }

    /// The next free one; `None` where all are taken.
    pub(super) fn next(&mut self) -> Option<SocketAddr> {
        for _ in LOWEST..self.end {
            let port = self.next;
            self.next = if port + 1 < self.end { port + 1 } else { LOWEST };
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if !self.given.contains(&port) && TcpListener::bind(address).is_ok() {
                self.given.insert(port);
                return Some(address);
            }
        }
        None
    }
}

fn kernel_lowest() -> Option<u16> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    range.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_and_given_once() {
        let mut ports = Ports::new();
        let first = ports.next().unwrap();
        let taken = TcpListener::bind(first).unwrap();
        let mut others = Ports { next: first.port(), end: ports.end, given: BTreeSet::new() };
        assert_ne!(others.next().unwrap(), first);
        drop(taken);
        assert_ne!(ports.next().unwrap(), first);
    }
}
