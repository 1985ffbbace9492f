//! The daemon's texts: network configuration, lease keys and values, its own `subnet.env`.

use std::net::IpAddr;

use ::overlay::{
    Claim, FamilyConfig, LeaseAttributes, Masquerade, NetworkConfig, Node, Previous, Snapshot, SubnetEnv,
    Subnets, claim,
};

use crate::verdict::{Broken, Reached, Verdict, hold, must, same};

/// A network configuration: what is accepted can be leased from, at both ends.
pub fn config(data: &[u8]) -> Verdict {
    let config = match NetworkConfig::parse(data) {
        Err(error) => return Ok(Reached::at(&error.to_string())),
        Ok(config) => config,
    };
    hold(config.v4.is_some() || config.v6.is_some(), || "no family".to_owned())?;
    for family in config.v4.iter().chain(&config.v6) {
        sound(family)?;
    }
    let node = Node {
        public_ip: [192, 168, 1, 1].into(),
        public_ipv6: Some([0xfd01, 0, 0, 0, 0, 0, 0, 1].into()),
        name: None,
        previous: None,
        pods: None,
    };
    let mut reached = Reached::at(&format!("{config:?}"));
    for end in [0, usize::MAX] {
        let first = claim(&config, &Snapshot::default(), &node, &mut |bound| end.min(bound - 1));
        let Ok(Claim::Create(subnets)) = first else {
            return Err(Broken::new(format!("an empty network has no subnet: {first:?}")));
        };
        leased(&config, &subnets)?;
        reached = reached.and(Reached::at(&subnets.to_key()));
    }
    Ok(reached)
}

fn sound(family: &FamilyConfig) -> Result<(), Broken> {
    let network = family.network;
    same("host bits", &network.ip(), &network.network())?;
    let fits = |end: IpAddr| network.contains(end) && end.is_ipv4() == network.is_ipv4();
    hold(fits(family.min) && fits(family.max) && family.min <= family.max, || format!("{family:?}"))?;
    let longest = if network.is_ipv4() { 30 } else { 126 };
    let lengths = network.prefix() + 2..=longest;
    hold(lengths.contains(&family.subnet_len), || format!("length of {family:?}"))
}

/// Subnets that a configuration has given are in it, have a key, and a `subnet.env` that is read back.
pub fn leased(config: &NetworkConfig, subnets: &Subnets) -> Result<(), Broken> {
    for (family, subnet) in [(config.v4, subnets.v4), (config.v6, subnets.v6)] {
        same("families", &family.is_some(), &subnet.is_some())?;
        if let (Some(family), Some(subnet)) = (family, subnet) {
            hold(family.admits(subnet), || format!("{subnet} is not of {family:?}"))?;
        }
    }
    let key = subnets.to_key();
    same("key", &must("a lease's key", Subnets::parse_key(&key))?, subnets)?;
    let text = SubnetEnv::new(config, subnets, 1450, Masquerade::ByDaemon).to_string();
    same("subnet.env", &Previous::parse(&text).subnets, subnets)?;
    let plugin = must("the plugin reads the daemon's file", flannel::SubnetEnv::parse(&text))?;
    let texts = |subnet: Option<cni::Cidr>| subnet.map(|subnet| subnet.to_string());
    same("the plugin's subnet", &texts(plugin.subnet), &subnets.v4.map(|subnet| subnet.to_string()))?;
    let v6 = subnets.v6.map(|subnet| subnet.to_string());
    // An IPv4-mapped network is IPv4 to the plugin, as to Go.
    let mapped = v6.as_deref().is_some_and(|text| text.contains('.'));
    hold(mapped || texts(plugin.subnet_v6) == v6, || format!("the plugin's subnet: {text}"))
}

/// The last part of a lease's key.
pub fn key(data: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(data);
    match Subnets::parse_key(&text) {
        Err(error) => Ok(Reached::at(&error.to_string())),
        Ok(subnets) => {
            let key = subnets.to_key();
            same("a key written and read", &Subnets::parse_key(&key).as_ref(), &Ok(&subnets))?;
            let sound = subnets.iter().all(|subnet| subnet.prefix() > 0 && subnet.ip() == subnet.network());
            hold(sound && subnets.iter().next().is_some(), || format!("{subnets:?}"))?;
            hold(subnets.overlaps(&subnets), || format!("{subnets:?} does not overlap itself"))?;
            let families =
                subnets.v4.is_none_or(|v4| v4.is_ipv4()) && subnets.v6.is_none_or(|v6| v6.is_ipv6());
            hold(families, || format!("families of {subnets:?}"))?;
            Ok(Reached::at(&format!("{subnets:?}")))
        }
    }
}

/// A lease's value.
pub fn attributes(data: &[u8]) -> Verdict {
    match LeaseAttributes::parse(data) {
        Err(error) => Ok(Reached::at(&error.to_string())),
        Ok(attributes) => {
            let text = attributes.to_json();
            hold(text.starts_with("{\"PublicIP\":\""), || text.clone())?;
            let again = must("a value written and read", LeaseAttributes::parse(text.as_bytes()))?;
            same("a value written and read", &again, &attributes)?;
            same("a value written twice", &again.to_json(), &text)?;
            Ok(Reached::at(&format!("{attributes:?}")))
        }
    }
}

/// What an earlier run left in `subnet.env`.
pub fn subnet_env(data: &[u8]) -> Verdict {
    let previous = Previous::parse(&String::from_utf8_lossy(data));
    let Previous { networks, subnets } = previous;
    let mut again = String::new();
    for (name, network) in [
        ("NETWORK", networks.v4),
        ("IPV6_NETWORK", networks.v6),
        ("SUBNET", subnets.v4),
        ("IPV6_SUBNET", subnets.v6),
    ] {
        if let Some(network) = network {
            same("host bits", &network.ip(), &network.network())?;
            again.extend(["FLANNEL_", name, "=", &network.to_string(), "\n"]);
        }
    }
    same("subnet.env written and read", &Previous::parse(&again), &previous)?;
    Ok(Reached::at(&format!("{previous:?}")))
}
