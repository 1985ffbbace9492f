//! The `vrf` plugin: puts a sandbox's interface into a VRF of the sandbox, with its addresses and routes.
#![forbid(unsafe_code)]

pub mod conf;
pub mod plan;

mod error;
mod sandbox;

pub use error::Cause;

use attach::{Error, Sandbox};
use cni::{AddResult, Added, Call, Plugin, Version};

use conf::Conf;

/// As the reference's.
const VERSIONS: [Version; 4] = [Version::V0_3_1, Version::V0_4_0, Version::V1_0_0, Version::V1_1_0];

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Vrf;

impl Plugin for Vrf {
    fn name(&self) -> &'static str {
        "vrf"
    }

    fn about(&self) -> &'static str {
        concat!("CNI vrf plugin ironbridge v", env!("CARGO_PKG_VERSION"))
    }

    fn versions(&self) -> &'static [Version] {
        &VERSIONS
    }

    fn add(&self, call: &Call) -> Result<Added, cni::Error> {
        Ok(Added::Result(add(call)?))
    }

    fn del(&self, call: &Call) -> Result<(), cni::Error> {
        // A sandbox that is gone took its VRF with it; and what ADD refuses it never made.
        match (Sandbox::open_if_there(call), Conf::of(call)) {
            (Some(sandbox), Ok(conf)) => Ok(sandbox::separate(call, &conf, &sandbox)?),
            (None, _) | (_, Err(_)) => Ok(()),
        }
    }

    fn check(&self, call: &Call) -> Result<(), cni::Error> {
        let conf = Conf::of(call)?;
        attach::previous(call, "vrf")?;
        let sandbox = Sandbox::open(call)?;
        Ok(sandbox::is_joined(call, &conf, &sandbox)?)
    }

    /// VRFs end with their sandbox: there is nothing on the host to collect.
    fn gc(&self, _call: &Call) -> Result<(), cni::Error> {
        Ok(())
    }

    fn status(&self, call: &Call) -> Result<(), cni::Error> {
        Conf::of(call)?;
        Ok(())
    }
}

fn add(call: &Call) -> Result<AddResult, Error> {
    let conf = Conf::of(call)?;
    let previous = attach::previous(call, "vrf")?;
    let sandbox = Sandbox::open(call)?;
    sandbox::join(call, &conf, &sandbox)?;
    Ok(previous.clone())
}
