//! The tests of the example's guest, which is a workspace of its own and would not be tested otherwise.

#[path = "../../examples/who_opens/guest/src/lib.rs"]
mod who_opens;
