//! Free ports that stay usable: below those from which the kernel takes the near ends of outgoing
//! connections, so that a port is still free when the process that listened at it is started again.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// The lowest port that is given out.
const LOWEST: u16 = 10_000;
/// Where the kernel's own range begins unless it says otherwise.
const KERNEL_LOWEST: u16 = 32_768;

/// Counts the ports that this process has tried: none is tried twice, so that whoever was given one
/// never finds it taken by another try.
static TRIED: AtomicU16 = AtomicU16::new(0);

/// A port on loopback that nobody uses and that this process has not given out before; `None` where
/// all are taken. Processes begin at different places.
pub(super) fn free() -> Option<SocketAddr> {
    let end = kernel_lowest().filter(|end| *end > LOWEST + 1_000).unwrap_or(KERNEL_LOWEST);
    let spread = std::process::id().wrapping_mul(37);
    (LOWEST..end).find_map(|_| {
        let tried = u32::from(TRIED.fetch_add(1, Ordering::Relaxed));
        let offset = u16::try_from(spread.wrapping_add(tried) % u32::from(end - LOWEST)).ok()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, LOWEST + offset));
        TcpListener::bind(address).is_ok().then_some(address)
    })
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
        let given: Vec<SocketAddr> = (0..50).map(|_| free().unwrap()).collect();
        let distinct: std::collections::BTreeSet<_> = given.iter().collect();
        assert_eq!(distinct.len(), given.len());
        assert!(given.iter().all(|address| TcpListener::bind(address).is_ok()));
    }
}
