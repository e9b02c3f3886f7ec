//! Taking work from other CPUs: when a CPU has none, at each balancing interval, and when it is called.

use crate::{
    cpu::{Cpu, TaskRef, get, state},
    policy::{Standing, balance},
    wake,
};
use base::CpuSet;
use core::sync::atomic::Ordering::SeqCst;

impl Cpu {
    /// Takes tasks from CPUs of `candidates` that have more to do. Returns whether anything came.
    pub(crate) fn pull(&'static self, mut candidates: CpuSet, rotate: bool) -> bool {
        let mut any = false;
        while let Some(source) = balance::busiest(self.number, &candidates, state).and_then(get) {
            // What a CPU on its way offline takes goes elsewhere at once, maybe back to where it was: without end.
            if !self.serves.load(SeqCst) {
                return any;
            }
            let (from, to) = (state(source.number).load, state(self.number).load);
            let mut queue = source.queue.lock();
            let stolen = queue.members.steal(|task, load| {
                let entity = task.entity();
                entity.seems_allowed(self.number)
                    && !entity.context().is_running()
                    && balance::may_move(load, from, to, rotate)
            });
            source.publish(&queue);
            drop(queue);
            match stolen {
                Some((task, standing)) => {
                    self.take_in(&task, standing);
                    let group = task.entity().lock().group.clone();
                    let mut queue = source.queue.lock();
                    queue.members.look_again(group.as_ref());
                    source.publish(&queue);
                    drop(queue);
                    // It may have run and ended by now, and this may be an interrupt.
                    crate::drop_later(task);
                    any = true;
                }
                None => candidates.remove(source.number),
            }
        }
        any
    }

    /// Adds a task that was taken from another CPU.
    pub(crate) fn take_in(&'static self, task: &TaskRef, standing: Standing) {
        let mut state = task.entity().lock();
        state.standing = standing;
        let target = if state.allowed.contains(self.number) { self } else { wake::place(task, &state) };
        wake::enqueue_on(target, task, &mut state);
    }

    /// Takes work from near by, or, if another CPU has asked for that, from the whole domain.
    pub(crate) fn look_for_work(&'static self) -> bool {
        let asked = self.asked.swap(false, SeqCst);
        self.pull(if asked { self.peers() } else { self.near_peers() }, false)
    }
}

/// Has the nearest CPU that idles look whether it can take a task from here: it has no timer to make it look.
pub(crate) fn call_idle(here: &Cpu) {
    let topology = machine::topology::get();
    let node = topology.node_of(here.number);
    let peers = here.peers();
    let idle = peers.iter().filter(|&cpu| state(cpu).is_idle());
    let nearest = idle.min_by_key(|&cpu| topology.distance(node, topology.node_of(cpu)));
    if let Some(cpu) = nearest.and_then(get) {
        cpu.asked.store(true, SeqCst);
        cpu.kick();
    }
}
