//! Whole requests against a plugin that writes down what it was told: which error wins, and what is printed.

use std::cell::Cell;
use std::ffi::OsString;
use std::sync::Mutex;

use super::*;
use crate::call::Attachment;
use crate::error::Code;

/// Answers every verb, and remembers the last call.
struct Probe {
    versions: &'static [Version],
    last: Mutex<Option<Call>>,
    answer: fn(&Call) -> Result<Added, Error>,
}

impl Probe {
    fn new() -> Self {
        Self { versions: &Version::ALL, last: Mutex::new(None), answer: |_| Ok(AddResult::default().into()) }
    }

    fn note(&self, call: &Call) -> Result<Added, Error> {
        *self.last.lock().unwrap() = Some(call.clone());
        (self.answer)(call)
    }

    fn told(&self) -> Option<Call> {
        self.last.lock().unwrap().take()
    }
}

impl Plugin for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }
    fn about(&self) -> &'static str {
        "CNI probe plugin"
    }
    fn versions(&self) -> &'static [Version] {
        self.versions
    }
    fn add(&self, call: &Call) -> Result<Added, Error> {
        self.note(call)
    }
    fn del(&self, call: &Call) -> Result<(), Error> {
        self.note(call).map(drop)
    }
    fn check(&self, call: &Call) -> Result<(), Error> {
        self.note(call).map(drop)
    }
    fn gc(&self, call: &Call) -> Result<(), Error> {
        self.note(call).map(drop)
    }
    fn status(&self, call: &Call) -> Result<(), Error> {
        self.note(call).map(drop)
    }
}

fn env(command: &str, changes: &[(&str, &str)]) -> Env {
    let base = [
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/not-there"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin"),
        ("CNI_COMMAND", command),
    ];
    let kept = base.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    kept.chain(changes).map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

fn ask(probe: &Probe, env: &Env, stdin: &str) -> Response {
    respond(env, || Ok(stdin.as_bytes().to_vec()), probe, &[])
}

fn refusal(command: &str, stdin: &str) -> (u32, String) {
    let response = ask(&Probe::new(), &env(command, &[]), stdin);
    assert_eq!((response.exit, response.stderr.as_str()), (1, ""), "{command} {stdin}");
    let error: serde_json::Value = serde_json::from_str(&response.stdout).unwrap();
    let code = u32::try_from(error["code"].as_u64().unwrap()).unwrap();
    (code, error["msg"].as_str().unwrap().to_owned())
}

#[test]
fn without_a_verb_the_plugin_says_what_it_is() {
    for env in [env("", &[]), Env::from_iter([])] {
        let response = respond(&env, || panic!("stdin is not read"), &Probe::new(), &[]);
        let stderr = "CNI probe plugin\nCNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n";
        assert_eq!(response, Response { stderr: stderr.into(), ..Response::default() });
    }
}

#[test]
fn version_is_answered_without_reading_stdin() {
    let dummy = env("VERSION", &[("CNI_NETNS", "dummy"), ("CNI_IFNAME", "dummy"), ("CNI_PATH", "dummy")]);
    let response = respond(&dummy, || panic!("stdin is not read"), &Probe::new(), &[]);
    let stdout = "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n";
    assert_eq!(response, Response { stdout: stdout.into(), ..Response::default() });
    let probe = Probe { versions: &[Version::V0_4_0], ..Probe::new() };
    let response = ask(&probe, &dummy, "");
    assert_eq!(response.stdout, "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.4.0\"]}\n");
}

