//! Delegates found on a path of our own: linked in, and real processes.

use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::{Mutex, MutexGuard};

use super::*;
use crate::environment::Env;
use crate::error::Code;
use crate::plugin::Registry;
use crate::result::Ip;

/// Held from writing a script until it has run: a fork in between would inherit the file open for
/// writing, and make it "text file busy".
static SCRIPTS: Mutex<()> = Mutex::new(());

struct Bin {
    folder: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Bin {
    fn new() -> Self {
        let alone = SCRIPTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Self { folder: tempfile::tempdir().unwrap(), _alone: alone }
    }

    fn script(&self, name: &str, text: &str) {
        let file = self.folder.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn this_executable(&self, name: &str) {
        symlink(std::env::current_exe().unwrap(), self.folder.path().join(name)).unwrap();
    }

    fn call(&self, stdin: &str) -> Call {
        call(&[("CNI_PATH", &format!("/nowhere::{}", self.folder.path().display()))], stdin, &[&Linked])
    }
}

fn call(changes: &[(&str, &str)], stdin: &str, registry: Registry) -> Call {
    let base = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/a"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", "IP=10.0.0.9"),
        ("CNI_PATH", "/nowhere"),
        ("TRACEPARENT", "t"),
        ("PATH", "/usr/bin:/bin"),
    ];
    let kept = base.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    let env: Env =
        kept.chain(changes).map(|(key, value)| (OsString::from(key), OsString::from(value))).collect();
    Call::read(&env, stdin.into(), &Version::ALL, registry).unwrap()
}

const CONF: &str = r#"{ "name":"n","cniVersion":"1.0.0", "ipam":{"type":"linked"} }"#;

/// A delegate that is part of the executable: two addresses on ADD, an error of its own otherwise that
/// says what it was told.
struct Linked;

impl Plugin for Linked {
    fn name(&self) -> &'static str {
        "linked"
    }
    fn about(&self) -> &'static str {
        "linked"
    }
    fn add(&self, call: &Call) -> Result<Added, Error> {
        assert_eq!(call.command, Command::Add);
        let ip = |text: &str| Ip { address: text.parse().unwrap(), gateway: None, interface: None };
        let ips = vec![ip("10.0.0.1/8"), ip("10.0.0.2/8")];
        Ok(AddResult {
            ips,
            dns: crate::Dns { domain: call.network.clone(), ..crate::Dns::default() },
            ..AddResult::default()
        }
        .into())
    }
    fn del(&self, call: &Call) -> Result<(), Error> {
        self.check(call)
    }
    fn check(&self, call: &Call) -> Result<(), Error> {
        let text = format!("{} {} {} {}", call.command, call.container_id, call.ifname, call.args);
        Err(Error::new(Code::EXHAUSTED, text).with_details("full"))
    }
    fn gc(&self, call: &Call) -> Result<(), Error> {
        self.check(call)
    }
    fn status(&self, _: &Call) -> Result<(), Error> {
        Err(Error::new(Code::NOT_AVAILABLE, "no"))
    }
}

#[test]
fn a_delegate_that_is_this_very_file_is_not_executed() {
    let bin = Bin::new();
    bin.this_executable("linked");
    let call = bin.call(CONF);
    let delegate = call.delegate("linked").unwrap();
    assert!(matches!(delegate.place, Place::Here(_)));
    assert_eq!(delegate.add().unwrap().ips.len(), 2);
    assert_eq!(delegate.raw_add().unwrap(), delegate.add().unwrap().encode(Version::V1_0_0).unwrap());
    let error = delegate.del().unwrap_err();
    assert_eq!(error, Error::new(Code::EXHAUSTED, "DEL c1 eth0 IP=10.0.0.9").with_details("linked: full"));
}

