//! Classes of an htb discipline: shares of a link with a rate each.

use crate::{
    Error, Rtnl,
    abi::{nlm, rtm, tca},
    error::During,
    qdisc::{FIXED, Handle, fixed, rate_spec, u64_of},
    wire::{Attribute, Message, Received, attributes, u32_at},
};

/// Where rate, buffer and quantum stand in `struct tc_htb_opt`.
const RATE: usize = 8;
const BUFFER: usize = 24;

/// A class to be made. It never borrows: its ceiling is its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HtbClass {
    /// Bytes in a second.
    pub rate: u64,
    /// How much may pass at once: the time in which the rate fills the bucket, in ticks of [`crate::psched::Clock`].
    pub buffer: u32,
    /// Bytes that the class may send before another one's turn comes.
    pub quantum: u32,
}

/// A class as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its handle.
    pub handle: Handle,
    /// Bytes in a second.
    pub rate: u64,
    /// Size of its bucket in ticks.
    pub buffer: u32,
}

impl Rtnl {
    /// Adds a class to the htb discipline that its handle's major number names.
    ///
    /// # Errors
    /// `EEXIST` if there is one of that handle.
    pub fn add_class(&mut self, index: u32, handle: Handle, class: &HtbClass) -> Result<(), Error> {
        let fixed = fixed(index, handle.0, handle.0 & 0xffff_0000, 0);
        let mut message = Message::new(rtm::NEWTCLASS, nlm::CREATE | nlm::EXCL, fixed.as_flattened());
        message.put_text(tca::KIND, "htb");
        message.nest(tca::OPTIONS, |options| put_class(options, class));
        self.change(message, || format!("adding class {:x} to link {index}", handle.0))
    }

    /// The classes on a link.
    pub fn classes(&mut self, index: u32) -> Result<Vec<Class>, Error> {
        let message = Message::new(rtm::GETTCLASS, 0, fixed(index, 0, 0, 0).as_flattened());
        self.channel.dump(message, collect).during(|| format!("listing the classes of link {index}"))
    }
}

fn put_class(options: &mut Message, class: &HtbClass) {
    // struct tc_htb_opt: rate, ceiling; buffer and ceiling's; quantum; level, priority.
    let rate = rate_spec(class.rate);
    let mut parms = [rate, rate].as_flattened().as_flattened().to_vec();
    parms.extend([class.buffer, class.buffer, class.quantum, 0, 0].map(u32::to_ne_bytes).as_flattened());
    options.put(tca::HTB_PARMS, &parms);
    if class.rate > u64::from(u32::MAX) {
        options.put(tca::HTB_RATE64, &class.rate.to_ne_bytes());
        options.put(tca::HTB_CEIL64, &class.rate.to_ne_bytes());
    }
}

fn collect(received: &Received<'_>, classes: &mut Vec<Class>) {
    classes.extend(read_class(received));
}

fn read_class(received: &Received<'_>) -> Option<Class> {
    if received.kind != rtm::NEWTCLASS {
        return None;
    }
    let options = attributes(received.payload, FIXED).find(|attribute| attribute.kind == tca::OPTIONS)?;
    let find = |kind: u16| options.nested().find(|attribute: &Attribute<'_>| attribute.kind == kind);
    let parms = find(tca::HTB_PARMS)?;
    let wide = find(tca::HTB_RATE64).and_then(|wide| u64_of(wide.value));
    Some(Class {
        handle: Handle(u32_at(received.payload, 8)?),
        rate: match wide {
            Some(rate) => rate,
            None => u64::from(u32_at(parms.value, RATE)?),
        },
        buffer: u32_at(parms.value, BUFFER)?,
    })
}
