//! One netlink socket and the bookkeeping of requests and answers on it.

use crate::{
    abi::nlm,
    error::Cause,
    parcel::Parcel,
    wire::{HEADER, Message, Messages, Received, attributes, u32_at},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::libc;
use std::{io, ops::Range};

/// Room for one datagram. The kernel fills up to 32 KiB in a dump; smaller buffers lose entries silently.
const ROOM: usize = 64 * 1024;
/// How often an interrupted dump is tried.
const TRIES: u32 = 5;
/// Requests in one `sendmsg`. Each may be answered by an error, and all answers must fit the default receive
/// buffer of a socket (212,992 bytes; a short answer is accounted with up to 1,280).
const BATCH: usize = 128;

/// `NLMSG_ERROR`, `NLMSG_DONE`
pub(crate) const ERROR: u16 = 2;
const DONE: u16 = 3;

/// A netlink socket. It belongs for ever to the network namespace that it was opened in.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: Socket,
    /// Known from the first answer on.
    port: Option<u32>,
    sequence: u32,
    buffer: Vec<u8>,
}

/// What the receiving loop does next.
enum Flow {
    More,
    End,
}

impl Channel {
    /// Opens a socket in the namespace of the calling thread. The kernel binds it when it is first sent through.
    pub(crate) fn open(protocol: isize) -> Result<Self, Cause> {
        let socket = Socket::new(protocol)?;
        socket.set_ext_ack(true)?;
        if protocol == NETLINK_ROUTE {
            // Dumps are filtered by what is asked for. A refusal brings the request back, which is short.
            socket.set_netlink_get_strict_chk(true)?;
        } else {
            socket.set_cap_ack(true)?;
        }
        Ok(Self { socket, port: None, sequence: 0, buffer: Vec::with_capacity(ROOM) })
    }

    /// Opens a socket that has its port at once, for callers that want to know it.
    pub(crate) fn open_bound(protocol: isize) -> Result<Self, Cause> {
        let mut channel = Self::open(protocol)?;
        channel.port()?;
        Ok(channel)
    }

    /// The socket's port, which the kernel names as the maker of what is done through it.
    pub(crate) fn port(&mut self) -> Result<u32, Cause> {
        match self.port {
            Some(port) => Ok(port),
            None => Ok(*self.port.insert(self.socket.bind_auto()?.port_number())),
        }
    }

    /// Whether anything was answered yet; until then no group may be joined, whose news would be taken for answers.
    pub(crate) fn is_bound(&self) -> bool {
        self.port.is_some()
    }

    /// The socket itself.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Sends a change and waits for its acknowledgement.
    pub(crate) fn ack(&mut self, mut message: Message) -> Result<(), Cause> {
        message.flag(nlm::ACK);
        let sequence = self.send(&mut message)?;
        self.receive(|received| match (received.sequence == sequence, received.kind) {
            (true, ERROR) => finished(received).map(|()| Flow::End),
            _ => Ok(Flow::More),
        })
    }

