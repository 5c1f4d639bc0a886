//! Stacks as text: an event holds the number of a stack, which the kernel keeps in a map, and whoever shows it wants
//! to read functions.
//!
//! A kernel stack gets a text field beside its number. A user stack is a struct, which gets three: its addresses, the
//! same as places in files that their build identifiers name, and the functions. All parts of it are hidden.

use crate::datasource::{Accessor, Annotations, DataSource, Event, FieldId, Scalar};

use super::{Operator, Verdict, add_text_beside, tagged, target_name};

const KERNEL: &str = "type:gadget_kernel_stack";
const USER: &str = "type:gadget_user_stack";

/// Whether events of the data source have a user stack.
pub fn has_user_stack(ds: &DataSource) -> bool {
    ds.fields.iter().any(|field| field.has_tag(USER))
}

/// Knows the stacks of a run.
pub trait Stacks: Send {
    /// Appends the functions of the kernel stack `id`, each with `; ` after it; nothing if there is no such stack.
    fn kernel(&mut self, id: u32, out: &mut Vec<u8>);

    /// Takes a user stack from the kernel: [`Stacks::addresses`] and [`Stacks::symbols`] are of this one from then on.
    fn take(&mut self, stack: UserStack);

    /// Appends the addresses of the user stack, as the functions are appended.
    fn addresses(&mut self, out: &mut Vec<u8>);

    /// Appends the functions of the user stack, each with `; ` after it.
    fn symbols(&mut self, out: &mut Vec<u8>);

    /// Appends the places in files of a user stack, as the functions are appended.
    fn build_ids(&mut self, stack: UserStack, out: &mut Vec<u8>);
}

/// Knows no stack.
pub struct NoStacks;

impl Stacks for NoStacks {
    fn kernel(&mut self, _: u32, _: &mut Vec<u8>) {}
    fn take(&mut self, _: UserStack) {}
    fn addresses(&mut self, _: &mut Vec<u8>) {}
    fn symbols(&mut self, _: &mut Vec<u8>) {}
    fn build_ids(&mut self, _: UserStack, _: &mut Vec<u8>) {}
}

/// A stack of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserStack {
    /// Its number.
    pub id: u32,
    /// The process, as the host counts.
    pub process: u32,
    /// Tells one program that the process runs from the next.
    pub program: u32,
}

/// Where the kernel's stacks become text.
pub struct KernelStacks(Vec<Kernel>);

struct Kernel {
    id: Accessor,
    text: Text,
}

/// A field of text.
#[derive(Clone, Copy)]
struct Text {
    field: FieldId,
    slot: usize,
}

impl KernelStacks {
    /// Adds a field of text beside each. A step of its own, as upstream's order of fields has other operators' between
    /// these and those of user stacks.
    pub fn attach(ds: &mut DataSource) -> Self {
        Self(tagged(ds, KERNEL).into_iter().filter_map(|id| attach_kernel(ds, id)).collect())
    }
}

/// The operator that writes stacks.
pub struct Stack<S> {
    stacks: S,
    kernel: Vec<Kernel>,
    user: Vec<User>,
}

struct User {
    id: Accessor,
    process: Accessor,
    program: Accessor,
    /// Those that anybody reads.
    addresses: Option<Text>,
    places: Option<Text>,
    functions: Option<Text>,
}

impl<S: Stacks + 'static> Stack<S> {
    /// Adds text to every user stack. `None` if there is no stack of either kind.
    pub fn attach(
        ds: &mut DataSource,
        KernelStacks(kernel): KernelStacks,
        stacks: S,
    ) -> Option<Box<dyn Operator>> {
        let user: Vec<_> = tagged(ds, USER).into_iter().filter_map(|id| attach_user(ds, id)).collect();
        if kernel.is_empty() && user.is_empty() {
            return None;
        }
        Some(Box::new(Self { stacks, kernel, user }))
    }
}

