//! Events on their way: through operators and guests, in the order of their priorities.

use std::{cell::RefCell, rc::Rc};

use super::policy::Hosted;
use crate::{
    datasource::{Event, Packet},
    operator::{self, Operator, Verdict},
    wasm::{Payload, Subscription, SubscriptionKind},
};

/// The gadget's guest, which all its data sources share.
pub(super) type SharedGuest = Rc<RefCell<Hosted>>;

/// One step of a pipeline.
pub(super) enum Step {
    /// Operators, one after the other.
    Operators(Vec<Box<dyn Operator>>),
    /// A call of the guest.
    Guest(Subscription),
}

/// An operator and where it stands among the others: lower ones first.
pub(super) type Placed = (i32, Box<dyn Operator>);

/// The steps of one data source. A guest comes before the operators of its priority, because it subscribes before
/// them.
pub(super) fn steps(mut operators: Vec<Placed>, mut calls: Vec<Subscription>) -> Vec<Step> {
    operators.sort_by_key(|(priority, _)| *priority);
    calls.sort_by_key(|call| call.priority);
    let mut calls = calls.into_iter().peekable();
    let mut steps = Vec::new();
    let mut together = Vec::new();
    for (priority, operator) in operators {
        while let Some(call) = calls.next_if(|call| call.priority <= priority) {
            if !together.is_empty() {
                steps.push(Step::Operators(std::mem::take(&mut together)));
            }
            steps.push(Step::Guest(call));
        }
        together.push(operator);
    }
    if !together.is_empty() {
        steps.push(Step::Operators(together));
    }
    steps.extend(calls.map(Step::Guest));
    steps
}

/// Sends an event through operators only.
#[inline]
pub(super) fn run(steps: &mut [Step], event: &mut Event<'_>) -> Verdict {
    for step in steps {
        if let Step::Operators(operators) = step
            && operator::run(operators, event) == Verdict::Drop
        {
            return Verdict::Drop;
        }
    }
    Verdict::Pass
}

/// Sends an event or a batch through all steps; what is dropped of it is counted in `dropped`. `false` if nothing is
/// left.
pub(super) fn run_with(
    steps: &mut [Step],
    guest: Option<&SharedGuest>,
    payload: &mut Payload,
    dropped: &mut u64,
) -> bool {
    for step in steps {
        let keep: &mut dyn FnMut(&mut Packet) -> bool = match step {
            Step::Operators(operators) => {
                &mut |packet| operator::run(operators, &mut packet.event()) == Verdict::Pass
            }
            Step::Guest(call) => {
                let Some(guest) = guest else { continue };
                if call.kind == SubscriptionKind::Data {
                    &mut |packet| one(&mut guest.borrow_mut(), call, packet)
                } else if !guest.borrow_mut().event(call, payload) {
                    *dropped += 1;
                    return false;
                } else {
                    continue;
                }
            }
        };
        match payload {
            Payload::Single(packet) => {
                if !keep(packet) {
                    *dropped += 1;
                    return false;
                }
            }
            Payload::Array(packets) => {
                let before = packets.len();
                packets.retain_mut(keep);
                if let Step::Operators(operators) = step {
                    operators.iter_mut().for_each(|operator| operator.arrange(packets));
                }
                *dropped += (before - packets.len()) as u64;
            }
        }
    }
    true
}

fn one(guest: &mut Hosted, call: &Subscription, packet: &mut Packet) -> bool {
    let mut payload = Payload::Single(std::mem::take(packet));
    let keep = guest.event(call, &mut payload);
    if let Payload::Single(back) = payload {
        *packet = back;
    }
    keep
}
