//! Files in the root of /proc that controllers fill ([`container::Report`]).

use super::population;
use crate::table::{Child, Place};
use alloc::{
    boxed::Box,
    string::{String, ToString},
    sync::Arc,
};
use base::Errno;
use container::ReportTraits;
use vfs::{
    DeviceNumber, FileKind, FileOps, Inode, Metadata, OpenRequest, Permissions, TextFile, TextSource, Timestamp,
};

/// The places of reports in the directory, behind all processes.
const FIRST_KEY: u32 = 1 << 31;
/// Inode numbers of reports, between those of tables and those of tasks.
const FIRST_INODE: u64 = 1 << 30;

/// The first report whose key is at least `from`.
pub(super) fn next(from: u32) -> Option<Child> {
    let report = all().find(|report| key(report) >= from)?;
    let inode = inode_of(&report);
    Some(Child { key: key(&report), name: report.name.to_string(), inode, kind: FileKind::Regular })
}

/// The report of this name; `ENOENT`.
pub(super) fn find(name: &str, holder: &Place) -> Result<Arc<dyn Inode>, Errno> {
    let report = all().find(|report| report.name == name).ok_or(Errno::ENOENT)?;
    Ok(Arc::new(ReportInode { device: holder.device, report }))
}

fn all() -> impl Iterator<Item = ReportTraits> {
    population().into_iter().flat_map(|population| population.framework().reports())
}

fn key(report: &ReportTraits) -> u32 {
    FIRST_KEY + report.subsystem as u32
}

fn inode_of(report: &ReportTraits) -> u64 {
    FIRST_INODE + report.subsystem as u64
}

struct ReportInode {
    device: DeviceNumber,
    report: ReportTraits,
}

impl Inode for ReportInode {
    fn kind(&self) -> FileKind {
        FileKind::Regular
    }

    fn number(&self) -> u64 {
        inode_of(&self.report)
    }

    fn metadata(&self) -> Metadata {
        let permissions = Permissions::new(self.report.mode.into());
        let owner = (base::Uid::ROOT, base::Gid::ROOT);
        Metadata::empty(self.device, self.number(), self.kind(), permissions, owner, Timestamp::now())
    }

    fn open(self: Arc<Self>, request: &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        if !request.credentials.has(self.report.needs) {
            return Err(Errno::EACCES);
        }
        Ok(Arc::new(TextFile::new(Box::new(Open(self.report)))))
    }
}

struct Open(ReportTraits);

impl TextSource for Open {
    fn show(&self, out: &mut String) -> Result<(), Errno> {
        let reader = process::current().ok_or(Errno::ENOENT)?;
        out.push_str(&population()?.framework().report(self.0.subsystem, &*reader)?);
        Ok(())
    }

    fn store(&self, _text: &[u8]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
}
