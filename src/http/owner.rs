//! Who is at the other end of a loopback TCP connection.
//!
//! A loopback port is open to every user of the machine, so the server asks the kernel which user owns the peer's
//! socket: by netlink (one exact look-up, whatever the number of sockets), else in `/proc/net/tcp{,6}`.
//! A socket that is closed already shows as owned by root with inode 0: it counts as unknown, or else another user
//! could send a command and close before we look.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// Returns the user who owns the socket at `peer` that is connected to `local`; `None` when unknown.
///
/// Reads a kernel table: microseconds by netlink, milliseconds for the fallback with many sockets.
pub(crate) fn of(peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    let (peer, local) = (canonical(peer), canonical(local));
    match ask_netlink(peer, local) {
        Ok(answer) => answer,
        Err(_) => ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|path| {
            let table = std::fs::read_to_string(path).ok()?;
            find_in_table(&table, peer, local)
        }),
    }
}

/// IPv4 in IPv6 clothes as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// `SOCK_DIAG_BY_FAMILY`
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`
const REQUEST: u16 = 1;
/// Length of a request: header, `inet_diag_req_v2`.
const REQUEST_LEN: u32 = 16 + 56;
/// Where `inet_diag_msg.idiag_uid` stands in an answer; the inode follows.
const UID_AT: usize = 16 + 4 + 48 + 12;

/// Asks the kernel for one exact socket.
fn ask_netlink(peer: SocketAddr, local: SocketAddr) -> rustix::io::Result<Option<u32>> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(netlink::SOCK_DIAG),
    )?;
    let kernel = netlink::SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(
        &socket,
        &diag_request(peer, local),
        SendFlags::empty(),
        &kernel,
    )?;
    // The kernel answers inside of the send.
    let mut answer = [0_u8; 512];
    let (_, len) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    let answer = &answer[..len.min(512)];
    let number = |at: usize| -> Option<u32> {
        Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?))
    };
    let kind = answer
        .get(4..6)
        .and_then(|bytes| Some(u16::from_ne_bytes(bytes.try_into().ok()?)));
    if kind != Some(BY_FAMILY) {
        // An error message: no such socket, or the kernel cannot say (then the table is asked).
        let code = number(16).unwrap_or(0).cast_signed();
        return if code == -rustix::io::Errno::NOENT.raw_os_error() {
            Ok(None)
        } else {
            Err(rustix::io::Errno::OPNOTSUPP)
        };
    }
    let alive = number(UID_AT + 4).is_some_and(|inode| inode != 0);
    Ok(number(UID_AT).filter(|_| alive))
}

/// The request for the socket whose own address is `peer` and whose other end is `local`.
fn diag_request(peer: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let family = if peer.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let mut request = Vec::with_capacity(REQUEST_LEN as usize);
    request.extend_from_slice(&REQUEST_LEN.to_ne_bytes());
    request.extend_from_slice(&BY_FAMILY.to_ne_bytes());
    request.extend_from_slice(&REQUEST.to_ne_bytes());
    request.extend_from_slice(&[0; 8]); // sequence, port
    request.extend_from_slice(&[family.as_raw().to_le_bytes()[0], 6, 0, 0]); // TCP, no extensions
    request.extend_from_slice(&u32::MAX.to_ne_bytes()); // any state
    request.extend_from_slice(&peer.port().to_be_bytes());
    request.extend_from_slice(&local.port().to_be_bytes());
    for address in [peer.ip(), local.ip()] {
        let mut bytes = [0; 16];
        match address {
            IpAddr::V4(v4) => bytes[..4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => bytes = v6.octets(),
        }
        request.extend_from_slice(&bytes);
    }
    request.extend_from_slice(&[0; 4]); // any interface
    request.extend_from_slice(&[0xff; 8]); // no cookie
    request
}

/// Finds the owner in the text of `/proc/net/tcp` or `tcp6`.
fn find_in_table(table: &str, peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, own, other, _, _, _, _, uid, _, inode, ..] = fields[..] else {
            return None;
        };
        let matches = parse_address(own)? == peer && parse_address(other)? == local;
        (matches && inode != "0").then(|| uid.parse().ok())?
    })
}

/// Reads `0100007F:B5F4`: groups of four bytes in the machine's order, port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for at in (0..address.len()).step_by(8) {
        let group = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        bytes.extend_from_slice(&group.to_ne_bytes());
    }
    let ip = if let Ok(v4) = <[u8; 4]>::try_from(bytes.as_slice()) {
        IpAddr::V4(Ipv4Addr::from(v4))
    } else {
        IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?))
    };
    Some(canonical(SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// A connection over loopback: the client's end, the server's end, and the addresses the server sees.
    fn pair(bind: &str) -> (TcpStream, TcpStream, SocketAddr, SocketAddr) {
        let listener = TcpListener::bind(bind).expect("loopback");
        let address = listener.local_addr().expect("bound");
        let client = TcpStream::connect(address).expect("it listens");
        let (server, peer) = listener.accept().expect("it connects");
        let local = server.local_addr().expect("connected");
        (client, server, peer, local)
    }

    #[test]
    fn both_ways_find_this_user() {
        let me = rustix::process::getuid().as_raw();
        let (_client, _server, peer, local) = pair("127.0.0.1:0");
        assert_eq!(of(peer, local), Some(me));
        let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
        assert_eq!(find_in_table(&table, peer, local), Some(me));
    }

    #[test]
    fn a_closed_socket_is_unknown() {
        let (client, _server, peer, local) = pair("127.0.0.1:0");
        drop(client);
        assert_eq!(of(peer, local), None);
        let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
        assert_eq!(find_in_table(&table, peer, local), None);
    }

    #[test]
    fn addresses_parse() {
        assert_eq!(
            parse_address("0100007F:B5F4"),
            Some("127.0.0.1:46580".parse().expect("valid"))
        );
        assert_eq!(
            parse_address("0000000000000000FFFF00000100007F:0050"),
            Some("127.0.0.1:80".parse().expect("valid"))
        );
        assert_eq!(
            parse_address("00000000000000000000000001000000:0050"),
            Some("[::1]:80".parse().expect("valid"))
        );
        assert_eq!(parse_address("nonsense"), None);
    }
}
