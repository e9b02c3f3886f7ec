//! A file that is executed is not written, and one that is written is not executed: `ETXTBSY` of `execve(2)`, `open(2)` and
//! `truncate(2)`. Scripts, and what a program is linked with, may be written.

use crate::Inode;
use alloc::sync::Arc;
use base::Errno;
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// How many have a file open for writing (above 0), or execute it (below).
#[derive(Default)]
pub struct TextUse(AtomicI32);

impl TextUse {
    /// One more who writes. `ETXTBSY` somebody executes it.
    fn write(&self) -> Result<(), Errno> {
        let add = |uses: i32| (uses >= 0).then_some(uses + 1);
        self.0.fetch_update(Relaxed, Relaxed, add).map_err(|_| Errno::ETXTBSY).map(drop)
    }

    /// One more who executes. `ETXTBSY` somebody writes it.
    fn execute(&self) -> Result<(), Errno> {
        let take = |uses: i32| (uses <= 0).then_some(uses - 1);
        self.0.fetch_update(Relaxed, Relaxed, take).map_err(|_| Errno::ETXTBSY).map(drop)
    }
}

/// Says of an inode that can be executed who uses it so.
fn text_use(inode: &dyn Inode) -> Option<&TextUse> {
    inode.sealing().map(|sealing| sealing.text_use())
}

/// That somebody writes a file; no longer when this is dropped.
pub(crate) struct TextWriter(Arc<dyn Inode>);

impl TextWriter {
    /// One more who writes. `ETXTBSY` somebody executes it.
    pub fn enter(inode: &Arc<dyn Inode>) -> Result<Self, Errno> {
        text_use(&**inode).map_or(Ok(()), TextUse::write)?;
        Ok(Self(inode.clone()))
    }
}

impl Drop for TextWriter {
    fn drop(&mut self) {
        if let Some(text) = text_use(&*self.0) {
            text.0.fetch_sub(1, Relaxed);
        }
    }
}

/// That somebody executes a file; no longer when this and all its clones are dropped.
pub struct Execution(Arc<dyn Inode>);

impl Execution {
    /// One more who executes. `ETXTBSY` somebody writes it.
    pub(crate) fn begin(inode: &Arc<dyn Inode>) -> Result<Self, Errno> {
        text_use(&**inode).map_or(Ok(()), TextUse::execute)?;
        Ok(Self(inode.clone()))
    }
}

impl Clone for Execution {
    fn clone(&self) -> Self {
        if let Some(text) = text_use(&*self.0) {
            text.0.fetch_sub(1, Relaxed);
        }
        Self(self.0.clone())
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        if let Some(text) = text_use(&*self.0) {
            text.0.fetch_add(1, Relaxed);
        }
    }
}
