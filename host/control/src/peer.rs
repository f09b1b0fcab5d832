//! Where a request comes from: the address of its connection, or what a proxy before this server says, where the operator trusts that proxy.
//!
//! Must never: believe `X-Forwarded-For` of somebody who is not a trusted proxy: everybody can send one.

use crate::patient::Patient;
use axum::extract::ConnectInfo;
use axum::extract::connect_info::Connected;
use axum::http::{Extensions, HeaderMap, HeaderName};
use axum::serve::IncomingStream;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The other side of a connection. A server puts it among a request's extensions, as [`ConnectInfo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, Patient>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Patient>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Addresses that begin with the same bits, for instance `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| self.bits == 0 || (a ^ b) >> (width - self.bits) == 0;
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NoNetwork;
    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NoNetwork)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), str::parse).map_err(|_| NoNetwork)?;
        if bits > width {
            return Err(NoNetwork);
        }
        Ok(Self { address, bits })
    }
}

/// A text that is neither an address nor a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write an address or a network, for instance 10.0.0.7 or 10.0.0.0/8")]
pub struct NoNetwork;

/// Where a request comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct From {
    /// The client's address; `None` where the server did not say.
    pub(crate) client: Option<IpAddr>,
    /// The proxy's that spoke for it.
    pub(crate) proxy: Option<IpAddr>,
}

impl From {
    /// Of a request, where `trusted` are the proxies.
    pub(crate) fn of(extensions: &Extensions, headers: &HeaderMap, trusted: &[Network]) -> Self {
        let peer = extensions.get::<ConnectInfo<Peer>>().map(|ConnectInfo(Peer(address))| address.ip().to_canonical());
        let Some(peer) = peer else { return Self::default() };
        let is_proxy = |address: IpAddr| trusted.iter().any(|network| network.has(address));
        if !is_proxy(peer) {
            return Self { client: Some(peer), proxy: None };
        }
        // Each proxy adds at the end whom it heard, so what is right of the first that is no proxy is true.
        let texts: Vec<_> = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
        let mut client = peer;
        for hop in texts.iter().flat_map(|text| text.split(',')).rev() {
            let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
            client = address.to_canonical();
            if !is_proxy(client) {
                break;
            }
        }
        Self { client: Some(client), proxy: Some(peer).filter(|proxy| *proxy != client) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, forwarded: &[&str], trusted: &[&str]) -> (String, Option<String>) {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(Peer(SocketAddr::new(peer.parse().unwrap(), 1))));
        let mut headers = HeaderMap::new();
        for text in forwarded {
            headers.append(FORWARDED_FOR, text.parse().unwrap());
        }
        let trusted: Vec<Network> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        let from = From::of(&extensions, &headers, &trusted);
        (from.client.unwrap().to_string(), from.proxy.map(|proxy| proxy.to_string()))
    }

    #[test]
    fn only_a_trusted_proxy_speaks_for_others() {
        let plain = |client: &str| (client.to_owned(), None);
        assert_eq!(from("192.0.2.1", &["203.0.113.9"], &[]), plain("192.0.2.1"));
        assert_eq!(from("192.0.2.1", &["203.0.113.9"], &["10.0.0.0/8"]), plain("192.0.2.1"));
        assert_eq!(from("::ffff:192.0.2.1", &[], &[]), plain("192.0.2.1"));
    }

    #[test]
    fn what_a_client_wrote_itself_is_left_of_what_proxies_wrote() {
        let through = |client: &str| (client.to_owned(), Some("10.0.0.7".to_owned()));
        let trusted = ["10.0.0.0/8", "fd00::/8"];
        assert_eq!(from("10.0.0.7", &["203.0.113.9"], &trusted), through("203.0.113.9"));
        assert_eq!(from("10.0.0.7", &["1.1.1.1, 203.0.113.9, 10.1.1.1"], &trusted), through("203.0.113.9"));
        assert_eq!(from("10.0.0.7", &["1.1.1.1", "203.0.113.9,fd00::1"], &trusted), through("203.0.113.9"));
        assert_eq!(
            from("10.0.0.7", &["nonsense, \u{7f}"].map(|_| "nonsense"), &trusted),
            ("10.0.0.7".to_owned(), None)
        );
        assert_eq!(from("10.0.0.7", &[], &trusted), ("10.0.0.7".to_owned(), None));
    }

    #[test]
    fn networks_are_read_strictly() {
        for bad in ["", "10.0.0.0/33", "::/129", "host", "10.0.0.0/", "10.0.0/8"] {
            assert_eq!(bad.parse::<Network>(), Err(NoNetwork), "{bad}");
        }
        assert!("0.0.0.0/0".parse::<Network>().unwrap().has("8.8.8.8".parse().unwrap()));
        assert!(!"0.0.0.0/0".parse::<Network>().unwrap().has("::1".parse().unwrap()));
    }
}