fn attach_kernel(ds: &mut DataSource, id: FieldId) -> Option<Kernel> {
    let name = target_name(ds, id, "ebpf.formatter.kstack")?;
    let source = ds.accessor(id);
    let (field, slot) = add_text_beside(ds, id, &name, Annotations::default())?;
    Some(Kernel { id: source, text: Text { field, slot } })
}

fn attach_user(ds: &mut DataSource, id: FieldId) -> Option<User> {
    let part = |name: &str| {
        let found = ds.children(Some(id)).find(|&child| ds.fields[child].name == name)?;
        Some(ds.accessor(found))
    };
    let (stack, process, program) = (part("stack_id")?, part("tgid_level0")?, part("base_addr_hash")?);
    let parts: Vec<_> = ds.children(Some(id)).collect();
    let added = ["addresses", "buildid", "symbols"].map(|name| {
        let slot = ds.slots;
        let field = ds.add_slot_field(Some(id), name, Scalar::String, 0);
        ds.fields[field].tags = vec![format!("name:{name}"), "operator:ustack".to_owned()];
        Text { field, slot }
    });
    parts.into_iter().chain(added.map(|text| text.field)).for_each(|part| ds.fields[part].hidden = true);
    let [addresses, places, functions] = added.map(Some);
    Some(User { id: stack, process, program, addresses, places, functions })
}

impl<S: Stacks> Operator for Stack<S> {
    fn name(&self) -> &'static str {
        "stacks"
    }

    fn narrow(&mut self, is_read: &dyn Fn(FieldId) -> bool) {
        self.kernel.retain(|kernel| is_read(kernel.text.field));
        for User { addresses, places, functions, .. } in &mut self.user {
            for text in [addresses, places, functions] {
                *text = text.filter(|text| is_read(text.field));
            }
        }
    }

    fn process(&mut self, event: &mut Event<'_>) -> Verdict {
        for kernel in &self.kernel {
            let id = kernel.id.u64(event) as u32;
            // Negative numbers are errors: there was no stack to be had.
            if !is_error(id) {
                event.slots.set_text(kernel.text.slot, |out| self.stacks.kernel(id, out));
            }
        }
        for user in &self.user {
            let number = |field: &Accessor| field.u64(event) as u32;
            let (id, process, program) = (number(&user.id), number(&user.process), number(&user.program));
            let stack = UserStack { id, process, program };
            // Without a process, none was asked for.
            if process == 0 || is_error(id) {
                continue;
            }
            if user.addresses.is_some() || user.functions.is_some() {
                self.stacks.take(stack);
            }
            if let Some(text) = user.addresses {
                event.slots.set_text(text.slot, |out| self.stacks.addresses(out));
            }
            if let Some(text) = user.places {
                event.slots.set_text(text.slot, |out| self.stacks.build_ids(stack, out));
            }
            if let Some(text) = user.functions {
                event.slots.set_text(text.slot, |out| self.stacks.symbols(out));
            }
        }
        Verdict::Pass
    }
}

