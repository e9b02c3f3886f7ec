//! The machine itself: what only real CPUs, traps and page tables can show.
//!
//! The programs are a few bytes of machine code on a page of their own.

use crate::KernelTest;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{CpuId, Errno};
use core::ops::Range;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use machine::context::{self, Context};
use machine::frame::Block;
use machine::paging::{self, PageKind, PageTables, Permissions, TableSource};
use machine::sync::{SpinLock, rank};
use machine::user::{Exit, Fault, Registers, UserContext};
use machine::{cpu, fpu, interrupts, ipi, time, timer, topology};
use memory::{Placement, frames};

/// The suite.
pub const TESTS: &[KernelTest] = &[
    KernelTest::new("machine::a_system_call_keeps_every_register", a_system_call_keeps_every_register),
    KernelTest::new("machine::a_program_starts_with_every_register_that_it_is_given", every_register_arrives),
    KernelTest::new("machine::a_program_cannot_have_the_kernels_flags", a_program_cannot_have_the_kernels_flags),
    KernelTest::new("machine::each_bad_instruction_is_its_own_fault", each_bad_instruction_is_its_own_fault),
    KernelTest::new("machine::a_page_fault_tells_address_and_reason", a_page_fault_tells_address_and_reason),
    KernelTest::new("machine::a_program_sent_to_an_impossible_address_faults", an_impossible_address_faults),
    KernelTest::new("machine::an_impossible_stack_harms_only_the_program", an_impossible_stack_harms_only_the_program),
    KernelTest::new("machine::single_steps_come_one_by_one", single_steps_come_one_by_one),
    KernelTest::new("machine::a_deadline_interrupts_a_program_that_spins", a_deadline_interrupts_a_program_that_spins),
    KernelTest::new("machine::time_in_user_mode_is_counted", time_in_user_mode_is_counted),
    KernelTest::new("machine::a_program_runs_on_the_stack_of_a_new_context", a_program_runs_on_a_new_stack),
    KernelTest::new("machine::fpu_state_goes_with_its_context", fpu_state_goes_with_its_context),
    KernelTest::new("machine::fpu_bytes_that_the_processor_would_refuse_are_refused", bad_fpu_bytes_are_refused),
    KernelTest::new("machine::whole_frames_are_cleared_and_copied_and_registers_stay", whole_frames_and_registers),
    KernelTest::new("machine::bytes_are_moved_and_set_wherever_they_lie", bytes_are_moved_and_set),
    KernelTest::new("machine::kernel_stacks_come_back", kernel_stacks_come_back),
    KernelTest::new("machine::a_call_runs_on_each_cpu_once_with_interrupts_off", a_call_runs_on_each_cpu_once),
    KernelTest::new("machine::all_cpus_show_the_same_time", all_cpus_show_the_same_time),
    KernelTest::new("machine::random_bytes_differ", random_bytes_differ),
    KernelTest::new("machine::the_topology_is_whole", the_topology_is_whole),
];

const CODE: u64 = 0x40_0000;
const STACK: u64 = 0x7f_0000_0000;
const STACK_TOP: u64 = STACK + 4096;

/// Table pages from the kernel's frames.
struct Tables;

impl TableSource for Tables {
    fn table(&self) -> Result<Block, Errno> {
        frames::allocate_table(&Placement::ANY)
    }
}

/// A program in an address space of its own: a page of code and a page of stack.
struct Program {
    context: UserContext,
    _tables: Arc<PageTables>,
}

impl Program {
    fn new(code: &[u8]) -> Self {
        let tables = PageTables::new(&Tables, None).expect("memory for page tables");
        let page = |bytes: &[u8]| {
            let frame = frames::allocate_zeroed(&Placement::ANY).expect("memory for a page");
            frame.write(0, bytes);
            frame
        };
        let (read, kind) = (Permissions::READ, PageKind::Anonymous);
        let mut editor = tables.edit();
        editor.map(CODE, page(code), read | Permissions::EXECUTE, kind, &Tables).expect("the code is mapped");
        editor.map(STACK, page(&[]), read | Permissions::WRITE, kind, &Tables).expect("the stack is mapped");
        drop(editor);
        tables.activate();
        let registers = Registers { rip: CODE, rsp: STACK_TOP, ..Registers::default() };
        Self { context: UserContext { registers, ..UserContext::default() }, _tables: tables }
    }

