//! What the processor says of itself by CPUID, for people and for programs that ask /proc/cpuinfo.

use super::cpu::{CpuIdResult, cpuid, features};
use crate::cpu::Identity;
use alloc::string::String;
use alloc::vec::Vec;

/// Linux's names of the bits of one register of CPUID, from bit 0; blank what has none.
type Names = &'static str;

const LEAF_1_EDX: Names = "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts acpi mmx \
    fxsr sse sse2 ss ht tm ia64 pbe";
const LEAF_1_ECX: Names = "pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - pcid dca \
    sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave - avx f16c rdrand hypervisor";
const EXTENDED_1_EDX: Names = "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm \
    3dnowext 3dnow";
const EXTENDED_1_ECX: Names = "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop \
    skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext perfctr_core perfctr_nb - bpext ptsc perfctr_llc mwaitx - -";
const LEAF_7_EBX: Names = "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f avx512dq \
    rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er avx512cd sha_ni avx512bw avx512vl";
const LEAF_7_ECX: Names = "- avx512vbmi umip - - waitpkg avx512_vbmi2 - gfni vaes vpclmulqdq avx512_vnni avx512_bitalg - \
    avx512_vpopcntdq - - - - - - - rdpid - bus_lock_detect cldemote - movdiri movdir64b enqcmd - -";
const LEAF_7_EDX: Names = "- - avx512_4vnniw avx512_4fmaps fsrm - - - avx512_vp2intersect - md_clear - - - serialize - \
    tsxldtrk - pconfig arch_lbr - - amx_bf16 avx512_fp16 amx_tile amx_int8 - - flush_l1d arch_capabilities - -";
const LEAF_13_1_EAX: Names = "xsaveopt xsavec xgetbv1 xsaves";

/// What the processor says of itself. Every CPU of the machine is the same.
pub fn identity() -> Identity {
    let basic = cpuid(0, 0);
    let first = cpuid(1, 0);
    let highest_extended = cpuid(0x8000_0000, 0).eax;
    let extended = |leaf: u32| if highest_extended >= leaf { cpuid(leaf, 0) } else { NOTHING };
    let sizes = extended(0x8000_0008).eax;
    let (family, model) = family_and_model(first.eax);
    Identity {
        vendor: text(&[basic.ebx, basic.edx, basic.ecx]),
        name: name(highest_extended),
        family,
        model,
        stepping: first.eax & 15,
        level: basic.eax,
        cache_kibibytes: extended(0x8000_0006).ecx >> 16,
        flush_bytes: (first.ebx >> 8 & 0xff) * 8,
        physical_bits: if sizes == 0 { 36 } else { sizes & 0xff },
        virtual_bits: if sizes == 0 { 48 } else { sizes >> 8 & 0xff },
        features: feature_names(basic.eax, first, extended(0x8000_0001)),
    }
}

const NOTHING: CpuIdResult = CpuIdResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };

/// Family and model of leaf 1, the extensions added as the manuals say.
fn family_and_model(signature: u32) -> (u32, u32) {
    let (family, model) = (signature >> 8 & 15, signature >> 4 & 15);
    let more = signature >> 16 & 15;
    match family {
        15 => (family + (signature >> 20 & 0xff), model + (more << 4)),
        6 => (family, model + (more << 4)),
        _ => (family, model),
    }
}

/// In Linux's order: by the word of its table that a register is kept in.
fn feature_names(level: u32, first: CpuIdResult, extended: CpuIdResult) -> Vec<&'static str> {
    let seven = if level >= 7 { cpuid(7, 0) } else { NOTHING };
    let saving = if level >= 13 { cpuid(13, 1) } else { NOTHING };
    let invariant = if features().invariant_tsc { "constant_tsc nonstop_tsc" } else { "" };
    let words = [
        (LEAF_1_EDX, first.edx),
        (EXTENDED_1_EDX, extended.edx),
        (invariant, u32::MAX),
        ("cpuid", u32::MAX),
        (LEAF_1_ECX, first.ecx),
        (EXTENDED_1_ECX, extended.ecx),
        (LEAF_7_EBX, seven.ebx),
        (LEAF_13_1_EAX, saving.eax),
        (LEAF_7_ECX, seven.ecx),
        (LEAF_7_EDX, seven.edx),
    ];
    words.iter().flat_map(|&(names, bits)| names_of(names, bits)).collect()
}

/// The names of the bits that are set.
fn names_of(names: Names, bits: u32) -> impl Iterator<Item = &'static str> {
    let set = move |bit: usize| bits.checked_shr(bit as u32).is_some_and(|rest| rest & 1 != 0);
    names.split_ascii_whitespace().enumerate().filter(move |&(bit, name)| name != "-" && set(bit)).map(|(_, name)| name)
}

/// The name that leaves 0x80000002 to 0x80000004 spell; empty if there are none.
fn name(highest_extended: u32) -> String {
    const FIRST: u32 = 0x8000_0002;
    if highest_extended < FIRST + 2 {
        return String::new();
    }
    let leaves = [0, 1, 2].map(|index| cpuid(FIRST + index, 0));
    let words = leaves.map(|leaf| [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx]);
    text(words.as_flattened())
}

/// Words of CPUID as text: up to the first NUL, without blanks at the ends.
fn text(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(bytes.trim_ascii()).into_owned()
}