fn is_error(id: u32) -> bool {
    id.cast_signed() < 0
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::super::testing::{Source, bytes, event, text};
    use super::*;

    /// Stacks that tell what they were asked.
    #[derive(Default)]
    struct Telling {
        taken: Option<UserStack>,
        asked: Arc<AtomicUsize>,
    }

    impl Stacks for Telling {
        fn kernel(&mut self, id: u32, out: &mut Vec<u8>) {
            out.extend_from_slice(format!("kernel {id}; ").as_bytes());
        }
        fn take(&mut self, stack: UserStack) {
            self.taken = Some(stack);
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
        fn addresses(&mut self, out: &mut Vec<u8>) {
            let stack = self.taken.unwrap();
            out.extend_from_slice(format!("{} of {}; ", stack.id, stack.process).as_bytes());
        }
        fn build_ids(&mut self, _: UserStack, out: &mut Vec<u8>) {
            out.extend_from_slice(b"id; ");
        }
        fn symbols(&mut self, out: &mut Vec<u8>) {
            let stack = self.taken.unwrap();
            out.extend_from_slice(format!("main of {}; ", stack.program).as_bytes());
        }
    }

    fn source() -> DataSource {
        let mut ds = Source::new("samples")
            .number("kern_raw", Scalar::Uint32, "gadget_kernel_stack")
            .group("user")
            .number("user.stack_id", Scalar::Uint32, "u32")
            .number("user.tgid_level0", Scalar::Uint32, "u32")
            .number("user.base_addr_hash", Scalar::Uint32, "u32")
            .done();
        let user = ds.field("user").unwrap();
        ds.fields[user].tags.push(USER.to_owned());
        ds
    }

    fn shown(kern: u32, stack: u32, process: u32) -> [String; 4] {
        read(kern, stack, process, &["kern", "user.addresses", "user.buildid", "user.symbols"]).0
    }

    /// What is written if only these fields are read, and how often a user stack was taken from the kernel.
    fn read(kern: u32, stack: u32, process: u32, fields: &[&str]) -> ([String; 4], usize) {
        let mut ds = source();
        let kernel = KernelStacks::attach(&mut ds);
        let telling = Telling::default();
        let asked = telling.asked.clone();
        let mut operator = Stack::attach(&mut ds, kernel, telling).unwrap();
        operator.narrow(&|field| fields.contains(&ds.fields[field].full_name.as_str()));
        let number = |n: u32| n.to_ne_bytes();
        let (kern, stack, process, program) = (number(kern), number(stack), number(process), number(9));
        let data = bytes(
            &ds,
            &[
                ("kern_raw", &kern[..]),
                ("user.stack_id", &stack[..]),
                ("user.tgid_level0", &process[..]),
                ("user.base_addr_hash", &program[..]),
            ],
        );
        let texts = event(&ds, &data, |e| {
            assert_eq!(operator.process(e), Verdict::Pass);
            ["kern", "user.addresses", "user.buildid", "user.symbols"].map(|name| text(&ds, e, name))
        });
        (texts, asked.load(Ordering::Relaxed))
    }

    #[test]
    fn what_nobody_reads_is_not_asked_for_and_what_is_read_once() {
        let all = ["kern", "user.addresses", "user.buildid", "user.symbols"];
        assert_eq!(read(7, 8, 4, &all).1, 1);
        let texts = |texts: [&str; 4]| texts.map(str::to_owned);
        assert_eq!(read(7, 8, 4, &["kern"]), (texts(["kernel 7; ", "", "", ""]), 0));
        assert_eq!(read(7, 8, 4, &["user.buildid"]), (texts(["", "", "id; ", ""]), 0));
        assert_eq!(read(7, 8, 4, &["user.symbols"]), (texts(["", "", "", "main of 9; "]), 1));
    }

    #[test]
    fn stacks_are_looked_up_by_their_numbers() {
        assert_eq!(shown(7, 8, 4), ["kernel 7; ", "8 of 4; ", "id; ", "main of 9; "]);
    }

    #[test]
    fn errors_and_stacks_that_nobody_asked_for_are_not() {
        assert_eq!(shown(-14_i32 as u32, 8, 0), ["", "", "", ""]);
        assert_eq!(shown(1, -17_i32 as u32, 4), ["kernel 1; ", "", "", ""]);
    }

    #[test]
    fn only_the_kernels_functions_are_a_column() {
        let mut ds = source();
        let kernel = KernelStacks::attach(&mut ds);
        Stack::attach(&mut ds, kernel, NoStacks).unwrap();
        let visible: Vec<_> = ds.visible().into_iter().map(|id| ds.fields[id].full_name.clone()).collect();
        assert_eq!(visible, ["kern"]);
        let mut ds = Source::new("s").done();
        let kernel = KernelStacks::attach(&mut ds);
        assert!(Stack::attach(&mut ds, kernel, NoStacks).is_none());
    }
}