    /// Runs it to the next exit that is no interrupt.
    fn run(&mut self) -> Exit {
        loop {
            match self.context.run() {
                Exit::Interrupt => {}
                exit => return exit,
            }
        }
    }

    fn fault(&mut self) -> Fault {
        match self.run() {
            Exit::Fault(fault) => fault,
            exit => panic!("a fault was expected, not {exit:?}"),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        paging::deactivate();
    }
}

/// A different number in every register.
fn marked() -> Registers {
    Registers {
        rax: 0x1111,
        rbx: 0x2222,
        rcx: 0x3333,
        rdx: 0x4444,
        rsi: 0x5555,
        rdi: 0x6666,
        rbp: 0x7777,
        rsp: STACK_TOP - 64,
        r8: 0x8888,
        r9: 0x9999,
        r10: 0xaaaa,
        r11: 0xbbbb,
        r12: 0xcccc,
        r13: 0xdddd,
        r14: 0xeeee,
        r15: 0xffff,
        rip: CODE,
        rflags: 0x202,
    }
}

fn a_system_call_keeps_every_register() {
    let mut program = Program::new(b"\x0f\x05\x0f\x05"); // syscall; syscall
    let before = marked();
    program.context.registers = before;
    for step in 1..=2 {
        assert_eq!(program.run(), Exit::SystemCall);
        let after = program.context.registers;
        let rip = CODE + 2 * step;
        // the processor puts the address into rcx and the flags into r11
        assert_eq!(after, Registers { rip, rcx: rip, r11: after.rflags, rflags: after.rflags, ..before });
    }
}

fn every_register_arrives() {
    // ud2, entered by iret because rcx is not the address
    let mut program = Program::new(b"\x0f\x0b");
    program.context.registers = marked();
    assert_eq!(program.fault(), Fault { vector: 6, error_code: 0, address: 0 });
    // the resume flag is the processor's: an instruction that faulted is tried again with it
    let rflags = program.context.registers.rflags;
    assert_eq!(program.context.registers, Registers { rflags, ..marked() });
}

fn a_program_cannot_have_the_kernels_flags() {
    const FIXED: u64 = 0x202;
    const INPUT_OUTPUT_PRIVILEGE: u64 = 3 << 12;
    const NESTED_TASK: u64 = 1 << 14;
    let mut program = Program::new(b"\x9c\x58\x0f\x05"); // pushf; pop rax; syscall
    program.context.registers.rflags = INPUT_OUTPUT_PRIVILEGE | NESTED_TASK;
    assert_eq!(program.run(), Exit::SystemCall);
    assert_eq!(program.context.registers.rax & (INPUT_OUTPUT_PRIVILEGE | NESTED_TASK | FIXED), FIXED);
}

fn each_bad_instruction_is_its_own_fault() {
    let cases: [(&[u8], u8); 7] = [
        (b"\x31\xc9\xf7\xf1", 0), // xor ecx, ecx; div ecx
        (b"\x90\xcc", 3),         // nop; int3
        (b"\x0f\x0b", 6),         // ud2
        (b"\xf4", 13),            // hlt
        (b"\xfa", 13),            // cli
        (b"\xcd\x80", 13),        // int 0x80
        (b"\xe6\x80", 13),        // out 0x80, al
    ];
    for (code, vector) in cases {
        assert_eq!(Program::new(code).fault().vector, vector, "{code:x?}");
    }
}

fn a_page_fault_tells_address_and_reason() {
    const PRESENT: u32 = 1;
    const WRITE: u32 = 2;
    const USER: u32 = 4;
    const FETCH: u32 = 16;
    let page_fault = |code: &[u8]| {
        let fault = Program::new(code).fault();
        assert_eq!(fault.vector, 14);
        (fault.address, fault.error_code)
    };
    // mov [0x1000], eax: nothing there
    assert_eq!(page_fault(b"\x89\x04\x25\x00\x10\x00\x00"), (0x1000, USER | WRITE));
    // mov [CODE], eax: code is not writable
    assert_eq!(page_fault(b"\x89\x04\x25\x00\x00\x40\x00"), (CODE, USER | WRITE | PRESENT));
    // sub rsp, 8; jmp rsp: the stack is not executable
    assert_eq!(page_fault(b"\x48\x83\xec\x08\xff\xe4"), (STACK_TOP - 8, USER | FETCH | PRESENT));
    // mov rax, [-0x80000000]: the kernel's own code
    let (address, reason) = page_fault(b"\x48\x8b\x04\x25\x00\x00\x00\x80");
    assert_eq!((address, reason & !PRESENT), (0xffff_ffff_8000_0000, USER));
}

fn an_impossible_address_faults() {
    for rip in [1 << 47, 0xffff_8000_0000_0000, u64::MAX, paging::USER_END] {
        let mut program = Program::new(b"\x0f\x05");
        // as after a system call, when sysret would be taken
        program.context.registers.rip = rip;
        program.context.registers.rcx = rip;
        program.context.registers.r11 = 0x202;
        assert_eq!(program.fault().vector, 13, "{rip:#x}");
    }
}

fn an_impossible_stack_harms_only_the_program() {
    for stack in [0, 1 << 47, 0xffff_8000_0000_0000, u64::MAX] {
        let mut program = Program::new(b"\x0f\x05\x50"); // syscall; push rax
        program.context.registers.rsp = stack;
        assert_eq!(program.run(), Exit::SystemCall);
        assert_eq!(program.context.registers.rsp, stack);
        let fault = program.fault();
        assert!(matches!(fault.vector, 12..=14), "{fault:?}");
    }
}

fn single_steps_come_one_by_one() {
    const TRAP_FLAG: u64 = 1 << 8;
    let mut program = Program::new(b"\x90\x90\x0f\x05\x90"); // nop; nop; syscall; nop
    program.context.registers.rflags |= TRAP_FLAG;
    for step in 1..=2 {
        assert_eq!(program.fault().vector, 1);
        assert_eq!(program.context.registers.rip, CODE + step);
    }
    assert_eq!(program.run(), Exit::SystemCall);
    assert_eq!(program.fault().vector, 1);
}

fn a_deadline_interrupts_a_program_that_spins() {
    let mut program = Program::new(b"\xeb\xfe"); // jmp to itself
    // An interrupt from before the run ends the first run at once.
    for _ in 0..3 {
        timer::set(Some(time::now() + 1_000_000));
        assert_eq!(program.context.run(), Exit::Interrupt);
        assert_eq!(program.context.registers.rip, CODE);
    }
}

fn time_in_user_mode_is_counted() {
    // mov ecx, 2^20; dec ecx; jnz; syscall
    let mut program = Program::new(b"\xb9\x00\x00\x10\x00\xff\xc9\x75\xfc\x0f\x05");
    // The scheduler takes what was counted, at each of its ticks, too: so ask what it has charged.
    let task = process::current().expect("the tests run in a task");
    let charged = || {
        sched::account();
        task.entity().user_ns()
    };
    let start = time::now();
    let before = charged();
    assert_eq!(program.run(), Exit::SystemCall);
    let user = charged() - before;
    let passed = time::now() - start;
    assert!(user > 0 && user <= passed, "{user} ns of {passed} ns");
}

/// Contexts that the next test switches between: the one that runs the test, and one more.
static PAIR: SpinLock<Option<(Arc<Context>, Arc<Context>)>> = SpinLock::new(rank::CONTROLLER, None);

fn pair() -> (Arc<Context>, Arc<Context>) {
    PAIR.lock().clone().expect("the test has put both there")
}

/// SSE's control word, with the rounding that `rounding` names: a piece of FPU state that can be told apart.
fn state_with(rounding: u8) -> fpu::FpuState {
    const HIGH_BYTE: usize = 25;
    let mut bytes: Vec<u8> = fpu::with_current(|state| state.bytes().into());
    bytes[HIGH_BYTE] = bytes[HIGH_BYTE] & 0x9f | rounding << 5;
    state_of(&bytes).expect("rounding may be set")
}

fn state_of(bytes: &[u8]) -> Result<fpu::FpuState, Errno> {
    fpu::FpuState::with_zeroed(|state| {
        state.fill(|state| {
            state.copy_from_slice(bytes);
            Ok(())
        })?;
        Ok(state.clone())
    })
}

fn rounding() -> u8 {
    fpu::with_current(|state| state.bytes()[25]) >> 5 & 3
}

/// Runs a program that is interrupted and makes a system call, and goes back.
fn runner() -> ! {
    let (home, me) = pair();
    {
        let mut program = Program::new(b"\x90\x0f\x05\x0f\x0b"); // nop; syscall; ud2
        assert_eq!(program.run(), Exit::SystemCall);
        assert_eq!(program.context.registers.rip, CODE + 3);
        assert_eq!(program.fault().vector, 6);
    }
    SEEN.store(2, Ordering::Relaxed);
    context::switch(&me, &home, &interrupts::off());
    unreachable!("nobody switches back")
}

fn a_program_runs_on_a_new_stack() {
    let mine = fpu::with_current(|state| state.clone());
    let home = Arc::new(Context::adopt_current());
    let context = Arc::new(Context::new(runner).expect("memory for a stack"));
    *PAIR.lock() = Some((home.clone(), context.clone()));
    context::switch(&home, &context, &interrupts::off());
    *PAIR.lock() = None;
    fpu::load_current(&mine);
    assert_eq!(SEEN.load(Ordering::Relaxed), 2);
}

static SEEN: AtomicUsize = AtomicUsize::new(0);

fn first() -> ! {
    let (_, second) = pair();
    fpu::load_current(&state_with(1));
    let me = SWITCHED.lock().clone().expect("the test has put it there");
    context::switch(&me, &second, &interrupts::off());
    SEEN.store(rounding().into(), Ordering::Relaxed);
    let (home, _) = pair();
    context::switch(&me, &home, &interrupts::off());
    unreachable!("nobody switches back")
}

fn second() -> ! {
    assert_eq!(rounding(), 0, "a new context begins with another one's state");
    fpu::load_current(&state_with(2));
    let (_, me) = pair();
    let first = SWITCHED.lock().clone().expect("the test has put it there");
    context::switch(&me, &first, &interrupts::off());
    unreachable!("nobody switches back")
}

static SWITCHED: SpinLock<Option<Arc<Context>>> = SpinLock::new(rank::CONTROLLER, None);

fn fpu_state_goes_with_its_context() {
    let mine = fpu::with_current(|state| state.clone());
    let home = Arc::new(Context::adopt_current());
    let second = Arc::new(Context::new(second).expect("memory for a stack"));
    let first = Arc::new(Context::new(first).expect("memory for a stack"));
    *PAIR.lock() = Some((home.clone(), second));
    *SWITCHED.lock() = Some(first.clone());
    context::switch(&home, &first, &interrupts::off());
    *PAIR.lock() = None;
    *SWITCHED.lock() = None;
    fpu::load_current(&mine);
    assert_eq!(SEEN.load(Ordering::Relaxed), 1);
}

fn bad_fpu_bytes_are_refused() {
    let good: Vec<u8> = fpu::with_current(|state| state.bytes().into());
    assert_eq!(good.len(), fpu::state_size());
    assert!(state_of(&good).is_ok());
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        state_of(&bytes).err()
    };
    assert_eq!(with(27, 0xff), Some(Errno::EINVAL), "reserved bits of the SSE control word");
    if fpu::state_parts() != 0 {
        assert_eq!(with(519, 0x80), Some(Errno::EINVAL), "a part that is not on");
        assert_eq!(with(527, 0x80), Some(Errno::EINVAL), "the compact format");
        assert_eq!(with(540, 1), Some(Errno::EINVAL), "reserved bytes of the header");
    }
}

