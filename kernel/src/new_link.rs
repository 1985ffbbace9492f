//! The message that makes a link of any kind.

use crate::{
    abi::{iff, ifla, nlm, rtm},
    link::fixed,
    wire::Message,
};

/// Whether a new link is up at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Up.
    Up,
    /// Down.
    Down,
}

/// A new link that is up, to be filled; the kind's own data is for `data`.
pub(crate) fn create_message(
    kind: &str,
    fill: impl FnOnce(&mut Message),
    data: impl FnOnce(&mut Message),
) -> Message {
    create_started(kind, Start::Up, fill, data)
}

/// As [`create_message`], up or down.
pub(crate) fn create_started(
    kind: &str,
    start: Start,
    fill: impl FnOnce(&mut Message),
    data: impl FnOnce(&mut Message),
) -> Message {
    let fixed = match start {
        Start::Up => fixed(0, iff::UP, iff::UP),
        Start::Down => fixed(0, 0, iff::UP),
    };
    let mut message = Message::new(rtm::NEWLINK, nlm::CREATE | nlm::EXCL, fixed.as_flattened());
    fill(&mut message);
    message.nest(ifla::LINKINFO, |info| {
        info.put_text(ifla::INFO_KIND, kind);
        info.nest(ifla::INFO_DATA, data);
    });
    message
}
