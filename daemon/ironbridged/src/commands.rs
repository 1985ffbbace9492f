//! Running the operator's commands of the extension backend: a shell, variables, an input, and an end in time.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use overlay::{LeaseAttributes, NetworkConfig, Subnets};

/// A command that hangs must not hold up the daemon for ever.
const PATIENCE: Duration = Duration::from_mins(1);

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("{name} `{line}` cannot be run: {source}")]
    Start { name: &'static str, line: String, source: io::Error },
    #[error("{name} `{line}` took longer than {} s and was ended", PATIENCE.as_secs())]
    Late { name: &'static str, line: String },
    #[error("{name} `{line}` failed ({status}): {said}")]
    Failed { name: &'static str, line: String, status: std::process::ExitStatus, said: String },
}

/// A variable of a command's environment.
pub type Variable = (&'static str, String);

/// flannel's variables for a lease; what is not there is empty.
pub fn variables(subnets: &Subnets, attributes: &LeaseAttributes) -> Vec<Variable> {
    let text = |value: Option<String>| value.unwrap_or_default();
    vec![
        ("SUBNET", text(subnets.v4.map(|n| n.to_string()))),
        ("IPV6SUBNET", text(subnets.v6.map(|n| n.to_string()))),
        ("PUBLIC_IP", text(attributes.public_v4().map(|ip| ip.to_string()))),
        ("PUBLIC_IPV6", text(attributes.public_ipv6.map(|ip| ip.to_string()))),
    ]
}

/// The variables for this node's own commands.
pub fn own_variables(config: &NetworkConfig, own: &Subnets, published: &LeaseAttributes) -> Vec<Variable> {
    let network = |family: Option<overlay::FamilyConfig>| {
        family.map(|family| family.network.to_string()).unwrap_or_default()
    };
    let mut all = variables(own, published);
    all.extend([("NETWORK", network(config.v4)), ("IPV6NETWORK", network(config.v6))]);
    all
}

/// Runs `line` with `sh -c`; the answer is what it printed, without the white space around it. The input, a lease's
/// `BackendData`, ends with a line's end. `name` is the key of the configuration, for messages.
pub fn run(
    (name, line): (&'static str, &str),
    variables: &[Variable],
    input: &str,
) -> Result<String, CommandError> {
    let start = |source| CommandError::Start { name, line: line.to_owned(), source };
    let mut command = Command::new("sh");
    command.args(["-c", line]).envs(variables.iter().map(|(key, value)| (*key, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read closes the pipe, and may.
        writeln!(stdin, "{input}").ok();
    }
    let output = wait(child).map_err(start)?;
    let output = output.ok_or_else(|| CommandError::Late { name, line: line.to_owned() })?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    tracing::info!(command = name, status = %output.status, said, error, "command run");
    if output.status.success() {
        return Ok(said);
    }
    Err(CommandError::Failed { name, line: line.to_owned(), status: output.status, said: error })
}

/// The output, or nothing when the time was over; the command and its children are ended then.
fn wait(child: Child) -> io::Result<Option<Output>> {
    let group = i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    if let Ok(output) = receiver.recv_timeout(PATIENCE) {
        return output.map(Some);
    }
    // It may just have ended by itself.
    killpg(group, Signal::SIGKILL).ok();
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_gets_variables_and_input_and_its_output_is_trimmed() {
        let line = "read data; echo \"$data of $SUBNET\" | tr a-z A-Z; echo aside >&2";
        let said = run(("SubnetAddCommand", line), &[("SUBNET", "10.3.2.0/24".into())], "key").unwrap();
        assert_eq!(said, "KEY OF 10.3.2.0/24");
    }

    #[test]
    fn a_failure_has_the_command_its_status_and_its_words() {
        let error = run(("SubnetAddCommand", "echo no >&2; exit 3"), &[], "").unwrap_err().to_string();
        assert_eq!(error, "SubnetAddCommand `echo no >&2; exit 3` failed (exit status: 3): no");
    }
}
