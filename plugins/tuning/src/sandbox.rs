//! The interface and the parameters of one sandbox: changed, asked about, put back.

use attach::{Error, Sandbox};
use kernel::{Link, Multicast, Promiscuity, Rtnl, sysctl};

use crate::backup::Backup;
use crate::conf::Wanted;
use crate::keys::{self, Parameter};

/// Reads the parameters as they are, by path.
pub fn read(sandbox: &Sandbox, parameters: &[Parameter]) -> Result<Vec<(String, String)>, Error> {
    let read = |parameter: &Parameter| {
        let path = &parameter.path;
        sysctl::read(path).map(|value| (path.clone(), value))
    };
    Ok(sandbox.netns().visit(|| parameters.iter().map(read).collect::<Result<Vec<_>, _>>())??)
}

/// Writes parameters in their order; stops at the first that fails.
pub fn write(sandbox: &Sandbox, parameters: &[Parameter]) -> Result<(), Error> {
    let write = |parameter: &Parameter| sysctl::write(&parameter.path, &parameter.value);
    Ok(sandbox.netns().visit(|| parameters.iter().try_for_each(write))??)
}

/// Makes the link what is wanted; stops at the first setting that fails.
pub fn set(rtnl: &mut Rtnl, index: u32, wanted: &Wanted) -> Result<(), kernel::Error> {
    // A MAC address before the MTU: where the one is refused nothing has happened to traffic.
    if let Some(mac) = wanted.mac {
        rtnl.set_link_mac(index, mac)?;
    }
    if let Some(on) = wanted.promiscuous {
        rtnl.set_link_promiscuous(index, if on { Promiscuity::On } else { Promiscuity::Off })?;
    }
    if let Some(mtu) = wanted.mtu {
        rtnl.set_link_mtu(index, mtu)?;
    }
    if let Some(all) = wanted.all_multicast {
        rtnl.set_link_multicast(index, if all { Multicast::All } else { Multicast::Joined })?;
    }
    if let Some(txqlen) = wanted.txqlen {
        rtnl.set_link_txqlen(index, txqlen)?;
    }
    Ok(())
}

/// Puts back what `backup` holds. What is gone by now is fine; each failure is kept, none stops the rest.
pub fn restore(sandbox: &Sandbox, ifname: &str, backup: &Backup) -> Result<(), Error> {
    let mut failures = Vec::new();
    let mut rtnl = sandbox.netns().visit(|| {
        // The newest first: that is how they were when the older were read.
        let own = backup.sysctl.iter().filter(|(path, _)| path.starts_with("net/"));
        for (path, value) in own.rev() {
            failures.extend(sysctl::write(path, value).err().filter(|error| !error.is_absent()));
        }
        Rtnl::open()
    })??;
    if let Some(link) = rtnl.link(ifname)? {
        for single in singles(&backup.wanted()) {
            failures.extend(set(&mut rtnl, link.index, &single).err().filter(|error| !error.is_absent()));
        }
    }
    Error::join(failures.into_iter().map(Error::from).collect())
}

/// One setting each, so that none keeps the others from being made.
fn singles(wanted: &Wanted) -> [Wanted; 5] {
    let Wanted { mac, promiscuous, mtu, all_multicast, txqlen } = *wanted;
    [
        Wanted { mtu, ..Wanted::default() },
        Wanted { mac, ..Wanted::default() },
        Wanted { promiscuous, ..Wanted::default() },
        Wanted { all_multicast, ..Wanted::default() },
        Wanted { txqlen, ..Wanted::default() },
    ]
}

/// Whether the parameters have their values.
pub fn parameters_hold(sandbox: &Sandbox, parameters: &[Parameter]) -> Result<(), Error> {
    for (parameter, (_, found)) in parameters.iter().zip(read(sandbox, parameters)?) {
        if !keys::is_same(&parameter.value, &found) {
            return Err(mismatch(&format!("sysctl {}", parameter.key), &parameter.value, &found));
        }
    }
    Ok(())
}

/// Whether the link is what is wanted. Promiscuity that nobody asked for is the workload's own affair.
pub fn link_holds(link: &Link, wanted: &Wanted) -> Result<(), Error> {
    let compare = |what: &str, wanted: Option<String>, found: String| match wanted {
        Some(wanted) if wanted != found => {
            Err(mismatch(&format!("{what} of interface {}", link.name), &wanted, &found))
        }
        _ => Ok(()),
    };
    let mac = link.mac.map(|mac| mac.to_string()).unwrap_or_default();
    let switch = |on: bool| if on { "on" } else { "off" }.to_owned();
    compare("MAC address", wanted.mac.map(|mac| mac.to_string()), mac)?;
    compare("promiscuous mode", wanted.promiscuous.map(switch), switch(link.promiscuity > 0))?;
    compare("MTU", wanted.mtu.map(|mtu| mtu.to_string()), link.mtu.to_string())?;
    compare("allmulti", wanted.all_multicast.map(switch), switch(link.all_multicast))?;
    compare("txQLen", wanted.txqlen.map(|length| length.to_string()), link.txqlen.to_string())
}

fn mismatch(what: &str, expected: &str, found: &str) -> Error {
    Error::Mismatch { what: what.to_owned(), expected: expected.to_owned(), found: found.to_owned() }
}
