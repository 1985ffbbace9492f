//! Frames: what is carried, what is lost and why, and what a sender is told; any bytes at all.

use proptest::prelude::*;

use super::header::checksum;
use super::*;

fn post() -> Post {
    let carried = [("10.3.2.0/24", "192.0.2.2:8285"), ("10.3.4.0/22", "192.0.2.4:8285")];
    let carried = carried.map(|(subnet, node)| (subnet.parse().unwrap(), node.parse().unwrap()));
    Post::new("10.3.1.0/24".parse().unwrap(), &carried.into())
}

/// An IPv4 packet with a right checksum.
fn packet((source, destination): (&str, &str), ttl: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![0x45, 0, total[0], total[1], 0, 1, 0x40, 0, ttl, protocol, 0, 0];
    bytes.extend(source.parse::<Ipv4Addr>().unwrap().octets());
    bytes.extend(destination.parse::<Ipv4Addr>().unwrap().octets());
    sign(&mut bytes);
    bytes.extend(payload);
    bytes
}

fn sign(bytes: &mut [u8]) {
    bytes[10..12].fill(0);
    let length = usize::from(bytes[0] & 0xf) * 4;
    let sum = checksum(&bytes[..length]).to_be_bytes();
    bytes[10..12].copy_from_slice(&sum);
}

const UDP: u8 = 17;
const OURS: &str = "10.3.1.7";
const THEIRS: &str = "10.3.2.9";

#[test]
fn a_packet_for_a_peer_loses_one_hop_and_its_checksum_stays_right() {
    // From 2 on: each value of the byte, so that every carry of the checksum is met.
    for ttl in 2..=255 {
        let mut bytes = packet((OURS, THEIRS), ttl, UDP, b"payload!");
        let before = bytes.clone();
        assert_eq!(post().outward(&mut bytes), Ok("192.0.2.2:8285".parse().unwrap()));
        assert_eq!((bytes[8], checksum(&bytes[..20])), (ttl - 1, 0), "{ttl}");
        sign(&mut bytes);
        bytes[8..12].copy_from_slice(&before[8..12]);
        assert_eq!(bytes, before, "nothing else is changed");
    }
    assert_eq!(post().node_of("10.3.7.255".parse().unwrap()), Some("192.0.2.4:8285".parse().unwrap()));
    assert_eq!(post().node_of("10.3.8.0".parse().unwrap()), None);
}

#[test]
fn a_subnet_of_nobody_is_unreachable_and_a_packet_whose_time_is_over_exceeds_it() {
    let reply = |bytes: &mut [u8]| {
        let loss = post().outward(bytes).unwrap_err();
        (loss.reason, loss.answer.and_then(|answer| post().reply(answer, bytes)))
    };
    for (destination, ttl, reason, kind) in [
        ("10.3.99.1", 64, LossReason::NoPeer, 3),
        (THEIRS, 1, LossReason::Expired, 11),
        (THEIRS, 0, LossReason::Expired, 11),
    ] {
        let mut bytes = packet((OURS, destination), ttl, UDP, b"payload and more");
        let offender = bytes.clone();
        let (found, reply) = reply(&mut bytes);
        let reply = reply.unwrap();
        let answer = reply.packet();
        assert_eq!((found, reply.to().to_string().as_str()), (reason, OURS));
        assert_eq!((checksum(&answer[..20]), checksum(&answer[20..])), (0, 0));
        let header = Header::parse(answer).unwrap();
        assert_eq!((header.source.to_string().as_str(), header.total), ("10.3.1.0", answer.len()));
        assert_eq!((answer[9], answer[20], answer[21]), (1, kind, 0));
        assert_eq!(answer[28..], offender[..28], "its header and eight bytes");
    }
    // No errors about errors, about later fragments, or to what is no host; but about a ping.
    let silent = |bytes: &mut [u8]| reply(bytes).1.is_none();
    assert!(silent(&mut packet((OURS, "10.3.99.1"), 64, 1, &[3, 0, 0, 0])));
    assert!(silent(&mut packet((OURS, "10.3.99.1"), 64, 1, &[])));
    assert!(!silent(&mut packet((OURS, "10.3.99.1"), 64, 1, &[8, 0, 0, 0])));
    assert!(silent(&mut packet(("0.0.0.0", "10.3.99.1"), 64, UDP, b"x")));
    assert!(silent(&mut packet((OURS, "224.0.0.9"), 64, UDP, b"x")));
    let mut fragment = packet((OURS, "10.3.99.1"), 64, UDP, b"payload!");
    fragment[7] = 1;
    sign(&mut fragment);
    assert!(silent(&mut fragment));
}