#[test]
fn the_first_of_several_errors_is_the_one_that_skel_would_say() {
    // each line is wrong in everything that follows, too: environment, stdin, JSON, name, verb, version
    let no_stdin = || Err(io::Error::other("gone"));
    let response = respond(&env("ADD", &[("CNI_PATH", "")]), no_stdin, &Probe::new(), &[]);
    assert!(response.stdout.contains("\"code\": 4"), "{}", response.stdout);
    let response = respond(&env("BAD", &[]), no_stdin, &Probe::new(), &[]);
    assert_eq!(response.stdout, "{\n    \"code\": 5,\n    \"msg\": \"error reading from stdin: gone\"\n}");
    assert_eq!(refusal("BAD", "{").0, 6);
    assert_eq!(refusal("BAD", r#"{"name":1,"cniVersion":"9"}"#).0, 6);
    assert_eq!(refusal("BAD", r#"{"cniVersion":"9"}"#), (7, "missing network name".into()));
    assert_eq!(refusal("BAD", r#"{"name":"n","cniVersion":"9"}"#), (4, "unknown CNI_COMMAND: BAD".into()));
    assert_eq!(refusal("ADD", r#"{"name":"n","cniVersion":"9","prevResult":1}"#).0, 1);
}

#[test]
fn a_configuration_is_an_object_with_a_name() {
    for stdin in ["", "[]", "\"x\"", "1", "{} {}", r#"{"name":["n"]}"#] {
        let (code, msg) = refusal("ADD", stdin);
        assert_eq!(code, 6, "{stdin}");
        assert!(msg.starts_with("error unmarshall network config: "), "{msg}");
    }
    for stdin in ["null", "{}", r#"{"name":""}"#, r#"{"name":null}"#] {
        assert_eq!(refusal("ADD", stdin), (7, "missing network name".into()), "{stdin}");
    }
    for name in ["-n", "a/b", "a b", "é", ".", "_"] {
        let stdin = format!(r#"{{"name":"{name}"}}"#);
        assert_eq!(refusal("ADD", &stdin), (7, "invalid characters found in network name".into()));
    }
}

#[test]
fn a_version_must_be_spelt_as_the_plugin_lists_it() {
    let response = ask(&Probe::new(), &env("ADD", &[]), r#"{"name":"n","cniVersion":"1.1"}"#);
    let expected = r#"{
    "code": 1,
    "msg": "incompatible CNI versions",
    "details": "config is \"1.1\", plugin supports [\"0.1.0\" \"0.2.0\" \"0.3.0\" \"0.3.1\" \"0.4.0\" \"1.0.0\" \"1.1.0\"]"
}"#;
    assert_eq!(response.stdout, expected);
    let probe = Probe { versions: &[Version::V0_4_0, Version::V1_0_0], ..Probe::new() };
    for version in ["0.3.1", "1.1.0", ""] {
        let response = ask(&probe, &env("DEL", &[]), &format!(r#"{{"name":"n","cniVersion":"{version}"}}"#));
        assert!(response.stdout.contains("\"code\": 1,"), "{version}");
    }
    assert_eq!(refusal("ADD", r#"{"name":"n","cniVersion":1}"#).0, 6);
}

#[test]
fn newer_verbs_are_gated_by_number_before_the_spelling_counts() {
    let ask = |command: &str, version: &str| {
        refusal(command, &format!(r#"{{"name":"n","cniVersion":"{version}"}}"#))
    };
    assert_eq!(ask("CHECK", "0.3.1"), (1, "config version does not allow CHECK".into()));
    assert_eq!(ask("CHECK", ""), (1, "config version does not allow CHECK".into()));
    assert_eq!(ask("GC", "1.0.0"), (1, "config version does not allow GC".into()));
    assert_eq!(ask("STATUS", "1.0"), (1, "config version does not allow STATUS".into()));
    assert_eq!(ask("CHECK", "2.0.0"), (1, "plugin version does not allow CHECK".into()));
    assert_eq!(ask("GC", "1.1"), (1, "incompatible CNI versions".into()));
    assert_eq!(ask("STATUS", "1.x").0, 6);
    assert_eq!(ask("CHECK", "1.1.0.0").0, 6);
    assert_eq!(ask("ADD", "1.1.0.0").0, 1);
}

#[test]
fn every_verb_reaches_the_plugin_with_what_it_needs() {
    let probe = Probe::new();
    let stdin = r#"{"NAME":"n","cniVersion":"1.1.0","other":1}"#;
    for (command, printed) in [
        ("ADD", "{\n    \"cniVersion\": \"1.1.0\"\n}"),
        ("DEL", ""),
        ("CHECK", ""),
        ("GC", ""),
        ("STATUS", ""),
    ] {
        let response = ask(&probe, &env(command, &[("CNI_ARGS", "IP=1")]), stdin);
        assert_eq!(response, Response { stdout: printed.into(), ..Response::default() }, "{command}");
        let call = probe.told().expect(command);
        assert_eq!(
            (call.command.as_str(), call.network.as_str(), call.version),
            (command, "n", Version::V1_1_0)
        );
        assert_eq!(call.stdin, stdin.as_bytes());
        assert!(call.prev_result.is_none() && call.valid_attachments.is_none());
        let of_attachment = matches!(command, "ADD" | "DEL" | "CHECK");
        assert_eq!(call.container_id, if of_attachment { "c1" } else { "" });
        assert_eq!(call.netns.as_deref(), of_attachment.then_some("/run/netns/not-there"));
        assert_eq!(call.args, if of_attachment { "IP=1" } else { "" });
    }
}

#[test]
fn a_configuration_without_version_is_0_1_0() {
    let probe = Probe::new();
    for stdin in [r#"{"name":"n"}"#, r#"{"name":"n","cniVersion":""}"#, r#"{"name":"n","cniVersion":null}"#] {
        ask(&probe, &env("DEL", &[]), stdin);
        assert_eq!(probe.told().unwrap().version, Version::V0_1_0, "{stdin}");
    }
}

#[test]
fn the_own_namespace_is_refused_before_anything_is_done() {
    let own = ("CNI_NETNS", "/proc/self/ns/net");
    let stdin = r#"{"name":"n","cniVersion":"1.0.0"}"#;
    let probe = Probe::new();
    for command in ["ADD", "DEL"] {
        let response = ask(&probe, &env(command, &[own]), stdin);
        assert!(response.stdout.starts_with("{\n    \"code\": 8,"), "{}", response.stdout);
        assert!(probe.told().is_none(), "{command} acted");
        let allowed = ask(&probe, &env(command, &[own, ("CNI_NETNS_OVERRIDE", "True")]), stdin);
        assert_eq!(allowed.exit, 0);
        assert!(probe.told().is_some());
    }
    assert_eq!(ask(&probe, &env("CHECK", &[own]), stdin).exit, 0);
}

#[test]
fn the_handlers_error_is_printed_as_it_is() {
    let answer = |_: &Call| Err(Error::new(Code(1234), "a <b>").with_details("c"));
    let probe = Probe { answer, ..Probe::new() };
    let response = ask(&probe, &env("ADD", &[]), r#"{"name":"n"}"#);
    let stdout = "{\n    \"code\": 1234,\n    \"msg\": \"a \\u003cb\\u003e\",\n    \"details\": \"c\"\n}";
    assert_eq!(response, Response { stdout: stdout.into(), exit: 1, ..Response::default() });
}

#[test]
fn a_result_without_address_is_an_error_at_0_2_0_and_verbatim_text_is_not_looked_at() {
    let probe = Probe::new();
    let response = ask(&probe, &env("ADD", &[]), r#"{"name":"n","cniVersion":"0.2.0"}"#);
    assert!(response.stdout.contains("cannot convert: no valid IP addresses"));
    assert_eq!(response.exit, 1);
    let probe = Probe { answer: |_| Ok(Added::Verbatim("as it is".into())), ..Probe::new() };
    let response = ask(&probe, &env("ADD", &[]), r#"{"name":"n","cniVersion":"0.2.0"}"#);
    assert_eq!((response.stdout.as_str(), response.exit), ("as it is", 0));
}

#[test]
fn prev_result_is_handed_over_in_the_newest_layout() {
    let probe = Probe::new();
    let stdin = r#"{"name":"n","cniVersion":"0.2.0","PREVRESULT":{"ip4":{"ip":"10.0.0.1/8"}}}"#;
    ask(&probe, &env("ADD", &[]), stdin);
    let result = probe.told().unwrap().prev_result.unwrap();
    assert_eq!(result.ips[0].address.to_string(), "10.0.0.1/8");
    ask(&probe, &env("ADD", &[]), r#"{"name":"n","prevResult":null}"#);
    assert_eq!(probe.told().unwrap().prev_result, None);
}

#[test]
fn a_damaged_prev_result_stops_add_and_check_but_never_a_removal() {
    let probe = Probe::new();
    for prev in ["1", r#""x""#, r#"{"ips":1}"#, r#"{"cniVersion":"0.4.0"}"#, r#"{"cniVersion":"7"}"#] {
        let stdin = format!(r#"{{"name":"n","cniVersion":"1.1.0","prevResult":{prev}}}"#);
        for command in ["ADD", "CHECK"] {
            let (code, msg) = refusal(command, &stdin);
            assert_eq!(code, 6);
            assert!(msg.starts_with("could not parse prevResult: "), "{msg}");
        }
        for command in ["DEL", "GC", "STATUS"] {
            assert_eq!(ask(&probe, &env(command, &[]), &stdin).exit, 0);
            assert_eq!(probe.told().unwrap().prev_result, None);
        }
    }
}

#[test]
fn valid_attachments_absent_is_not_the_same_as_none_valid() {
    let probe = Probe::new();
    let ask_gc = |more: &str| {
        ask(&probe, &env("GC", &[]), &format!(r#"{{"name":"n","cniVersion":"1.1.0"{more}}}"#));
        probe.told().map(|call| call.valid_attachments)
    };
    assert_eq!(ask_gc(""), Some(None));
    assert_eq!(ask_gc(r#","cni.dev/valid-attachments":null"#), Some(None));
    assert_eq!(ask_gc(r#","cni.dev/attachments":[{"containerID":"a","ifname":"b"}]"#), Some(None));
    assert_eq!(ask_gc(r#","cni.dev/valid-attachments":[]"#), Some(Some(vec![])));
    let attachment = Attachment { network: "n".into(), container_id: "a".into(), ifname: "b".into() };
    let two =
        r#","cni.dev/valid-attachments":[{"containerID":"a","ifname":"b"},{"CONTAINERID":"a","IfName":"b"}]"#;
    assert_eq!(ask_gc(two), Some(Some(vec![attachment.clone(), attachment])));
    // garbage must not look like "nothing is valid": everything would be removed
    for garbage in
        [r#","cni.dev/valid-attachments":{}"#, r#","cni.dev/valid-attachments":[{"containerID":1}]"#]
    {
        assert_eq!(ask_gc(garbage), None);
    }
}

#[test]
fn the_plugins_own_configuration_is_decoded_from_the_same_text() {
    #[derive(Debug, PartialEq, serde::Deserialize, Default)]
    #[serde(default)]
    struct Conf {
        mtu: u32,
        bridge: String,
    }
    let probe = Probe::new();
    ask(
        &probe,
        &env("ADD", &[("CNI_ARGS", "MAC=a;X=1")]),
        r#"{"name":"n","MTU":9,"bridge":"b","Bridge":"c"}"#,
    );
    let call = probe.told().unwrap();
    assert_eq!(call.conf::<Conf>(), Ok(Conf { mtu: 9, bridge: "c".into() }));
    assert_eq!(call.cni_args(&["MAC"]).unwrap_err().code, Code::INVALID_ENVIRONMENT);
    assert_eq!(call.cni_args(&["MAC", "X"]).unwrap().len(), 2);
    ask(&probe, &env("ADD", &[]), r#"{"name":"n","mtu":"9"}"#);
    let error = probe.told().unwrap().conf::<Conf>().unwrap_err();
    assert_eq!(error.code, Code::INVALID_CONFIG);
    assert!(error.msg.starts_with("failed to load netconf: mtu: "), "{}", error.msg);
}

#[test]
fn a_call_may_be_used_from_the_thread_that_enters_the_sandbox() {
    fn shared<T: Send + Sync>() {}
    shared::<Call>();
}

#[test]
fn stdin_is_read_once() {
    let reads = Cell::new(0);
    let stdin = || {
        reads.set(reads.get() + 1);
        Ok(br#"{"name":"n"}"#.to_vec())
    };
    respond(&env("DEL", &[]), stdin, &Probe::new(), &[]);
    assert_eq!(reads.get(), 1);
}

proptest::proptest! {
    #[test]
    fn whatever_is_sent_there_is_one_document_and_a_matching_exit_status(
        command in "ADD|DEL|CHECK|GC|STATUS|VERSION|X?",
        id in ".{0,3}", ifname in ".{0,16}",
        stdin in r#"(\{"name":"n","cniVersion":"(0.2|0.4|1.1)\.0"[\[\]{}":,a-z0-9]{0,20}\})|.{0,20}"#,
    ) {
        let env = env(&command, &[("CNI_CONTAINERID", &id), ("CNI_IFNAME", &ifname)]);
        let response = ask(&Probe::new(), &env, &stdin);
        let document = serde_json::from_str::<serde_json::Value>(&response.stdout);
        match response.exit {
            0 => proptest::prop_assert!(response.stdout.is_empty() || document.is_ok()),
            1 => proptest::prop_assert!(document.is_ok_and(|error| error["code"].is_u64())),
            other => proptest::prop_assert!(false, "exit status {}", other),
        }
    }
}
