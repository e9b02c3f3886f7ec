//! What a subsystem keeps for one container, and the way from there up to the root.

use crate::{
    member::Member,
    moves::{Move, MoveContext},
    notice::Notice,
    subsystem::Subsystem,
};
use alloc::{string::String, vec::Vec};
use base::{
    CpuId, Errno,
    device::{Device, DeviceAccess},
};
use core::any::Any;
use machine::sync::{
    Arc, SpinLock,
    atomic::{AtomicBool, Ordering::SeqCst},
    rank,
};

/// The name of a container and those above it, and what its `events` tell. Shared by a container and its states, so
/// that a state that outlives its container can still say where it was.
pub(crate) struct Place {
    name: SpinLock<Vec<u8>>,
    parent: Option<Arc<Place>>,
    frozen: AtomicBool,
    pub(crate) events: Notice,
}

impl Place {
    pub(crate) fn root() -> Arc<Self> {
        Arc::new(Self::new(Vec::new(), None))
    }

    pub(crate) fn below(parent: &Arc<Self>, name: &[u8]) -> Arc<Self> {
        Arc::new(Self::new(name.to_vec(), Some(parent.clone())))
    }

    fn new(name: Vec<u8>, parent: Option<Arc<Self>>) -> Self {
        Self {
            name: SpinLock::new(rank::CONTAINER_TEXTS, name),
            parent,
            frozen: AtomicBool::new(false),
            events: Notice::new(),
        }
    }

    /// What the line `frozen` of `events` says.
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.load(SeqCst)
    }

    pub(crate) fn name(&self) -> Vec<u8> {
        self.name.lock().clone()
    }

    /// Calls `f` with the name, under the name's lock.
    pub(crate) fn with_name<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        f(&self.name.lock())
    }

    pub(crate) fn rename(&self, name: &[u8]) {
        let name = name.to_vec();
        *self.name.lock() = name;
    }

    /// The path from the root of the hierarchy: `/`, or `/a/b`.
    pub(crate) fn path(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut place = self;
        while let Some(parent) = &place.parent {
            names.push(place.name());
            place = parent;
        }
        if names.is_empty() {
            return b"/".to_vec();
        }
        names.iter().rev().flat_map(|name| core::iter::once(b'/').chain(name.iter().copied())).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop_upwards(self.parent.take(), |place| place.parent.take());
    }
}

/// Lets go of a chain of parents one after another: nested drops could need more stack than there is.
pub(crate) fn drop_upwards<T>(first: Option<Arc<T>>, mut parent: impl FnMut(&mut T) -> Option<Arc<T>>) {
    let mut next = first;
    while let Some(mut last) = next.and_then(Arc::into_inner) {
        next = parent(&mut last);
    }
}

/// What one subsystem keeps for one container, with the type taken off: a [`Kept`]. Counted: it lives on after its
/// container as long as somebody, a charge or a zombie, holds it.
///
/// Each method but the first calls its namesake of [`Subsystem`] for this state.
pub(crate) trait State: Any + Send + Sync {
    /// The number of this state, used for no other since boot.
    fn serial(&self) -> u64;

    /// These three: into this state's container.
    fn can_attach(&self, change: &MoveContext<'_>) -> Result<(), Errno>;
    fn cancel_attach(&self, change: &MoveContext<'_>);
    fn post_attach(&self, change: &MoveContext<'_>);
    fn attach(&self, task: &dyn Member, from: &dyn State);
    fn can_fork(&self) -> Result<(), Errno>;
    fn cancel_fork(&self);
    fn fork(&self, child: &dyn Member);
    fn exit(&self, task: &dyn Member);
    fn release(&self);
    fn charge_time(&self, cpu: CpuId, user: u64, system: u64);
    fn device_access(&self, device: &Device, access: DeviceAccess) -> Result<(), Errno>;
}

impl dyn State {
    /// The state as its controller knows it. Panics if it belongs to another controller.
    pub(crate) fn kept<S: 'static>(&self) -> &Kept<S> {
        match (self as &dyn Any).downcast_ref() {
            Some(kept) => kept,
            None => panic!("the state with serial number {} belongs to another subsystem", self.serial()),
        }
    }

    /// The controller's own value. Panics if it belongs to another controller.
    pub(crate) fn value<S: 'static>(&self) -> &S {
        &self.kept().value
    }
}

/// What subsystem `S` keeps for one container. Holds its parent, by its type: a walk to the root asks nothing on its way.
pub(crate) struct Kept<S> {
    // Dropped in this order: what is left of the value may go to that of the parent, which hands on what it has at its own end.
    value: S,
    parent: Above<S>,
    depth: usize,
    serial: u64,
    place: Arc<Place>,
}

impl<S: Send + Sync + 'static> Kept<S> {
    /// A state as its controller knows it, counted. Panics if it belongs to another controller.
    pub(crate) fn shared(state: &Arc<dyn State>) -> Arc<Self> {
        let any: Arc<dyn Any + Send + Sync> = state.clone();
        match any.downcast() {
            Ok(kept) => kept,
            Err(_) => panic!("the state with serial number {} belongs to another subsystem", state.serial()),
        }
    }