    /// Asks for one object; `read` gets the kernel's answer.
    pub(crate) fn get<T>(
        &mut self,
        mut message: Message,
        read: impl Fn(&Received<'_>) -> Option<T>,
    ) -> Result<T, Cause> {
        let sequence = self.send(&mut message)?;
        let mut found = None;
        self.receive(|received| {
            if received.sequence != sequence {
                return Ok(Flow::More);
            }
            if received.kind == ERROR {
                return finished(received).map(|()| Flow::End);
            }
            found = read(received);
            Ok(Flow::End)
        })?;
        found.ok_or(Cause::Malformed("the object asked for"))
    }

    /// Makes a change and asks for one object by one call. A change that is refused is the answer, whatever the question gives.
    pub(crate) fn change_and_get<T>(
        &mut self,
        change: Message,
        question: Message,
        read: impl Fn(&Received<'_>) -> Option<T>,
    ) -> Result<T, Cause> {
        let (mut bytes, first) = self.prepare(change)?;
        let (asking, last) = self.prepare(question)?;
        bytes.extend(asking);
        send(&self.socket, &bytes)?;
        let (mut refusal, mut answer) = (None, Err(Cause::Malformed("the object asked for")));
        self.receive(|received| {
            match (received.sequence, received.kind) {
                // Without the wish for an acknowledgement only a refusal is answered.
                (sequence, ERROR) if sequence == first => refusal = finished(received).err(),
                (sequence, ERROR) if sequence == last => {
                    finished(received).unwrap_or_else(|e| answer = Err(e));
                }
                (sequence, _) if sequence == last => {
                    answer = read(received).ok_or(Cause::Malformed("the object asked for"));
                }
                _ => return Ok(Flow::More),
            }
            Ok(if received.sequence == last { Flow::End } else { Flow::More })
        })?;
        refusal.map_or(answer, Err)
    }

    /// Lists objects; repeated while the kernel says that a change interrupted the listing. `read` appends what it
    /// understands of one message.
    pub(crate) fn dump<T>(
        &mut self,
        mut message: Message,
        read: impl Fn(&Received<'_>, &mut Vec<T>),
    ) -> Result<Vec<T>, Cause> {
        message.flag(nlm::DUMP);
        for _ in 0..TRIES {
            let sequence = self.send(&mut message)?;
            let (mut entries, mut interrupted) = (Vec::new(), false);
            self.receive(|received| {
                if received.sequence != sequence {
                    return Ok(Flow::More);
                }
                interrupted |= received.flags & nlm::DUMP_INTR != 0;
                match received.kind {
                    ERROR | DONE => return finished(received).map(|()| Flow::End),
                    _ => read(received, &mut entries),
                }
                Ok(Flow::More)
            })?;
            if !interrupted {
                return Ok(entries);
            }
        }
        Err(Cause::Interrupted { tries: TRIES })
    }

    /// Sends many changes with few system calls. The kernel works through all of them, whichever fail; the answer
    /// names the position and the cause of each failed one, in order.
    pub(crate) fn batch(&mut self, mut parcel: Parcel) -> Result<Vec<(usize, Cause)>, Cause> {
        let mut failed = parcel.take_faults();
        let total = parcel.len();
        for start in (0..total).step_by(BATCH) {
            self.batch_part(&mut parcel, start..(start + BATCH).min(total), &mut failed)?;
        }
        failed.sort_by_key(|(at, _)| *at);
        Ok(failed)
    }

    fn batch_part(
        &mut self,
        parcel: &mut Parcel,
        part: Range<usize>,
        failed: &mut Vec<(usize, Cause)>,
    ) -> Result<(), Cause> {
        let (start, count) = (part.start, part.len());
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(u32::try_from(count).unwrap_or(u32::MAX));
        let Some(sealed) = parcel.seal(part, first) else { return Ok(()) };
        send(&self.socket, sealed.bytes)?;
        let last = sealed.last;
        self.receive(|received| {
            let at = usize::try_from(received.sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
            if received.kind != ERROR || at >= count {
                return Ok(Flow::More);
            }
            if let Err(cause) = finished(received) {
                failed.push((start + at, cause));
            }
            Ok(if received.sequence == last { Flow::End } else { Flow::More })
        })
    }

    /// Makes a request ready for someone else to send on this socket; gives its sequence number too.
    pub(crate) fn prepare(&mut self, mut message: Message) -> Result<(Vec<u8>, u32), Cause> {
        self.sequence = self.sequence.wrapping_add(1);
        Ok((message.seal(self.sequence)?.to_vec(), self.sequence))
    }

    fn send(&mut self, message: &mut Message) -> Result<u32, Cause> {
        self.sequence = self.sequence.wrapping_add(1);
        send(&self.socket, message.seal(self.sequence)?)?;
        Ok(self.sequence)
    }

    /// Hands the kernel's messages to us, one by one, to `each` until that says that it was the last.
    fn receive(&mut self, mut each: impl FnMut(&Received<'_>) -> Result<Flow, Cause>) -> Result<(), Cause> {
        loop {
            datagram(&self.socket, &mut self.buffer)?;
            for message in Messages(&self.buffer) {
                let message = message?;
                // A notification of a group that was joined has another port, or none.
                if message.port != *self.port.get_or_insert(message.port) {
                    continue;
                }
                if matches!(each(&message)?, Flow::End) {
                    return Ok(());
                }
            }
        }
    }
}

/// Sends bytes to the kernel.
pub(crate) fn send(socket: &Socket, bytes: &[u8]) -> io::Result<()> {
    loop {
        match socket.send_to(bytes, &SocketAddr::new(0, 0), 0) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            sent => return sent.map(drop),
        }
    }
}

/// Receives one whole datagram of the kernel; those of other senders are skipped.
pub(crate) fn datagram(socket: &Socket, buffer: &mut Vec<u8>) -> Result<(), Cause> {
    loop {
        buffer.clear();
        buffer.reserve(ROOM);
        match socket.recv_from(buffer, libc::MSG_TRUNC) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
            // With MSG_TRUNC the length is that of the datagram, not of what was copied.
            Ok((length, _)) if length > buffer.len() => return Err(Cause::Truncated),
            Ok((_, sender)) if sender.port_number() != 0 => {}
            Ok(_) => return Ok(()),
        }
    }
}

/// Reads the error number of a `NLMSG_ERROR` or `NLMSG_DONE` message, with the extended acknowledgement.
pub(crate) fn finished(received: &Received<'_>) -> Result<(), Cause> {
    let code = u32_at(received.payload, 0).ok_or(Cause::Malformed("error number"))?.cast_signed();
    if code >= 0 {
        return Ok(());
    }
    // After the number an NLMSG_ERROR has the header of the request, and the rest of it unless that was capped.
    let echoed = match (received.kind, received.flags & nlm::CAPPED) {
        (ERROR, 0) => u32_at(received.payload, 4).and_then(|n| usize::try_from(n).ok()).unwrap_or(HEADER),
        (ERROR, _) => HEADER,
        _ => 0,
    };
    let (mut text, mut offset) = (None, None);
    if received.flags & nlm::ACK_TLVS != 0 {
        for attribute in attributes(received.payload, 4 + echoed) {
            match attribute.kind {
                1 => text = Some(attribute.text()),
                2 => offset = attribute.u32(),
                _ => {}
            }
        }
    }
    Err(Cause::Refused { errno: code.saturating_neg(), text, offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(kind: u16, flags: u16, payload: &[u8]) -> Received<'_> {
        Received { kind, flags, sequence: 1, port: 1, payload }
    }

    #[test]
    fn an_error_in_done_is_an_error() {
        assert!(finished(&received(DONE, 0, &0i32.to_ne_bytes())).is_ok());
        assert!(
            finished(&received(DONE, 0, &17i32.to_ne_bytes())).is_ok(),
            "a count of bytes is not an error"
        );
        let cause = finished(&received(DONE, 0, &(-22i32).to_ne_bytes())).unwrap_err();
        assert_eq!(cause.errno(), Some(22));
        assert!(finished(&received(DONE, 0, &[0, 0])).is_err());
    }

    #[test]
    fn the_text_is_found_behind_an_echoed_request() {
        for (flags, echoed) in [(nlm::ACK_TLVS, 28u32), (nlm::ACK_TLVS | nlm::CAPPED, 28)] {
            let mut payload = (-17i32).to_ne_bytes().to_vec();
            payload.extend(echoed.to_ne_bytes());
            payload.extend([0; 12]);
            if flags & nlm::CAPPED == 0 {
                payload.extend([0xff; 12]);
            }
            payload.extend([7, 0, 1, 0, b'n', b'o', 0, 0, 8, 0, 2, 0, 36, 0, 0, 0]);
            let cause = finished(&received(ERROR, flags, &payload)).unwrap_err();
            assert_eq!(cause.to_string(), "File exists: no (attribute at offset 36)");
        }
    }
}
