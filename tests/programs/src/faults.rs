//! Programs that fault, each in its own way.

use std::{
    hint::black_box,
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
};

const KINDS: &[(&str, i32)] = &[
    ("null", libc::SIGSEGV),
    ("write", libc::SIGSEGV),
    ("divide", libc::SIGFPE),
    ("illegal", libc::SIGILL),
    ("privileged", libc::SIGSEGV),
    ("stack", libc::SIGSEGV),
    ("code", libc::SIGSEGV),
    ("noncanonical", libc::SIGSEGV),
    ("breakpoint", libc::SIGTRAP),
    ("kernel", libc::SIGSEGV),
];

static READ_ONLY: [u8; 16] = [7; 16];

#[allow(unconditional_recursion)]
fn deeper(depth: u64) -> u64 {
    let block = black_box([depth; 512]);
    deeper(depth + 1) + block[(depth % 512) as usize]
}

/// Loads a byte from an address that has none for this program.
///
/// # Safety
///
/// The load must fault.
unsafe fn load(address: usize) {
    // SAFETY: the caller's promise: the program ends here.
    black_box(unsafe { std::ptr::read_volatile(black_box(address as *const u8)) });
}

/// Faults. Returns only if the kind is unknown, or if the machine let it pass.
pub fn run(kind: &str) -> bool {
    // SAFETY: none of these can be sound: each is there to be stopped by the processor before it has an effect, and
    // nothing in this process runs after it.
    unsafe {
        match kind {
            "null" => load(0),
            "write" => std::ptr::write_volatile(black_box(READ_ONLY.as_ptr().cast_mut()), 1),
            "divide" => {
                std::arch::asm!("xor edx, edx", "xor ecx, ecx", "div ecx", inout("eax") 1 => _, out("edx") _, out("ecx") _)
            }
            "illegal" => std::arch::asm!("ud2"),
            "privileged" => std::arch::asm!("hlt"),
            "stack" => {
                black_box(deeper(0));
            }
            "code" => {
                let page = black_box([0xc3_u8; 16]);
                let function: extern "C" fn() = std::mem::transmute(page.as_ptr());
                function();
            }
            "noncanonical" => load(0x8000_0000_0000_0000),
            "kernel" => load(0xffff_8000_0000_1000),
            "breakpoint" => std::arch::asm!("int3"),
            _ => {}
        }
    }
    false
}

/// Has a child for each kind, and says how it died.
pub fn survive() -> bool {
    let mut fine = true;
    for &(kind, expected) in KINDS {
        let program = std::env::current_exe().unwrap_or_else(|_| "/bin/probe".into());
        let status = Command::new(program).args(["fault", kind]).stderr(Stdio::null()).status();
        let found = status.as_ref().ok().and_then(|status| status.signal());
        println!("{kind}: {}", found.map_or("no signal".into(), |signal| format!("signal {signal}")));
        fine &= found == Some(expected);
    }
    fine
}