#[test]
fn what_arrives_must_come_from_a_known_node_for_this_one_and_be_whole() {
    let from = |sender: &str, bytes: &mut [u8]| {
        post().inward(sender.parse().unwrap(), bytes).map_err(|loss| (loss.reason, loss.answer))
    };
    let peer = "192.0.2.2";
    let good = packet((THEIRS, OURS), 9, UDP, b"payload!");
    assert_eq!(from(peer, &mut good.clone()), Ok(28));
    let padded = [good.as_slice(), b"padding"].concat();
    assert_eq!(from(peer, &mut padded.clone()), Ok(28), "what follows the packet is cut off");
    let lost = |reason| Err((reason, None));
    assert_eq!(from("192.0.2.9", &mut good.clone()), lost(LossReason::UnknownNode));
    assert_eq!(from(peer, &mut good[..19].to_vec()), lost(LossReason::Short));
    assert_eq!(from(peer, &mut []), lost(LossReason::Short));
    assert_eq!(from(peer, &mut good[..27].to_vec()), lost(LossReason::Malformed));
    let altered = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        if at != 10 && bytes[0] & 0xf == 5 {
            sign(&mut bytes);
        }
        bytes
    };
    for (at, value) in [(0, 0x65), (0, 0x44), (0, 0x4f), (3, 19), (3, 29), (10, 0)] {
        let mut bytes = altered(at, value);
        assert_eq!(from(peer, &mut bytes), lost(LossReason::Malformed), "byte {at} is {value}");
    }
    for (pair, reason) in [
        ((THEIRS, "10.3.2.8"), LossReason::ForeignDestination),
        ((THEIRS, "192.0.2.1"), LossReason::ForeignDestination),
        ((OURS, OURS), LossReason::ForeignSource),
        (("10.3.1.0", OURS), LossReason::ForeignSource),
        (("127.0.0.1", OURS), LossReason::ForeignSource),
        (("224.0.0.1", OURS), LossReason::ForeignSource),
    ] {
        assert_eq!(from(peer, &mut packet(pair, 9, UDP, b"x")), lost(reason), "{pair:?}");
    }
    let expired = from(peer, &mut packet((THEIRS, OURS), 1, UDP, b"x"));
    assert_eq!(expired, Err((LossReason::Expired, Some(Answer::TimeExceeded))));
}

proptest! {
    /// Bytes that are nearly a packet, or not at all: what passes is a packet with a right checksum and one hop less.
    #[test]
    fn any_bytes_are_carried_whole_or_lost(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..128), from_peer in any::<bool>(), mend in any::<bool>(),
    ) {
        if mend && bytes.len() >= 20 {
            let length = (bytes[0] & 0xf).clamp(5, 15);
            bytes[0] = 0x40 | length;
            bytes.resize(bytes.len().max(usize::from(length) * 4), 0);
            let total = u16::try_from(bytes.len()).unwrap().to_be_bytes();
            bytes[2..4].copy_from_slice(&total);
            bytes[12..15].copy_from_slice(&[10, 3, if from_peer { 2 } else { 1 }]);
            bytes[16..19].copy_from_slice(&[10, 3, if from_peer { 1 } else { 2 }]);
            sign(&mut bytes);
        }
        let before = bytes.clone();
        let carried = if from_peer {
            post().inward("192.0.2.2".parse().unwrap(), &mut bytes)
        } else {
            post().outward(&mut bytes).map(|_| before.len())
        };
        match carried {
            Ok(total) => {
                let header = Header::parse(&bytes).unwrap();
                prop_assert!(header.total <= total);
                prop_assert_eq!(bytes[8], before[8] - 1);
                prop_assert_eq!(&bytes[12..], &before[12..]);
            }
            Err(loss) => {
                prop_assert_eq!(&bytes, &before, "a lost packet is quoted as it was");
                if let Some(reply) = loss.answer.and_then(|answer| post().reply(answer, &bytes)) {
                    prop_assert!(Header::parse(reply.packet()).is_ok());
                }
            }
        }
    }
}
