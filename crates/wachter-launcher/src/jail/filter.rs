//! Turns a list of system calls into a program for the kernel (seccomp(2), the "classic" BPF of
//! linux/filter.h).
//!
//! The kernel reads, translates and walks a program for every call number when it is installed, which
//! is at every run, so its length is paid for each time. Numbers that lie side by side and are
//! answered alike make one range, and ranges are found by halving: a quarter of the instructions of a
//! chain that asks for one number after another.
//!
//! # Invariants
//! - Jumps lead forwards only, and every path ends in an answer: the kernel takes nothing else.
//! - What no rule names is refused: numbers between, below and above those of the list, and those of
//!   the x32 interface, which lie above all others. A call by the convention of another architecture
//!   ends the process, since its numbers mean something else.

use std::collections::BTreeMap;

/// `argument & mask == value`, over all 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct When {
    pub(super) argument: u8,
    pub(super) mask: u64,
    pub(super) value: u64,
}

/// What a call meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Allow,
    /// It fails with this error.
    Fail(i32),
    /// It is allowed where one of these sets of conditions holds as a whole, and fails with EPERM
    /// elsewhere.
    AllowIf(Vec<Vec<When>>),
}

/// A program; see [`Filter::instructions`].
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    instructions: Vec<libc::sock_filter>,
}

/// `AUDIT_ARCH_*` of linux/audit.h: the machine's number in ELF, 64 bits, little-endian.
const ARCHITECTURE: u32 = MACHINE | 0x8000_0000 | 0x4000_0000;
#[cfg(target_arch = "x86_64")]
const MACHINE: u32 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u32 = 183;

/// Offsets in `struct seccomp_data` of linux/seccomp.h.
const NUMBER: u32 = 0;
const ARCHITECTURE_OF_CALL: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The farthest that a conditional jump leads.
const FARTHEST: usize = u8::MAX as usize;

impl Filter {
    /// Makes the program that gives each number its answer, and EPERM to all others.
    ///
    /// # Errors
    /// The program would be longer than the kernel takes (`BPF_MAXINSNS`).
    pub(super) fn new(answers: &BTreeMap<u32, Answer>) -> Result<Self, String> {
        let mut instructions = vec![
            load(ARCHITECTURE_OF_CALL),
            jump(libc::BPF_JEQ, ARCHITECTURE, 1, 0),
            give(libc::SECCOMP_RET_KILL_PROCESS),
            load(NUMBER),
        ];
        instructions.extend(find(&ranges(answers)));
        if instructions.len() > 4_096 {
            return Err(format!("{} instructions are too many", instructions.len()));
        }
        Ok(Self { instructions })
    }

    /// The instructions, as the kernel reads them.
    pub(crate) fn instructions(&self) -> &[libc::sock_filter] {
        &self.instructions
    }
}

/// The first numbers of ranges that are answered alike, from 0 on.
fn ranges(answers: &BTreeMap<u32, Answer>) -> Vec<(u32, Answer)> {
    let other = Answer::Fail(libc::EPERM);
    let mut ranges = vec![(0, other.clone())];
    let mut say = |from: u32, answer: &Answer| match ranges.last_mut() {
        Some((_, last)) if last == answer => {}
        Some((begin, last)) if *begin == from => *last = answer.clone(),
        _ => ranges.push((from, answer.clone())),
    };
    for (number, answer) in answers {
        say(*number, answer);
        if !answers.contains_key(&(number + 1)) {
            say(number + 1, &other);
        }
    }
    ranges
}

/// Finds the range of the number that was loaded, by halving, and answers.
fn find(ranges: &[(u32, Answer)]) -> Vec<libc::sock_filter> {
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let Some((first, _)) = above.first() else { return Vec::new() };
    if below.is_empty() {
        return above.iter().flat_map(|(_, answer)| conclude(answer)).collect();
    }
    let (lower, upper) = (find(below), find(above));
    let mut program = match u8::try_from(lower.len()) {
        Ok(over) => vec![jump(libc::BPF_JGE, *first, over, 0)],
        Err(_) => vec![jump(libc::BPF_JGE, *first, 0, 1), leap(lower.len())],
    };
    program.extend(lower);
    program.extend(upper);
    program
}

fn conclude(answer: &Answer) -> Vec<libc::sock_filter> {
    let allow = give(libc::SECCOMP_RET_ALLOW);
    match answer {
        Answer::Allow => vec![allow],
        Answer::Fail(error) => vec![fail(*error)],
        Answer::AllowIf(any_of) => {
            let mut program: Vec<_> = any_of
                .iter()
                .flat_map(|all| {
                    let mut set = test(all);
                    set.push(allow);
                    set
                })
                .collect();
            program.push(fail(libc::EPERM));
            program
        }
    }
}

/// Goes on behind the conditions where all hold, and one instruction further where one does not.
fn test(all: &[When]) -> Vec<libc::sock_filter> {
    let mut conditions = Vec::new();
    for when in all {
        let offset = ARGUMENTS + 8 * u32::from(when.argument);
        for (place, mask, value) in [
            (offset, low(when.mask), low(when.value)),
            (offset + 4, high(when.mask), high(when.value)),
        ] {
            if mask == 0 {
                continue;
            }
            let mut condition = vec![load(place)];
            if mask != u32::MAX {
                condition.push(instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask));
            }
            conditions.push((condition, value));
        }
    }
    // Backwards, for a condition that fails jumps over all that follows and the answer.
    let mut program = Vec::new();
    for (mut condition, value) in conditions.into_iter().rev() {
        let over = u8::try_from(program.len() + 1).unwrap_or(u8::MAX);
        debug_assert!(program.len() < FARTHEST, "six arguments need 36 instructions at the most");
        condition.push(jump(libc::BPF_JEQ, value, 0, over));
        condition.append(&mut program);
        program = condition;
    }
    program
}

fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or_default()
}

fn high(value: u64) -> u32 {
    u32::try_from(value >> 32).unwrap_or_default()
}

fn fail(error: i32) -> libc::sock_filter {
    give(libc::SECCOMP_RET_ERRNO | error.unsigned_abs() & libc::SECCOMP_RET_DATA)
}

fn give(answer: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, answer)
}

fn load(offset: u32) -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn leap(over: usize) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JA, u32::try_from(over).unwrap_or(u32::MAX))
}

fn jump(compare: u32, with: u32, then: u8, otherwise: u8) -> libc::sock_filter {
    let jump = instruction(libc::BPF_JMP | compare | libc::BPF_K, with);
    libc::sock_filter { jt: then, jf: otherwise, ..jump }
}

fn instruction(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).unwrap_or(u16::MAX), jt: 0, jf: 0, k }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What the kernel would answer: a machine for the instructions that a filter may hold.
    pub(in crate::jail) fn answer(
        program: &[libc::sock_filter],
        architecture: u32,
        number: u32,
        arguments: [u64; 6],
    ) -> u32 {
        let word = |offset: u32| match offset {
            NUMBER => number,
            ARCHITECTURE_OF_CALL => architecture,
            _ => {
                let argument = arguments[usize::try_from((offset - ARGUMENTS) / 8).unwrap()];
                if offset.is_multiple_of(8) { low(argument) } else { high(argument) }
            }
        };
        let (mut at, mut accumulator) = (0, 0_u32);
        loop {
            let libc::sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let either = |met: bool| usize::from(if met { jt } else { jf });
            match u32::from(code) {
                0x20 => accumulator = word(k),
                0x54 => accumulator &= k,
                0x05 => at += usize::try_from(k).unwrap(),
                0x15 => at += either(accumulator == k),
                0x35 => at += either(accumulator >= k),
                0x25 => at += either(accumulator > k),
                0x06 => return k,
                other => panic!("{other:#x} is not among the instructions of a filter"),
            }
        }
    }

    const PERMISSION: u32 = 0x0005_0001;
    const ALLOW: u32 = 0x7fff_0000;

    fn check(answers: &[(u32, Answer)], number: u32, arguments: [u64; 6], expected: u32) {
        let filter = Filter::new(&answers.iter().cloned().collect()).unwrap();
        let given = answer(filter.instructions(), ARCHITECTURE, number, arguments);
        assert_eq!(given, expected, "{number} {arguments:x?}");
    }

    #[test]
    fn each_number_has_its_answer() {
        let when = |argument, mask, value| When { argument, mask, value };
        let answers = [
            (3, Answer::Allow),
            (4, Answer::Allow),
            (5, Answer::Fail(libc::ENOSYS)),
            (
                9,
                Answer::AllowIf(vec![
                    vec![when(0, u64::MAX, 0x1_0000_0002), when(5, 0xf0, 0x10)],
                    vec![when(1, 1, 0)],
                ]),
            ),
            (u32::MAX - 1, Answer::Allow),
        ];
        for (number, expected) in [
            (0, PERMISSION),
            (2, PERMISSION),
            (3, ALLOW),
            (4, ALLOW),
            (5, 0x0005_0026),
            (6, PERMISSION),
            (9, ALLOW),
            (10, PERMISSION),
            (0x4000_0003, PERMISSION),
            (u32::MAX - 1, ALLOW),
            (u32::MAX, PERMISSION),
        ] {
            check(&answers, number, [0; 6], expected);
        }
        for (arguments, expected) in [
            ([0x1_0000_0002, 1, 0, 0, 0, 0x1f], ALLOW),
            ([0x1_0000_0002, 1, 0, 0, 0, 0x2f], PERMISSION),
            ([2, 1, 0, 0, 0, 0x1f], PERMISSION),
            ([0x1_0000_0003, 1, 0, 0, 0, 0x1f], PERMISSION),
            ([2, 2, 0, 0, 0, 0], ALLOW),
        ] {
            check(&answers, 9, arguments, expected);
        }
    }

    #[test]
    fn another_architecture_is_the_end() {
        let filter = Filter::new(&BTreeMap::from([(3, Answer::Allow)])).unwrap();
        assert_eq!(answer(filter.instructions(), 0x4000_0003, 3, [0; 6]), 0x8000_0000);
    }

    #[test]
    fn far_jumps_arrive() {
        // Each with conditions of its own, so that nothing is joined and halves are far apart.
        let answers: BTreeMap<u32, Answer> = (0..400)
            .map(|number| {
                let when = When { argument: 2, mask: 0xffff, value: u64::from(number) };
                (number, Answer::AllowIf(vec![vec![when]]))
            })
            .collect();
        let filter = Filter::new(&answers).unwrap();
        for number in 0..410 {
            for value in [0, 1, 399, u64::from(number)] {
                let arguments = [0, 0, value, 0, 0, 0];
                let expected =
                    if number < 400 && value == u64::from(number) { ALLOW } else { PERMISSION };
                let given = answer(filter.instructions(), ARCHITECTURE, number, arguments);
                assert_eq!(given, expected, "{number} {value}");
            }
        }
    }

    #[test]
    fn too_long_a_program_is_not_made() {
        let answers: BTreeMap<u32, Answer> = (0..2_000)
            .map(|number| {
                let when = When { argument: 2, mask: 0xffff, value: u64::from(number) };
                (number, Answer::AllowIf(vec![vec![when]]))
            })
            .collect();
        assert!(Filter::new(&answers).unwrap_err().contains("too many"));
    }
}
