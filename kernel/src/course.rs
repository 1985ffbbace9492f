//! Where tracked connections go, and the kernel's list of them as text: far cheaper than a dump where there are few.

use crate::{
    Error,
    error::{Absent, During},
};
use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

/// The connections of the calling thread's namespace. The kernel walks its table for it without a lock for each of the
/// table's parts, which makes a dump take 10 ms however few connections there are.
const LIST: &str = "/proc/thread-self/net/nf_conntrack";
/// `IPPROTO_TCP`, `IPPROTO_UDP`, `IPPROTO_SCTP`: those that have ports here.
const WITH_PORTS: [u8; 3] = [6, 17, 132];

/// A tracked connection, by what its first packet asked for and who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// The protocol over IP: 6 is TCP, 17 UDP, 132 SCTP.
    pub protocol: u8,
    /// Where its first packet was sent to, before any translation.
    pub destination: SocketAddr,
    /// Who answers: the destination after translation.
    pub answering: SocketAddr,
}

impl Course {
    /// Whether its destination was translated.
    #[must_use]
    pub fn is_translated(&self) -> bool {
        self.destination != self.answering
    }

    /// The connections of the namespace of the calling thread that have ports, as the kernel lists them for people;
    /// nothing if this kernel has no such list, or one that is not understood. For few connections: each is a line.
    pub fn listed() -> Result<Option<Vec<Self>>, Error> {
        let text = fs::read_to_string(LIST).during(|| format!("reading {LIST}")).absent_is_none()?;
        Ok(text.and_then(|text| parse(&text)))
    }
}

/// All lines, or nothing if one of them is not understood.
fn parse(text: &str) -> Option<Vec<Course>> {
    let protocol = |line: &str| line.split_ascii_whitespace().nth(3)?.parse::<u8>().ok();
    let mut courses = Vec::new();
    for line in text.lines() {
        let protocol = protocol(line)?;
        if WITH_PORTS.contains(&protocol) {
            courses.push(course(line, protocol)?);
        }
    }
    Some(courses)
}

/// The first tuple of a line is the original direction, the second the answer's.
fn course(line: &str, protocol: u8) -> Option<Course> {
    let end = |tuple: usize, address: &str, port: &str| {
        let value = |name: &str| {
            let mut words = line.split_ascii_whitespace().filter_map(|word| word.strip_prefix(name));
            words.nth(tuple)
        };
        let ip: IpAddr = value(address)?.parse().ok()?;
        Some(SocketAddr::new(ip, value(port)?.parse().ok()?))
    };
    Some(Course { protocol, destination: end(0, "dst=", "dport=")?, answering: end(1, "src=", "sport=")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: &str = "ipv4     2 udp      17 29 src=10.0.0.9 dst=192.168.0.1 sport=57473 dport=5300 [UNREPLIED] \
                       src=10.1.0.5 dst=10.0.0.9 sport=53 dport=57473 mark=0 zone=0 use=2\n";

    #[test]
    fn a_line_tells_what_was_asked_for_and_who_answers() {
        let tcp6 = "ipv6     10 tcp      6 431999 ESTABLISHED src=fd00::9 dst=fd00::1 sport=4 dport=80 packets=1 \
                    bytes=2 src=fd00::1 dst=fd00::9 sport=80 dport=4 packets=1 bytes=2 [ASSURED] mark=0 use=2\n";
        let igmp = "ipv4     2 unknown  2 594 src=10.77.0.1 dst=224.0.0.22 [UNREPLIED] src=224.0.0.22 \
                    dst=10.77.0.1 mark=0 use=2\n";
        let courses = parse(&[UDP, tcp6, igmp].concat()).unwrap();
        assert_eq!(courses.len(), 2);
        assert_eq!(courses[0].destination, "192.168.0.1:5300".parse().unwrap());
        assert_eq!((courses[0].protocol, courses[0].answering), (17, "10.1.0.5:53".parse().unwrap()));
        assert!(courses[0].is_translated() && !courses[1].is_translated());
    }

    #[test]
    fn a_list_that_is_not_understood_is_none() {
        for odd in ["ipv4 2 udp 17 29 dst=10.0.0.1\n", "nonsense\n", &UDP.replace("sport=53", "sport=many")] {
            assert_eq!(parse(&[UDP, odd].concat()), None, "{odd}");
        }
        assert_eq!(parse(""), Some(Vec::new()));
    }
}
