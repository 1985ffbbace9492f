//! Leaving the kernel's grace periods to a child process. The one file of the project that may have `unsafe`.
//!
//! Deleting a veth takes about 19 ms, of which 17 are an RCU barrier after the link is gone and the rtnl lock is
//! free; closing an nfnetlink socket after a deletion waits about 12 ms for another. A one-shot program need not wait
//! for either: a forked child does, holding nothing but copies of descriptors.

use crate::{
    Cause, Error, Link, Rtnl,
    abi::{af, rtm},
    channel::{ERROR, datagram, finished, send},
    error::{Absent, During},
    link::{delete_message, mac_message},
    monitor::{Group, readable},
    wire::{Messages, Received, u32_at},
};
use nix::{
    libc,
    poll::poll,
    unistd::{ForkResult, Pid, close, fork, getppid, pipe2, read},
};
use std::{
    os::fd::{AsFd, AsRawFd, RawFd},
    time::{Duration, Instant},
};

/// How long the parent waits for the notification before it deletes the link itself: only if the child was killed.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a child holds an nfnetlink socket, in milliseconds: longer than a grace period takes on most machines. A socket
/// that is closed earlier waits for the rest with the ruleset locked, and whoever changes it next waits too: the DEL of
/// the chain's next plugin, for one.
const GRACE: u8 = 25;

/// Descriptors that a caller may have left to this program are looked for below this number.
const INHERITED: usize = 64;

/// The first process of a process namespace.
const INIT: Pid = Pid::from_raw(1);

/// What the parent has learnt from its socket.
enum Word {
    Gone,
    Refused(Cause),
    Nothing,
}

/// Deletes a link and returns when the kernel has told that it is gone, while a child process waits for the end of the
/// grace period. That the link is not there is success. Everything that the caller has open stays open in the child
/// for those 20 ms, an nfnetlink socket for its own grace period too; so hold no file lock.
///
/// For programs that soon end: the child is then reaped by whoever reaps orphans. It does no harm if it is killed:
/// the request is with the kernel before its wait begins. A program that goes on has a zombie until it ends, and
/// should use [`Rtnl::delete_link`]. Where no child can be made, that is what happens here.
///
/// # Errors
/// As [`Rtnl::delete_link`].
pub fn delete_link_early(rtnl: &mut Rtnl, index: u32) -> Result<(), Error> {
    let doing = || format!("deleting link {index}");
    if !rtnl.channel.is_bound() && rtnl.link_at(index)?.is_none() {
        return Ok(());
    }
    let (request, sequence) = rtnl.channel.prepare(delete_message(index)).during(doing)?;
    let group = Group::Link as u32;
    rtnl.channel.socket().add_membership(group).during(doing)?;
    let outcome = match child(|| send(rtnl.channel.socket(), &request).is_ok()) {
        Some(_) => await_gone(rtnl, index, sequence),
        None => Ok(false),
    };
    rtnl.channel.socket().drop_membership(group).during(doing)?;
    match outcome {
        Ok(true) => Ok(()),
        // The child did not come to it, or the notification was lost in a flood of others.
        Ok(false) => rtnl.delete_link(index),
        Err(cause) => Err::<(), _>(cause).during(doing).absent_is_none().map(drop),
    }
}

/// Makes a link announce its addresses ([`Rtnl::announce`]) without waiting until the announcement has reached everybody: a
/// bridge hands it to each of its ports within the request, which takes some 2 µs a port. Where no child can be made,
/// it is waited for. For programs that soon end, as [`delete_link_early`].
///
/// # Errors
/// As [`Rtnl::announce`], where it is waited for.
pub fn announce_later(rtnl: &mut Rtnl, link: &Link) -> Result<(), Error> {
    let Some(mac) = link.mac else { return rtnl.announce(link) };
    let doing = || format!("announcing the addresses of link {}", link.name);
    let (request, _) = rtnl.channel.prepare(mac_message(link.index, mac)).during(doing)?;
    match child(|| send(rtnl.channel.socket(), &request).is_ok()) {
        Some(_) => Ok(()),
        None => rtnl.announce(link),
    }
}

