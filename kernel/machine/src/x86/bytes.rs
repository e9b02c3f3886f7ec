//! `memcpy`, `memmove` and `memset`, which compiled code calls for what it does not do in place.
//!
//! Most of what they are called for is short: a word a step from the start, whatever the alignment, costs less than seeing
//! to it first.

use core::arch::global_asm;

global_asm!(
    ".p2align 4",
    ".global memcpy",
    "memcpy:", // (rdi: to, rsi: from, rdx: bytes), gives rdi; the direction flag is clear by the calling convention
    "mov rax, rdi",
    "2:",
    "mov rcx, rdx",
    "shr rcx, 3",
    "rep movsq",
    "mov ecx, edx",
    "and ecx, 7",
    "rep movsb",
    "ret",
    ".p2align 4",
    ".global memmove",
    "memmove:", // the same for ranges that may overlap
    "mov rax, rdi",
    "mov rcx, rdi",
    "sub rcx, rsi",
    "cmp rcx, rdx",
    "jae 2b",
    // The end of what is copied lies in what is written: from the last byte down.
    "lea rdi, [rdi + rdx - 1]",
    "lea rsi, [rsi + rdx - 1]",
    "std",
    "mov ecx, edx",
    "and ecx, 7",
    "rep movsb",
    "sub rdi, 7",
    "sub rsi, 7",
    "mov rcx, rdx",
    "shr rcx, 3",
    "rep movsq",
    "cld",
    "ret",
    ".p2align 4",
    ".global memset",
    "memset:", // (rdi: to, esi: byte, rdx: bytes), gives rdi
    "mov r8, rdi",
    "movzx esi, sil",
    "mov rax, 0x0101010101010101",
    "imul rax, rsi",
    "mov rcx, rdx",
    "shr rcx, 3",
    "rep stosq",
    "mov ecx, edx",
    "and ecx, 7",
    "rep stosb",
    "mov rax, r8",
    "ret",
);
