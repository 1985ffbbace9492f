//! The nftables ruleset as lines: one for each table, chain, rule, set and element, without handles and counters.

use std::collections::BTreeMap;

use serde_json::Value;

use super::json;
use crate::space::{Space, words};

pub(super) fn read(space: &impl Space) -> Vec<String> {
    let mut lines = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut compat = false;
    for document in json(space, "nft -j list ruleset") {
        for object in document["nftables"].as_array().into_iter().flatten() {
            let Some((kind, body)) = object.as_object().and_then(|map| map.iter().next()) else { continue };
            compat |= body.to_string().contains("\"xt\"");
            lines.extend(object_lines(kind, body, &mut places));
        }
    }
    if compat {
        lines.extend(compat_rules(space, "iptables-save"));
        lines.extend(compat_rules(space, "ip6tables-save"));
    }
    lines
}

fn object_lines(kind: &str, body: &Value, places: &mut BTreeMap<String, usize>) -> Vec<String> {
    if kind == "metainfo" {
        return Vec::new();
    }
    let mut body = body.clone();
    forget_counts(&mut body);
    let elements = body.as_object_mut().and_then(|fields| fields.remove("elem"));
    let owner = ["family", "table", "name", "chain"].map(|key| body[key].as_str().unwrap_or("-")).join(" ");
    let mut lines = match kind {
        // The place of a rule in its chain is part of what it does.
        "rule" => {
            let place = places.entry(owner.clone()).or_insert(0);
            *place += 1;
            vec![format!("rule {owner} #{place} {body}")]
        }
        _ => vec![format!("{kind} {body}")],
    };
    if let Some(Value::Array(elements)) = elements {
        lines.extend(elements.iter().map(|element| format!("element {owner} {element}")));
    }
    lines
}

/// Handles and counters tell how often, not what.
fn forget_counts(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for key in ["handle", "packets", "bytes", "expires"] {
                fields.remove(key);
            }
            fields.values_mut().for_each(forget_counts);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_counts),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Rules made by the iptables program: nft shows their matches by name only.
fn compat_rules(space: &impl Space, program: &str) -> Vec<String> {
    let output = space.output(words(program));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut table = String::new();
    let mut lines = Vec::new();
    for (place, line) in text.lines().filter(|line| !line.starts_with('#') && *line != "COMMIT").enumerate() {
        if let Some(name) = line.strip_prefix('*') {
            name.clone_into(&mut table);
        } else if line.starts_with("-A") {
            lines.push(format!("{program} {table} #{place:03} {line}"));
        }
    }
    lines
}
