//! Device rules: as lines for v1, as an eBPF program for v2.
//!
//! The program runs at every access to a device node: register 1 points to `{ u32 access << 16 | type; u32 major; u32 minor }`, and it answers
//! 1 to allow. The last rule that matches decides, so the program tries them from last to first.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

/// The rule as a line for `devices.allow` or `devices.deny`.
pub fn v1_rule(rule: &LinuxDeviceCgroup) -> String {
    let kind = match rule.typ() {
        Some(LinuxDeviceType::B) => 'b',
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => 'c',
        _ => 'a',
    };
    let number = |n: Option<i64>| n.filter(|n| *n >= 0).map_or("*".to_owned(), |n| n.to_string());
    let access = rule.access().as_deref().unwrap_or("rwm");
    format!("{kind} {}:{} {access}", number(rule.major()), number(rule.minor()))
}

/// `struct bpf_insn` as one little-endian word.
const fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    code as u64
        | (destination as u64) << 8
        | (source as u64) << 12
        | (offset as u16 as u64) << 16
        | (immediate as u32 as u64) << 32
}

const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbf;
const MOVE_NUMBER: u8 = 0xb7;
const AND_NUMBER: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_NOT_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;
const DEVICE_BLOCK: i32 = 1;
const DEVICE_CHARACTER: i32 = 2;
/// Bits of `access`, in the kernel's order.
const ACCESS: [(char, i32); 3] = [('m', 1), ('r', 2), ('w', 4)];

/// The program for `rules`; what no rule matches is refused.
pub fn program(rules: &[LinuxDeviceCgroup]) -> Vec<u64> {
    // r2 = type, r3 = access, r4 = major, r5 = minor
    let mut program = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(AND_NUMBER, 2, 0, 0, 0xffff),
        instruction(LOAD_WORD, 3, 1, 0, 0),
        instruction(SHIFT_RIGHT, 3, 0, 0, 16),
        instruction(LOAD_WORD, 4, 1, 4, 0),
        instruction(LOAD_WORD, 5, 1, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let block = block(rule);
        // Two instructions are an answer without any test: nothing before it can decide, and the verifier refuses what cannot be reached.
        let decides = block.len() == 2;
        program.extend(block);
        if decides {
            return program;
        }
    }
    program.extend(answer(false));
    program
}

fn answer(allow: bool) -> [u64; 2] {
    [instruction(MOVE_NUMBER, 0, 0, 0, i32::from(allow)), instruction(EXIT, 0, 0, 0, 0)]
}

