//! The protocol, the same for every plugin: environment, versions, verbs, exit status and one document on stdout.

use netns_fixtures::{Bins, Invocation, Pod, Snapshot, Space, assert_same};
use serde_json::{Value, json};
use tests::contract::{CHAINED, Contract, PLUGINS, VERBS, VERSIONS, has, versions};

#[test]
fn version_lists_all_versions_without_reading_stdin() {
    for bins in [Bins::multicall(), Bins::separate()] {
        let world = Contract::new(bins);
        for plugin in PLUGINS {
            let request = Invocation::new(&world.bins, plugin).verb("VERSION").stdin(b"not JSON at all");
            let dummy =
                ["CNI_NETNS", "CNI_IFNAME", "CNI_PATH"].iter().fold(request, |r, key| r.env(key, "dummy"));
            let answer = dummy.run(&world.host);
            assert!(answer.succeeded(), "{answer}");
            let quoted = versions(plugin).iter().map(|version| format!("\"{version}\""));
            let list = quoted.collect::<Vec<_>>().join(",");
            assert_eq!(
                answer.stdout,
                format!("{{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[{list}]}}\n"),
                "{plugin}"
            );
        }
    }
}

#[test]
fn without_a_command_a_plugin_says_what_it_is() {
    let world = Contract::new(Bins::multicall());
    for plugin in PLUGINS {
        let answer = Invocation::new(&world.bins, plugin).run(&world.host);
        answer.silent();
        assert!(answer.stderr.contains(plugin) && answer.stderr.contains("1.1.0"), "{answer}");
    }
}

