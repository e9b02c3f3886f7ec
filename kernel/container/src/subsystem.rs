//! The contract that a controller signs, and how the framework calls a controller without knowing its type.
//!
//! Rule: interfaces.md, section 22: when each callback runs, what is held, whether it may sleep or fail.

use crate::{
    container::Container,
    control::{ControlFile, Held, Parameter, Placement, Show, Store},
    files::Writer,
    framework::Framework,
    hierarchy::{Dialect, Hierarchy},
    member::Member,
    moves::Move,
    notice::Notice,
    payer::Charger,
    report::{Report, ReportTraits},
    state::{Kept, Lineage, Place, State},
    tree::Node,
};
use alloc::{boxed::Box, string::String, vec::Vec};
use base::{
    CpuId, Errno,
    charge::{Refused, Resource, Severity},
    device::{Device, DeviceAccess},
};
use bitflags::bitflags;
use machine::sync::Arc;

/// How many indices there are for subsystems. The index of each is fixed, also in a build that lacks some. The rules
/// name ten; the others are for what somebody adds.
pub const MAX_SUBSYSTEMS: usize = 12;

bitflags! {
    /// The callbacks on the paths of tasks that a subsystem asks for. What nobody asks for costs nothing.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Callbacks: u32 {
        /// [`Subsystem::can_attach`] and [`Subsystem::cancel_attach`].
        const CAN_ATTACH = 1 << 0;
        /// [`Subsystem::attach`].
        const ATTACH = 1 << 1;
        /// [`Subsystem::post_attach`].
        const POST_ATTACH = 1 << 2;
        /// [`Subsystem::can_fork`] and [`Subsystem::cancel_fork`].
        const CAN_FORK = 1 << 3;
        /// [`Subsystem::fork`].
        const FORK = 1 << 4;
        /// [`Subsystem::exit`].
        const EXIT = 1 << 5;
        /// [`Subsystem::release`].
        const RELEASE = 1 << 6;
        /// [`Subsystem::charge_time`].
        const CHARGE_TIME = 1 << 7;
        /// [`Subsystem::charge`] and [`Subsystem::uncharge`].
        const CHARGE = 1 << 8;
        /// [`Subsystem::device_access`].
        const DEVICE_ACCESS = 1 << 9;
    }
}

