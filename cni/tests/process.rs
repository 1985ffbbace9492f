//! Real plugin processes: panics, closed streams, and a delegate in-process beside the same one executed.

use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};

use cni::{AddResult, Added, Call, Code, Interface, Ip, Plugin, Version};

/// Passes everything on to `inner`.
struct Outer;
/// Writes down what it was told in its answer, and its process id on stderr.
struct Inner;

static ALL: [&dyn Plugin; 2] = [&Outer, &Inner];

impl Plugin for Outer {
    fn name(&self) -> &'static str {
        "outer"
    }
    fn about(&self) -> &'static str {
        "CNI outer plugin"
    }
    fn add(&self, call: &Call) -> Result<Added, cni::Error> {
        if call.container_id == "panic" {
            let nothing: [u8; 0] = [];
            assert_eq!(nothing.len(), call.ifname.len(), "as asked");
        }
        eprintln!("{}", std::process::id());
        let delegate = call.delegate("inner")?;
        if call.container_id == "raw" {
            delegate.raw_add().map(Added::Verbatim)
        } else {
            delegate.add().map(Added::from)
        }
    }
    fn del(&self, call: &Call) -> Result<(), cni::Error> {
        call.delegate("inner")?.del()
    }
    fn check(&self, call: &Call) -> Result<(), cni::Error> {
        call.delegate("inner")?.check()
    }
    fn gc(&self, call: &Call) -> Result<(), cni::Error> {
        call.delegate("inner")?.gc()
    }
    fn status(&self, call: &Call) -> Result<(), cni::Error> {
        call.delegate("inner")?.status()
    }
}

impl Inner {
    fn refuse(call: &Call) -> cni::Error {
        let told = (call.command, &call.attachment(), call.version, &call.netns, &call.args);
        let more = (&call.prev_result, &call.valid_attachments, String::from_utf8_lossy(&call.stdin));
        cni::Error::new(Code::EXHAUSTED, format!("{told:?}")).with_details(format!("{more:?}"))
    }
}

impl Plugin for Inner {
    fn name(&self) -> &'static str {
        "inner"
    }
    fn about(&self) -> &'static str {
        "CNI inner plugin"
    }
    fn versions(&self) -> &'static [Version] {
        &[Version::V0_2_0, Version::V0_4_0, Version::V1_1_0]
    }
    fn add(&self, call: &Call) -> Result<Added, cni::Error> {
        let ip = |text: &str| text.parse().map(|address| Ip { address, gateway: None, interface: Some(0) });
        let ips = ["10.0.0.1/8", "10.0.0.2/8", "fd00::1/64"].into_iter().flat_map(ip).collect();
        let interface =
            Interface { name: format!("{:?}", call.prev_result), mtu: Some(9), ..Interface::default() };
        eprintln!("{}", std::process::id());
        Ok(AddResult { interfaces: vec![interface], ips, ..AddResult::default() }.into())
    }
    fn del(&self, call: &Call) -> Result<(), cni::Error> {
        Err(Self::refuse(call))
    }
    fn check(&self, call: &Call) -> Result<(), cni::Error> {
        Err(Self::refuse(call))
    }
    fn gc(&self, call: &Call) -> Result<(), cni::Error> {
        Err(Self::refuse(call))
    }
    fn status(&self, _: &Call) -> Result<(), cni::Error> {
        Ok(())
    }
}

