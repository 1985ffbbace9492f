//! The bridge plugin's configuration: what is accepted can be acted upon, and can be removed again.

use ::bridge::conf::{Conf, Mode, Scope};
use ::bridge::plan;
use cni::{Call, Code, Error, Version};

use crate::targets::request::{Request, error_document};
use crate::verdict::{Broken, Reached, Verdict, hold, same};

/// A configuration, with `CNI_ARGS` in a first line that begins with `#`.
pub fn conf(data: &[u8]) -> Verdict {
    let (args, stdin) = match data.strip_prefix(b"#") {
        Some(rest) => rest.split_at(rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())),
        None => (&[][..], data),
    };
    let request =
        Request::of("ADD", ("c1", "eth0"), "/nonexistent", stdin).with_args(&String::from_utf8_lossy(args));
    let call = match Call::read(&request.env(), request.stdin, &Version::ALL, &[]) {
        Ok(call) => call,
        Err(error) => return error_document(&error).map(|()| Reached::at(&error.msg)),
    };
    let scope = Scope::of(&call);
    match Conf::of(&call) {
        Err(error) => refused(&error.into()),
        Ok(conf) => {
            sensible(&conf)?;
            let of_conf = match &conf.mode {
                Mode::Layer2(_) => None,
                Mode::Layer3(layer3) => Some(layer3.ipam.clone()),
            };
            same("what DEL needs", &scope.ok().map(|scope| scope.ipam), &Some(of_conf))?;
            let attachment = call.attachment();
            let steps = [plan::link_steps(&conf, &attachment), plan::carrier_steps(&conf, &attachment)];
            hold(steps.iter().all(|steps| !steps.is_empty()), || "a plan without steps".to_owned())?;
            Ok(Reached::at(&format!("{conf:?}").replace('"', "")))
        }
    }
}

fn refused(error: &Error) -> Verdict {
    error_document(error)?;
    let codes = [Code::UNSUPPORTED_FIELD, Code::INVALID_CONFIG, Code::INVALID_ENVIRONMENT];
    hold(codes.contains(&error.code), || format!("code of a refused configuration: {error:?}"))?;
    Ok(Reached::at(&error.msg))
}

fn sensible(conf: &Conf) -> Result<(), Broken> {
    let name = conf.bridge.as_str();
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace();
    hold((1..=15).contains(&name.len()) && !name.contains(bad), || format!("bridge {name:?}"))?;
    hold(conf.mtu.is_none_or(|mtu| (1..=65_535).contains(&mtu)), || format!("mtu {:?}", conf.mtu))?;
    if let Mode::Layer3(layer3) = &conf.mode {
        hold(!layer3.ipam.is_empty(), || "no name of an IPAM plugin".to_owned())?;
    }
    Ok(())
}
