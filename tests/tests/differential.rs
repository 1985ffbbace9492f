//! Twin worlds: the same request to the reference and to us; results and kernel state are compared, and every
//! difference that is meant is in a table with its reason. An unlisted difference fails, and so does an unused row.

mod differential_cases;

use std::collections::BTreeSet;

use differential_cases::{CASES, Case, EVERYWHERE, INTENDED, chained};
use netns_fixtures::{Bins, Network, Pod, Snapshot, Space, Target};
use serde_json::{Value, json};
use tests::{World, merged};

/// What one side did with a case, made comparable.
struct Outcome {
    /// ADD, CHECK and DEL, each `ok`, `error` or, after a failed ADD, `-`.
    verbs: [(&'static str, &'static str); 3],
    /// The result, without names and MACs that are nobody's choice.
    result: Value,
    host: Snapshot,
    sandbox: Snapshot,
    after: Snapshot,
}

fn run(bins: Bins, case: &Case) -> Outcome {
    let world = World { version: "1.0.0", ..World::with(bins) };
    let own: Value = serde_json::from_str(case.keys).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let ipam = merged(
        world.ipam(&["10.66.0.0/24"]),
        &own["ipam"].as_object().map_or(json!({}), |_| own["ipam"].clone()),
    );
    let mut keys = own.clone();
    if own["ipam"].is_object() || own.get("ipam").is_none() {
        keys["ipam"] = ipam;
    }
    let mut network: Network = world.bridge(&keys);
    if !case.behind.is_empty() {
        let plugin: Value =
            serde_json::from_str(case.behind).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        network = network.plugin(merged(plugin, &json!({"dataDir": world.state.path().join("tuning")})));
    }
    let (pod, runtime) = (Pod::new(), world.runtime());
    let capabilities: Value = serde_json::from_str(case.capabilities).unwrap();
    let mut target = Target::new("twin", &pod.path()).args(case.args);
    for (name, value) in capabilities.as_object().unwrap() {
        target = target.capability(name, value.clone());
    }
    let verdict = |good: bool| if good { "ok" } else { "error" };
    let added = runtime.add(&network, &target);
    let (host, sandbox) = (world.snapshot(), Snapshot::of(&pod));
    let checked = if added.is_ok() { verdict(runtime.check(&network, &target).is_ok()) } else { "-" };
    let deleted = verdict(runtime.del(&network, &target).is_ok());
    let after = world.snapshot();
    let verbs = [("ADD", verdict(added.is_ok())), ("CHECK", checked), ("DEL", deleted)];
    let result = added.unwrap_or_default();
    let mut names = chosen_names(&result, &pod.path());
    let uplink = world.link_field(world.host(), "eth0", "/address");
    names.push((uplink.as_str().unwrap_or_default().to_owned(), "UPLINK".to_owned()));
    let text = replaced(&result.to_string(), &names);
    let result = serde_json::from_str(&text).expect("still JSON");
    let [host, sandbox, after] = [host, sandbox, after].map(|snapshot| snapshot.with_names(&names));
    Outcome { verbs, result, host, sandbox, after }
}

/// Names and MACs of the result, which each side chooses as it likes, and what to call them.
fn chosen_names(result: &Value, sandbox: &str) -> Vec<(String, String)> {
    let mut names = vec![(sandbox.to_owned(), "SANDBOX".to_owned())];
    for (nth, interface) in result["interfaces"].as_array().into_iter().flatten().enumerate() {
        let mac = interface["mac"].as_str().unwrap_or_default();
        if !mac.is_empty() && !mac.starts_with("02:00:00:00:00") {
            names.push((mac.to_owned(), format!("MAC{nth}")));
        }
        let name = interface["name"].as_str().unwrap_or_default();
        if name.starts_with("veth") {
            names.push((name.to_owned(), "HOSTEND".to_owned()));
        }
        if name.starts_with("bwp") || name.starts_with("ibw") {
            names.push((name.to_owned(), "LIMITER".to_owned()));
        }
    }
    names
}

