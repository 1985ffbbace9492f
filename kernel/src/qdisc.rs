//! Queueing disciplines: what holds a link's packets back.

use crate::{
    Cause, Error, Rtnl,
    abi::{af, nlm, rtm, tca},
    error::During,
    wire::{Attribute, Message, Received, attributes, u32_at},
};
use nix::libc;

/// Length of `struct tcmsg`.
pub(crate) const FIXED: usize = 20;
/// Length of `struct tc_tbf_qopt`, and where its limit and buffer stand.
const TBF_LIMIT: usize = 24;
/// `HTB_VER >> 16` of `net/sched/sch_htb.c`.
const HTB_VERSION: u32 = 3;
/// What `tc` gives: a class without a quantum of its own may send a tenth of its rate at a time.
const RATE_TO_QUANTUM: u32 = 10;

/// Name of a discipline or class on its link: a major number and a minor one, written `1:30` in hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub u32);

impl Handle {
    /// The parent of what takes all that leaves a link (`TC_H_ROOT`).
    pub const ROOT: Self = Self(0xffff_ffff);
    /// The parent of what sees all that comes in (`TC_H_INGRESS`).
    pub const INGRESS: Self = Self(0xffff_fff1);
    /// The ingress discipline itself.
    pub const INGRESS_QDISC: Self = Self(0xffff_0000);

    /// The handle of two numbers.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self(((major as u32) << 16) | minor as u32)
    }
}

/// A discipline to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discipline {
    /// A token bucket filter.
    Tbf(Tbf),
    /// Classes with rates; packets that no filter gives to another go to the class with this minor number.
    Htb {
        /// Minor number of that class.
        default: u16,
    },
    /// First in, first out.
    Bfifo {
        /// Most bytes that wait.
        limit: u32,
    },
    /// Nothing but a place for filters on what comes in.
    Ingress,
}

/// A token bucket filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tbf {
    /// Bytes in a second.
    pub rate: u64,
    /// Most bytes that wait.
    pub limit: u32,
    /// How much may pass at once.
    pub burst: Burst,
}

/// Size of a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Burst {
    /// As the time in which the rate fills it, in ticks of [`crate::psched::Clock`].
    Ticks(u32),
    /// In bytes; for a bucket whose ticks do not fit 32 bits.
    Bytes(u32),
}

/// A discipline as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Qdisc {
    /// `tbf`, `htb`, `ingress`, …
    pub kind: String,
    /// Its own handle.
    pub handle: u32,
    /// Parameters, if it is a token bucket filter. The bucket is in ticks, of which the kernel shows the low 32 bits.
    pub tbf: Option<Tbf>,
    /// Minor number of the default class, if it is an htb.
    pub default_class: Option<u32>,
    /// Most bytes that wait, if it is a bfifo.
    pub limit: Option<u32>,
}

impl Discipline {
    fn kind(&self) -> &'static str {
        match self {
            Self::Tbf(_) => "tbf",
            Self::Htb { .. } => "htb",
            Self::Bfifo { .. } => "bfifo",
            Self::Ingress => "ingress",
        }
    }
}

impl Rtnl {
    /// Puts a discipline under a parent.
    ///
    /// # Errors
    /// `EEXIST` if the parent has one that somebody put there.
    pub fn add_qdisc(
        &mut self,
        index: u32,
        (parent, handle): (Handle, Handle),
        discipline: &Discipline,
    ) -> Result<(), Error> {
        let fixed = fixed(index, handle.0, parent.0, 0);
        let mut message = Message::new(rtm::NEWQDISC, nlm::CREATE | nlm::EXCL, fixed.as_flattened());
        message.put_text(tca::KIND, discipline.kind());
        put_options(&mut message, discipline);
        self.change(message, || format!("adding qdisc {} to link {index}", discipline.kind()))
    }

    /// The discipline under a parent, or nothing if nobody put one there.
    pub fn qdisc(&mut self, index: u32, parent: Handle) -> Result<Option<Qdisc>, Error> {
        // Without the echo older kernels tell listeners only; without the acknowledgement there may be no answer at all.
        let flags = nlm::ECHO | nlm::ACK;
        let message = Message::new(rtm::GETQDISC, flags, fixed(index, 0, parent.0, 0).as_flattened());
        match self.channel.get(message, read_qdisc) {
            // One that the kernel put there itself (noqueue, pfifo_fast) is not shown: the answer is EINVAL, or the
            // acknowledgement alone.
            Err(Cause::Malformed(_)) => Ok(None),
            Err(cause) if matches!(cause.errno(), Some(libc::ENOENT | libc::EINVAL)) => Ok(None),
            found => found.during(|| format!("looking up the qdisc of link {index}")).map(Some),
        }
    }

