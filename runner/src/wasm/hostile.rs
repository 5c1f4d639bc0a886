//! Guests that misbehave: each is stopped and named, or gets an error and goes on. None hangs or ends the host.

use super::{testing::*, *};

/// What comes of calling a guest with this body in each of its functions.
fn at_start(body: &str) -> String {
    match start(body) {
        Ok(_) => "went well".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// What comes of an event for a guest whose callback has this body.
fn at_event(body: &str) -> (Result<bool, String>, Guest) {
    at_event_with(body, LIMITS)
}

fn at_event_with(body: &str, limits: Limits) -> (Result<bool, String>, Guest) {
    let module = format!(
        r#"(func (export "gadgetInit") (result i32)
             (global.set $ds (call $getDataSource @"events"))
             (global.set $f (call $getField (global.get $ds) @"number"))
             (global.set $g (call $addField (global.get $ds) @"text" (i32.const 12)))
             (call $subscribe (global.get $ds) (i32.const 1) (i32.const 0) (i64.const 0)))
           (func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))
           (func (export "dataSourceCallback") (param i64 i32 i32) (local $i i32) {body})"#
    );
    let (mut guest, _, sources) = start_with(&module, limits).unwrap();
    let result = pass(&mut guest, &sources, packet(1, "a"));
    (result.map(|kept| kept.is_some()).map_err(|error| error.to_string()), guest)
}

fn stopped_at_event(body: &str) -> String {
    let (result, mut guest) = at_event(body);
    let error = result.unwrap_err();
    assert!(guest.is_stopped());
    // It is not called again, and events go on without it.
    let subscription = guest.subscriptions()[0];
    let mut payload = Payload::Single(packet(1, "a"));
    assert!(guest.event(&subscription, &mut payload).unwrap());
    let Payload::Single(event) = payload else { panic!("an event became a batch") };
    assert_eq!(event.data[0], 1);
    error
}

