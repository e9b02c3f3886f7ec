//! Files of /proc that are no text: the auxiliary vector of a program, and what others make of bytes.

use super::{check_inspection, task::TaskFiles};
use alloc::{sync::Arc, vec::Vec};
use base::Errno;
use vfs::{FileOps, OpenFlags, OpenRequest};

/// `auxv`, as it is when it is opened.
pub(super) fn vector(files: &TaskFiles, _: &OpenRequest<'_>) -> Result<Arc<dyn FileOps>, Errno> {
    let task = files.task()?;
    check_inspection(&task)?;
    let program = task.process().program();
    Ok(Arc::new(Bytes(program.map_or_else(Vec::new, |program| program.vector.clone()))))
}

/// Bytes that stay as they are.
pub(super) struct Bytes(Vec<u8>);

impl Bytes {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl FileOps for Bytes {
    fn read(&self, buffer: &mut [u8], position: &mut u64, _flags: OpenFlags) -> Result<usize, Errno> {
        let rest = usize::try_from(*position).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        *position += count as u64;
        Ok(count)
    }

    fn size(&self) -> u64 {
        self.0.len() as u64
    }
}
