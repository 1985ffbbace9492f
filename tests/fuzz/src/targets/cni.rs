//! The protocol's values: configurations by Go's JSON habits, results of every version, `CNI_ARGS`, addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ::cni::{AddResult, Cidr, Code, Interface, Route, Version, from_json, parse_args};
use serde_json::Value;

use crate::targets::request::error_document;
use crate::verdict::{Broken, Reached, Verdict, hold, must, same};

/// A value's or an error's text: equal texts mean equal outcomes. A macro, since the trait's name is serde's.
macro_rules! decoded {
    ($kind:ty, $text:expr) => {
        match from_json::<$kind>($text) {
            Ok(value) => format!("{value:?}"),
            Err(error) => {
                error_document(&error)?;
                same("code of a decoding error", &error.code, &Code::DECODE)?;
                error.msg
            }
        }
    };
}

/// `from_json` over every kind of type that a configuration is made of.
pub fn json(data: &[u8]) -> Verdict {
    let lossy = String::from_utf8_lossy(data);
    let ours = from_json::<Value>(data);
    let plain = serde_json::from_str::<Value>(&lossy);
    match (&ours, &plain) {
        (Ok(ours), Ok(plain)) => same("a document", ours, plain)?,
        (Err(_), Err(_)) => {}
        (Err(error), Ok(_)) => return Err(Broken::new(format!("JSON is refused: {error}"))),
        (Ok(_), Err(error)) => return Err(Broken::new(format!("this is no JSON: {error}"))),
    }
    if let Ok(document) = &plain {
        cases_and_nulls(document)?;
    }
    let conf = decoded!(bridge::conf::NetConf, data);
    let flannel = decoded!(flannel::NetConf, data);
    let range = decoded!(host_local::range::RangeConf, data);
    let lists = decoded!(Vec<Option<BTreeMap<String, Vec<Route>>>>, data);
    let scalars = decoded!((bool, i8, u64, f32, String, char, Option<Cidr>), data);
    Ok([conf, flannel, range, lists, scalars]
        .iter()
        .map(|text| Reached::at(text))
        .fold(Reached::at(""), Reached::and))
}

/// Neither the case of a key nor a null nor an unknown key changes what a struct is decoded as.
fn cases_and_nulls(document: &Value) -> Result<(), Broken> {
    let Some(loud) = upper_case(document) else { return Ok(()) };
    let text = document.to_string();
    let plain = decoded!(bridge::conf::NetConf, text.as_bytes());
    let other = decoded!(bridge::conf::NetConf, loud.to_string().as_bytes());
    alike("keys in upper case", &other, &plain)?;
    let Some(open) = text.strip_suffix('}') else { return Ok(()) };
    let comma = if open.len() > 1 { "," } else { "" };
    let longer = format!("{open}{comma}\"mtu\":null,\"Bridge\":null,\"\u{e9}\":[{{}}],\"ipam\":null}}");
    let other = decoded!(bridge::conf::NetConf, longer.as_bytes());
    alike("nulls and an unknown key", &other, &plain)
}

/// One value, or two errors: of several mistakes the first is told, and the order of keys may differ.
fn alike(what: &str, one: &str, other: &str) -> Result<(), Broken> {
    let is_value = |text: &str| text.starts_with("NetConf {");
    if is_value(one) || is_value(other) { same(what, &one, &other) } else { Ok(()) }
}

