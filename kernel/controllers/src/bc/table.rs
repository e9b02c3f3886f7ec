//! `/proc/user_beancounters`.

use super::{Bc, counter::Reading};
use alloc::{format, vec::Vec};
use base::{Capabilities, charge::Resource};
use container::{Node, Report};
use core::fmt::{self, Write};

/// A row of a container.
#[derive(Clone, Copy)]
enum Row {
    Counted(Resource),
    Uncounted,
    Dummy,
}

/// The rows of each container in order, as programs expect them.
const ROWS: [(&str, Row); 24] = [
    ("kmemsize", Row::Counted(Resource::KernelMemory)),
    ("lockedpages", Row::Counted(Resource::LockedPages)),
    ("privvmpages", Row::Counted(Resource::PrivatePages)),
    ("shmpages", Row::Counted(Resource::SharedPages)),
    ("dummy", Row::Dummy),
    ("numproc", Row::Counted(Resource::Tasks)),
    ("physpages", Row::Counted(Resource::PhysicalPages)),
    ("vmguarpages", Row::Uncounted),
    ("oomguarpages", Row::Uncounted),
    ("numtcpsock", Row::Uncounted),
    ("numflock", Row::Uncounted),
    ("numpty", Row::Counted(Resource::Terminals)),
    ("numsiginfo", Row::Counted(Resource::Signals)),
    ("tcpsndbuf", Row::Uncounted),
    ("tcprcvbuf", Row::Uncounted),
    ("othersockbuf", Row::Uncounted),
    ("dgramrcvbuf", Row::Uncounted),
    ("numothersock", Row::Uncounted),
    ("dcachesize", Row::Uncounted),
    ("numfile", Row::Counted(Resource::Files)),
    ("dummy", Row::Dummy),
    ("dummy", Row::Dummy),
    ("dummy", Row::Dummy),
    ("numiptent", Row::Uncounted),
];

/// The file: a reader sees its own container and those below, in order of their numbers.
pub(super) const USER_BEANCOUNTERS: Report<Bc> = Report {
    name: "user_beancounters",
    mode: 0o400,
    needs: Capabilities::DAC_OVERRIDE.union(Capabilities::DAC_READ_SEARCH),
    show,
};

fn show(reader: &Node<'_, Bc>, out: &mut dyn Write) -> fmt::Result {
    let mut containers = Vec::new();
    reader.for_each_below(|node| {
        let bc = node.state();
        let rows = ROWS.map(|(name, row)| match row {
            Row::Counted(resource) => (name, bc.counter(resource).read()),
            Row::Uncounted => (name, Reading::UNCOUNTED),
            Row::Dummy => (name, Reading { barrier: 0, limit: 0, ..Reading::UNCOUNTED }),
        });
        containers.push((bc.id, rows));
    });
    containers.sort_by_key(|&(id, _)| id);
    writeln!(out, "Version: 2.5")?;
    writeln!(
        out,
        "{:>10}  {:<12} {:>20} {:>20} {:>20} {:>20} {:>20}",
        "uid", "resource", "held", "maxheld", "barrier", "limit", "failcnt"
    )?;
    for (id, rows) in containers {
        let mut first = format!("{id}:");
        for (name, Reading { held, maxheld, barrier, limit, failcnt, .. }) in rows {
            writeln!(out, "{first:>10}  {name:<12} {held:>20} {maxheld:>20} {barrier:>20} {limit:>20} {failcnt:>20}")?;
            first.clear();
        }
    }
    Ok(())
}
