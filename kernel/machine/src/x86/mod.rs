//! The real machine: x86-64.

pub mod cpu;
pub mod frame;
pub mod interrupts;
pub mod paging;
mod smap;
pub mod user_memory;

// The shape only, until the machine's own files land.
#[allow(missing_docs)]
pub mod boot {
    pub fn info() -> &'static crate::boot::BootInfo {
        todo!()
    }
}
#[allow(missing_docs)]
pub mod time {
    pub fn now() -> u64 {
        todo!()
    }
    pub fn realtime() -> u64 {
        todo!()
    }
    pub fn cycles_per_second() -> u64 {
        todo!()
    }
}
#[allow(missing_docs)]
pub mod topology {
    pub fn get() -> &'static crate::topology::Topology {
        todo!()
    }
}
#[allow(missing_docs)]
pub mod log {
    pub fn write(_line: core::fmt::Arguments<'_>) {
        todo!()
    }
}
#[allow(missing_docs)]
pub mod user {
    pub struct UserContext {
        pub registers: crate::user::Registers,
    }
    impl UserContext {
        pub fn run(&mut self) -> crate::user::Exit {
            todo!()
        }
    }
}
#[allow(missing_docs)]
pub mod ipi {
    pub fn call(_cpus: &base::CpuSet, _f: &(dyn Fn() + Sync)) {
        todo!()
    }
}
pub(crate) fn kernel_root() -> u64 {
    todo!()
}
