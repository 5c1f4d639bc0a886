//! What is said at the end of a run: how many events there were, and how many there are not, and why.

use std::io::Write;

use crate::instance::{Loss, Summary};

/// Says it, where somebody still listens.
pub(super) fn say(summary: &Summary, out: &mut dyn Write) {
    let _ = out.write_all(text(summary).as_bytes());
}

fn text(summary: &Summary) -> String {
    let Loss { buffer_full, unread, unknown_owner, no_room_for_owner, unheld_starts } = summary.loss;
    let mut text = format!(
        "{} shown, {} filtered out, {} lost in {:.1} s\n",
        events(summary.written),
        summary.filtered,
        buffer_full.saturating_add(unread),
        summary.time.as_secs_f64()
    );
    if buffer_full > 0 {
        text.push_str(&format!(
            "lost {}: they came faster than they could be written\n",
            events(buffer_full)
        ));
    }
    if unread > 0 {
        text.push_str(&format!("lost {}: nobody read them at the end\n", events(unread)));
    }
    if unknown_owner > 0 {
        let left_out = events(unknown_owner);
        text.push_str(&format!("left out {left_out}: nobody knows which process they belong to\n"));
    }
    if no_room_for_owner > 0 {
        let sockets = count(no_room_for_owner, "socket has", "sockets have");
        text.push_str(&format!(
            "{sockets} no known process: there are more than the table of owners holds\n"
        ));
    }
    if unheld_starts > 0 {
        let starts = count(unheld_starts, "time", "times");
        text.push_str(&format!(
            "container starts were not held, {starts}: the first events of those containers may be missing\n"
        ));
    }
    for counter in &summary.counters {
        let reasons: Vec<String> =
            counter.values.iter().map(|(reason, value)| format!("{reason}: {value}")).collect();
        text.push_str(&format!("{}: {} ({})\n", counter.title, counter.total(), reasons.join(", ")));
    }
    text
}

fn events(number: u64) -> String {
    count(number, "event", "events")
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::instance::Counter;

    #[test]
    fn a_run_without_losses_is_one_line() {
        let summary =
            Summary { written: 1, filtered: 2, time: Duration::from_millis(10_240), ..Summary::default() };
        assert_eq!(text(&summary), "1 event shown, 2 filtered out, 0 lost in 10.2 s\n");
    }

    #[test]
    fn losses_are_told_by_reason() {
        let summary = Summary {
            written: 12,
            loss: Loss {
                buffer_full: 1,
                unread: 3,
                unknown_owner: 2,
                no_room_for_owner: 1,
                unheld_starts: 2,
            },
            counters: vec![Counter {
                title: "hellos without a name".into(),
                values: vec![("no server name".into(), 3), ("cut off".into(), 4)],
            }],
            ..Summary::default()
        };
        insta::assert_snapshot!(text(&summary), @"
        12 events shown, 0 filtered out, 4 lost in 0.0 s
        lost 1 event: they came faster than they could be written
        lost 3 events: nobody read them at the end
        left out 2 events: nobody knows which process they belong to
        1 socket has no known process: there are more than the table of owners holds
        container starts were not held, 2 times: the first events of those containers may be missing
        hellos without a name: 7 (no server name: 3, cut off: 4)
        ");
    }
}