    /// Takes away the discipline under a parent, with its classes and filters.
    ///
    /// # Errors
    /// `ENOENT` or `EINVAL` if there is none.
    pub fn delete_qdisc(&mut self, index: u32, parent: Handle) -> Result<(), Error> {
        let message = Message::new(rtm::DELQDISC, 0, fixed(index, 0, parent.0, 0).as_flattened());
        self.change(message, || format!("deleting the qdisc of link {index}"))
    }
}

/// `struct tcmsg`: family; link; handle; parent; info.
pub(crate) fn fixed(index: u32, handle: u32, parent: u32, info: u32) -> [[u8; 4]; 5] {
    [
        [af::UNSPEC, 0, 0, 0],
        index.to_ne_bytes(),
        handle.to_ne_bytes(),
        parent.to_ne_bytes(),
        info.to_ne_bytes(),
    ]
}

/// `struct tc_ratespec` without a rate table: cell, link layer, overhead, alignment and minimum size are zero.
pub(crate) fn rate_spec(rate: u64) -> [[u8; 4]; 3] {
    // A larger rate goes into an attribute of 64 bits; the kernel then ignores these.
    [[0; 4], [0; 4], low(rate).to_ne_bytes()]
}

/// The low 32 bits, as the reference sends them.
pub(crate) fn low(rate: u64) -> u32 {
    u32::try_from(rate & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

fn put_options(message: &mut Message, discipline: &Discipline) {
    match discipline {
        Discipline::Tbf(tbf) => message.nest(tca::OPTIONS, |options| put_tbf(options, tbf)),
        Discipline::Htb { default } => {
            let glob = [HTB_VERSION, RATE_TO_QUANTUM, u32::from(*default), 0, 0].map(u32::to_ne_bytes);
            message.nest(tca::OPTIONS, |options| options.put(tca::HTB_INIT, glob.as_flattened()));
        }
        // struct tc_fifo_qopt stands there bare.
        Discipline::Bfifo { limit } => message.put(tca::OPTIONS, &limit.to_ne_bytes()),
        Discipline::Ingress => {}
    }
}

fn put_tbf(options: &mut Message, tbf: &Tbf) {
    let ticks = match tbf.burst {
        Burst::Ticks(ticks) => ticks,
        Burst::Bytes(_) => 0,
    };
    // struct tc_tbf_qopt: rate, peak rate; limit, buffer, peak MTU.
    let mut parms = rate_spec(tbf.rate).as_flattened().to_vec();
    parms.extend([0; 12]);
    parms.extend([tbf.limit, ticks, 0].map(u32::to_ne_bytes).as_flattened());
    options.put(tca::TBF_PARMS, &parms);
    if tbf.rate > u64::from(u32::MAX) {
        options.put(tca::TBF_RATE64, &tbf.rate.to_ne_bytes());
    }
    if let Burst::Bytes(bytes) = tbf.burst {
        options.put_u32(tca::TBF_BURST, bytes);
    }
}

fn read_qdisc(received: &Received<'_>) -> Option<Qdisc> {
    if received.kind != rtm::NEWQDISC {
        return None;
    }
    let mut qdisc = Qdisc { handle: u32_at(received.payload, 8)?, ..Qdisc::default() };
    for attribute in attributes(received.payload, FIXED) {
        match attribute.kind {
            tca::KIND => qdisc.kind = attribute.text(),
            tca::OPTIONS => read_options(&mut qdisc, &attribute),
            _ => {}
        }
    }
    Some(qdisc)
}

fn read_options(qdisc: &mut Qdisc, options: &Attribute<'_>) {
    match qdisc.kind.as_str() {
        "tbf" => qdisc.tbf = read_tbf(options),
        "bfifo" => qdisc.limit = options.u32(),
        "htb" => {
            let init = options.nested().find(|attribute| attribute.kind == tca::HTB_INIT);
            qdisc.default_class = init.and_then(|init| u32_at(init.value, 8));
        }
        _ => {}
    }
}

fn read_tbf(options: &Attribute<'_>) -> Option<Tbf> {
    let parms = options.nested().find(|attribute| attribute.kind == tca::TBF_PARMS)?;
    let wide = options.nested().find(|attribute| attribute.kind == tca::TBF_RATE64);
    Some(Tbf {
        rate: match wide.and_then(|wide| u64_of(wide.value)) {
            Some(rate) => rate,
            None => u64::from(u32_at(parms.value, 8)?),
        },
        limit: u32_at(parms.value, TBF_LIMIT)?,
        burst: Burst::Ticks(u32_at(parms.value, TBF_LIMIT + 4)?),
    })
}

pub(crate) fn u64_of(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().copied().map(u64::from_ne_bytes)
}
