//! Functions of the running kernel (`/proc/kallsyms`).

use std::fs;

/// The kernel's functions, by address.
#[derive(Default)]
pub(crate) struct KernelSymbols {
    /// Address, and where in `text` the name is; sorted.
    list: Vec<(u64, u32, u32)>,
    text: String,
}

impl KernelSymbols {
    /// Those of this machine; none where the kernel does not tell (`kptr_restrict`).
    pub(crate) fn load() -> Self {
        let text = fs::read_to_string("/proc/kallsyms").unwrap_or_else(|error| {
            tracing::warn!("kernel stacks have no names: /proc/kallsyms: {error}");
            String::new()
        });
        Self::parse(text)
    }

    fn parse(text: String) -> Self {
        let mut list = Vec::new();
        let start = text.as_ptr() as usize;
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let Ok(address) = u64::from_str_radix(address, 16) else { continue };
            if address == 0 || !matches!(kind, "t" | "T" | "w" | "W") {
                continue;
            }
            let at = name.as_ptr() as usize - start;
            if let (Ok(at), Ok(len)) = (u32::try_from(at), u32::try_from(name.len())) {
                list.push((address, at, len));
            }
        }
        list.sort_by_key(|&(address, ..)| address);
        Self { list, text }
    }

    /// The name of the function that `address` is in.
    pub(crate) fn at(&self, address: u64) -> Option<&str> {
        let after = self.list.partition_point(|&(first, ..)| first <= address);
        let &(_, at, len) = self.list.get(after.checked_sub(1)?)?;
        self.text.get(at as usize..(at as usize).checked_add(len as usize)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_reaches_to_the_next_one() {
        let text = "ffffffff81000000 T first\nffffffff81000100 t second\t[module]\nffffffff81000180 D data\n\
                    0000000000000000 T hidden\nnonsense\n";
        let symbols = KernelSymbols::parse(text.to_owned());
        for (address, name) in [
            (0xffff_ffff_8100_0000, Some("first")),
            (0xffff_ffff_8100_00ff, Some("first")),
            (0xffff_ffff_8100_0190, Some("second")),
            (0x1000, None),
        ] {
            assert_eq!(symbols.at(address), name, "{address:x}");
        }
        assert_eq!(KernelSymbols::default().at(1), None);
    }
}