fn replaced(text: &str, names: &[(String, String)]) -> String {
    names.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[test]
fn the_reference_and_we_differ_only_where_we_mean_to() {
    let mut unlisted = Vec::new();
    let mut used = BTreeSet::new();
    for (case, difference) in all_differences() {
        match listed(case, &difference) {
            Some(row) => drop(used.insert(row)),
            None => unlisted.push(format!("{case} | {difference}")),
        }
    }
    let unused: Vec<&str> = rows().filter(|row| !used.contains(row)).map(|(_, pattern)| pattern).collect();
    assert!(unlisted.is_empty(), "differences that no row explains:\n  {}", unlisted.join("\n  "));
    assert!(unused.is_empty(), "rows that explain nothing any more:\n  {}", unused.join("\n  "));
}

/// Of every case, by two threads: half of the time a world waits for the kernel.
fn all_differences() -> Vec<(&'static str, String)> {
    let work = |worker| {
        let mut found = Vec::new();
        for case in CASES.iter().chain(chained::CASES).skip(worker).step_by(2) {
            let (theirs, ours) = (run(Bins::reference(), case), run(Bins::multicall(), case));
            let differences = differences(&theirs, &ours).into_iter();
            found.extend(differences.map(|(aspect, text)| (case.name, format!("{aspect}: {text}"))));
        }
        found
    };
    std::thread::scope(|scope| {
        let workers = [0, 1].map(|worker| scope.spawn(move || work(worker)));
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a worker's failure is the test's"))
            .collect()
    })
}

/// All rows as `(case or empty, pattern)`.
fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    let everywhere = EVERYWHERE.iter().chain(chained::EVERYWHERE).map(|(pattern, _)| ("", *pattern));
    everywhere.chain(INTENDED.iter().chain(chained::INTENDED).map(|(case, pattern, _)| (*case, *pattern)))
}

/// The row that explains a difference: a case's own first, then those for all cases.
fn listed(case: &str, difference: &str) -> Option<(&'static str, &'static str)> {
    let fits = |pattern: &str| pattern.split(" … ").all(|part| difference.contains(part));
    let own = rows().find(|(name, pattern)| *name == case && fits(pattern));
    own.or_else(|| rows().find(|(name, pattern)| name.is_empty() && fits(pattern)))
}

/// `(aspect, one difference)` for everything in which two outcomes differ: `-` is the reference, `+` is ours.
fn differences(theirs: &Outcome, ours: &Outcome) -> Vec<(&'static str, String)> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for ((verb, theirs), (_, ours)) in
        theirs.verbs.iter().zip(&ours.verbs).filter(|(theirs, ours)| theirs != ours)
    {
        found.push((verb, format!("-{theirs} +{ours}")));
    }
    if [theirs, ours].iter().any(|side| side.verbs[0] != ("ADD", "ok")) {
        // After a failed ADD there is nothing to compare: what the reference leaves behind is weakness 11.
        return found;
    }
    let keys: BTreeSet<&String> =
        [&theirs.result, &ours.result].iter().filter_map(|r| r.as_object()).flat_map(|r| r.keys()).collect();
    for key in keys {
        if theirs.result[key] != ours.result[key] {
            found.push(("result", format!("{key} -{} +{}", theirs.result[key], ours.result[key])));
        }
    }
    for (aspect, before, after) in [
        ("host", &theirs.host, &ours.host),
        ("sandbox", &theirs.sandbox, &ours.sandbox),
        ("after DEL", &theirs.after, &ours.after),
    ] {
        found.extend(snapshot_differences(before, after).into_iter().map(|difference| (aspect, difference)));
    }
    found
}

/// Objects that only one side has, and of links that both have the fields that differ.
fn snapshot_differences(theirs: &Snapshot, ours: &Snapshot) -> Vec<String> {
    let lines = theirs.difference(ours);
    let link = |sign: &str, name: &str| {
        let start = format!("{sign} link {name} ");
        lines.iter().find_map(|line| line.strip_prefix(&start))
    };
    let mut found = Vec::new();
    for line in &lines {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match (words[0], words[1], link("-", words[2]), link("+", words[2])) {
            ("-", "link", Some(before), Some(after)) => {
                found.extend(
                    field_differences(before, after).map(|fields| format!("link {} {fields}", words[2])),
                );
            }
            ("+", "link", Some(_), Some(_)) => {}
            _ => found.push(line.clone()),
        }
    }
    found
}

/// `-field=theirs` and `+field=ours`.
fn field_differences(theirs: &str, ours: &str) -> impl Iterator<Item = String> {
    // Values hold blanks after a comma or a colon only.
    let fields = |text: &str| -> BTreeSet<String> {
        text.replace(", ", ",").replace(": ", ":").split(' ').map(str::to_owned).collect()
    };
    let (theirs, ours) = (fields(theirs), fields(ours));
    let removed: Vec<String> = theirs.difference(&ours).map(|field| format!("-{field}")).collect();
    removed.into_iter().chain(ours.difference(&theirs).map(|field| format!("+{field}")).collect::<Vec<_>>())
}