/// The machine's own `memmove`, `memcpy` and `memset`: all lengths and distances around a word, in both directions.
fn bytes_are_moved_and_set() {
    const LONGEST: usize = 40;
    let pattern: Vec<u8> = (0..100).map(|at| at * 7 + 1).collect();
    for length in 0..LONGEST {
        for from in [20, 21, 27, 32] {
            for to in 0..60 {
                let length = core::hint::black_box(length);
                let mut bytes = pattern.clone();
                bytes.copy_within(from..from + length, to);
                let moved = |at: usize| pattern[if (to..to + length).contains(&at) { at - to + from } else { at }];
                assert!((0..100).all(|at| bytes[at] == moved(at)), "{length} bytes from {from} to {to}");
            }
            let mut bytes = pattern.clone();
            bytes[from..from + length].copy_from_slice(&pattern[..length]);
            assert!(bytes[from..from + length] == pattern[..length], "{length} bytes to {from}");
            bytes[from..from + length].fill(core::hint::black_box(0xa5));
            let set = |at: usize| if (from..from + length).contains(&at) { 0xa5 } else { pattern[at] };
            assert!((0..100).all(|at| bytes[at] == set(at)), "{length} bytes set at {from}");
        }
    }
}

/// The kernel clears and copies frames through registers that are the task's.
fn whole_frames_and_registers() {
    const REGISTERS: Range<usize> = 160..416;
    const UPPER_HALVES: Range<usize> = 576..832;
    const IN_USE: usize = 512;
    let mine = fpu::with_current(|state| state.clone());
    let mut bytes: Vec<u8> = mine.bytes().into();
    let has_halves = fpu::state_parts() & 4 != 0;
    let parts = if has_halves { &[REGISTERS, UPPER_HALVES][..] } else { &[REGISTERS][..] };
    parts.iter().cloned().flatten().for_each(|at| bytes[at] = at as u8 | 1);
    if fpu::state_parts() != 0 {
        bytes[IN_USE] |= fpu::state_parts() as u8 & 6;
    }
    let marked = state_of(&bytes).expect("registers may hold any numbers");
    let [from, to] = [(); 2].map(|()| frames::allocate(&Placement::ANY).expect("no frame for a test"));
    let pattern: Vec<u8> = (0..4096_usize).map(|at| (at * 7 + at / 256) as u8).collect();
    from.write(0, &pattern);
    let mut found = [0; 4096];

    fpu::load_current(&marked);
    to.copy_from(&from);
    let after_copy = fpu::with_current(|state| state.clone());
    let cleared = from.into_block().map(|mut block| {
        block.zero();
        block.into_frame()
    });
    let after_clear = fpu::with_current(|state| state.clone());
    fpu::load_current(&mine);

    to.read(0, &mut found);
    assert!(found[..] == pattern[..], "a copy differs");
    cleared.expect("a frame of one owner is a block").read(0, &mut found);
    assert!(found.iter().all(|&byte| byte == 0), "a cleared frame has other bytes");
    for part in parts {
        assert!(after_copy.bytes()[part.clone()] == bytes[part.clone()], "a copy changed a register");
        assert!(after_clear.bytes()[part.clone()] == bytes[part.clone()], "clearing changed a register");
    }
}

