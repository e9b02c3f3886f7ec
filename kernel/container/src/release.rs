//! What follows when a container became empty: the notice to the release agent, and the automatic removal. Rule:
//! interfaces.md, sections 8.1 and 8.3.

use crate::{container::Container, framework::Framework};
use alloc::{boxed::Box, collections::VecDeque, format, vec, vec::Vec};
use machine::sync::{Arc, SpinLock, atomic::Ordering::SeqCst, rank};

/// The kernel's worker, a thread that calls [`Framework::next_release`] until there is nothing to start.
pub trait ReleaseWorker: Send + Sync {
    /// Something waits. Called with no lock of higher rank than a set's; must not sleep.
    fn wake(&self);

    /// The worker itself has removed this container; called without locks.
    fn removed(&self, _container: &Arc<Container>) {}
}

/// One start of a release agent. It runs with every right, in the root container of every hierarchy.
pub struct Release {
    /// Its arguments: its own path and the path of the container.
    pub arguments: Vec<Vec<u8>>,
    /// Its environment.
    pub environment: Vec<Vec<u8>>,
    /// To be dropped when the agent has ended or could not be started, if anybody waits for that.
    pub run: Option<AgentRun>,
}

/// A running agent whose container is to be removed afterwards. Dropping it says that it has ended; locks of the drop:
/// rank `CONTAINER_TEXTS`, and those of [`ReleaseWorker::wake`].
pub struct AgentRun {
    framework: Arc<Framework>,
    container: Arc<Container>,
}

impl Drop for AgentRun {
    fn drop(&mut self) {
        self.container.agents.fetch_sub(1, SeqCst);
        self.framework.releases.push(Waiting::AgentEnded(self.container.clone()));
    }
}

/// Why a container waits for the worker.
enum Waiting {
    /// It became empty and wants to be told of or removed; each container at most once.
    Emptied(Arc<Container>),
    /// An agent that was started for it has ended.
    AgentEnded(Arc<Container>),
}

/// What waits for the worker.
pub(crate) struct ReleaseQueue {
    waiting: SpinLock<VecDeque<Waiting>>,
    worker: Box<dyn ReleaseWorker>,
}

impl ReleaseQueue {
    pub(crate) fn new(worker: Box<dyn ReleaseWorker>) -> Self {
        Self { waiting: SpinLock::new(rank::CONTAINER_TEXTS, VecDeque::new()), worker }
    }

    fn push(&self, waiting: Waiting) {
        self.waiting.lock().push_back(waiting);
        self.worker.wake();
    }
}

impl Framework {
    /// A task or a child left: if nothing is in the container now and somebody wants to know, the worker looks again.
    pub(crate) fn may_be_empty(&self, container: &Arc<Container>) {
        let flags = &container.flags;
        let wanted = || flags.notify_on_release.load(SeqCst) || flags.auto_remove.load(SeqCst);
        if !container.is_root()
            && container.is_empty()
            && wanted()
            && !container.is_removed()
            && !container.release_pending.swap(true, SeqCst)
        {
            self.releases.push(Waiting::Emptied(container.clone()));
        }
    }

    /// The next agent to start. On the way, containers with auto_remove are removed that no agent is to be told of;
    /// those that are no longer empty, or were removed, are passed over.
    ///
    /// Locks: *manage*, containers; call with none of the framework's held.
    pub fn next_release(self: &Arc<Self>) -> Option<Release> {
        loop {
            let next = self.releases.waiting.lock().pop_front()?;
            match next {
                Waiting::Emptied(container) => {
                    // From here on a new notice may come: it must not be lost, since the look below may be too early
                    // for it.
                    container.release_pending.store(false, SeqCst);
                    if let Some(release) = self.release_of(&container) {
                        return Some(release);
                    }
                    self.remove_automatically(&container);
                }
                Waiting::AgentEnded(container) => self.remove_automatically(&container),
            }
        }
    }

    fn remove_automatically(&self, container: &Arc<Container>) {
        // While an agent runs it may still read the last figures: its end brings the container here again.
        let wanted =
            |container: &Container| container.flags.auto_remove.load(SeqCst) && container.agents.load(SeqCst) == 0;
        if self.remove_if(container, wanted) {
            self.releases.worker.removed(container);
        }
    }

    /// The agent to start for a container that is empty and wants one.
    fn release_of(self: &Arc<Self>, container: &Arc<Container>) -> Option<Release> {
        let _manage = self.manage.read();
        let _closed = container.lock.lock();
        let (hierarchy, flags) = (container.hierarchy(), &container.flags);
        let agent = hierarchy.agent();
        let wanted = container.is_empty() && flags.notify_on_release.load(SeqCst);
        if !wanted || container.is_removed() || agent.is_empty() {
            return None;
        }
        let run = flags.auto_remove.load(SeqCst).then(|| {
            container.agents.fetch_add(1, SeqCst);
            AgentRun { framework: self.clone(), container: container.clone() }
        });
        let variable = |name: &str, value: &[u8]| [name.as_bytes(), b"=", value].concat();
        Some(Release {
            arguments: vec![agent, container.path()],
            environment: vec![
                variable("HOME", b"/"),
                variable("PATH", b"/sbin:/bin:/usr/sbin:/usr/bin"),
                variable("CONTAINER_HIERARCHY", format!("{}", hierarchy.number()).as_bytes()),
                variable("CONTAINER_SUBSYSTEMS", self.names(hierarchy, ",", true).as_bytes()),
            ],
            run,
        })
    }
}
