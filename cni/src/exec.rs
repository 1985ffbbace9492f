//! Running a delegate as a process, and reading its failure as libcni does.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde::Deserialize;

use crate::environment::Env;
use crate::error::{Code, Error};
use crate::folded::from_node;
use crate::node::Node;
use crate::refusal::Refusal;

/// What a pipe takes at once whatever its reader does (`pipe(7)`: never less than a page).
const PIPE_ROOM: usize = 4096;

/// Runs a plugin with this environment and stdin; its stdout, if it succeeded.
///
/// Its stderr is passed on only then; of a failure it is evidence (`invoke/raw_exec.go`).
pub(crate) fn execute(name: &str, file: &Path, env: &Env, stdin: &[u8]) -> Result<String, Error> {
    let output = run(file, env, stdin).map_err(|cause| {
        let (name, busy) = (name.to_owned(), cause.kind() == io::ErrorKind::ExecutableFileBusy);
        if busy { Refusal::DelegateBusy { name } } else { Refusal::DelegateNotRun { name, cause } }
    })?;
    if !output.status.success() {
        return Err(failure(&output));
    }
    // text for people: nobody could be told that it did not get through
    io::stderr().write_all(&output.stderr).ok();
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn run(file: &Path, env: &Env, stdin: &[u8]) -> io::Result<Output> {
    let mut child = Command::new(file)
        .env_clear()
        .envs(env.exported())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if stdin.len() <= PIPE_ROOM {
        feed(&mut child, stdin);
        return child.wait_with_output();
    }
    // a delegate that writes before it has read everything would wait for us for ever
    let pipe = child.stdin.take();
    std::thread::scope(|scope| {
        scope.spawn(move || pipe.map(|mut pipe| pipe.write_all(stdin)));
        child.wait_with_output()
    })
}

fn feed(child: &mut Child, stdin: &[u8]) {
    if let Some(mut pipe) = child.stdin.take() {
        // a delegate may answer without reading: its answer counts, not the broken pipe
        pipe.write_all(stdin).ok();
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    code: u32,
    msg: String,
    details: String,
}

/// The error object on stdout; without one, what was printed instead.
fn failure(output: &Output) -> Error {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let status = status_text(output.status);
    if output.stdout.is_empty() && output.stderr.is_empty() {
        return Refusal::DelegateSilent { status }.into();
    }
    if output.stdout.is_empty() {
        return Refusal::DelegateStderr { stderr: text(&output.stderr), status }.into();
    }
    let garbled = |cause: String| Refusal::DelegateGarbled { stdout: text(&output.stdout), cause }.into();
    let node = match Node::parse(&output.stdout) {
        Ok(node) => node,
        Err(cause) => return garbled(cause.to_string()),
    };
    match from_node::<Wire>(&node) {
        Ok(Wire { code, msg, details }) => Error { code: Code(code), msg, details },
        Err(cause) => garbled(cause.to_string()),
    }
}

/// As Go words it.
fn status_text(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code}"))
}
