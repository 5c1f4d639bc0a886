//! Where the arguments of a probe are that its author left in a program: what the assembler was told of them.
//!
//! Each is `SIZE@OPERAND`, in bytes and less than zero if signed, such as `-4@-20(%rbp)` on x86 and `8@[sp, 16]` on arm.
//! Sources: SystemTap's `sys/sdt.h`, and the assembler's manual for operands of both. Registers are told by where
//! `struct pt_regs` of linux/ptrace.h keeps them.

/// Most arguments of one probe.
pub(crate) const MAX: usize = 12;

/// An argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Argument {
    /// Bytes: 1, 2, 4 or 8.
    pub(crate) size: u8,
    pub(crate) signed: bool,
    pub(crate) place: Place,
}

/// Where an argument is. Registers are bytes from the start of the kernel's list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Constant(i64),
    Register(u16),
    /// In memory at `base` + `index` shifted to the left + `offset`.
    Memory {
        base: u16,
        index: Option<(u16, u8)>,
        offset: i64,
    },
    /// Somewhere else: what is of no integer type, or names a symbol.
    Unknown,
}

/// How a kind of machine writes operands.
type Operand = fn(&str) -> Option<Place>;

const HERE: Operand = if cfg!(target_arch = "aarch64") { arm } else { x86 };

/// The arguments that `text`, of a probe's note, tells of this machine's programs.
pub(crate) fn arguments(text: &str) -> Vec<Argument> {
    read(text, HERE)
}

fn read(text: &str, operand: Operand) -> Vec<Argument> {
    let mut open = false;
    let words = text.split(|c: char| {
        open = (open || c == '[') && c != ']';
        c.is_ascii_whitespace() && !open
    });
    let argument = |word: &str| {
        let unknown = Argument { size: 8, signed: false, place: Place::Unknown };
        let Some((size, rest)) = word.split_once('@') else { return unknown };
        match size.parse::<i8>() {
            Ok(size) if matches!(size.unsigned_abs(), 1 | 2 | 4 | 8) => Argument {
                size: size.unsigned_abs(),
                signed: size < 0,
                place: operand(rest.trim()).unwrap_or(Place::Unknown),
            },
            _ => unknown,
        }
    };
    words.filter(|word| !word.is_empty()).take(MAX).map(argument).collect()
}

/// `$5`, `%rax`, `-8(%rbp)`, `8(%rbp,%rax,4)`.
fn x86(text: &str) -> Option<Place> {
    if let Some(number) = text.strip_prefix('$') {
        return integer(number).map(Place::Constant);
    }
    if text.starts_with('%') {
        return x86_register(text).map(Place::Register);
    }
    let (offset, rest) = text.split_once('(')?;
    let offset = if offset.is_empty() { 0 } else { integer(offset)? };
    let mut parts = rest.strip_suffix(')')?.split(',').map(str::trim);
    let base = x86_register(parts.next()?)?;
    let Some(index) = parts.next() else { return Some(Place::Memory { base, index: None, offset }) };
    let shift = match parts.next().unwrap_or("1") {
        "1" => 0,
        "2" => 1,
        "4" => 2,
        "8" => 3,
        _ => return None,
    };
    parts.next().is_none().then_some(())?;
    Some(Place::Memory { base, index: Some((x86_register(index)?, shift)), offset })
}

/// A register by any of its names but those of the second byte, such as `%ah`.
fn x86_register(name: &str) -> Option<u16> {
    const REGISTERS: [(&[&str], u16); 17] = [
        (&["r15", "r15d", "r15w", "r15b"], 0),
        (&["r14", "r14d", "r14w", "r14b"], 8),
        (&["r13", "r13d", "r13w", "r13b"], 16),
        (&["r12", "r12d", "r12w", "r12b"], 24),
        (&["rbp", "ebp", "bp", "bpl"], 32),
        (&["rbx", "ebx", "bx", "bl"], 40),
        (&["r11", "r11d", "r11w", "r11b"], 48),
        (&["r10", "r10d", "r10w", "r10b"], 56),
        (&["r9", "r9d", "r9w", "r9b"], 64),
        (&["r8", "r8d", "r8w", "r8b"], 72),
        (&["rax", "eax", "ax", "al"], 80),
        (&["rcx", "ecx", "cx", "cl"], 88),
        (&["rdx", "edx", "dx", "dl"], 96),
        (&["rsi", "esi", "si", "sil"], 104),
        (&["rdi", "edi", "di", "dil"], 112),
        (&["rip", "eip"], 128),
        (&["rsp", "esp", "sp", "spl"], 152),
    ];
    let name = name.strip_prefix('%')?;
    REGISTERS.iter().find(|(names, _)| names.contains(&name)).map(|&(_, at)| at)
}

