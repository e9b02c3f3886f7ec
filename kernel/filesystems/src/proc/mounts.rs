//! /proc/PID/mounts, mountinfo and mountstats: the mount tree as a task sees it, and /proc/sys/fs/mount-max.
//!
//! An open file keeps the view that the task had when it was opened, as on Linux, and `poll` tells once of each change of
//! the tree since then (`POLLPRI` and `POLLERR`).

use super::{System, own_context, settings::numbers, task::TaskFiles, written};
use alloc::{boxed::Box, string::String, sync::Arc};
use base::Errno;
use core::{fmt::Write, sync::atomic::AtomicU32};
use vfs::{FileOps, Location, Namespace, OpenRequest, PollEvents, PollTable, TextFile, TextSource};

/// Makes one of the texts.
type Text = fn(&Namespace, &Location) -> Result<String, Errno>;

struct Mounts {
    namespace: Arc<Namespace>,
    root: Location,
    text: Text,
    /// The changes that `poll` has told of.
    seen: AtomicU32,
}

impl TextSource for Mounts {
    fn show(&self, out: &mut String) -> Result<(), Errno> {
        out.push_str(&(self.text)(&self.namespace, &self.root)?);
        Ok(())
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        self.namespace.poll_changes(&self.seen, table)
    }

    fn can_poll(&self) -> bool {
        true
    }
}

/// `EINVAL` the task has ended.
fn open(files: &TaskFiles, text: Text) -> Result<Arc<dyn FileOps>, Errno> {
    let context = files.task().and_then(|task| task.context()).map_err(|_| Errno::EINVAL)?;
    let namespace = context.namespace().clone();
    let seen = AtomicU32::new(namespace.change_count());
    Ok(Arc::new(TextFile::new(Box::new(Mounts { namespace, root: context.root(), text, seen }))))
}

/// /proc/PID/mounts.
pub(super) fn mounts(files: &TaskFiles, _: &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno> {
    open(files, Namespace::mounts_text)
}

/// /proc/PID/mountinfo.
pub(super) fn mountinfo(files: &TaskFiles, _: &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno> {
    open(files, Namespace::mountinfo_text)
}

/// /proc/PID/mountstats.
pub(super) fn mountstats(files: &TaskFiles, _: &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno> {
    open(files, Namespace::mountstats_text)
}

/// /proc/sys/fs/mount-max.
pub(super) fn most(_: &System, out: &mut String) -> Result<(), Errno> {
    written(writeln!(out, "{}", own_context()?.namespace().most_mounts()))
}

/// `EINVAL` no number, or less than one.
pub(super) fn set_most(_: &System, text: &[u8]) -> Result<(), Errno> {
    let context = own_context()?;
    let mut value = [context.namespace().most_mounts() as i32];
    numbers(text, &mut value)?;
    let most = u32::try_from(value[0]).ok().filter(|most| *most > 0).ok_or(Errno::EINVAL)?;
    context.namespace().set_most_mounts(most);
    Ok(())
}
