//! Whole requests: an environment and a configuration through the dispatcher, with a plugin that only looks.

use std::cell::Cell;

use ::cni::{AddResult, Added, Call, Command, Error, Plugin, Response, Version};
use serde_json::Value;

use crate::targets::request::{Request, answer, error_document, gist};
use crate::verdict::{Broken, Reached, Verdict, hold, same};

/// Answers ADD with the result that it was given, and looks at everything that a call has.
struct Mirror;

impl Plugin for Mirror {
    fn name(&self) -> &'static str {
        "mirror"
    }

    fn about(&self) -> &'static str {
        "CNI mirror plugin"
    }

    fn add(&self, call: &Call) -> Result<Added, Error> {
        call.conf::<bridge::conf::NetConf>()?;
        call.cni_args(&["IP", "MAC"])?;
        Ok(call.prev_result.clone().unwrap_or_default().into())
    }

    fn del(&self, call: &Call) -> Result<(), Error> {
        bridge::conf::Scope::of(call).map(drop).map_err(Error::from)
    }

    fn check(&self, call: &Call) -> Result<(), Error> {
        call.conf::<flannel::NetConf>().map(drop)
    }

    fn gc(&self, call: &Call) -> Result<(), Error> {
        host_local::conf::Scope::read(call).map(drop)
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        let conf: bridge::conf::NetConf = call.conf()?;
        call.delegate(&conf.ipam.kind).map(drop)
    }
}

/// `Call::read`: what is accepted is as the protocol says.
pub fn call(data: &[u8]) -> Verdict {
    let request = Request::parse(data);
    match Call::read(&request.env(), request.stdin.clone(), &Version::ALL, &[]) {
        Err(error) => {
            error_document(&error)?;
            Ok(Reached::at(&error.msg))
        }
        Ok(call) => {
            accepted(&request, &call)?;
            let seen =
                (call.command, call.version, call.prev_result.as_ref(), call.valid_attachments.as_ref());
            Ok(Reached::at(&format!("{seen:?}")))
        }
    }
}

fn accepted(request: &Request, call: &Call) -> Result<(), Broken> {
    let plain = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
    };
    same("stdin", &call.stdin, &request.stdin)?;
    hold(plain(&call.network), || format!("network {:?}", call.network))?;
    match call.command {
        Command::Add | Command::Del | Command::Check => {
            hold(plain(&call.container_id), || format!("container {:?}", call.container_id))?;
            let bad = |c: char| c == '/' || c == ':' || c.is_whitespace();
            let name = call.ifname.as_str();
            let good = (1..=15).contains(&name.len()) && !name.contains(bad) && name != "." && name != "..";
            hold(good, || format!("interface {name:?}"))?;
        }
        Command::Gc | Command::Status => {
            hold(call.version >= Version::V1_1_0, || format!("{} in {}", call.command, call.version))?;
        }
        Command::Version => {}
    }
    let is_check = call.command == Command::Check;
    hold(!is_check || call.version >= Version::V0_4_0, || format!("CHECK in {}", call.version))?;
    let others = call.valid_attachments.iter().flatten().find(|one| one.network != call.network);
    same("attachments of other networks", &others, &None)
}

/// A request as a whole process would answer it.
pub fn respond(data: &[u8]) -> Verdict {
    let request = Request::parse(data);
    let response = run(&request, &Mirror)?;
    let document = answer(&response)?;
    let text = response.stdout.as_str();
    if response.exit == 0 && request.get("CNI_COMMAND").is_some_and(|verb| verb == "ADD") {
        let result = AddResult::decode(text.as_bytes(), Version::V0_1_0);
        hold(result.is_ok(), || format!("no result: {text}"))?;
    }
    let read = Call::read(&request.env(), request.stdin.clone(), &Version::ALL, &[]);
    let code = document.as_ref().and_then(|document| document.get("code")).and_then(Value::as_u64);
    let is_version = request.get("CNI_COMMAND").is_none_or(|verb| verb == "VERSION");
    match read {
        // 8 is found between reading and calling
        Err(error) if !is_version && code != Some(8) => same("the error", &text, &error.to_json().as_str())?,
        Ok(_) | Err(_) => {}
    }
    Ok(Reached::at(&gist(&response)))
}

/// Answers twice, to see that the answer is the request's alone; VERSION never reads stdin.
fn run(request: &Request, plugin: &dyn Plugin) -> Result<Response, Broken> {
    let read = Cell::new(false);
    let once = || {
        let stdin = || {
            read.set(true);
            Ok(request.stdin.clone())
        };
        ::cni::respond(&request.env(), stdin, plugin, &[])
    };
    let response = once();
    same("the second answer", &once(), &response)?;
    let asks_version = request.get("CNI_COMMAND").is_none_or(|verb| verb == "VERSION");
    hold(!(asks_version && read.get()), || "VERSION has read stdin".to_owned())?;
    Ok(response)
}

/// A real plugin's name, text and versions; its verbs read the configuration and then stop, short of the kernel.
struct Shielded(&'static dyn Plugin);

impl Shielded {
    fn look(&self, call: &Call) -> Result<(), Error> {
        match self.0.name() {
            "bridge" => bridge::conf::Conf::of(call).map(drop).map_err(Error::from),
            "host-local" => host_local::conf::Conf::read(call).map(drop),
            "portmap" => portmap::conf::Conf::of(call).map(drop).map_err(Error::from),
            "bandwidth" => bandwidth::conf::Conf::of(call).map(drop).map_err(Error::from),
            "firewall" => firewall::conf::Conf::of(call).map(drop).map_err(Error::from),
            "tuning" => tuning::conf::Conf::of(call).map(drop).map_err(Error::from),
            "sbr" => sbr::conf::Conf::of(call).map(drop).map_err(Error::from),
            "vrf" => vrf::conf::Conf::of(call).map(drop).map_err(Error::from),
            _ => call.conf::<flannel::NetConf>().map(drop),
        }
    }
}

impl Plugin for Shielded {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn about(&self) -> &'static str {
        self.0.about()
    }

    fn versions(&self) -> &'static [Version] {
        self.0.versions()
    }

    fn add(&self, call: &Call) -> Result<Added, Error> {
        self.look(call).map(|()| AddResult::default().into())
    }

    fn del(&self, call: &Call) -> Result<(), Error> {
        self.look(call)
    }

    fn check(&self, call: &Call) -> Result<(), Error> {
        self.look(call)
    }

    fn gc(&self, call: &Call) -> Result<(), Error> {
        self.look(call)
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        self.look(call)
    }
}

/// The same request to each of the real plugins, up to where it would touch the machine.
pub fn plugins(data: &[u8]) -> Verdict {
    const PLUGINS: [&dyn Plugin; 9] = [
        &bridge::Bridge,
        &flannel::Flannel,
        &host_local::PLUGIN,
        &portmap::Portmap,
        &bandwidth::Bandwidth,
        &firewall::Firewall,
        &tuning::Tuning,
        &sbr::Sbr,
        &vrf::Vrf,
    ];
    let request = Request::parse(data);
    let mut reached = Reached::at("");
    for plugin in PLUGINS {
        let response = run(&request, &Shielded(plugin))?;
        answer(&response)?;
        reached = reached.and(Reached::at(&gist(&response)));
    }
    Ok(reached)
}
