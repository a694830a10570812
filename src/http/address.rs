//! From which address a client calls.
//!
//! A peer that is no trusted proxy is the client, whatever headers it sends. Behind trusted proxies the
//! client is the rightmost address of `X-Forwarded-For` that is not itself a trusted proxy: everything
//! to the left of it was written by that client and proves nothing.
//!
//! Invariant: what cannot be read makes the answer fall back to the address of the last proxy that could
//! be read, never to something that a client chose.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// Proxies append the address of whoever connected to them.
pub(super) static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The most hops looked at, so that a header full of commas costs nothing.
const MAX_HOPS: usize = 32;

/// Whether an address is that of a trusted proxy.
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// The client's address; none only where there is no peer.
pub fn client(request: &HttpRequest, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip().to_canonical();
    if trusted.is_empty() { Some(peer) } else { Some(behind_proxies(peer, request.headers(), trusted)) }
}

fn behind_proxies(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    // Several lines of a header are one list (RFC 9110 §5.3), the last line its right end.
    let lines: Vec<_> = headers.get_all(&FORWARDED_FOR).collect();
    let hops = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let mut address = peer;
    for hop in hops.take(MAX_HOPS) {
        if !is_trusted(address, trusted) {
            break;
        }
        let Some(next) = std::str::from_utf8(hop).ok().and_then(read) else { break };
        address = next;
    }
    address
}

/// An address as proxies write it: bare, or with a port (`192.0.2.1:80`, `[2001:db8::1]:443`).
fn read(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim_matches([' ', '\t']);
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let address =
        bare.parse().ok().or_else(|| hop.parse().ok().map(|socket: std::net::SocketAddr| socket.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn client_of(peer: &str, lines: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR.clone(), HeaderValue::from_str(line).unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        behind_proxies(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn the_client_is_the_rightmost_untrusted_address() {
        let trusted = &["10.0.0.0/8", "fd00::/8"];
        let table: &[(&str, &[&str], &str)] = &[
            ("203.0.113.9", &[], "203.0.113.9"),
            // Not from a proxy: what it says counts for nothing.
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            // The left part is the client's own invention.
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["10.9.9.9, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1,10.0.0.3 , 10.0.0.2"], "198.51.100.1"),
            // Several lines are one list.
            ("10.0.0.1", &["1.1.1.1", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
            // Nothing but proxies: the first of them.
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &[], "10.0.0.1"),
            // Nonsense: the last hop that could be read.
            ("10.0.0.1", &["nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, nonsense, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["198.51.100.1,"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1"),
            // Ports, brackets, mapped addresses.
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, ::ffff:10.0.0.2"], "198.51.100.1"),
        ];
        for (peer, lines, expected) in table {
            assert_eq!(client_of(peer, lines, trusted), *expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn only_so_many_hops_are_looked_at() {
        let line = format!("198.51.100.1, {}", vec!["10.0.0.2"; 100].join(", "));
        assert_eq!(client_of("10.0.0.1", &[&line], &["10.0.0.0/8"]), "10.0.0.2");
    }
}