/// The same with every key in upper case; `None` when two would become one.
fn upper_case(document: &Value) -> Option<Value> {
    match document {
        Value::Array(items) => items.iter().map(upper_case).collect::<Option<_>>().map(Value::Array),
        Value::Object(members) => {
            let mut loud = serde_json::Map::new();
            for (key, value) in members {
                if loud.insert(key.to_ascii_uppercase(), upper_case(value)?).is_some() {
                    return None;
                }
            }
            Some(Value::Object(loud))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(document.clone()),
    }
}

/// A result that was read can be written in every version that has room for it, and reads back as what that says.
pub fn result(data: &[u8]) -> Verdict {
    let mut reached = Reached::at("");
    for assumed in Version::ALL {
        match AddResult::decode(data, assumed) {
            Err(error) => {
                error_document(&error)?;
                same("code of a result that does not decode", &error.code, &Code::DECODE)?;
                reached = reached.and(Reached::at(&error.msg));
            }
            Ok(result) => {
                reached = reached.and(Reached::at(&format!("{result:?}")));
                Version::ALL.into_iter().try_for_each(|version| rewritten(&result, version))?;
            }
        }
    }
    Ok(reached)
}

fn rewritten(result: &AddResult, version: Version) -> Result<(), Broken> {
    let text = match result.encode(version) {
        Ok(text) => text,
        Err(error) => {
            error_document(&error)?;
            let room = version >= Version::V0_3_0 || !result.ips.is_empty();
            return hold(!room, || format!("{result:?} does not encode in {version}: {error}"));
        }
    };
    let document: Value = must("a result is JSON", serde_json::from_str(&text))?;
    same("cniVersion", &document.get("cniVersion").and_then(Value::as_str), &Some(version.as_str()))?;
    let again = must("what was written is read", AddResult::decode(text.as_bytes(), Version::V0_1_0))?;
    same("written twice", &must("what was read is written", again.encode(version))?, &text)?;
    if version == Version::NEWEST {
        same("the newest version says everything", &again, &without_empties(result))?;
    }
    if version < Version::V0_3_0 {
        hold(again.interfaces.is_empty() && again.ips.len() <= 2, || {
            format!("{version} says too much: {text}")
        })?;
    }
    Ok(())
}

/// As Go's `omitempty` leaves it.
fn without_empties(result: &AddResult) -> AddResult {
    let mut result = result.clone();
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    for Interface { mac, mtu, sandbox, socket_path, pci_id, .. } in &mut result.interfaces {
        *mtu = mtu.filter(|mtu| *mtu != 0);
        for text in [mac, sandbox, socket_path, pci_id] {
            *text = filled(text);
        }
    }
    for route in &mut result.routes {
        for number in [&mut route.mtu, &mut route.advmss, &mut route.priority] {
            *number = number.filter(|number| *number != 0);
        }
    }
    result
}

/// `CNI_ARGS`: every pair has one `=`, known keys come back once, and what came back is read again the same.
pub fn args(data: &[u8]) -> Verdict {
    const KNOWN: &[&str] = &["IP", "MAC", ""];
    let text = String::from_utf8_lossy(data);
    match parse_args(&text, KNOWN) {
        Err(error) => {
            error_document(&error)?;
            same("code of bad CNI_ARGS", &error.code, &Code::INVALID_ENVIRONMENT)?;
            // The rest of the message is the input's.
            let told = error.msg.split('"').next().unwrap_or_default();
            let pairs = "x".repeat(text.split(';').count().min(12));
            Ok(Reached::at(&format!("{told} {pairs} {}", text.contains("IgnoreUnknown"))))
        }
        Ok(pairs) => {
            let well_formed = |pair: &str| pair.matches('=').count() == 1;
            hold(text.is_empty() || text.split(';').all(well_formed), || format!("accepted: {text:?}"))?;
            let mut keys: Vec<&str> = pairs.iter().map(|(key, _)| key.as_str()).collect();
            hold(keys.iter().all(|key| KNOWN.contains(key)), || format!("unknown keys: {keys:?}"))?;
            keys.sort_unstable();
            hold(keys.windows(2).all(|two| two.first() != two.last()), || format!("twice: {keys:?}"))?;
            let joined: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let again = must("known pairs are read again", parse_args(&joined.join(";"), KNOWN))?;
            same("pairs", &again, &pairs)?;
            Ok(Reached::at(&format!("{keys:?}")))
        }
    }
}

/// Addresses with a prefix length: text and value are one, and networks contain themselves.
pub fn cidr(data: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(data);
    let quoted = Value::from(text.as_ref()).to_string();
    let from_text = text.parse::<Cidr>();
    let decoded = from_json::<Cidr>(quoted.as_bytes());
    same("as text and in JSON", &decoded.as_ref().ok(), &from_text.as_ref().ok())?;
    let Ok(cidr) = from_text else {
        return Ok(Reached::at("refused"));
    };
    same("text", &must("its own text", cidr.to_string().parse::<Cidr>())?, &cidr)?;
    same("parts", &Cidr::new(cidr.ip(), cidr.prefix()), &Some(cidr))?;
    let network = cidr.network();
    same("a network's network", &network.network(), &network)?;
    hold(network.contains(cidr.ip()) && cidr.contains(network.ip()), || {
        format!("{cidr} is not in {network}")
    })?;
    hold(cidr.prefix() <= if cidr.is_ipv4() { 32 } else { 128 }, || format!("{cidr}"))?;
    let (ip, prefix) = text.split_once('/').unwrap_or_default();
    let ip: IpAddr = must("its address", ip.parse())?;
    same("address", &cidr.ip(), &ip.to_canonical())?;
    let shift = if ip == cidr.ip() { 0 } else { 96 };
    same("prefix", &prefix, &(u32::from(cidr.prefix()) + shift).to_string().as_str())?;
    Ok(Reached::at(&cidr.to_string()))
}
