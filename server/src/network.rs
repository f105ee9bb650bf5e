//! Networks of addresses, and the client's address behind proxies that are trusted.

use actix_web::http::header::{HeaderMap, HeaderName};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Addresses that begin with the same bits, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    /// The address, an IPv4 address as IPv6 (`::ffff:10.0.0.0`).
    bits: u128,
    /// How many bits are compared, of 128.
    prefix: u32,
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let differing = self.bits ^ bits_of(address);
        differing.leading_zeros() >= self.prefix
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(drop)?;
        let length: u32 = if address.is_ipv4() { 32 } else { 128 };
        let prefix: u32 = prefix.map_or(Ok(length), str::parse).map_err(drop)?;
        // An IPv4 address is the last 32 bits of its IPv6 form.
        let unused = length.checked_sub(prefix).ok_or(())?;
        Ok(Self { bits: bits_of(address), prefix: 128_u32.saturating_sub(unused) })
    }
}

/// Several networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// `127.0.0.0/8` and `::1`.
    pub fn loopback() -> Self {
        let v4 = Network { bits: bits_of(Ipv4Addr::LOCALHOST.into()), prefix: 104 };
        let v6 = Network { bits: bits_of(Ipv6Addr::LOCALHOST.into()), prefix: 128 };
        Self(vec![v4, v6])
    }

    /// These networks and those.
    pub fn and(&self, those: Self) -> Self {
        Self(self.0.iter().copied().chain(those.0).collect())
    }

    /// Whether an address is in one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The address of the client of a request that came from `peer`.
    ///
    /// `X-Forwarded-For` counts only if these networks contain the peer. Each proxy appends the
    /// address that it was reached from, so the list is read from its end, up to the first address
    /// that is not a trusted proxy. Everything before it is a claim of that client. The header
    /// `Forwarded` does not count: a proxy that does not write it passes on what the client sent.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut nearest = peer;
        let lines: Vec<_> = headers.get_all(&X_FORWARDED_FOR).collect();
        let named = lines.iter().rev().flat_map(|line| {
            line.to_str().unwrap_or_default().rsplit(',').map(|name| address_in(name.trim()))
        });
        for address in named {
            if !self.contain(nearest) {
                break;
            }
            match address {
                Some(address) => nearest = address,
                None => break,
            }
        }
        nearest.to_canonical()
    }
}

/// The address that stands for a caller: of an IPv6 address its /64, which one customer usually gets.
pub fn caller_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 => v4,
    }
}

/// The address in a part of `X-Forwarded-For`. Some proxies add a port or brackets.
fn address_in(name: &str) -> Option<IpAddr> {
    name.parse().ok().or_else(|| {
        let with_port: Option<std::net::SocketAddr> = name.parse().ok();
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        with_port.map(|address| address.ip()).or_else(|| bare?.parse().ok())
    })
}

impl FromStr for Networks {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.split(',').map(|part| part.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn networks(text: &str) -> Networks {
        text.parse().unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_contains_what_begins_with_its_bits() {
        let some = networks("10.0.0.0/8, 192.168.7.9,2001:db8::/32,fd00::1");
        for inside in ["10.255.0.1", "192.168.7.9", "::ffff:10.1.1.1", "2001:db8:9::1", "fd00::1"] {
            assert!(some.contain(address(inside)), "{inside}");
        }
        for outside in ["11.0.0.1", "192.168.7.8", "2001:db9::1", "fd00::2", "::1", "127.0.0.1"] {
            assert!(!some.contain(address(outside)), "{outside}");
        }
        assert!(networks("0.0.0.0/0").contain(address("8.8.8.8")));
        assert!(!networks("0.0.0.0/0").contain(address("2001:db8::1")));
        assert!(networks("::/0").contain(address("8.8.8.8")));
        let loopback = Networks::loopback();
        assert!(loopback.contain(address("127.9.9.9")) && loopback.contain(address("::1")));
        assert!(!loopback.contain(address("128.0.0.1")));
    }

    #[test]
    fn other_texts_are_no_networks() {
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "proxy", "10.0.0.1,", "10.0.0.1/-1"]
        {
            assert_eq!(wrong.parse::<Networks>(), Err(()), "{wrong}");
        }
    }

    fn client(trusted: &str, peer: &str, lines: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(line));
        }
        networks(trusted).client(address(peer), &headers).to_string()
    }

    #[test]
    fn the_last_address_that_is_not_a_proxy_is_the_client() {
        let proxies = "127.0.0.1,10.0.0.0/8";
        for (peer, lines, expected) in [
            ("127.0.0.1", &["203.0.113.9"][..], "203.0.113.9"),
            ("127.0.0.1", &["1.1.1.1, 203.0.113.9"][..], "203.0.113.9"),
            ("127.0.0.1", &["1.1.1.1, 203.0.113.9 , 10.0.0.4"][..], "203.0.113.9"),
            ("127.0.0.1", &["1.1.1.1", "203.0.113.9, 10.0.0.4"][..], "203.0.113.9"),
            ("127.0.0.1", &["203.0.113.9:4711"][..], "203.0.113.9"),
            ("127.0.0.1", &["[2001:db8::1]:443"][..], "2001:db8::1"),
            ("::ffff:127.0.0.1", &["203.0.113.9"][..], "203.0.113.9"),
            ("127.0.0.1", &["1.1.1.1, unknown, 10.0.0.4"][..], "10.0.0.4"),
            ("127.0.0.1", &["unknown"][..], "127.0.0.1"),
            ("127.0.0.1", &[][..], "127.0.0.1"),
            ("198.51.100.7", &["203.0.113.9"][..], "198.51.100.7"),
        ] {
            assert_eq!(client(proxies, peer, lines), expected, "{peer} {lines:?}");
        }
    }
}
