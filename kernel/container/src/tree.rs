//! How a controller sees the tree from one of its containers.

use crate::{
    container::Container,
    framework::Framework,
    member::Member,
    state::{Lineage, State},
    subsystem::Subsystem,
};
use alloc::{string::String, vec::Vec};
use base::Errno;
use core::marker::PhantomData;
use machine::sync::{Arc, atomic::Ordering::Relaxed};

/// A container of the hierarchy to which subsystem `S` is bound.
pub struct Node<'a, S> {
    framework: &'a Framework,
    container: Arc<Container>,
    subsystem: PhantomData<fn() -> S>,
}

impl<S> Clone for Node<'_, S> {
    fn clone(&self) -> Self {
        Self { framework: self.framework, container: self.container.clone(), subsystem: PhantomData }
    }
}

impl<'a, S: Subsystem> Node<'a, S> {
    pub(crate) fn new(framework: &'a Framework, container: Arc<Container>) -> Self {
        Self { framework, container, subsystem: PhantomData }
    }

    /// The state of this container.
    pub fn state(&self) -> &S {
        self.erased().value()
    }

    /// The states from this container up to the root.
    pub fn lineage(&self) -> Lineage<'_, S> {
        Lineage::new(self.erased())
    }

    /// Whether it is the root of its hierarchy.
    pub fn is_root(&self) -> bool {
        self.container.is_root()
    }

    /// The flag clone_children, which a child has copied from its parent when [`Subsystem::online`] sees it.
    pub fn clones_children(&self) -> bool {
        self.container.flags.clone_children.load(Relaxed)
    }

    /// The path from the root of the hierarchy, for the log.
    pub fn path(&self) -> String {
        String::from_utf8_lossy(&self.container.path()).into_owned()
    }

    /// The container above, unless this is the root.
    pub fn parent(&self) -> Option<Self> {
        Some(Self::new(self.framework, self.container.parent()?.clone()))
    }

    /// The child containers in order of mkdir.
    pub fn children(&self) -> impl Iterator<Item = Self> + use<'a, S> {
        let framework = self.framework;
        self.container.children().into_iter().map(move |child| Self::new(framework, child))
    }

    /// Calls `visit` for this container and all below it, parents before children.
    pub fn for_each_below(&self, mut visit: impl FnMut(&Self)) {
        visit(self);
        if self.container.child_count() == 0 {
            return;
        }
        let mut waiting = self.container.children();
        while let Some(container) = waiting.pop() {
            waiting.extend(container.children());
            visit(&Self::new(self.framework, container));
        }
    }

    /// The live tasks in this container itself, a snapshot in no particular order.
    pub fn tasks(&self) -> Vec<Arc<dyn Member>> {
        self.framework.tasks_of(&self.container)
    }

    /// Moves all live tasks of this container to another one of its hierarchy, children that are being born included.
    /// For a controller whose container can hold tasks no longer. Held by the caller: *manage*, exclusively.
    ///
    /// Errors: what the first refusing subsystem says; then the processes that it did not refuse have moved, each as a whole.
    pub fn transfer_tasks(&self, target: &Self) -> Result<(), Errno> {
        self.framework.transfer(&self.container, &target.container)
    }

    /// Whether a live task is in this container itself.
    pub fn has_tasks(&self) -> bool {
        self.container.is_root() || self.container.has_live_tasks()
    }

    /// Whether this is the same container as `other`.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.container, &other.container)
    }

    pub(crate) fn framework(&self) -> &'a Framework {
        self.framework
    }

    pub(crate) fn container(&self) -> &Arc<Container> {
        &self.container
    }

    fn erased(&self) -> &dyn State {
        match &self.container.states[S::INDEX] {
            Some(state) => &**state,
            None => panic!("{} is not bound to hierarchy {}", S::NAME, self.container.hierarchy().number()),
        }
    }
}