/// One rule: a chain of tests that jump past the block when they fail, then the answer.
fn block(rule: &LinuxDeviceCgroup) -> Vec<u64> {
    let granted = rule.access().as_deref().unwrap_or("rwm");
    let mask = ACCESS
        .iter()
        .filter(|(letter, _)| granted.contains(*letter))
        .fold(0, |mask, (_, bit)| mask | bit);
    let kind = match rule.typ() {
        Some(LinuxDeviceType::B) => Some(DEVICE_BLOCK),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(DEVICE_CHARACTER),
        _ => None,
    };
    let number = |n: Option<i64>| n.and_then(|n| i32::try_from(n).ok()).filter(|n| *n >= 0);
    // (register, value) that must be equal.
    let mut tests: Vec<(u8, i32)> = Vec::new();
    tests.extend(kind.map(|kind| (2, kind)));
    tests.extend(number(rule.major()).map(|major| (4, major)));
    tests.extend(number(rule.minor()).map(|minor| (5, minor)));
    let access_test = if mask == 7 {
        Vec::new()
    } else {
        // r0 = the wanted accesses that the rule does not cover; none may be left
        vec![instruction(MOVE_REGISTER, 0, 3, 0, 0), instruction(AND_NUMBER, 0, 0, 0, !mask & 7)]
    };
    let length = tests.len() + access_test.len() + usize::from(!access_test.is_empty()) + 2;
    let mut block = Vec::with_capacity(length);
    let past = |at: usize| i16::try_from(length - at - 1).unwrap_or(i16::MAX);
    for (register, value) in tests {
        block.push(instruction(JUMP_NOT_EQUAL, register, 0, past(block.len()), value));
    }
    if !access_test.is_empty() {
        block.extend(access_test);
        block.push(instruction(JUMP_NOT_EQUAL, 0, 0, past(block.len()), 0));
    }
    block.extend(answer(rule.allow()));
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::LinuxDeviceCgroupBuilder;

    fn rule(
        allow: bool,
        typ: LinuxDeviceType,
        numbers: Option<(i64, i64)>,
        access: &str,
    ) -> LinuxDeviceCgroup {
        let builder = LinuxDeviceCgroupBuilder::default().allow(allow).typ(typ).access(access);
        let builder = match numbers {
            Some((major, minor)) => builder.major(major).minor(minor),
            None => builder,
        };
        builder.build().expect("a rule")
    }

    #[test]
    fn v1_rule_lines() {
        assert_eq!(v1_rule(&rule(false, LinuxDeviceType::A, None, "rwm")), "a *:* rwm");
        assert_eq!(v1_rule(&rule(true, LinuxDeviceType::C, Some((1, 3)), "rw")), "c 1:3 rw");
    }

    /// Interprets the few instructions the compiler emits.
    fn run(program: &[u64], kind: i32, access: i32, major: i32, minor: i32) -> bool {
        let (mut registers, mut at) = ([0i64; 6], 0usize);
        loop {
            let word = program[at];
            let (code, destination, source) =
                (word as u8, (word >> 8 & 15) as usize, (word >> 12 & 15) as usize);
            let (offset, immediate) = ((word >> 16) as u16 as i16, (word >> 32) as u32 as i32);
            at += 1;
            match code {
                LOAD_WORD => {
                    registers[destination] = i64::from(match offset {
                        0 => access << 16 | kind,
                        4 => major,
                        _ => minor,
                    });
                }
                MOVE_REGISTER => registers[destination] = registers[source],
                MOVE_NUMBER => registers[destination] = immediate.into(),
                AND_NUMBER => registers[destination] &= i64::from(immediate),
                SHIFT_RIGHT => registers[destination] >>= immediate,
                JUMP_NOT_EQUAL if registers[destination] != i64::from(immediate) => {
                    at += offset as usize
                }
                JUMP_NOT_EQUAL => {}
                EXIT => return registers[0] == 1,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn program_last_matching_rule_decides() {
        let rules = [
            rule(false, LinuxDeviceType::A, None, "rwm"),
            rule(true, LinuxDeviceType::C, None, "m"),
            rule(true, LinuxDeviceType::C, Some((1, 3)), "rwm"),
            rule(true, LinuxDeviceType::B, Some((8, 0)), "r"),
        ];
        let program = program(&rules);
        for (kind, access, major, minor, allowed) in [
            (DEVICE_CHARACTER, 6, 1, 3, true),
            (DEVICE_CHARACTER, 6, 1, 4, false),
            (DEVICE_CHARACTER, 1, 9, 9, true),
            (DEVICE_BLOCK, 2, 8, 0, true),
            (DEVICE_BLOCK, 4, 8, 0, false),
            (DEVICE_BLOCK, 6, 8, 0, false),
            (DEVICE_BLOCK, 1, 8, 0, false),
        ] {
            assert_eq!(
                run(&program, kind, access, major, minor),
                allowed,
                "{kind} {access} {major}:{minor}"
            );
        }
    }

    #[test]
    fn program_kernel_accepts_it_on_the_unified_hierarchy() {
        let unified = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
            .into_iter()
            .find(|p| std::path::Path::new(p).join("cgroup.procs").exists());
        let Some(unified) =
            unified.filter(|p| std::path::Path::new(p).join("cgroup.controllers").exists())
        else {
            return;
        };
        let directory =
            std::path::Path::new(unified).join(format!("knarr-test-bpf-{}", std::process::id()));
        if std::fs::create_dir(&directory).is_err() {
            return;
        }
        let file = std::fs::File::open(&directory).expect("the directory");
        let rules = crate::spec::device_rules(false, &[]);
        let attached =
            crate::sys::attach_device_filter(rustix::fd::AsFd::as_fd(&file), &program(&rules));
        std::fs::remove_dir(&directory).expect("removed");
        attached.expect("the kernel verifies and attaches the program");
    }
}
