//! Who pays for what the running task asks the kernel for: what `memory` asks for each object.

use crate::task::Task;
use alloc::sync::Arc;
use base::charge::Payer;
use core::any::Any;
use memory::payer::PayerSource;

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
