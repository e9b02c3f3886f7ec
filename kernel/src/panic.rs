//! What a panic tells besides its message: the task that ran, and its containers.

use core::panic::PanicInfo;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    machine::panic::report(info, |_out| {})
}