/// `5`, `x0`, `w0`, `[sp, 16]`, `[x0, x1]`.
fn arm(text: &str) -> Option<Place> {
    let Some(inside) = text.strip_prefix('[') else {
        return match integer(text.strip_prefix('#').unwrap_or(text)) {
            Some(number) => Some(Place::Constant(number)),
            None => arm_register(text).map(Place::Register),
        };
    };
    let mut parts = inside.strip_suffix(']')?.split(',').map(str::trim);
    let base = arm_register(parts.next()?)?;
    let second = parts.next();
    parts.next().is_none().then_some(())?;
    let (index, offset) = match second {
        None => (None, 0),
        Some(text) => match integer(text.strip_prefix('#').unwrap_or(text)) {
            Some(offset) => (None, offset),
            None => (Some((arm_register(text)?, 0)), 0),
        },
    };
    Some(Place::Memory { base, index, offset })
}

fn arm_register(name: &str) -> Option<u16> {
    let number: u16 = match name {
        "sp" => 31,
        "lr" => 30,
        "fp" => 29,
        _ => name.strip_prefix(['x', 'w'])?.parse().ok().filter(|number| *number <= 30)?,
    };
    Some(number * 8)
}

/// A number: decimal, or `0x` and hexadecimal.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    // What is larger than a signed number can be is meant without a sign.
    let number = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    let number = number.ok()?.cast_signed();
    Some(if negative { number.wrapping_neg() } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(base: u16, index: Option<(u16, u8)>, offset: i64) -> Place {
        Place::Memory { base, index, offset }
    }

    #[test]
    fn operands_of_x86() {
        for (text, place) in [
            ("$-9", Place::Constant(-9)),
            ("$0x10", Place::Constant(16)),
            ("$18446744073709551615", Place::Constant(-1)),
            ("%rax", Place::Register(80)),
            ("%dil", Place::Register(112)),
            ("%r15w", Place::Register(0)),
            ("(%rsp)", memory(152, None, 0)),
            ("-1204(%rbp)", memory(32, None, -1204)),
            ("8(%rbp,%rax)", memory(32, Some((80, 0)), 8)),
            ("-96(%rbp,%rax,8)", memory(32, Some((80, 3)), -96)),
        ] {
            assert_eq!(x86(text), Some(place), "{text}");
        }
        let wrong = [
            "",
            "$",
            "%ah",
            "%xmm0",
            "rax",
            "x(%rip)",
            "x+8(%rip)",
            "8(%rax",
            "(%rax,%rbx,3)",
            "(%rax,%rbx,1,)",
        ];
        for text in wrong {
            assert_eq!(x86(text), None, "{text}");
        }
    }

    #[test]
    fn operands_of_arm() {
        for (text, place) in [
            ("5", Place::Constant(5)),
            ("x0", Place::Register(0)),
            ("w30", Place::Register(240)),
            ("sp", Place::Register(248)),
            ("[x19]", memory(152, None, 0)),
            ("[sp, 60]", memory(248, None, 60)),
            ("[sp,#-8]", memory(248, None, -8)),
            ("[x1, x2]", memory(8, Some((16, 0)), 0)),
        ] {
            assert_eq!(arm(text), Some(place), "{text}");
        }
        for text in ["", "x31", "d0", "[x0", "[x0, x1, 2]", "[]", "x"] {
            assert_eq!(arm(text), None, "{text}");
        }
    }

    #[test]
    fn arguments_have_a_size_and_a_sign() {
        let argument = |size, signed, place| Argument { size, signed, place };
        assert_eq!(
            read("-4@$5 8@%rdi 2@8f(%rip)\t8f@%xmm0 nonsense", x86),
            [
                argument(4, true, Place::Constant(5)),
                argument(8, false, Place::Register(112)),
                argument(2, false, Place::Unknown),
                argument(8, false, Place::Unknown),
                argument(8, false, Place::Unknown),
            ]
        );
        let of_arm = read("-8@[sp, 16] 1@w1", arm);
        assert_eq!(
            of_arm,
            [argument(8, true, memory(248, None, 16)), argument(1, false, Place::Register(8))]
        );
        assert_eq!(arguments(""), []);
        assert_eq!(arguments(&"8@x0 ".repeat(50)).len(), MAX);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}|([-0-9@$%a-z\\[\\](), ]|%r|0x|@|x)*") {
            let _ = read(&text, x86);
            let _ = read(&text, arm);
        }
    }
}
