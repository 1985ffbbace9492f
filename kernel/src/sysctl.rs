//! Kernel parameters under `/proc/sys`. Those under `net` are of the namespace of the calling thread.

use crate::{Cause, Error, error::During};
use nix::errno::Errno;
use std::{
    fs,
    io::{self, Read as _},
};

/// Room for a parameter's text, in bytes; those of networking are numbers and short lists.
const LONGEST: usize = 1024;

/// Reads a parameter, named with slashes relative to `/proc/sys` (`net/ipv4/ip_forward`), without the line's end.
pub fn read(path: &str) -> Result<String, Error> {
    let text = file(path).and_then(|file| Ok(one_read(&file)?));
    text.during(|| format!("reading kernel parameter {path}"))
}

/// The kernel hands a parameter over in one piece.
fn one_read(file: &str) -> io::Result<String> {
    let mut buffer = [0; LONGEST];
    let length = fs::File::open(file)?.read(&mut buffer)?;
    let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
    Ok(text.trim_end_matches('\n').to_owned())
}

/// Writes a parameter, named as in [`read`].
pub fn write(path: &str, value: &str) -> Result<(), Error> {
    file(path)
        .and_then(|file| Ok(fs::write(file, value)?))
        .during(|| format!("setting kernel parameter {path} to {value}"))
}

/// Writes a parameter only if it reads otherwise: a read-only `/proc/sys` is no obstacle to a value that is right
/// already, and a write is not free (`forwarding` walks over all interfaces).
pub fn ensure(path: &str, value: &str) -> Result<(), Error> {
    if read(path)? == value { Ok(()) } else { write(path, value) }
}

/// A name that would lead out of `/proc/sys`, made from an interface's say, is refused.
fn file(path: &str) -> Result<String, Cause> {
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Errno::EINVAL.into());
    }
    Ok(format!("/proc/sys/{path}"))
}
