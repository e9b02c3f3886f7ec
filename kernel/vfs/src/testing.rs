//! What the tests of this crate share: a tree of files in memory and a caller in it.

use crate::{
    Caller, FsContext, Namespace, OpenFlags, Permissions, Registry, Start,
    ramfs::{Limits, RamFs},
};
use alloc::{sync::Arc, vec::Vec};
use base::{Credentials, Errno, Gid, Uid};

/// A fresh tree.
pub fn context() -> Arc<FsContext> {
    let root = RamFs::create("rootfs", Limits::NONE, Permissions::new(0o755), Uid::ROOT, Gid::ROOT).unwrap();
    FsContext::new(Namespace::new(Arc::new(Registry::new()), root))
}

/// Runs `test` as the superuser in a fresh tree.
pub fn with_caller(test: impl FnOnce(Caller<'_>)) {
    start_frames();
    test(Caller { context: &context(), credentials: &Arc::new(Credentials::root()) });
}

/// Starts the frame allocator on the host, once.
pub fn start_frames() {
    static STARTED: std::sync::Once = std::sync::Once::new();
    STARTED.call_once(memory::init);
}

/// The bytes of a file.
pub fn read(caller: Caller<'_>, path: &str) -> Result<Vec<u8>, Errno> {
    let file = caller.open(Start::WorkingDirectory, path.as_bytes(), OpenFlags::empty(), Permissions::default())?;
    let mut all = Vec::new();
    let mut buffer = [0; 1000];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}
