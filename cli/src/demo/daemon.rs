//! A real `ironbridged` on each node.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kernel::Netns;

use super::directory::Directory;
use super::error::Error;
use super::interrupt::Interrupt;
use super::process::{Process, Program, Tie};
use super::world::{Node, UPLINK};

const NAME: &str = "ironbridged";
const HEALTH_PORT: u16 = 8471;
const PATIENCE: Duration = Duration::from_secs(20);
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// The daemon's binary: as given, or beside this one.
pub fn find(given: Option<&Path>) -> Result<PathBuf, Error> {
    let own = std::env::current_exe().unwrap_or_default();
    let path = given.map_or_else(|| own.with_file_name(NAME), Path::to_owned);
    if path.is_file() {
        return Ok(path);
    }
    let remedy = "it should lie beside this program; if it lies elsewhere, say --daemon PATH";
    Err(Error::Missing { program: path.display().to_string(), remedy })
}

/// Where a node's daemon leaves the node's subnet for the plugins.
pub fn subnet_file(directory: &Directory, node: &Node) -> PathBuf {
    directory.path().join(&node.name).join("subnet.env")
}

/// Starts a daemon on a node; it is not ready yet.
pub fn start(
    binary: &Path,
    node: &Node,
    directory: &Directory,
    (tie, store): (Tie, &[String]),
) -> Result<Process, Error> {
    directory.make(&node.name)?;
    let mut arguments = store.to_vec();
    arguments.extend([
        format!("--iface={UPLINK}"),
        format!("--node-name={}", node.name),
        "--ip-masq".to_owned(),
        format!("--subnet-file={}", subnet_file(directory, node).display()),
        format!("--healthz-ip={}", Ipv4Addr::LOCALHOST),
        format!("--healthz-port={HEALTH_PORT}"),
    ]);
    let log = directory.path().join(&node.name).join(format!("{NAME}.log"));
    Process::start(&node.netns, tie, Program { file: binary, arguments, place: &node.name, log })
}

/// Waits until a node's daemon says that it is ready, and the plugins' file is there.
pub fn await_ready(
    process: &mut Process,
    node: &Node,
    subnet_file: &Path,
    interrupt: &Interrupt,
) -> Result<(), Error> {
    process.await_ready((interrupt, PATIENCE), || subnet_file.exists() && is_ready(&node.netns))
}

fn is_ready(netns: &Netns) -> bool {
    let ask = || -> std::io::Result<bool> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, HEALTH_PORT));
        let mut stream = TcpStream::connect_timeout(&address, ANSWERS_WITHIN)?;
        stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
        write!(stream, "GET /readyz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.split(' ').nth(1) == Some("200"))
    };
    matches!(netns.run(ask), Ok(Ok(true)))
}