#[test]
fn a_linked_plugin_whose_file_is_another_is_executed() {
    let bin = Bin::new();
    bin.script("linked", "cat >/dev/null; echo '{\"cniVersion\":\"1.0.0\"}'");
    bin.this_executable("unlinked");
    let call = bin.call(CONF);
    assert_eq!(call.delegate("linked").unwrap().add().unwrap(), AddResult::default());
    assert!(matches!(call.delegate("unlinked").unwrap().place, Place::File(_)));
}

#[test]
fn in_process_makes_the_same_version_checks_as_a_process() {
    let bin = Bin::new();
    bin.this_executable("linked");
    let call = bin.call(CONF);
    let delegate = call.delegate("linked").unwrap();
    for error in [delegate.gc().unwrap_err(), delegate.status().unwrap_err()] {
        assert_eq!(
            (error.code, error.details.as_str()),
            (Code::INCOMPATIBLE_VERSION, "linked: config is \"1.0.0\"")
        );
    }
    let old = bin.call(&CONF.replace("1.0.0", "0.2.0"));
    let delegate = old.delegate("linked").unwrap();
    assert_eq!(delegate.check().unwrap_err().msg, "config version does not allow CHECK");
    assert_eq!(delegate.add().unwrap().ips.len(), 1, "0.2.0 has one address a family");
    let new = bin.call(&CONF.replace("1.0.0", "1.1.0"));
    let status = new.delegate("linked").unwrap().status().unwrap_err();
    assert_eq!((status.code, status.details.as_str()), (Code::NOT_AVAILABLE, "linked"));
}

#[test]
fn other_configuration_is_read_anew() {
    let bin = Bin::new();
    bin.this_executable("linked");
    bin.script("old", "cat >/dev/null; echo '{\"ip4\":{\"ip\":\"10.0.0.1/8\"}}'");
    let call = bin.call(CONF);
    let other = br#"{"name":"other","cniVersion":"0.2.0"}"#.to_vec();
    let result = call.delegate("linked").unwrap().with_stdin(other.clone()).add().unwrap();
    assert_eq!((result.dns.domain.as_str(), result.ips.len()), ("other", 1));
    assert_eq!(call.delegate("old").unwrap().with_stdin(other).add().unwrap().ips.len(), 1);
    let refused = call.delegate("linked").unwrap().with_stdin(b"{}".to_vec()).add().unwrap_err();
    assert_eq!((refused.code, refused.details.as_str()), (Code::INVALID_CONFIG, "linked"));
}

#[test]
fn a_process_gets_stdin_verbatim_and_the_environment_with_its_verb() {
    let bin = Bin::new();
    let folder = bin.folder.path().display();
    bin.script("spy", &format!("cat >{folder}/stdin; env >{folder}/env"));
    bin.call(CONF).delegate("spy").unwrap().del().unwrap();
    assert_eq!(fs::read_to_string(bin.folder.path().join("stdin")).unwrap(), CONF);
    let env = fs::read_to_string(bin.folder.path().join("env")).unwrap();
    for line in ["CNI_COMMAND=DEL", "CNI_CONTAINERID=c1", "CNI_ARGS=IP=10.0.0.9", "TRACEPARENT=t"] {
        assert!(env.lines().any(|found| found == line), "{line} in {env}");
    }
    assert!(!env.contains("CNI_COMMAND=ADD") && !env.contains("CARGO"), "{env}");
}