/// A controller. The type is what it keeps for one container; a container's state is made from its parent's, and
/// the root's is handed to [`subsystem`]. Dropping a state is the callback *destroy*: the last reference is gone,
/// no lock is held.
pub trait Subsystem: Sized + Send + Sync + 'static {
    /// 1 to 32 characters of `a-z0-9_`; the word for `mount -o`, and the prefix of its files.
    const NAME: &'static str;
    /// Its fixed index, below [`MAX_SUBSYSTEMS`]. All orders are index order.
    const INDEX: usize;
    /// What it asks for.
    const CALLBACKS: Callbacks = Callbacks::empty();
    /// Whether its files have no prefix in the container dialect and under `noprefix`.
    const BARE_NAMES: bool = false;
    /// Its control files, in the order in which a directory lists them.
    const FILES: &'static [ControlFile<Self>];
    /// Its settings that belong to no container.
    const PARAMETERS: &'static [Parameter<Self>] = &[];
    /// Its file in /proc, if it has one.
    const REPORT: Option<Report<Self>> = None;

    /// Makes the state of a new container. Held: *manage*, the parent's lock.
    fn create(parent: &Self) -> Result<Self, Errno>;
    /// After all states of a container are made, before its files appear. An error undoes the mkdir.
    fn online(_node: &Node<'_, Self>) -> Result<(), Errno> {
        Ok(())
    }
    /// After a container is closed for good, before it disappears from its parent: hand over what is held.
    fn offline(_node: &Node<'_, Self>) {}
    /// The root state was moved to a hierarchy, or back to hierarchy 0. Held: *manage*, exclusive.
    fn bind(&self, _hierarchy: &Hierarchy) {}

    /// Before a move, with all tasks of it. May reserve. Held: *manage*, the target's lock, the gate.
    fn can_attach(_change: &Move<'_, Self>) -> Result<(), Errno> {
        Ok(())
    }
    /// Another subsystem refused after this one had agreed, or nobody was left to move.
    fn cancel_attach(_change: &Move<'_, Self>) {}
    /// The task's set has just been switched. Must not sleep or allocate. Held: the locks of both sets too.
    fn attach(_task: &dyn Member, _from: Lineage<'_, Self>, _to: Lineage<'_, Self>) {}
    /// After the switch of all tasks. Held: *manage*, the target's lock, the gate.
    fn post_attach(_change: &Move<'_, Self>) {}

    /// Before a child is visible: checks and charges in one step. Must not sleep. Held: the gate.
    fn can_fork(_parent: Lineage<'_, Self>) -> Result<(), Errno> {
        Ok(())
    }
    /// The fork failed after `can_fork` had agreed: undoes it.
    fn cancel_fork(_parent: Lineage<'_, Self>) {}
    /// The child is visible and has not run. Must not sleep or allocate. Held: the gate.
    fn fork(_child: &dyn Member, _place: Lineage<'_, Self>) {}
    /// The task exits: no move takes it any more, and it is still in its set. Must not sleep or allocate.
    fn exit(_task: &dyn Member, _place: Lineage<'_, Self>) {}
    /// A zombie was reaped: gives back what it held in the containers that it left.
    fn release(_place: Lineage<'_, Self>) {}
    /// A task of this container ran on `cpu`, so many ns in user mode and in the kernel. Called by that CPU with
    /// its run queue locked: must take no lock and not allocate.
    fn charge_time(&self, _cpu: CpuId, _user: u64, _system: u64) {}
    /// The kernel spends something for the tasks of a container: charges it to all levels or to none. Any lock may be
    /// held: must take none and not allocate.
    fn charge(
        _payer: Lineage<'_, Self>,
        _resource: Resource,
        _amount: u64,
        _severity: Severity,
    ) -> Result<(), Refused> {
        Ok(())
    }
    /// Gives back what was charged to the same container before. Conditions as for `charge`.
    fn uncharge(_payer: Lineage<'_, Self>, _resource: Resource, _amount: u64) {}
    /// A task of this container is about to open a device, or to make a file for one. Must not sleep.
    fn device_access(_place: Lineage<'_, Self>, _device: &Device, _access: DeviceAccess) -> Result<(), Errno> {
        Ok(())
    }
}

/// A subsystem whose type the framework need not know; made by [`subsystem`].
pub struct AnySubsystem(pub(crate) Box<dyn Erased>);

/// Wraps a controller with the state of its root container for [`Framework::new`].
pub fn subsystem<S: Subsystem>(root: S) -> AnySubsystem {
    AnySubsystem(Box::new(Adapter { root: Some(root) }))
}

/// What the framework needs to know of one control file.
pub(crate) struct FileTraits {
    pub(crate) name: &'static str,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) placement: Placement,
    pub(crate) max_write: usize,
    pub(crate) held: Held,
    pub(crate) dialect: Option<Dialect>,
}

/// [`Subsystem`] with the types taken off: what is not about a single state, which [`State`] has. Each method calls its
/// namesake.
pub(crate) trait Erased: Send + Sync {
    fn name(&self) -> &'static str;
    fn index(&self) -> usize;
    fn callbacks(&self) -> Callbacks;
    fn bare_names(&self) -> bool;
    fn files(&self) -> Vec<FileTraits>;
    fn take_root(&mut self, serial: u64, place: Arc<Place>) -> Option<Arc<dyn State>>;
    fn create(&self, parent: &Arc<dyn State>, serial: u64, place: Arc<Place>) -> Result<Arc<dyn State>, Errno>;
    fn online(&self, framework: &Framework, container: &Arc<Container>) -> Result<(), Errno>;
    fn offline(&self, framework: &Framework, container: &Arc<Container>);
    fn bind(&self, root: &dyn State, hierarchy: &Hierarchy);
    fn charger(&self) -> Charger;
    fn report(&self) -> Option<ReportTraits>;
    fn show_report(&self, framework: &Framework, container: &Arc<Container>) -> Result<String, Errno>;
    fn show(
        &self,
        file: usize,
        framework: &Framework,
        container: &Arc<Container>,
        out: &mut String,
    ) -> Result<(), Errno>;
    fn store(
        &self,
        file: usize,
        framework: &Framework,
        container: &Arc<Container>,
        text: &str,
        writer: &Writer<'_>,
    ) -> Result<(), Errno>;
    fn notice<'a>(&self, file: usize, state: &'a dyn State) -> Option<&'a Notice>;
    fn parameters(&self) -> Vec<&'static str>;
    fn show_parameter(&self, parameter: usize, root: &dyn State) -> Result<String, Errno>;
    fn store_parameter(
        &self,
        parameter: usize,
        framework: &Framework,
        root: &Arc<Container>,
        text: &str,
    ) -> Result<(), Errno>;
}

struct Adapter<S> {
    root: Option<S>,
}

impl<S: Subsystem> Erased for Adapter<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn index(&self) -> usize {
        S::INDEX
    }

    fn callbacks(&self) -> Callbacks {
        S::CALLBACKS
    }

    fn bare_names(&self) -> bool {
        S::BARE_NAMES
    }

    fn files(&self) -> Vec<FileTraits> {
        let traits = |file: &ControlFile<S>| FileTraits {
            name: file.name,
            readable: !matches!(file.show, Show::Not),
            writable: !matches!(file.store, Store::Not),
            placement: file.placement,
            max_write: file.max_write,
            held: file.held,
            dialect: file.dialect,
        };
        S::FILES.iter().map(traits).collect()
    }

    fn take_root(&mut self, serial: u64, place: Arc<Place>) -> Option<Arc<dyn State>> {
        Some(Arc::new(Kept::root(self.root.take()?, serial, place)))
    }

    fn create(&self, parent: &Arc<dyn State>, serial: u64, place: Arc<Place>) -> Result<Arc<dyn State>, Errno> {
        Ok(Arc::new(Kept::below(Kept::shared(parent), S::create(parent.value())?, serial, place)))
    }

    fn online(&self, framework: &Framework, container: &Arc<Container>) -> Result<(), Errno> {
        S::online(&Node::new(framework, container.clone()))
    }

    fn offline(&self, framework: &Framework, container: &Arc<Container>) {
        S::offline(&Node::new(framework, container.clone()));
    }

    fn bind(&self, root: &dyn State, hierarchy: &Hierarchy) {
        root.value::<S>().bind(hierarchy);
    }

    fn charger(&self) -> Charger {
        Charger { subsystem: S::INDEX, payer: |state| Kept::<S>::shared(state) }
    }

    fn report(&self) -> Option<ReportTraits> {
        let Report { name, mode, needs, .. } = S::REPORT?;
        Some(ReportTraits { subsystem: S::INDEX, name, mode, needs })
    }

    fn show_report(&self, framework: &Framework, container: &Arc<Container>) -> Result<String, Errno> {
        let report = S::REPORT.ok_or(Errno::ENOENT)?;
        let mut text = String::new();
        (report.show)(&Node::new(framework, container.clone()), &mut text).map_err(|_| Errno::ENOMEM)?;
        Ok(text)
    }

    fn show(
        &self,
        file: usize,
        framework: &Framework,
        container: &Arc<Container>,
        out: &mut String,
    ) -> Result<(), Errno> {
        let node = Node::<S>::new(framework, container.clone());
        match S::FILES[file].show {
            Show::Not => return Err(Errno::EINVAL),
            Show::State(show) => show(node.state(), out),
            Show::Node(show) => show(&node, out),
        }
        .map_err(|_| Errno::ENOMEM)
    }

    fn store(
        &self,
        file: usize,
        framework: &Framework,
        container: &Arc<Container>,
        text: &str,
        writer: &Writer<'_>,
    ) -> Result<(), Errno> {
        let node = Node::<S>::new(framework, container.clone());
        match S::FILES[file].store {
            Store::Not => Err(Errno::EINVAL),
            Store::State(store) => store(node.state(), text),
            Store::Node(store) => store(&node, text),
            Store::Writer(store) => store(&node, text, writer),
        }
    }

    fn notice<'a>(&self, file: usize, state: &'a dyn State) -> Option<&'a Notice> {
        S::FILES[file].notice.map(|of| of(state.value()))
    }

    fn parameters(&self) -> Vec<&'static str> {
        S::PARAMETERS.iter().map(|parameter| parameter.name).collect()
    }

    fn show_parameter(&self, parameter: usize, root: &dyn State) -> Result<String, Errno> {
        let mut text = String::new();
        (S::PARAMETERS[parameter].show)(root.value(), &mut text).map_err(|_| Errno::ENOMEM)?;
        Ok(text)
    }

    fn store_parameter(
        &self,
        parameter: usize,
        framework: &Framework,
        root: &Arc<Container>,
        text: &str,
    ) -> Result<(), Errno> {
        (S::PARAMETERS[parameter].store)(&Node::new(framework, root.clone()), text)
    }
}
