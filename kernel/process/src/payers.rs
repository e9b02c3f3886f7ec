//! Who pays for what the running task asks the kernel for: what `memory` asks for each object.

use crate::task::{Task, current};
use alloc::sync::Arc;
use base::{Capabilities, charge::Payer};
use core::any::Any;
use memory::{commitment::Privilege, payer::PayerSource};

/// The containers of the running task pay; nobody for the kernel itself.
pub struct TaskPayers;

impl PayerSource for TaskPayers {
    fn current(&self) -> Option<Arc<dyn Payer>> {
        let payer = sched::with_current(|task| {
            let task: &dyn Any = &**task;
            let task = task.downcast_ref::<Task>()?;
            task.population().framework().payer(task)
        });
        payer.flatten()
    }
}

/// The running task may have the memory that is left for the privileged if it has CAP_SYS_ADMIN.
pub struct TaskPrivilege;

impl Privilege for TaskPrivilege {
    fn is_privileged(&self) -> bool {
        current().is_none_or(|task| task.credentials().has(Capabilities::SYS_ADMIN))
    }
}
