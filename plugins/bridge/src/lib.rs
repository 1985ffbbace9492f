//! The `bridge` plugin: a veth pair from the sandbox to a port of a Linux bridge, with addresses from IPAM.

pub mod conf;
pub mod plan;
pub mod spoofing;

use attach::{Error, Grant, Place, Sandbox, Transaction, World, teardown};
use cni::{AddResult, Added, Attachment, Call, Interface, Plugin, Version};

use conf::{Carrier, Conf, Layer3, Mode, Scope};

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Bridge;

impl Plugin for Bridge {
    fn name(&self) -> &'static str {
        "bridge"
    }

    fn about(&self) -> &'static str {
        concat!("CNI bridge plugin ironbridge v", env!("CARGO_PKG_VERSION"))
    }

    fn add(&self, call: &Call) -> Result<Added, cni::Error> {
        Ok(Added::Result(add(call)?))
    }

    fn del(&self, call: &Call) -> Result<(), cni::Error> {
        let scope = Scope::of(call)?;
        Ok(teardown::remove(call, scope.ipam.as_deref(), scope.rules)?)
    }

    fn check(&self, call: &Call) -> Result<(), cni::Error> {
        Ok(check(call)?)
    }

    fn gc(&self, call: &Call) -> Result<(), cni::Error> {
        let scope = Scope::of(call)?;
        let mut failures = Vec::new();
        if let Some(valid) = &call.valid_attachments {
            failures.extend(teardown::collect(&call.network, valid).err());
        }
        if let Some(ipam) = scope.ipam {
            failures.extend(call.delegate(&ipam).and_then(|ipam| ipam.gc()).err().map(Error::from));
        }
        Ok(Error::join(failures)?)
    }

    fn status(&self, call: &Call) -> Result<(), cni::Error> {
        let conf = Conf::of(call)?;
        attach::bridge_has_room(&conf.bridge)?;
        match conf.mode {
            Mode::Layer2(_) => Ok(()),
            Mode::Layer3(layer3) => call.delegate(&layer3.ipam)?.status(),
        }
    }
}

fn add(call: &Call) -> Result<AddResult, Error> {
    let conf = Conf::of(call)?;
    let attachment = call.attachment();
    refuse_addressless_result(&conf, call)?;
    let mut world = World::open(Sandbox::open(call)?)?;
    Transaction::run(&mut world, |transaction| {
        transaction.apply_all(&plan::link_steps(&conf, &attachment))?;
        match &conf.mode {
            Mode::Layer2(Carrier::Down) => {}
            Mode::Layer2(Carrier::Up) => transaction.apply_all(&plan::carrier_steps(&conf, &attachment))?,
            Mode::Layer3(layer3) => return add_network(call, &conf, layer3, transaction),
        }
        result(transaction.world(), &conf, &attachment, None)
    })
}

/// A result before 0.3.0 must have an address: found out now, not after the work is done.
fn refuse_addressless_result(conf: &Conf, call: &Call) -> Result<(), Error> {
    match conf.mode {
        Mode::Layer2(_) if call.version < Version::V0_3_0 => Err(Error::Conf {
            network: call.network.clone(),
            reason: format!(
                "a result of version {} needs an address, but ipam.type is not set",
                call.version
            ),
        }),
        Mode::Layer2(_) | Mode::Layer3(_) => Ok(()),
    }
}

fn add_network<'a>(
    call: &'a Call,
    conf: &Conf,
    layer3: &Layer3,
    transaction: &mut Transaction<'a>,
) -> Result<AddResult, Error> {
    let attachment = call.attachment();
    let grant = plan::complete(layer3, Grant::request(call, &layer3.ipam, transaction)?);
    transaction.apply_all(&plan::network_steps(conf, layer3, &attachment, &grant))?;
    result(transaction.world(), conf, &attachment, Some(grant))
}

/// Bridge, host end, sandbox's end, in the reference's order; addresses belong to the third.
fn result(
    world: &mut World,
    conf: &Conf,
    attachment: &Attachment,
    grant: Option<Grant>,
) -> Result<AddResult, Error> {
    let sandbox = world.sandbox().path().to_owned();
    let host = attach::identity::host_veth(attachment);
    let mut result = AddResult {
        interfaces: vec![
            interface(world, Place::Host, &conf.bridge)?,
            interface(world, Place::Host, &host)?,
            Interface { sandbox: Some(sandbox), ..interface(world, Place::Sandbox, &attachment.ifname)? },
        ],
        ..AddResult::default()
    };
    if let Some(grant) = grant {
        result.ips = grant.ips.into_iter().map(|ip| cni::Ip { interface: Some(2), ..ip }).collect();
        result.routes = grant.routes;
        result.dns = grant.dns;
    }
    if let Some(dns) = &conf.dns {
        result.dns = dns.clone();
    }
    Ok(result)
}

fn interface(world: &mut World, place: Place, name: &str) -> Result<Interface, Error> {
    let mac = world.known(place, name)?.and_then(|link| link.mac).map(|mac| mac.to_string());
    Ok(Interface { name: name.to_owned(), mac, ..Interface::default() })
}

/// The plan, asked instead of applied, for the addresses and routes that ADD's result tells of.
fn check(call: &Call) -> Result<(), Error> {
    let mut conf = Conf::of(call)?;
    let attachment = call.attachment();
    let previous = call.prev_result.as_ref();
    let previous = previous.ok_or_else(|| Error::NoPrevResult { network: call.network.clone() })?;
    let mut world = World::open(Sandbox::open(call)?)?;
    if world.look(Place::Sandbox, &attachment.ifname)?.is_none() {
        return Err(Error::gone(call, world.sandbox()));
    }
    if let Mode::Layer3(layer3) = &conf.mode {
        call.delegate(&layer3.ipam)?.check()?;
    }
    conf.mac = recorded_mac(previous, &attachment)?.or(conf.mac);
    for step in expected(&conf, &attachment, previous) {
        step.holds(&mut world)?;
    }
    Ok(())
}

/// The MAC address that the result tells of: a chained plugin may have changed what the configuration asked for.
fn recorded_mac(previous: &AddResult, attachment: &Attachment) -> Result<Option<kernel::Mac>, Error> {
    let inside = previous.interfaces.iter().find(|interface| {
        interface.name == attachment.ifname
            && interface.sandbox.as_deref().is_some_and(|path| !path.is_empty())
    });
    let Some(text) = inside.and_then(|interface| interface.mac.as_deref()).filter(|mac| !mac.is_empty())
    else {
        return Ok(None);
    };
    let mac = text.parse().map_err(|_| Error::Conf {
        network: attachment.network.clone(),
        reason: format!("prevResult has MAC address \"{text}\" for {}", attachment.ifname),
    })?;
    Ok(Some(mac))
}

fn expected(conf: &Conf, attachment: &Attachment, previous: &AddResult) -> Vec<attach::Step> {
    let mut steps = plan::link_steps(conf, attachment);
    match &conf.mode {
        Mode::Layer2(Carrier::Down) => {}
        Mode::Layer2(Carrier::Up) => steps.extend(plan::carrier_steps(conf, attachment)),
        Mode::Layer3(layer3) => {
            let grant = Grant::of_result(previous, &attachment.ifname);
            steps.extend(plan::network_steps(conf, layer3, attachment, &grant));
        }
    }
    steps
}
