//! A task as the scheduler and the containers see it.

use super::Task;
use crate::signals::{Signal, SignalInfo, send};
use alloc::{sync::Arc, vec::Vec};
use base::{CpuId, Credentials, Pid};
use container::{Gate, Member, Membership};
use core::any::Any;
use sched::{Entity, Schedulable};

impl Schedulable for Task {
    fn entity(&self) -> &Entity {
        &self.entity
    }

    fn switched_in(&self) {
        // Threads of the kernel run in whatever address space is there.
        if let Ok(space) = self.space() {
            space.activate();
        }
        self.sequence.mark();
    }

    fn charge_time(&self, cpu: CpuId, user: u64, system: u64) {
        self.population().framework().charge_time(self, cpu, user, system);
        self.process.timers.charge(self);
    }
}

impl Member for Task {
    fn membership(&self) -> &Membership {
        &self.membership
    }

    fn tid(&self) -> Pid {
        Task::tid(self)
    }

    fn process_id(&self) -> Pid {
        self.pid()
    }

    fn is_kernel_thread(&self) -> bool {
        self.kernel
    }

    fn credentials(&self) -> Arc<Credentials> {
        Task::credentials(self)
    }

    fn threads(&self) -> Vec<Arc<dyn Member>> {
        self.process.threads().into_iter().map(|thread| thread as Arc<dyn Member>).collect()
    }

    fn kill(&self) {
        // SIGKILL is never refused for want of room.
        let _ = send::to_process(&self.process, SignalInfo::kernel(Signal::KILL));
    }

    fn gate(&self) -> &Gate {
        &self.process.gate
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
