//! Many changes in few system calls.

use crate::{
    Dad, Error, Forwarding, Ifb, Neighbour, Nexthop, Route, Rtnl, Veth, address, error::During, ifb, link,
    nexthop, parcel::Parcel, route, veth, wire::Message,
};
use ipnetwork::IpNetwork;

/// Changes to be sent together, in the order in which they were put in. It is no transaction: the kernel works
/// through all of them, whichever fail.
///
/// One without a client (`Batch<()>`) can be filled by another thread than the one that sends it.
#[derive(Debug)]
pub struct Batch<Client = ()> {
    client: Client,
    parcel: Parcel,
    /// What each message does, for its error. Texts are made when something failed.
    doing: Vec<Doing>,
}

/// Enough of a change to name it.
#[derive(Debug)]
enum Doing {
    Veth(String),
    Ifb(String),
    Alias(String),
    Up(u32),
    Address(u32, IpNetwork),
    Route(&'static str, Box<Route>),
    Nexthop(&'static str, Nexthop),
    DeleteNexthop(u32),
    Neighbour(&'static str, Neighbour),
    Forwarding(&'static str, Forwarding),
    DeleteLink(u32),
}

impl Rtnl {
    /// Begins a batch.
    pub fn batch(&mut self) -> Batch<&mut Self> {
        Batch::default().through(self)
    }
}

impl Default for Batch {
    fn default() -> Self {
        Batch { client: (), parcel: Parcel::default(), doing: Vec::new() }
    }
}

impl Batch {
    /// The same changes, for that client to send.
    pub fn through(self, client: &mut Rtnl) -> Batch<&mut Rtnl> {
        Batch { client, parcel: self.parcel, doing: self.doing }
    }
}

impl<Client> Batch<Client> {
    /// As [`Rtnl::create_veth`].
    pub fn create_veth(&mut self, veth: &Veth<'_>) -> &mut Self {
        self.push(veth::message(veth), Doing::Veth(veth::doing(veth)))
    }

    /// As [`Rtnl::create_ifb`], but one that is there is an error.
    pub fn create_ifb(&mut self, ifb: &Ifb<'_>) -> &mut Self {
        self.push(ifb::message(ifb), Doing::Ifb(ifb.name.to_owned()))
    }

    /// As [`Rtnl::set_link_alias`], for a link by name: one that is made in the same batch. What the kernel is sent at
    /// once it works through at once, so a kill leaves no link without its alias.
    pub fn set_link_alias_of(&mut self, name: &str, alias: &str) -> &mut Self {
        self.push(link::alias_message(name, alias), Doing::Alias(name.to_owned()))
    }

    /// As [`Rtnl::set_link_up`], and the link announces its IPv4 addresses when asked to ([`Rtnl::announce`]): the same
    /// as writing 1 to `arp_notify`, without the walk through `/proc/sys`.
    pub fn raise_link(&mut self, index: u32) -> &mut Self {
        self.push(link::raise_message(index), Doing::Up(index))
    }

    /// As [`Rtnl::delete_link`], but an absent link is an error.
    pub fn delete_link(&mut self, index: u32) -> &mut Self {
        self.push(link::delete_message(index), Doing::DeleteLink(index))
    }

    /// As [`Rtnl::add_address`].
    pub fn add_address(&mut self, index: u32, network: IpNetwork, dad: Dad) -> &mut Self {
        self.push(address::add_message(index, network, dad), Doing::Address(index, network))
    }

    /// As [`Rtnl::add_route`].
    pub fn add_route(&mut self, route: &Route) -> &mut Self {
        self.push_route("adding", route, route::add_message(route))
    }

    /// As [`Rtnl::append_route`].
    pub fn append_route(&mut self, route: &Route) -> &mut Self {
        self.push_route("appending", route, route::append_message(route))
    }

    /// As [`Rtnl::replace_route`].
    pub fn replace_route(&mut self, route: &Route) -> &mut Self {
        self.push_route("replacing", route, route::replace_message(route))
    }

    /// As [`Rtnl::delete_route`].
    pub fn delete_route(&mut self, route: &Route) -> &mut Self {
        self.push_route("deleting", route, route::delete_message(route))
    }

    /// As [`Rtnl::add_nexthop`].
    pub fn add_nexthop(&mut self, nexthop: &Nexthop) -> &mut Self {
        self.push(nexthop::add_message(nexthop), Doing::Nexthop("adding", *nexthop))
    }

    /// As [`Rtnl::replace_nexthop`].
    pub fn replace_nexthop(&mut self, nexthop: &Nexthop) -> &mut Self {
        self.push(nexthop::replace_message(nexthop), Doing::Nexthop("replacing", *nexthop))
    }

    /// As [`Rtnl::delete_nexthop`].
    pub fn delete_nexthop(&mut self, id: u32) -> &mut Self {
        self.push(nexthop::delete_message(id), Doing::DeleteNexthop(id))
    }

    /// As [`Rtnl::replace_neighbour`].
    pub fn replace_neighbour(&mut self, neighbour: &Neighbour) -> &mut Self {
        self.push(neighbour.replace_message(), Doing::Neighbour("setting", *neighbour))
    }

    /// As [`Rtnl::delete_neighbour`].
    pub fn delete_neighbour(&mut self, neighbour: &Neighbour) -> &mut Self {
        self.push(neighbour.delete_message(), Doing::Neighbour("deleting", *neighbour))
    }

    /// As [`Rtnl::replace_forwarding`].
    pub fn replace_forwarding(&mut self, entry: &Forwarding) -> &mut Self {
        self.push(entry.replace_message(), Doing::Forwarding("setting", *entry))
    }

    /// As [`Rtnl::delete_forwarding`].
    pub fn delete_forwarding(&mut self, entry: &Forwarding) -> &mut Self {
        self.push(entry.delete_message(), Doing::Forwarding("deleting", *entry))
    }

    /// How many changes are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.doing.len()
    }

    /// Nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.doing.is_empty()
    }

    fn push_route(&mut self, verb: &'static str, route: &Route, message: Message) -> &mut Self {
        self.push(message, Doing::Route(verb, Box::new(route.clone())))
    }

    fn push(&mut self, message: Message, doing: Doing) -> &mut Self {
        self.parcel.push(message);
        self.doing.push(doing);
        self
    }
}

impl Batch<&mut Rtnl> {
    /// Sends everything. The answer has position and error of each change that failed, in order. The batch is empty
    /// afterwards.
    ///
    /// # Errors
    /// Of the socket; it is then unknown which changes were made.
    pub fn commit(&mut self) -> Result<Vec<(usize, Error)>, Error> {
        let (parcel, doing) = (std::mem::take(&mut self.parcel), std::mem::take(&mut self.doing));
        let failed = self
            .client
            .channel
            .batch(parcel)
            .during(|| format!("sending {} changes to the kernel", doing.len()))?;
        let name = |(at, cause)| {
            let text = || doing.get(at).map(Doing::text).unwrap_or_default();
            Err::<(), crate::Cause>(cause).during(text).err().map(|error| (at, error))
        };
        Ok(failed.into_iter().filter_map(name).collect())
    }

    /// Sends everything; the first error is the answer. Changes that succeeded stay.
    pub fn commit_all(&mut self) -> Result<(), Error> {
        match self.commit()?.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }
}

impl Doing {
    fn text(&self) -> String {
        match self {
            Self::Veth(text) => text.clone(),
            Self::Ifb(name) => format!("creating ifb {name}"),
            Self::Alias(name) => format!("setting the alias of link {name}"),
            Self::Up(index) => format!("setting link {index} up"),
            Self::Address(index, network) => format!("adding address {network} to link {index}"),
            Self::Route(verb, route) => route::doing(verb, route),
            Self::Nexthop(verb, nexthop) => nexthop::doing(verb, nexthop),
            Self::DeleteNexthop(id) => format!("deleting nexthop {id}"),
            Self::Neighbour(verb, neighbour) => neighbour.doing(verb),
            Self::Forwarding(verb, entry) => entry.doing(verb),
            Self::DeleteLink(index) => format!("deleting link {index}"),
        }
    }
}