fn kernel_stacks_come_back() {
    fn never() -> ! {
        unreachable!("these contexts are not run")
    }
    const MANY: usize = 100;
    let round = || {
        let contexts: Vec<_> = (0..MANY).map(|_| Context::new(never).expect("memory for a stack")).collect();
        drop(contexts);
        frames::total().free
    };
    let once = round();
    let again = round();
    // what the pools keep, in frames, is bounded; nothing is lost with every round
    assert!(once.abs_diff(again) <= 40 * 8, "{once} frames free after one round, {again} after two");
}

fn a_call_runs_on_each_cpu_once() {
    let counts = cpu::PerCpu::<AtomicU64>::default();
    let online = cpu::online();
    for _ in 0..10 {
        ipi::call(&online, &|| {
            assert!(!interrupts::enabled());
            counts.here().fetch_add(1, Ordering::Relaxed);
        });
    }
    for (cpu, count) in counts.iter() {
        assert_eq!(count.load(Ordering::Relaxed), if online.contains(cpu) { 10 } else { 0 }, "CPU {cpu}");
    }
}

fn all_cpus_show_the_same_time() {
    for cpu in cpu::online().iter() {
        let shown = AtomicU64::new(0);
        let before = time::now();
        ipi::call(&base::CpuSet::only(cpu), &|| shown.store(time::now(), Ordering::Relaxed));
        let after = time::now();
        let shown = shown.load(Ordering::Relaxed);
        assert!((before..=after).contains(&shown), "CPU {cpu} shows {shown}, between {before} and {after} here");
    }
}

fn random_bytes_differ() {
    let (mut one, mut two) = ([0u8; 32], [0u8; 32]);
    machine::random::fill(&mut one);
    machine::random::fill(&mut two);
    assert_ne!(one, two);
    assert!(one.iter().any(|&byte| byte != one[0]));
}

fn the_topology_is_whole() {
    let topology = topology::get();
    assert_eq!(topology.cpus.len(), cpu::possible().count());
    assert!(topology.cpus.iter().all(|cpu| cpu.node.index() < topology.nodes.len()));
    let nodes = (0..topology.nodes.len() as u32).map(base::NodeId::new);
    for node in nodes {
        assert_eq!(topology.distance(node, node), 10);
    }
    let ids: Vec<u32> = topology.cpus.iter().map(|cpu| cpu.apic_id).collect();
    assert!((1..ids.len()).all(|cpu| !ids[..cpu].contains(&ids[cpu])), "two CPUs have one APIC number: {ids:?}");
    assert!(cpu::online().contains(CpuId::new(0)));
}