#[test]
fn endless_loops_are_cut_in_every_function() {
    for stage in [Stage::Init, Stage::PreStart, Stage::Start, Stage::Stop, Stage::PostStop] {
        let function = stage.function();
        let body = format!(r#"(func (export "{function}") (result i32) (loop (br 0)) (i32.const 0))"#);
        let host = Mock::default();
        let mut guest = Guest::new("test", &module(&body), Box::new(host), LIMITS).unwrap();
        let error = guest.call(stage, &mut sources()).unwrap_err().to_string();
        assert_eq!(error, format!("guest test was stopped in {function}: it ran too long"));
        // Data sources come back even so.
        let mut left = sources();
        assert!(guest.call(stage, &mut left).is_ok());
        assert_eq!(left.len(), 2);
    }
    insta::assert_snapshot!(stopped_at_event("(loop (br 0))"), @"guest test was stopped in dataSourceCallback: it ran too long");
    insta::assert_snapshot!(at_start(r#"(func (export "_initialize") (loop (br 0)))"#), @"guest test was stopped in _initialize: it ran too long");
    insta::assert_snapshot!(at_start("(func $s (loop (br 0))) (start $s)"), @"guest test was stopped in its start function: it ran too long");
}

#[test]
fn endless_loops_of_host_calls_are_cut() {
    for call in [
        r#"(drop (call $getDataSource @"events"))"#,
        r#"(call $log (i32.const 0) (i64.const 0xffff00000000))"#,
        "(drop (call $newPacket (global.get $ds)))",
        "(drop (call $set (global.get $g) (local.get 2) (i32.const 12) (i64.const 0x800000000000)))",
        "(drop (call $random (i32.const 0) (i32.const 65536)))",
        "(drop (call $emit (global.get $ds) (call $newPacket (global.get $ds))))",
        r#"(drop (call $newMap @"m" (i32.const 1) (i32.const 4) (i32.const 4) (i32.const 1)))"#,
    ] {
        let error = stopped_at_event(&format!("(loop {call} (br 0))"));
        assert_eq!(error, "guest test was stopped in dataSourceCallback: it ran too long", "{call}");
    }
}

#[test]
fn waiting_is_short_and_costs() {
    let began = std::time::Instant::now();
    // A subscription to the clock, for a day.
    let error = stopped_at_event(
        "(i64.store (i32.const 1024) (i64.const 86400000000000))
         (loop (drop (call $poll (i32.const 1000) (i32.const 2000) (i32.const 1) (i32.const 3000))) (br 0))",
    );
    assert_eq!(error, "guest test was stopped in dataSourceCallback: it ran too long");
    assert!(began.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn memory_grows_no_further_than_its_fence() {
    let (result, guest) = at_event(
        "(call $is (memory.grow (i32.const 256)) (i32.const -1))
         (call $is (memory.grow (i32.const 255)) (i32.const 1))
         (call $is (memory.grow (i32.const 1)) (i32.const -1))",
    );
    assert_eq!(result, Ok(true));
    assert_eq!(guest.memory_size(), 16 << 20);
}

#[test]
fn deep_calls_are_cut() {
    insta::assert_snapshot!(stopped_at_event("(drop (call $deep (i32.const 0)))"), @"guest test was stopped in dataSourceCallback: it calls itself too deeply");
}

#[test]
fn other_ways_to_end() {
    insta::assert_snapshot!(stopped_at_event("unreachable"), @"guest test was stopped in dataSourceCallback: it gave up (unreachable instruction); what it printed tells why (run with --verbose)");
    insta::assert_snapshot!(stopped_at_event("(call $exit (i32.const 3))"), @"guest test was stopped in dataSourceCallback: it ended itself with code 3");
    insta::assert_snapshot!(stopped_at_event("(drop (i32.load (i32.const -4)))"), @"guest test was stopped in dataSourceCallback: it reached beyond its memory");
    insta::assert_snapshot!(stopped_at_event("(drop (i32.div_u (i32.const 1) (local.get $i)))"), @"guest test was stopped in dataSourceCallback: integer divide by zero");
    insta::assert_snapshot!(at_start(r#"(func (export "gadgetInit") (result i32) (i32.const 1))"#), @"guest test: gadgetInit failed; what it logged tells why (run with --verbose)");
    insta::assert_snapshot!(at_start(r#"(func (export "gadgetInit"))"#), @"guest test: exports no function gadgetInit of the type that the guest API says");
}

/// Ten thousand handles are asked for; 4096 there are, of which three are the guest's already and one the event's.
#[test]
fn handles_run_out_and_are_given_back() {
    let ask = |body: &str| {
        format!(
            r#"(local.set $i (i32.const 10000))
               (loop {body} (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if 0 (local.get $i)))"#
        )
    };
    let (result, mut guest) = at_event(&format!(
        "{} {}",
        ask(r#"(drop (call $getDataSource @"events"))"#),
        r#"(call $is (call $getDataSource @"events") (i32.const 0))"#
    ));
    assert_eq!(result, Ok(true));
    // Those of its own are all taken, but that of the event comes back each time.
    let subscription = guest.subscriptions()[0];
    assert!(guest.event(&subscription, &mut Payload::Single(packet(1, "a"))).is_ok());

    let (result, _) = at_event(&ask(
        r#"(call $is (call $release (call $not0 (call $getDataSource @"events"))) (i32.const 0))"#,
    ));
    assert_eq!(result, Ok(true));
}

#[test]
fn a_guest_that_keeps_every_handle_is_stopped() {
    let (mut guest, _, sources) = start(
        r#"(func (export "gadgetInit") (result i32)
          (drop (call $subscribe (call $getDataSource @"events") (i32.const 1) (i32.const 0) (i64.const 0)))
          (loop (br_if 0 (call $getDataSource @"events")))
          (i32.const 0))
        (func (export "dataSourceCallback") (param i64 i32 i32))"#,
    )
    .unwrap();
    let error = pass(&mut guest, &sources, packet(1, "a")).unwrap_err();
    insta::assert_snapshot!(error, @"guest test was stopped in dataSourceCallback: it holds on to all its handles");
}

/// Handles that are invented, stale, or of another kind, and spans that lead out of the memory.
#[test]
fn wrong_handles_and_spans_are_errors() {
    let mut calls = String::new();
    for handle in ["0", "-1", "1", "2", "4096", "4097", "0x80000001", "0xffff0005"] {
        let handle = format!("(i32.const {handle})");
        for span in ["0xffffffffffffffff", "0x1_ffffffff", "0xffff_00000000", "0x10001_00000000"] {
            let span = format!("(i64.const {span})");
            for call in [
                format!("$getScalar {handle} (local.get 2) (i32.const 4) (i32.const -2)"),
                format!("$getScalar (global.get $f) {handle} (i32.const 9999) (i32.const -2)"),
                format!("$getBuffer {handle} (local.get 2) (i32.const 12) {span}"),
                format!("$getBuffer (global.get $g) {handle} (i32.const 12) {span}"),
                format!("$set (global.get $g) {handle} (i32.const 12) {span}"),
                format!("$set {handle} {handle} (i32.const 12) {span}"),
                format!("$getField {handle} {span}"),
                format!("$addField {handle} {span} (i32.const 12)"),
                format!("$addTag {handle} {span}"),
                format!("$newDataSource {span} {handle}"),
                format!("$getDataSource {span}"),
                format!("$subscribe {handle} {handle} {handle} {span}"),
                format!("$newPacket {handle}"),
                format!("$newArray {handle}"),
                format!("$emit {handle} (local.get 2)"),
                "$emit (global.get $ds) (local.get 2)".to_owned(),
                format!("$releasePacket {handle} {handle}"),
                format!("$arrayNew {handle}"),
                format!("$arrayAppend {handle} {handle}"),
                format!("$arrayRelease {handle} {handle}"),
                format!("$arrayLen {handle}"),
                format!("$arrayGet {handle} {handle}"),
                format!("$param {span} {span}"),
                format!("$setConfig {span} {span} (i32.const 12)"),
                format!("$newMap {span} {handle} {handle} {handle} {handle}"),
                format!("$getMap {span}"),
                format!("$lookup {handle} {span} {span}"),
                format!("$update {handle} {span} {span} {span}"),
                format!("$delete {handle} {span}"),
                format!("$mapRelease {handle}"),
                format!("$syscallName {handle} {span}"),
                format!("$syscallNumber {span}"),
                format!("$declaration {span} {span}"),
                format!("$symbol {span}"),
                format!("$newReader {handle} {handle} {handle}"),
                format!("$pauseReader {handle}"),
                format!("$resumeReader {handle}"),
                format!("$readPerf {handle} {span}"),
                format!("$closeReader {handle}"),
                format!("$shouldLog {handle}"),
                format!("$write (i32.const 1) {handle} {handle} {handle}"),
                format!("$random {handle} {handle}"),
            ] {
                // Handles 1 to 3 are the guest's own: what is right about them may go well.
                calls.push_str(&format!("(drop (call {call}))"));
            }
            calls.push_str(&format!("(call $log {handle} {span})"));
        }
        calls.push_str(&format!("(drop (call $poll {handle} {handle} (i32.const 2) {handle}))"));
    }
    let (result, guest) = at_event_with(&calls, Limits::default());
    assert_eq!(result, Ok(true));
    assert!(!guest.is_stopped());
}

/// A guest is never called while it runs: what it sends to a data source that it listens to waits until it returns.
#[test]
fn a_guest_is_not_entered_twice() {
    let (result, mut guest) = at_event(
        "(call $is (global.get $f) (global.get $f))
         (call $is (i32.load (i32.const 2000)) (i32.const 0))
         (i32.store (i32.const 2000) (i32.const 1))
         (call $is (call $emit (global.get $ds) (call $newPacket (global.get $ds))) (i32.const 0))
         (i32.store (i32.const 2000) (i32.const 0))",
    );
    assert_eq!(result, Ok(true));
    let subscription = guest.subscriptions()[0];
    let (_, mut payload) = guest.emitted().unwrap();
    assert!(guest.event(&subscription, &mut payload).unwrap());
    assert!(guest.emitted().is_some());
}

#[test]
fn what_a_guest_holds_is_bounded() {
    // Texts of a megabyte into 64 packets and more: some are refused, and the host holds 64 MiB at most.
    let (result, _) = at_event(
        "(drop (memory.grow (i32.const 20)))
         (local.set $i (i32.const 100))
         (loop
           (drop (call $set (global.get $g) (call $newPacket (global.get $ds)) (i32.const 12) (i64.const 0x10000000000000)))
           (local.set $i (i32.sub (local.get $i) (i32.const 1)))
           (br_if 0 (local.get $i)))
         (call $is (call $set (global.get $g) (call $newPacket (global.get $ds)) (i32.const 12)
                     (i64.const 0x10000000000000)) (i32.const 1))",
    );
    assert_eq!(result, Ok(true));
}
