//! docs/bench.md: the table with its date, its machine, and how to read it.

use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::figure::Figure;
use crate::machine::Machine;
use crate::table;

const INTRODUCTION: &str = "\
# Speed

Written by `./bench --docs docs`, which builds and measures everything below; `./bench --quick` takes a look, `./bench bridge` measures
one row. Whole processes as a runtime sees them, from before the spawn to after the wait; the sides take turns (A B C A B C) on one node
in a namespace of its own, after a warm-up. *Reference*: Debian's containernetworking-plugins in `/usr/lib/cni`. *Ours*: the multi-call binary
under each plugin's name. *Floor*: `tests/benches/floor`, C programs that do the least that the same work takes, and are no plugins for use.
Values are medians, the best in brackets; ratios are of medians, in brackets of the best, against the limit of the issue that set it.
*pass by minimum*: the medians miss the limit and the best values keep it, as on a machine that does other things meanwhile.

A chain is the sum of its plugins' runs, each with the result of the one before; a chained plugin alone follows an attachment that is not
measured. Attachments that are there before: ours are real ones, made by our plugins; of the reference's, which would take it half an hour, the
rules alone, in its shape, by one `iptables-restore`; of the floor's, elements of its sets. All of them are on one node, so that every side has all
of that beside its own. The floor of `bridge` switches duplicate detection off in the sandbox (`accept_dad` 0), as the reference and ours do:
left on, the kernel tells all ports of the bridge of the sandbox's IPv6 address within a second, instead of at once, and the floor, which has ended by
then, is measured without what it caused (at 1,000 ports some 4 ms in which links are locked). The floor of `portmap` looks at tracked connections as ours does, and its DEL, too, leaves the kernel's grace period to
a child. The reference has its default backend, iptables, where nothing else is said. The first packet is a UDP request of a new socket and its answer,
from another host through the node's address.

A row can be OVER beside the reference and pass beside the floor. Then the floor's time divided by the reference's says how near to that limit the
least work comes on this machine, in C with static glibc, whose start is some 0.3 ms of each process.
";

/// Writes it into a folder.
pub fn write(folder: &Path, figures: &[Figure], machine: &Machine) -> Result<(), Error> {
    let path = folder.join("bench.md");
    let (sentence, table) = (machine.sentence(), table::markdown(figures));
    let text = format!("{INTRODUCTION}\n{sentence}\n\n![bench](bench.svg)\n\n{table}");
    fs::write(&path, text).map_err(Error::file(&path))
}
