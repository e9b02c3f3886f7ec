//! The notice that a container became empty, and what the worker starts for it. Rule: interfaces.md, section 8.1.

use crate::{container::Container, framework::Framework};
use alloc::{boxed::Box, collections::VecDeque, format, vec, vec::Vec};
use machine::sync::{Arc, SpinLock, atomic::Ordering::SeqCst, rank};

/// Wakes the kernel's worker, which then calls [`Framework::next_release`] until there is none.
pub trait ReleaseWorker: Send + Sync {
    /// A container waits. Called with no lock of higher rank than a set's; must not sleep.
    fn wake(&self);
}

/// One start of a release agent. It runs with every right, in the root container of every hierarchy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Release {
    /// Its arguments: its own path and the path of the container.
    pub arguments: Vec<Vec<u8>>,
    /// Its environment.
    pub environment: Vec<Vec<u8>>,
}

/// Containers that became empty with `notify_on_release` set, each at most once.
pub(crate) struct ReleaseQueue {
    waiting: SpinLock<VecDeque<Arc<Container>>>,
    worker: Box<dyn ReleaseWorker>,
}

impl ReleaseQueue {
    pub(crate) fn new(worker: Box<dyn ReleaseWorker>) -> Self {
        Self { waiting: SpinLock::new(rank::CONTAINER_TEXTS, VecDeque::new()), worker }
    }
}

impl Framework {
    /// A task or a child left: if nothing is in the container now and it wants a notice, the worker looks again.
    pub(crate) fn may_be_empty(&self, container: &Arc<Container>) {
        let wanted = !container.is_root() && container.is_empty() && container.notify_on_release.load(SeqCst);
        if wanted && !container.is_removed() && !container.release_pending.swap(true, SeqCst) {
            self.releases.waiting.lock().push_back(container.clone());
            self.releases.worker.wake();
        }
    }

    /// The next agent to start; containers that are no longer empty, were removed, or have no agent are passed
    /// over. Locks: *manage*, container.
    pub fn next_release(&self) -> Option<Release> {
        loop {
            let container = self.releases.waiting.lock().pop_front()?;
            // From here on a new notice may come: it must not be lost, since the look below may be too early for it.
            container.release_pending.store(false, SeqCst);
            let _manage = self.manage.read();
            let _closed = container.lock.lock();
            let agent = container.hierarchy().agent();
            let wanted = container.is_empty() && container.notify_on_release.load(SeqCst);
            if wanted && !container.is_removed() && !agent.is_empty() {
                return Some(self.release_of(&container, agent));
            }
        }
    }
}

impl Framework {
    fn release_of(&self, container: &Container, agent: Vec<u8>) -> Release {
        let hierarchy = container.hierarchy();
        let variable = |name: &str, value: &[u8]| [name.as_bytes(), b"=", value].concat();
        Release {
            arguments: vec![agent, container.path()],
            environment: vec![
                variable("HOME", b"/"),
                variable("PATH", b"/sbin:/bin:/usr/sbin:/usr/bin"),
                variable("CONTAINER_HIERARCHY", format!("{}", hierarchy.number()).as_bytes()),
                variable("CONTAINER_SUBSYSTEMS", self.names(hierarchy, ",", true).as_bytes()),
            ],
        }
    }
}