    /// A state of a root.
    pub(crate) fn root(value: S, serial: u64, place: Arc<Place>) -> Self {
        Self { value, parent: Above(None), depth: 0, serial, place }
    }

    /// A state below another.
    pub(crate) fn below(parent: Arc<Self>, value: S, serial: u64, place: Arc<Place>) -> Self {
        let depth = parent.depth + 1;
        Self { value, parent: Above(Some(parent)), depth, serial, place }
    }
}

impl<S: Subsystem> State for Kept<S> {
    fn serial(&self) -> u64 {
        self.serial
    }

    fn can_attach(&self, change: &MoveContext<'_>) -> Result<(), Errno> {
        S::can_attach(&Move { context: change, target: Lineage::of(self) })
    }

    fn cancel_attach(&self, change: &MoveContext<'_>) {
        S::cancel_attach(&Move { context: change, target: Lineage::of(self) });
    }

    fn post_attach(&self, change: &MoveContext<'_>) {
        S::post_attach(&Move { context: change, target: Lineage::of(self) });
    }

    fn attach(&self, task: &dyn Member, from: &dyn State) {
        S::attach(task, Lineage::new(from), Lineage::of(self));
    }

    fn can_fork(&self) -> Result<(), Errno> {
        S::can_fork(Lineage::of(self))
    }

    fn cancel_fork(&self) {
        S::cancel_fork(Lineage::of(self));
    }

    fn fork(&self, child: &dyn Member) {
        S::fork(child, Lineage::of(self));
    }

    fn exit(&self, task: &dyn Member) {
        S::exit(task, Lineage::of(self));
    }

    fn release(&self) {
        S::release(Lineage::of(self));
    }

    fn charge_time(&self, cpu: CpuId, user: u64, system: u64) {
        self.value.charge_time(cpu, user, system);
    }

    fn device_access(&self, device: &Device, access: DeviceAccess) -> Result<(), Errno> {
        S::device_access(Lineage::of(self), device, access)
    }
}

/// The state above; none for a root.
struct Above<S>(Option<Arc<Kept<S>>>);

impl<S> Drop for Above<S> {
    fn drop(&mut self) {
        drop_upwards(self.0.take(), |state| state.parent.0.take());
    }
}

/// A state of subsystem `S` with all those above it. Walking it takes no lock.
pub struct Lineage<'a, S> {
    state: &'a Kept<S>,
}

impl<S> Clone for Lineage<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Lineage<'_, S> {}

impl<'a, S: 'static> Lineage<'a, S> {
    pub(crate) fn new(state: &'a dyn State) -> Self {
        Self::of(state.kept())
    }

    pub(crate) fn of(state: &'a Kept<S>) -> Self {
        Self { state }
    }

    /// The state itself.
    pub fn own(self) -> &'a S {
        &self.state.value
    }

    /// The state, then its parent, up to the root.
    pub fn upwards(self) -> impl Iterator<Item = Lineage<'a, S>> {
        core::iter::successors(Some(self), |lower| lower.state.parent.0.as_deref().map(Self::of))
    }

    /// Whether it is the root's.
    pub fn is_root(self) -> bool {
        self.state.parent.0.is_none()
    }

    /// What `events` of the container say about `frozen` from now on; a change is told to those who watch the file.
    ///
    /// For the one subsystem that freezes. Locks: call it with none of rank `CONTAINER_TEXTS` or higher.
    pub fn set_frozen(self, frozen: bool) {
        let place = &self.state.place;
        if place.frozen.swap(frozen, SeqCst) != frozen {
            place.events.changed();
        }
    }

    /// The path of the container, for the log.
    pub fn path(self) -> String {
        String::from_utf8_lossy(&self.state.place.path()).into_owned()
    }

    /// Takes from every level, or from none: where `take` refuses, what the levels below it gave is given back.
    /// The error is the level that refused.
    pub fn charge(self, take: impl Fn(&S) -> bool, give_back: impl Fn(&S)) -> Result<(), Lineage<'a, S>> {
        for level in self.upwards() {
            if !take(level.own()) {
                self.below(level).for_each(&give_back);
                return Err(level);
            }
        }
        Ok(())
    }

    /// The levels from this one up to, but without, `ancestor`.
    pub fn below(self, ancestor: Lineage<'a, S>) -> impl Iterator<Item = &'a S> {
        self.upwards().take_while(move |level| !core::ptr::eq(level.state, ancestor.state)).map(Self::own)
    }

    /// The nearest level that is above both, or one of them. Both belong to one tree.
    pub fn common_with(self, other: Lineage<'a, S>) -> Lineage<'a, S> {
        let (mut left, mut right) = (self.state, other.state);
        if let (Some(one), Some(two)) = (&left.parent.0, &right.parent.0)
            && Arc::ptr_eq(one, two)
        {
            // Most moves are between neighbours.
            return if core::ptr::eq(left, right) { self } else { Self::of(one) };
        }
        while !core::ptr::eq(left, right) {
            let deeper = if left.depth >= right.depth { &mut left } else { &mut right };
            match &deeper.parent.0 {
                Some(parent) => *deeper = parent,
                None => break,
            }
        }
        Self::of(left)
    }
}