type Outcome = Result<(), Box<dyn Error>>;
type Test = (&'static str, fn() -> Outcome);

fn main() -> ExitCode {
    let own = std::env::args_os().next().unwrap_or_default();
    let own = Path::new(&own).file_name().unwrap_or_default();
    if let Some(plugin) = ALL.iter().find(|plugin| own == plugin.name()) {
        return cni::run(*plugin, &ALL);
    }
    let tests: [Test; 4] = [
        ("a_panic_is_answered_with_999_and_exit_status_1", panic_is_answered),
        ("streams_that_cannot_be_used_are_errors", broken_streams),
        ("version_does_not_wait_for_stdin", version_reads_nothing),
        ("in_process_and_executed_delegates_answer_the_same", in_process_is_exec),
    ];
    for (name, test) in tests {
        if let Err(wrong) = test() {
            eprintln!("test {name} ... FAILED: {wrong}");
            return ExitCode::FAILURE;
        }
        eprintln!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

/// A folder with `outer`, and `inner` as the very same file or as a copy of it.
fn bin(inner: fn(&Path, &Path) -> std::io::Result<()>) -> Result<tempfile::TempDir, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let exe = std::env::current_exe()?;
    symlink(&exe, folder.path().join("outer"))?;
    inner(&exe, &folder.path().join("inner"))?;
    Ok(folder)
}

fn outer(folder: &Path, command: &str, id: &str) -> Command {
    let mut outer = Command::new(folder.join("outer"));
    outer.env_clear().env("CNI_COMMAND", command).env("CNI_CONTAINERID", id).env("CNI_PATH", folder);
    outer.env("CNI_NETNS", "/run/netns/none").env("CNI_IFNAME", "eth0").env("CNI_ARGS", "A=1");
    outer
}

fn ask(mut plugin: Command, config: &str) -> Result<Output, Box<dyn Error>> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(&file, config)?;
    Ok(plugin.stdin(File::open(&file)?).output()?)
}

/// The one document on stdout, as an error: code, message, details.
fn refusal(output: &Output) -> Result<(u64, String, String), Box<dyn Error>> {
    let error: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let text = |key| error.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let code = error.get("code").and_then(serde_json::Value::as_u64);
    Ok((code.ok_or("an error without a code")?, text("msg"), text("details")))
}

fn panic_is_answered() -> Outcome {
    let folder = bin(|exe, inner| symlink(exe, inner))?;
    let output = ask(outer(folder.path(), "ADD", "panic"), r#"{"name":"n","cniVersion":"1.0.0"}"#)?;
    let (code, msg, details) = refusal(&output)?;
    assert_eq!((code, output.status.code()), (999, Some(1)), "{msg}");
    assert!(msg.contains("as asked") && details.contains("process.rs"), "{msg} {details}");
    Ok(())
}

fn broken_streams() -> Outcome {
    let folder = bin(|exe, inner| symlink(exe, inner))?;
    let output = outer(folder.path(), "DEL", "c1").stdin(File::open("/")?).output()?;
    assert_eq!((refusal(&output)?.0, output.status.code()), (5, Some(1)));
    let full = File::options().write(true).open("/dev/full")?;
    let mut version = outer(folder.path(), "VERSION", "c1");
    let output =
        version.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).spawn()?.wait_with_output()?;
    let said = String::from_utf8(output.stderr)?;
    assert!(said.starts_with("error writing to stdout: "), "{said}");
    assert_eq!(output.status.code(), Some(1));
    Ok(())
}

fn version_reads_nothing() -> Outcome {
    let folder = bin(|exe, inner| symlink(exe, inner))?;
    let mut child =
        outer(folder.path(), "VERSION", "c1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    // the write end stays open until after the answer
    let stdin = child.stdin.take();
    let output = child.wait_with_output()?;
    drop(stdin);
    assert!(output.stdout.starts_with(b"{\"cniVersion\":\"1.1.0\","));
    Ok(())
}

fn in_process_is_exec() -> Outcome {
    let same = bin(|exe, inner| symlink(exe, inner))?;
    let copy = bin(|exe, inner| fs::copy(exe, inner).map(drop))?;
    let more = r#""prevResult":{"dns":{"domain":"p"}},"cni.dev/valid-attachments":[{"containerID":"a"}]"#;
    for version in Version::ALL {
        let config = format!(r#"{{"name":"n","cniVersion":"{version}",{more}}}"#);
        for (command, id) in
            [("ADD", "raw"), ("ADD", "c1"), ("DEL", "c1"), ("CHECK", "c1"), ("GC", ""), ("STATUS", "")]
        {
            let here = ask(outer(same.path(), command, id), &config)?;
            let there = ask(outer(copy.path(), command, id), &config)?;
            let texts = (String::from_utf8(here.stdout)?, String::from_utf8(there.stdout)?);
            assert_eq!(texts.0, texts.1, "{command} at {version}");
            assert_eq!(here.status, there.status, "{command} at {version}");
            if command == "ADD" && here.status.success() {
                assert_eq!((processes(&here.stderr), processes(&there.stderr)), (1, 2), "at {version}");
            }
        }
    }
    Ok(())
}

/// How many different processes have signed.
fn processes(stderr: &[u8]) -> usize {
    let mut ids: Vec<&[u8]> = stderr.trim_ascii().split(|byte| *byte == b'\n').collect();
    ids.dedup();
    ids.len()
}