/// Drops a value that holds descriptors without waiting for what closing them waits for: a child process has copies
/// and closes last, when nothing is left to wait for. For an nfnetlink socket after a deletion; not needed where
/// [`delete_link_early`] follows, whose child has a copy too. Where no child can be made, closing waits. For programs
/// that soon end, as there.
pub fn outlive<T>(held: T) {
    // The child must be the last to close: it reads from a pipe until this process has no writing end any more.
    let Ok((reader, writer)) = pipe2(nix::fcntl::OFlag::O_CLOEXEC) else { return };
    let writing = writer.as_raw_fd();
    child(|| {
        let over = close(writing).is_ok() && matches!(read(&reader, &mut [0]), Ok(0));
        // Nothing is polled: this is a wait that needs no clock of its own.
        over && poll(&mut [], GRACE).is_ok()
    });
    drop(held);
    drop(writer);
}

/// Waits for the word about the deletion. The answer is false if none came.
fn await_gone(rtnl: &Rtnl, index: u32, sequence: u32) -> Result<bool, Cause> {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = Vec::new();
    while readable(rtnl.channel.socket().as_fd(), deadline)? {
        match datagram(rtnl.channel.socket(), &mut buffer) {
            Err(cause) if cause.errno() == Some(libc::ENOBUFS) => return Ok(false),
            received => received?,
        }
        for message in Messages(&buffer) {
            match word(&message?, index, sequence) {
                Word::Gone => return Ok(true),
                Word::Refused(cause) => return Err(cause),
                Word::Nothing => {}
            }
        }
    }
    Ok(false)
}

fn word(received: &Received<'_>, index: u32, sequence: u32) -> Word {
    // The family tells apart that a bridge lost its port, which comes first.
    let about = (received.payload.first().copied(), u32_at(received.payload, 4));
    match received.kind {
        rtm::DELLINK if about == (Some(af::UNSPEC), Some(index)) => Word::Gone,
        ERROR if received.sequence == sequence => {
            finished(received).map_or_else(Word::Refused, |()| Word::Nothing)
        }
        _ => Word::Nothing,
    }
}

/// Runs `work` in a child process that has no standard streams and ends with it. Nothing if no child can be made, or
/// if it should not be: where the parent of this program is the init of its process namespace, an orphan becomes that
/// program's child, and a runtime that is no real init would keep it as a zombie.
fn child(work: impl FnOnce() -> bool) -> Option<Pid> {
    if getppid() == INIT {
        return None;
    }
    // Asked all at once which of them are open.
    let mut open: [libc::pollfd; INHERITED] = std::array::from_fn(|descriptor| libc::pollfd {
        fd: RawFd::try_from(descriptor).unwrap_or(-1),
        events: 0,
        revents: 0,
    });
    #[expect(unsafe_code, reason = "fork and _exit have no safe form; the proof is below")]
    // SAFETY: after a fork in a program that may have other threads, the child may only do what is async-signal-safe,
    // for a lock may be held for ever by a thread that the child does not have. It does this much:
    // - `close` of 0, 1, 2, so that no reader of this program's output waits for the child, and of what this program
    //   was started with beside them, such as its caller's locks; `poll` tells
    //   what is open, and `fcntl` those by their missing close-on-exec flag;
    // - `work`, which is private to this file and is one of three closures: `sendto` of bytes that were put together
    //   before the fork, or `close` and `read` of a pipe and `poll` of nothing. They are bare system calls; what they return is integers, and
    //   an `io::Error` or `Errno` of a number: no allocation, no lock, no panic.
    // - `_exit`, which runs no destructor, no exit handler and flushes no buffer that the parent flushes too. Nothing
    //   borrowed or owned by the closure is dropped twice, for in the child nothing is dropped at all.
    unsafe {
        match fork() {
            Ok(ForkResult::Parent { child }) => Some(child),
            Ok(ForkResult::Child) => {
                libc::poll(open.as_mut_ptr(), INHERITED as libc::nfds_t, 0);
                for entry in open.iter().filter(|entry| entry.revents & libc::POLLNVAL == 0) {
                    // What this program opened itself is close-on-exec.
                    if entry.fd < 3 || libc::fcntl(entry.fd, libc::F_GETFD) & libc::FD_CLOEXEC == 0 {
                        libc::close(entry.fd);
                    }
                }
                libc::_exit(i32::from(!work()))
            }
            Err(_) => None,
        }
    }
}
