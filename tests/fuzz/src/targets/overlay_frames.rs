//! The udp backend's frames: bytes of anybody, from a peer or from the tun device.
//!
//! The input's first byte says from where, and whether the rest gets a right checksum; the rest is the frame.

use std::net::{Ipv4Addr, SocketAddrV4};

use ::overlay::{Loss, Post};

use crate::verdict::{Broken, Reached, Verdict, hold, must, same};

/// From a peer, not from the device.
const INWARD: u8 = 1;
/// The header's checksum is made right, where there is one: mutations alone would never get past it.
const SIGNED: u8 = 2;
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// The target.
pub fn frames(data: &[u8]) -> Verdict {
    let Some((how, rest)) = data.split_first() else { return Ok(Reached::at("empty")) };
    let mut frame = rest.to_vec();
    if how & SIGNED != 0 {
        sign(&mut frame);
    }
    let before = frame.clone();
    let carried = [("10.3.2.0/24", 2), ("10.3.4.0/22", 4)].map(|(subnet, host)| {
        let node = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, host), 8285);
        subnet.parse().map(|subnet| (subnet, node)).map_err(|_| Broken::new(subnet.to_owned()))
    });
    let carried = carried.into_iter().collect::<Result<_, _>>()?;
    let post = Post::new(must("a subnet", "10.3.1.0/24".parse())?, &carried);
    let passed = if how & INWARD != 0 {
        post.inward(PEER, &mut frame)
    } else {
        post.outward(&mut frame).map(|_| usize::from(word(&frame, 2)))
    };
    match passed {
        Ok(length) => carried_whole(&before, &frame, length),
        Err(loss) => lost(&post, (loss, &before), &frame),
    }
}

fn carried_whole(before: &[u8], after: &[u8], length: usize) -> Verdict {
    hold((20..=after.len()).contains(&length), || format!("{length} of {} bytes", after.len()))?;
    same("a right checksum", &sum(header(after)), &0xffff)?;
    let ttl = |bytes: &[u8]| bytes.get(8).copied().map(i16::from);
    same("one hop", &ttl(after).map(|ttl| ttl + 1), &ttl(before))?;
    same("the rest", &after.get(12..), &before.get(12..))?;
    Ok(Reached::at("carried"))
}

fn lost(post: &Post, (loss, before): (Loss, &[u8]), after: &[u8]) -> Verdict {
    same("a lost frame", &after, &before)?;
    let Some(answer) = loss.answer else { return Ok(Reached::at(&format!("{loss:?}"))) };
    let reply = post.reply(answer, after).ok_or_else(|| Broken::new("no answer".to_owned()))?;
    let packet = reply.packet();
    same("the answer's checksum", &sum(header(packet)), &0xffff)?;
    same("the message's checksum", &sum(packet.get(20..).unwrap_or_default()), &0xffff)?;
    same("whom it is for", &packet.get(16..20), &after.get(12..16))?;
    let quoted = packet.get(28..).unwrap_or_default();
    hold(after.starts_with(quoted) && quoted.len() >= 20, || "the quotation".to_owned())?;
    Ok(Reached::at(&format!("{loss:?}")))
}

fn word(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |pair| u16::from_be_bytes(*pair))
}

fn header(bytes: &[u8]) -> &[u8] {
    let length = bytes.first().map_or(0, |first| usize::from(first & 0xf) * 4);
    bytes.get(..length).unwrap_or_default()
}

/// RFC 1071, in the plainest way, to check the other one by.
fn sum(bytes: &[u8]) -> u32 {
    let add = |sum: u32, pair: &[u8]| {
        let low = pair.get(1).copied().map_or(0, u32::from);
        let sum = sum + (pair.first().copied().map_or(0, u32::from) << 8 | low);
        if sum > 0xffff { sum - 0xffff } else { sum }
    };
    bytes.chunks(2).fold(0, add)
}

fn sign(frame: &mut [u8]) {
    if let Some(field) = frame.get_mut(10..12) {
        field.fill(0);
    }
    let right = !u16::try_from(sum(header(frame))).unwrap_or(0);
    if let Some(field) = frame.get_mut(10..12) {
        field.copy_from_slice(&right.to_be_bytes());
    }
}