#[test]
fn large_configurations_do_not_lock_up_with_a_delegate_that_answers_first() {
    let bin = Bin::new();
    bin.script("eager", "head -c 300000 /dev/zero | tr '\\0' ' '; cat >/dev/null; echo '{}'");
    bin.script("deaf", "echo '{}'");
    let call = bin.call(&format!(r#"{{"name":"n","cniVersion":"1.0.0","pad":"{}"}}"#, "x".repeat(300_000)));
    assert_eq!(call.delegate("eager").unwrap().add(), Ok(AddResult::default()));
    assert_eq!(call.delegate("deaf").unwrap().add(), Ok(AddResult::default()));
}

#[test]
fn a_failing_process_is_read_as_libcni_reads_it() {
    let bin = Bin::new();
    bin.script("object", "echo '{\"code\":11,\"msg\":\"later\",\"details\":\"d\"}'; echo noise >&2; exit 1");
    bin.script("bare", "echo '{\"Code\":7,\"Msg\":\"m\"}'; exit 3");
    bin.script("silent", "exit 2");
    bin.script("stderr", "echo 'a \"b\"' >&2; exit 1");
    bin.script("garbled", "echo nonsense; exit 1");
    bin.script("odd", "echo '{\"code\":-1}'; exit 1");
    bin.script("killed", "kill -9 $$");
    let call = bin.call(CONF);
    let error = |name: &str| call.delegate(name).unwrap().add().unwrap_err();
    assert_eq!(error("object"), Error::new(Code(11), "later").with_details("object: d"));
    assert_eq!(error("bare"), Error::new(Code(7), "m").with_details("bare"));
    let decode = |msg: &str, details: &str| Error::new(Code::DECODE, msg).with_details(details);
    assert_eq!(error("silent"), decode("netplugin failed with no error message: exit status 2", "silent"));
    assert_eq!(error("stderr"), decode("netplugin failed: \"a \\\"b\\\"\\n\": exit status 1", "stderr"));
    let garbled = error("garbled");
    let start = "netplugin failed but error parsing its diagnostic message \"nonsense\\n\": ";
    assert!(garbled.code == Code::DECODE && garbled.msg.starts_with(start), "{garbled}");
    assert!(error("odd").msg.contains("code: "));
    assert!(error("killed").msg.contains("signal: 9"), "{}", error("killed"));
}

#[test]
fn an_answer_that_does_not_decode_is_an_error_of_that_delegate() {
    let bin = Bin::new();
    bin.script("text", "echo ok");
    bin.script("empty", "true");
    bin.script("null", "echo null");
    bin.script("future", "echo '{\"cniVersion\":\"2.0.0\"}'");
    let call = bin.call(CONF);
    for name in ["text", "empty", "future"] {
        let error = call.delegate(name).unwrap().add().unwrap_err();
        assert_eq!((error.code, error.details.as_str()), (Code::DECODE, name));
    }
    assert_eq!(call.delegate("null").unwrap().add(), Ok(AddResult::default()));
    assert_eq!(call.delegate("text").unwrap().raw_add().unwrap(), "ok\n");
    assert_eq!(call.delegate("text").unwrap().del(), Ok(()));
}

#[test]
fn the_first_regular_file_on_the_path_is_taken() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(first.path().join("ipam")).unwrap();
    fs::write(second.path().join("ipam"), "not executable").unwrap();
    let path = format!("{}:{}", first.path().display(), second.path().display());
    assert_eq!(find_in_path("ipam", OsStr::new(&path)).unwrap().0, second.path().join("ipam"));
    let call = call(&[("CNI_PATH", &path)], CONF, &[]);
    let error = call.delegate("ipam").unwrap().add().unwrap_err();
    assert_eq!((error.code, error.details.as_str()), (Code::IO, "ipam"));
    assert!(error.msg.contains("Permission denied"), "{}", error.msg);
}

#[test]
fn a_delegate_that_cannot_be_found_is_named_with_where_it_was_sought() {
    let refusal = |name: &str, path: &str| {
        let error: Error = find_in_path(name, OsStr::new(path)).unwrap_err().into();
        (error.code, error.msg)
    };
    assert_eq!(refusal("", "/a"), (Code::INVALID_CONFIG, "no plugin name provided".into()));
    assert_eq!(refusal("../x", "/a"), (Code::INVALID_CONFIG, "invalid plugin name: ../x".into()));
    assert_eq!(refusal("x", ""), (Code::INVALID_ENVIRONMENT, "no paths provided".into()));
    let expected = "failed to find plugin \"x\" in path [/a /b]";
    assert_eq!(refusal("x", "/a::/b"), (Code::INVALID_CONFIG, expected.into()));
}
