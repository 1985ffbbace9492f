//! Who listens on this node, by `/proc/net`.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::node::Listener;

/// Each file with its protocol and the state of a socket that waits (`include/net/tcp_states.h`).
const FILES: [(&str, &str, &str); 4] =
    [("tcp", "tcp", "0A"), ("tcp6", "tcp", "0A"), ("udp", "udp", "07"), ("udp6", "udp", "07")];

/// Every waiting socket of the namespace.
pub fn listeners() -> io::Result<Vec<Listener>> {
    let mut all = Vec::new();
    for (file, protocol, state) in FILES {
        match fs::read_to_string(format!("/proc/thread-self/net/{file}")) {
            Ok(text) => all.extend(text.lines().filter_map(|line| listener(line, (protocol, state)))),
            // A kernel without IPv6.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn listener(line: &str, (protocol, state): (&'static str, &str)) -> Option<Listener> {
    let mut words = line.split_whitespace().skip(1);
    let (local, _, found) = (words.next()?, words.next()?, words.next()?);
    let (address, port) = local.split_once(':')?;
    let address = parse(address)?;
    let port = u16::from_str_radix(port, 16).ok()?;
    (found == state).then_some(Listener { protocol, address, port })
}

/// Words of 32 bits, each in the byte order of this machine.
fn parse(text: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(text.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match text.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_read() {
        let v4 =
            "   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1";
        let v6 = "   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0";
        let read = |line: &str| listener(line, ("tcp", "0A"));
        let at = |ip: &str, port| Some(Listener { protocol: "tcp", address: ip.parse().unwrap(), port });
        assert_eq!(read(v4), at("127.0.0.1", 8080));
        assert_eq!(read(v6), at("::", 80));
        let connected = v4.replace(" 0A ", " 01 ");
        assert_eq!(read(&connected), None);
        assert_eq!(read("  sl  local_address rem_address   st"), None);
    }
}
