//! The thread that starts release agents and removes containers by itself: interfaces.md, sections 8.1 and 8.3.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use base::Errno;
use container::Release;
use core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use machine::log;
use process::{
    Population,
    spawn::{self, Ending, Program},
};
use sched::WaitQueue;
use vfs::{Caller, FileTable, Follow, FsContext, OpenFlags, Permissions, Start};

static QUEUE: WaitQueue = WaitQueue::new();
static WAITING: AtomicBool = AtomicBool::new(false);
/// When the last failure was told: one line a second at most.
static TOLD_AT: AtomicU64 = AtomicU64::new(0);

/// A container may have become empty.
pub fn wake() {
    WAITING.store(true, SeqCst);
    QUEUE.wake_one();
}

/// Starts agents for ever, in the mount view and root of `context`, which is init's.
pub fn serve(population: &'static Population, context: &Arc<FsContext>) {
    loop {
        sched::between_jobs();
        QUEUE.wait_until(|| WAITING.swap(false, SeqCst).then_some(()));
        while let Some(release) = population.framework().next_release() {
            if let Err(errno) = start(population, context, release) {
                tell(errno);
            }
        }
    }
}

fn start(population: &'static Population, context: &Arc<FsContext>, release: Release) -> Result<(), Errno> {
    let context = context.fork();
    let files = FileTable::new();
    let credentials = Arc::new(base::Credentials::root());
    let caller = Caller { context: &context, credentials: &credentials };
    // Init may have gone elsewhere.
    caller.change_directory(Start::WorkingDirectory, b"/", Follow::Yes)?;
    if let Ok(null) = caller.open(Start::WorkingDirectory, b"/dev/null", OpenFlags::READ_WRITE, Permissions::new(0)) {
        for _ in 0..3 {
            files.insert(null.clone(), false, 3)?;
        }
    }
    let path = release.arguments.first().cloned().unwrap_or_default();
    let (arguments, environment): (Vec<_>, Vec<_>) = (release.arguments, release.environment);
    let ending = release.run.map(|run| Box::new(run) as Ending);
    spawn::program(
        population,
        Program { path, arguments, environment, context, files, started: None, core_limit: spawn::NO_CORE },
        ending,
    )?;
    Ok(())
}

fn tell(errno: Errno) {
    const SECOND: u64 = 1_000_000_000;
    let now = machine::time::now();
    let last = TOLD_AT.load(Relaxed);
    if last == 0 || now - last >= SECOND {
        TOLD_AT.store(now.max(1), Relaxed);
        log!("container: a release agent could not be started: {errno}");
    }
}
