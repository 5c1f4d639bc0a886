//! Events against what a test expects of them. An event is looked at as it comes and not kept, unless it is the one
//! to show: a gadget on a busy machine sends millions.

use serde_json::Value;

use super::{case::Case, pattern::Pattern};

/// One thing that was checked, for a person to read.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) passed: bool,
    /// What was checked, one line.
    pub(super) what: String,
    /// Why it failed, in lines.
    pub(super) why: Vec<String>,
}

impl Check {
    pub(super) fn failed(what: impl Into<String>, why: Vec<String>) -> Self {
        Self { passed: false, what: what.into(), why }
    }
}

/// How far the events of a run are what its test expects.
pub(super) struct Checks<'a> {
    case: &'a Case,
    /// For each expected event the one that is nearest to it, and how many fields tell them apart.
    nearest: Vec<Option<(usize, Value)>>,
    /// For each rejected event the first one that is like it.
    found: Vec<Option<Value>>,
    events: u64,
}

impl<'a> Checks<'a> {
    pub(super) fn new(case: &'a Case) -> Self {
        let (nearest, found) = (vec![None; case.expect.len()], vec![None; case.reject.len()]);
        Self { case, nearest, found, events: 0 }
    }

    /// Takes an event.
    pub(super) fn push(&mut self, event: &Value) {
        self.events += 1;
        for (pattern, nearest) in self.case.expect.iter().zip(&mut self.nearest) {
            let best = nearest.as_ref().map_or(usize::MAX, |(distance, _)| *distance);
            // Once one matches, the others need no look.
            if best > 0 {
                let distance = pattern.distance(event);
                if distance < best {
                    *nearest = Some((distance, event.clone()));
                }
            }
        }
        for (pattern, found) in self.case.reject.iter().zip(&mut self.found) {
            if found.is_none() && pattern.distance(event) == 0 {
                *found = Some(event.clone());
            }
        }
    }

    /// Whether all that is expected has come.
    pub(super) fn complete(&self) -> bool {
        self.nearest.iter().all(|nearest| matches!(nearest, Some((0, _))))
    }

    /// What came of each expectation.
    pub(super) fn finish(self) -> Vec<Check> {
        let events = self.events;
        let expected = self.case.expect.iter().zip(self.nearest).map(|(pattern, nearest)| {
            let passed = matches!(nearest, Some((0, _)));
            let why = if passed { Vec::new() } else { missing(pattern, nearest.as_ref(), events) };
            Check { passed, what: format!("expect {pattern}"), why }
        });
        let rejected = self.case.reject.iter().zip(self.found).map(|(pattern, found)| {
            let why = found.map(|event| vec!["but there is one:".to_owned(), format!("  {event}")]);
            Check { passed: why.is_none(), what: format!("reject {pattern}"), why: why.unwrap_or_default() }
        });
        expected.chain(rejected).collect()
    }
}

fn missing(pattern: &Pattern, nearest: Option<&(usize, Value)>, events: u64) -> Vec<String> {
    let Some((_, event)) = nearest else { return vec!["no event came at all".to_owned()] };
    let mut why = vec![match events {
        1 => "the only event is not like that:".to_owned(),
        _ => format!("none of {events} events is like that; in the nearest one:"),
    }];
    why.extend(pattern.differences(event).into_iter().map(|(field, got)| match got {
        Some(got) => format!("  {field} is {got}"),
        None => format!("  there is no field {field}"),
    }));
    why.push(format!("  {event}"));
    why
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    fn case(expect: Vec<Value>, reject: Vec<Value>) -> Case {
        let patterns = |all: Vec<Value>| all.into_iter().map(|v| Pattern::new(v).unwrap()).collect();
        Case {
            path: "tests/x.yaml".into(),
            run: Vec::new(),
            workload: "true".into(),
            expect: patterns(expect),
            reject: patterns(reject),
            timeout: Duration::from_secs(1),
        }
    }

    fn told(case: &Case, events: &[Value]) -> (bool, String) {
        let mut checks = Checks::new(case);
        events.iter().for_each(|event| checks.push(event));
        let complete = checks.complete();
        let mut text = Vec::new();
        super::super::show(case, &checks.finish(), &mut text).unwrap();
        (complete, String::from_utf8(text).unwrap())
    }

    #[test]
    fn each_expectation_needs_an_event_and_a_rejected_one_none() {
        let case = case(vec![json!({"a": 1}), json!({"a": "~^x"})], vec![json!({"b": 2})]);
        let (complete, text) = told(&case, &[json!({"a": "xy"}), json!({"a": 1, "b": 1})]);
        assert!(complete);
        insta::assert_snapshot!(text, @r"
        tests/x.yaml
          ok    expect a: 1
          ok    expect a: ~^x
          ok    reject b: 2
        ");
    }

    #[test]
    fn the_nearest_event_is_shown() {
        let case = case(vec![json!({"a": 1, "b.c": "x", "d": 1})], vec![json!({"e": 1})]);
        let events =
            [json!({"a": 2}), json!({"a": 1, "b": {"c": "y"}}), json!({"a": 3}), json!({"e": 1, "f": 2})];
        let (complete, text) = told(&case, &events);
        assert!(!complete);
        insta::assert_snapshot!(text, @r#"
        tests/x.yaml
          FAIL  expect a: 1, b.c: "x", d: 1
                none of 4 events is like that; in the nearest one:
                  b.c is "y"
                  there is no field d
                  {"a":1,"b":{"c":"y"}}
          FAIL  reject e: 1
                but there is one:
                  {"e":1,"f":2}
        "#);
    }

    #[test]
    fn an_event_that_never_came_is_missed() {
        let case = case(vec![json!({"a": 1})], Vec::new());
        insta::assert_snapshot!(told(&case, &[]).1, @r"
        tests/x.yaml
          FAIL  expect a: 1
                no event came at all
        ");
        insta::assert_snapshot!(told(&case, &[json!({"a": 2})]).1, @r#"
        tests/x.yaml
          FAIL  expect a: 1
                the only event is not like that:
                  a is 2
                  {"a":2}
        "#);
    }
}
