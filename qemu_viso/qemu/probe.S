# The guest that tells whether an accelerator works: the last 4096 bytes of a 64 KiB x86 firmware.
#
# It does what a kernel needs and what broken accelerators cannot: real mode, protected mode, paging, long mode, one
# SSE2 instruction, an interrupt and its return, and 20 million rounds of a loop. Its word is the value that it writes
# to port 0x501, where QEMU's isa-debug-exit turns v into the exit status 2v + 1.
#
# `as --64` and `objcopy -O binary -j .text` make the bytes that stand in probe.py; a test compares the two.
#
# References: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3, chapters 4.5, 6.14, 10.8 and 10.9.

.equ FIRMWARE, 0xFFFFF000       # where the processor finds these bytes after a reset
.equ COPY, 0x8000               # where they run once there is memory to write to
.equ PML4, 0x1000
.equ PDPT, 0x2000
.equ PD, 0x3000
.equ IDT, 0x4000
.equ STACK, 0x7000
.equ VECTOR, 0x40
.equ GOOD, 0x10
.equ BAD, 0x11

.code16
start:                          # CS has the base 0xFFFF0000, so that this is offset 0xF000 in it
    cli
    cld
    lgdtl %cs:(gdtr - start + 0xF000)
    movl %cr0, %eax
    orl $1, %eax                # PE
    movl %eax, %cr0
    ljmpl $8, $(FIRMWARE + (protected - start))

.code32
protected:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $FIRMWARE, %esi
    movl $COPY, %edi
    movl $1024, %ecx
    rep movsl
    ljmpl $8, $(COPY + (low - start))
low:
    lgdt COPY + (gdtr_low - start)
    movl $PML4, %edi            # four empty pages: three of tables, one for interrupts
    xorl %eax, %eax
    movl $0x1000, %ecx
    rep stosl
    movl $(PDPT + 3), PML4      # present, writable
    movl $(PD + 3), PDPT
    movl $0x83, PD              # the first 2 MiB, each address to itself
    movl $(24 << 16 | (COPY + (handler - start))), IDT + 16 * VECTOR
    movl $0x8E00, IDT + 16 * VECTOR + 4     # present, interrupt gate
    movl $PML4, %eax
    movl %eax, %cr3
    movl $0x220, %eax           # PAE, OSFXSR
    movl %eax, %cr4
    movl $0xC0000080, %ecx      # IA32_EFER
    rdmsr
    orl $0x100, %eax            # LME
    wrmsr
    movl %cr0, %eax
    andl $0xFFFFFFFB, %eax      # not EM
    orl $0x80000002, %eax       # PG, MP
    movl %eax, %cr0
    ljmpl $24, $(COPY + (long_mode - start))

.code64
long_mode:
    movl $STACK, %esp
    lidt COPY + (idtr - start)
    movl $0x01234567, %eax
    movq %rax, %xmm0
    paddq %xmm0, %xmm0
    movq %xmm0, %rax
    cmpl $0x02468ACE, %eax
    jne bad
    xorl %ebx, %ebx
    int $VECTOR
    cmpl $1, %ebx
    jne bad
    movl $20000000, %ecx
1:  decl %ecx
    jnz 1b
    movl $GOOD, %eax
    jmp finish
bad:
    movl $BAD, %eax
finish:
    movw $0x501, %dx
    outb %al, %dx
2:  hlt
    jmp 2b
handler:
    incl %ebx
    iretq

.balign 8
gdt:
    .quad 0
    .quad 0x00CF9B000000FFFF    # 8: 32-bit code
    .quad 0x00CF93000000FFFF    # 16: data
    .quad 0x00AF9B000000FFFF    # 24: 64-bit code
gdtr:
    .word 31
    .long FIRMWARE + (gdt - start)
gdtr_low:
    .word 31
    .long COPY + (gdt - start)
idtr:
    .word 16 * VECTOR + 15
    .quad IDT

.org 0xFF0                      # the first instruction after a reset
.code16
    jmp start
.org 0x1000
