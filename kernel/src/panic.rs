//! What a panic tells besides its message: the memory that is left, the task that ran, and its containers.

use core::panic::PanicInfo;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    machine::panic::report(info, |out| {
        // Writing to the ports can't fail.
        let _ = memory::frames::describe(out);
        let Some(task) = process::current() else { return };
        let name = task.name();
        let name = core::str::from_utf8(name.as_bytes()).unwrap_or("?");
        let _ = writeln!(out, "task: {} ({name}), process {}", task.tid(), task.pid());
        if let Ok(containers) = task.population().framework().task_container(&*task) {
            let containers = alloc::string::String::from_utf8_lossy(&containers).trim_end().replace('\n', " ");
            let _ = writeln!(out, "containers: {containers}");
        }
    })
}
