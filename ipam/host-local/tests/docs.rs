//! docs/plugins/host-local.md says what is so: its example works, and its tables have every key there is.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]
mod plugin;
use plugin::{Net, on};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../../docs/plugins/host-local.md");

#[test]
fn the_example_works() {
    let example = PAGE.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let mut config: Value = serde_json::from_str(example).unwrap();
    let net = Net::dual();
    config["ipam"]["dataDir"] = json!(net.scratch("data"));
    let added = on(&config, "ADD", "a");
    assert_eq!(added.addresses(), ["10.244.1.10/24", "fd00:10:244:1::2/64"]);
}

/// Every key in the first columns of the page's tables of keys.
fn documented() -> BTreeSet<String> {
    let rows =
        PAGE.lines().skip_while(|line| *line != "## Fields").take_while(|line| *line != "## What is on disk");
    let columns = rows.filter_map(|row| row.strip_prefix("| `")?.split(" | ").next());
    columns.flat_map(|column| column.split('`').step_by(2)).map(str::to_owned).collect()
}

/// Fields of the structures that the configuration is read into, as JSON spells them.
fn read_by_the_code() -> BTreeSet<String> {
    let of = |source: &str, structure: &str| -> Vec<String> {
        let body =
            source.split(&format!("struct {structure} {{")).nth(1).unwrap().split("\n}").next().unwrap();
        let fields = body.lines().map(|line| line.trim().trim_start_matches("pub "));
        fields.filter_map(|line| Some(line.strip_suffix(',')?.split_once(": ")?.0.to_owned())).collect()
    };
    let camel = |name: &str| {
        let mut words = name.split('_');
        let first = words.next().unwrap().to_owned();
        words.fold(first, |all, word| all + &word[..1].to_uppercase() + &word[1..])
    };
    let conf = include_str!("../src/conf.rs");
    let mut keys: BTreeSet<String> = BTreeSet::from(["IP".to_owned()]);
    for (source, structure, prefix) in [
        (conf, "Ipam", "ipam."),
        (conf, "RuntimeConfig", "runtimeConfig."),
        (conf, "CniArgs", "args.cni."),
        (include_str!("../src/range.rs"), "RangeConf", ""),
    ] {
        keys.extend(of(source, structure).iter().map(|name| format!("{prefix}{}", camel(name))));
    }
    keys
}

#[test]
fn the_tables_have_every_key_and_no_other() {
    assert_eq!(documented(), read_by_the_code());
}
