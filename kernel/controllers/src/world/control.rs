//! What controllers ask of tasks, answered by those of the tests.

use super::Task;
use crate::cpuset::{Domain, Nodes, TaskControl};
use crate::freezer::{Freezing, TaskFreezer};
use base::{CpuSet, Errno, NodeSet};
use container::Member;
use std::string::{String, ToString};
use std::sync::atomic::Ordering::SeqCst;
use std::vec::Vec;

/// What controllers may ask of the tasks of a test.
pub(super) struct Control;

std::thread_local! {
    static DOMAINS: core::cell::RefCell<Vec<String>> = const { core::cell::RefCell::new(Vec::new()) };
}

/// The balancing domains that this thread has last set, each as its CPUs and how far quick searches go.
pub fn domains() -> String {
    DOMAINS.with(|all| all.borrow().last().cloned().unwrap_or_default())
}

/// How often this thread has set them.
pub fn times_domains_were_set() -> usize {
    DOMAINS.with(|all| all.borrow().len())
}

/// The task itself.
pub(super) fn own(task: &dyn Member) -> &Task {
    task.as_any().downcast_ref().expect("all members of this world are its tasks")
}

impl TaskControl for Control {
    fn set_cpus(&self, task: &dyn Member, cpus: &CpuSet) {
        *own(task).cpus.lock().unwrap() = (*cpus, false);
    }
    fn admit(&self, mut tasks: &mut dyn Iterator<Item = &dyn Member>, cpus: &CpuSet) -> Result<(), Errno> {
        let reserves = Iterator::any(&mut tasks, |task| own(task).reserves.load(SeqCst));
        if reserves && cpus.count() == 1 { Err(Errno::EBUSY) } else { Ok(()) }
    }
    fn stay(&self, _tasks: &mut dyn Iterator<Item = &dyn Member>) {}
    fn may_shrink(&self, now: &CpuSet, wanted: &CpuSet) -> bool {
        // As if more than one CPU were reserved wherever there are several.
        now.count() < 2 || wanted.count() != 1
    }
    fn chose_cpus(&self, task: &dyn Member) -> bool {
        own(task).cpus.lock().unwrap().1
    }
    fn set_domains(&self, domains: &[Domain]) {
        let mut lists: Vec<String> =
            domains.iter().map(|domain| std::format!("{} to {}", domain.cpus, domain.level)).collect();
        lists.sort();
        DOMAINS.with(|all| all.borrow_mut().push(lists.join("; ")));
    }
    fn has_cpu(&self, task: &dyn Member) -> bool {
        own(task).cpus.lock().unwrap().0.intersects(&machine::cpu::online())
    }
    fn set_nodes(&self, task: &dyn Member, nodes: &Nodes) {
        *own(task).nodes.lock().unwrap() = nodes.mems;
        *own(task).kernel_nodes.lock().unwrap() = nodes.kernel;
        own(task).spreads[0].store(nodes.spread_files, SeqCst);
        own(task).spreads[1].store(nodes.spread_objects, SeqCst);
    }
    fn rebind_space(&self, task: &dyn Member, mems: &NodeSet) {
        own(task).rebinds.lock().unwrap().push(mems.to_string());
    }
    fn move_pages(&self, task: &dyn Member, from: &NodeSet, to: &NodeSet) {
        own(task).moves.lock().unwrap().push(std::format!("{from} to {to}"));
    }
}

impl TaskFreezer for Control {
    fn freeze(&self, task: &dyn Member) -> Freezing {
        let task = own(task);
        if task.wanted_frozen.swap(true, SeqCst) {
            return Freezing::Before;
        }
        let done = task.asleep.load(SeqCst) && !task.ending.load(SeqCst);
        task.frozen.store(done, SeqCst);
        if done { Freezing::Done } else { Freezing::Soon }
    }
    fn thaw(&self, task: &dyn Member) -> Option<bool> {
        let task = own(task);
        let frozen = task.frozen.swap(false, SeqCst);
        task.wanted_frozen.swap(false, SeqCst).then_some(frozen)
    }
    fn progress(&self, task: &dyn Member) -> Option<bool> {
        let task = own(task);
        task.wanted_frozen.load(SeqCst).then(|| task.frozen.load(SeqCst))
    }
    fn mark_frozen(&self, task: &dyn Member) -> bool {
        let task = own(task);
        let should = task.wanted_frozen.load(SeqCst) && !task.ending.load(SeqCst);
        task.frozen.fetch_or(should, SeqCst);
        should
    }
    fn let_end(&self, task: &dyn Member) -> bool {
        own(task).frozen.swap(false, SeqCst)
    }
}