#[test]
fn missing_variables_are_named_together_in_order() {
    let world = Contract::new(Bins::multicall());
    for (verb, expected) in [
        ("ADD", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ("CHECK", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ("DEL", "CNI_CONTAINERID,CNI_IFNAME,CNI_PATH"),
        ("GC", "CNI_PATH"),
        ("STATUS", "CNI_PATH"),
    ] {
        for plugin in PLUGINS {
            let config = world.config(plugin, "1.1.0");
            let request =
                Invocation::new(&world.bins, plugin).verb(verb).without_env("CNI_PATH").config(&config);
            let error = request.run(&world.host).error();
            assert_eq!(error.code, 4, "{plugin} {verb}: {error:?}");
            let text = format!("{} {}", error.msg, error.details);
            assert!(text.contains(expected), "{plugin} {verb}: {text}");
        }
    }
}

#[test]
fn malformed_variables_are_refused_before_anything_is_done() {
    let world = Contract::new(Bins::multicall());
    let before = Snapshot::of(&world.host);
    for plugin in PLUGINS {
        let config = world.config(plugin, "1.1.0");
        for (key, value) in [
            ("CNI_CONTAINERID", "-starts-with-a-dash"),
            ("CNI_CONTAINERID", "a/b"),
            ("CNI_IFNAME", "sixteen-letters-"),
            ("CNI_IFNAME", "a/b"),
            ("CNI_IFNAME", "a:b"),
            ("CNI_IFNAME", ".."),
            ("CNI_IFNAME", "a b"),
        ] {
            let error = world.request(plugin, "ADD", &config).env(key, value).run(&world.host).error();
            assert_eq!(error.code, 4, "{plugin}, {key}={value:?}: {error:?}");
        }
        let error = world.request(plugin, "FLY", &config).run(&world.host).error();
        assert!(error.code == 4 && error.msg.contains("FLY"), "{plugin}: {error:?}");
    }
    assert_same(&before, &Snapshot::of(&world.host), "after refused requests");
}

#[test]
fn refused_configurations_have_the_codes_of_the_table() {
    let world = Contract::new(Bins::multicall());
    for plugin in PLUGINS {
        let with = |more: &Value| tests::merged(world.config(plugin, "1.1.0"), more).to_string();
        for (what, stdin, code) in [
            ("nothing", String::new(), 6),
            ("no JSON", "{\"name\": ".to_owned(), 6),
            ("an array", "[]".to_owned(), 6),
            ("a name of the wrong type", with(&json!({"name": 5})), 6),
            ("no name", with(&json!({"name": null})), 7),
            ("a malformed name", with(&json!({"name": "a b"})), 7),
            ("a version nobody knows", with(&json!({"cniVersion": "0.9.0"})), 1),
            ("a version of the future", with(&json!({"cniVersion": "2.0.0"})), 1),
            ("a version that is none", with(&json!({"cniVersion": "new"})), 1),
        ] {
            let request = world.request(plugin, "ADD", &json!({})).stdin(stdin.as_bytes());
            let error = request.run(&world.host).error();
            assert_eq!(error.code, code, "{plugin}, {what}: {error:?}");
        }
    }
}

#[test]
fn an_unreadable_stdin_is_code_5() {
    let world = Contract::new(Bins::multicall());
    for plugin in PLUGINS {
        let request = world.request(plugin, "ADD", &world.config(plugin, "1.1.0"));
        let answer = request.under(&["sh", "-c", "exec \"$0\" </"]).run(&world.host);
        assert_eq!(answer.error().code, 5, "{plugin}: {answer}");
    }
}

#[test]
fn an_incompatible_version_names_both_sides() {
    let world = Contract::new(Bins::multicall());
    let error = world.request("bridge", "ADD", &world.config("bridge", "0.9.0")).run(&world.host).error();
    assert_eq!(error.msg, "incompatible CNI versions");
    let list = VERSIONS.map(|version| format!("\"{version}\"")).join(" ");
    assert_eq!(error.details, format!("config is \"0.9.0\", plugin supports [{list}]"));
}

#[test]
fn every_verb_is_served_from_its_version_on_by_every_plugin() {
    for bins in [Bins::multicall(), Bins::separate()] {
        for plugin in PLUGINS.into_iter().filter(|plugin| !CHAINED.contains(plugin)) {
            for version in VERSIONS {
                every_verb(&Contract::new(bins.clone()), plugin, version);
            }
        }
    }
}

/// ADD, CHECK, STATUS, GC and DEL at one version; verbs that are newer than the version are code 1.
fn every_verb(world: &Contract, plugin: &str, version: &str) {
    let config = world.config(plugin, version);
    let result = world.run(plugin, "ADD", &config).result();
    assert_eq!(result["cniVersion"], version, "{plugin}");
    let after = tests::merged(config, &json!({"prevResult": result, "cni.dev/valid-attachments": []}));
    for verb in ["CHECK", "STATUS", "GC", "DEL"] {
        let answer = world.run(plugin, verb, &after);
        if has(version, verb) {
            answer.silent();
        } else {
            assert_eq!(answer.error().code, 1, "{plugin} {verb} at {version}");
        }
    }
    let leftovers = world.dir.path().join("ipam/contract/10.66.0.2");
    assert!(!leftovers.exists(), "{plugin} at {version}: {} is left", leftovers.display());
}

#[test]
fn an_absent_version_is_0_1_0() {
    let world = Contract::new(Bins::multicall());
    for version in [Value::Null, json!("")] {
        let config = tests::merged(world.config("host-local", "1.1.0"), &json!({"cniVersion": null}));
        let config =
            if version.is_null() { config } else { tests::merged(config, &json!({"cniVersion": version})) };
        let result = world.request("host-local", "ADD", &config).run(&world.host).result();
        assert_eq!(result["ip4"]["ip"], "10.66.0.2/24", "{result}");
        world.request("host-local", "DEL", &config).run(&world.host).silent();
        std::fs::remove_dir_all(world.dir.path().join("ipam")).unwrap();
    }
}

#[test]
fn our_own_namespace_as_the_sandbox_is_refused_before_anything_is_done() {
    let world = Contract::new(Bins::multicall());
    let before = Snapshot::of(&world.host);
    for plugin in PLUGINS {
        for verb in ["ADD", "DEL"] {
            let request =
                world.request(plugin, verb, &world.config(plugin, "1.1.0")).netns(&world.host.path());
            let error = request.run(&world.host).error();
            assert_eq!(error.code, 8, "{plugin} {verb}: {error:?}");
        }
    }
    assert_same(&before, &Snapshot::of(&world.host), "after requests for the host itself");
}

#[test]
fn a_sandbox_that_is_no_namespace_is_code_8() {
    let world = Contract::new(Bins::multicall());
    for plugin in ["bridge", "loopback", "flannel"] {
        for path in [world.dir.path().join("subnet.env").display().to_string(), Pod::missing_path()] {
            let request = world.request(plugin, "ADD", &world.config(plugin, "1.1.0")).netns(&path);
            let error = request.run(&world.host).error();
            assert!(error.code == 8 && format!("{error:?}").contains(&path), "{plugin}: {error:?}");
        }
    }
}

#[test]
fn a_previous_result_of_another_family_is_refused() {
    let world = Contract::new(Bins::multicall());
    for (version, other) in [("1.1.0", "0.4.0"), ("0.4.0", "1.0.0"), ("0.3.1", "0.2.0")] {
        let previous = json!({"cniVersion": other, "ips": [{"address": "10.0.0.1/24", "version": "4"}]});
        let config = tests::merged(world.config("loopback", version), &json!({"prevResult": previous}));
        let error = world.request("loopback", "ADD", &config).run(&world.host).error();
        assert!([6, 7].contains(&error.code), "{version} after {other}: {error:?}");
    }
}

#[test]
fn no_verb_of_any_plugin_prints_more_than_one_document() {
    let world = Contract::new(Bins::multicall());
    for plugin in PLUGINS {
        for verb in VERBS {
            for stdin in [
                "",
                "{}",
                "{\"name\":\"x\"}",
                "{\"cniVersion\":\"1.1.0\",\"name\":\"x\",\"type\":\"y\",\"ipam\":{}}",
            ] {
                let answer = world.request(plugin, verb, &json!({})).stdin(stdin.as_bytes()).run(&world.host);
                let documents = serde_json::Deserializer::from_str(&answer.stdout).into_iter::<Value>();
                let count =
                    documents.inspect(|document| assert!(document.is_ok(), "only JSON on stdout")).count();
                assert!(
                    count <= 1 && (count == 1 || answer.succeeded()),
                    "{plugin} {verb} {stdin}: {answer}"
                );
                assert!(
                    answer.succeeded() || answer.error().code != 999,
                    "{plugin} {verb} {stdin}: {answer}"
                );
            }
        }
    }
}
