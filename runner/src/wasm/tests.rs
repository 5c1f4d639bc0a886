//! Guests that behave: every function of the interface, as the guest sees it.

use super::{testing::*, *};
use crate::datasource::{Packet, Scalar, Slots, Value};

#[test]
fn a_guest_reads_and_fills_fields() {
    let (mut guest, _, sources) = start(
        r#"(global $c (mut i32) (i32.const 0))
        (func (export "gadgetInit") (result i32)
          (global.set $ds (call $not0 (call $getDataSource @"events")))
          (global.set $f (call $not0 (call $getField (global.get $ds) @"number")))
          (global.set $c (call $not0 (call $getField (global.get $ds) @"comm")))
          (global.set $g (call $not0 (call $addField (global.get $ds) @"text" (i32.const 12))))
          (call $is (call $addField (global.get $ds) @"text" (i32.const 12)) (i32.const 0))
          (call $is (call $getField (global.get $ds) @"none") (i32.const 0))
          (call $is (call $addTag (global.get $g) @"tag") (i32.const 0))
          (call $subscribe (global.get $ds) (i32.const 1) (i32.const 5) (i64.const 42)))
        (func (export "dataSourceCallback") (param $cb i64) (param $d i32) (param $e i32)
          (local $n i32)
          (call $is (i32.wrap_i64 (local.get $cb)) (i32.const 42))
          (i32.store (i32.const 900) (i32.const 0))
          (call $is (i32.wrap_i64 (call $getScalar (global.get $f) (local.get $e) (i32.const 4) (i32.const 900)))
                    (i32.const -7))
          (call $is (i32.load (i32.const 900)) (i32.const 0))
          ;; A number of another size is an error.
          (drop (call $getScalar (global.get $f) (local.get $e) (i32.const 5) (i32.const 900)))
          (call $is (i32.load (i32.const 900)) (i32.const 1))
          (local.set $n (call $getBuffer (global.get $c) (local.get $e) (i32.const 13)
                          (i64.or (i64.const 1000) (i64.shl (i64.const 16) (i64.const 32)))))
          (call $is (call $getBuffer (global.get $c) (local.get $e) (i32.const 13)
                          (i64.or (i64.const 1000) (i64.shl (i64.const 2) (i64.const 32)))) (i32.const -1))
          (call $is (call $set (global.get $g) (local.get $e) (i32.const 12)
                      (i64.or (i64.const 1000) (i64.shl (i64.extend_i32_u (local.get $n)) (i64.const 32))))
                    (i32.const 0))
          (call $is (call $set (global.get $f) (local.get $e) (i32.const 4) (i64.const 9)) (i32.const 0)))"#,
    )
    .unwrap();
    assert_eq!(guest.subscriptions()[0].priority, 5);
    let text = sources[0].field("text").unwrap();
    assert!(sources[0].fields[text].has_tag("tag"));
    for _ in 0..3 {
        let mut event = pass(&mut guest, &sources, packet(-7, "bash")).unwrap().unwrap();
        assert_eq!(sources[0].accessor(text).value(&event.event()), Value::Text(b"bash"));
        assert_eq!(event.data[..4], [9, 0, 0, 0]);
    }
}

/// A guest for this host knows it before anything else, and its own callback is called instead of the other one.
#[test]
fn an_event_can_be_discarded() {
    let (mut guest, _, sources) = start(
        r#"(global $told (mut i32) (i32.const 0))
        (func (export "igxHost") (global.set $told (i32.const 1)))
        (func (export "gadgetInit") (result i32)
          (call $is (global.get $told) (i32.const 1))
          (global.set $ds (call $getDataSource @"events"))
          (global.set $f (call $getField (global.get $ds) @"number"))
          (call $subscribe (global.get $ds) (i32.const 1) (i32.const 0) (i64.const 0)))
        (func (export "dataSourceCallback") (param i64 i32 i32) unreachable)
        (func (export "igxDataSourceCallback") (param i64 i32 i32) (result i32)
          (call $is (call $releasePacket (global.get $ds) (local.get 2)) (i32.const 1))
          (i32.wrap_i64 (call $getScalar (global.get $f) (local.get 2) (i32.const 4) (i32.const 900))))"#,
    )
    .unwrap();
    assert!(pass(&mut guest, &sources, packet(0, "a")).unwrap().is_some());
    assert!(pass(&mut guest, &sources, packet(1, "a")).unwrap().is_none());
    assert!(pass(&mut guest, &sources, packet(2, "a")).unwrap().is_some());
}

#[test]
fn a_guest_of_others_cannot_discard() {
    let (mut guest, _, sources) = start(
        r#"(func (export "gadgetInit") (result i32)
          (global.set $ds (call $getDataSource @"events"))
          (call $subscribe (global.get $ds) (i32.const 1) (i32.const 0) (i64.const 0)))
        (func (export "dataSourceCallback") (param i64 i32 i32)
          (call $is (call $releasePacket (global.get $ds) (local.get 2)) (i32.const 1)))"#,
    )
    .unwrap();
    assert!(pass(&mut guest, &sources, packet(0, "a")).unwrap().is_some());
}

/// Upstream says that a look-up went well where there is nothing to be found, and writes nothing.
#[test]
fn only_guests_for_this_host_are_told_that_a_key_is_not_there() {
    for (know, answer) in [("", 0), (r#"(func (export "igxHost"))"#, 1)] {
        let (mut guest, _, mut sources) = start(&format!(
            r#"{know}
            (func (export "gadgetStart") (result i32)
              (local $m i32)
              (local.set $m (call $not0 (call $getMap @"map")))
              (i32.store (i32.const 1000) (i32.const 77))
              (call $is (call $lookup (local.get $m) @"keyy" (i64.const 0x4000003e8)) (i32.const {answer}))
              (call $is (i32.load (i32.const 1000)) (i32.const 77))
              (call $is (call $lookup (i32.const 999) @"keyy" (i64.const 0x4000003e8)) (i32.const 1))
              (call $is (call $lookup (local.get $m) @"short" (i64.const 0x4000003e8)) (i32.const 1))
              (i32.const 0))"#
        ))
        .unwrap();
        guest.call(Stage::Start, &mut sources).unwrap();
    }
}

#[test]
fn a_guest_sends_events_of_its_own() {
    let (mut guest, _, mut sources) = start(
        r#"(global $own (mut i32) (i32.const 0))
        (func (export "gadgetInit") (result i32)
          (global.set $own (call $not0 (call $newDataSource @"own" (i32.const 1))))
          (call $is (call $newDataSource @"own" (i32.const 1)) (i32.const 0))
          (call $is (call $newDataSource @"odd" (i32.const 3)) (i32.const 0))
          (global.set $g (call $not0 (call $addField (global.get $own) @"text" (i32.const 12))))
          (i32.const 0))
        (func (export "gadgetStart") (result i32)
          (local $p i32)
          (call $is (call $newArray (global.get $own)) (i32.const 0))
          ;; What nobody was asked to add any more.
          (call $is (call $addField (global.get $own) @"late" (i32.const 12)) (i32.const 0))
          (local.set $p (call $not0 (call $newPacket (global.get $own))))
          (call $is (call $set (global.get $g) (local.get $p) (i32.const 12) @"hello") (i32.const 0))
          (call $is (call $emit (global.get $own) (local.get $p)) (i32.const 0))
          (call $is (call $emit (global.get $own) (local.get $p)) (i32.const 1))
          (i32.const 0))"#,
    )
    .unwrap();
    guest.call(Stage::Start, &mut sources).unwrap();
    let (source, payload) = guest.emitted().unwrap();
    assert!(guest.emitted().is_none());
    let Payload::Single(mut event) = payload else { panic!("a batch") };
    assert_eq!(sources[source].name, "own");
    assert_eq!(sources[source].accessor(0).value(&event.event()), Value::Text(b"hello"));
}

#[test]
fn batches_are_read_and_made() {
    let (mut guest, _, sources) = start(
        r#"(func (export "gadgetInit") (result i32)
          (global.set $ds (call $getDataSource @"list"))
          (global.set $f (call $getField (global.get $ds) @"number"))
          (call $subscribe (global.get $ds) (i32.const 2) (i32.const 0) (i64.const 0)))
        (func (export "dataSourceCallback") (param i64 i32 i32)
          (local $e i32) (local $a i32)
          (call $is (call $arrayLen (local.get 2)) (i32.const 2))
          (call $is (call $arrayGet (local.get 2) (i32.const 2)) (i32.const 0))
          (call $is (call $arrayGet (local.get 2) (i32.const -1)) (i32.const 0))
          (local.set $e (call $not0 (call $arrayGet (local.get 2) (i32.const 1))))
          (call $is (i32.wrap_i64 (call $getScalar (global.get $f) (local.get $e) (i32.const 4) (i32.const 900)))
                    (i32.const 6))
          (call $is (call $set (global.get $f) (local.get $e) (i32.const 4) (i64.const 66)) (i32.const 0))
          ;; A batch of its own, with one element, filled before and after it is there.
          (local.set $a (call $not0 (call $newArray (global.get $ds))))
          (local.set $e (call $not0 (call $arrayNew (local.get $a))))
          (call $is (call $set (global.get $f) (local.get $e) (i32.const 4) (i64.const 1)) (i32.const 0))
          (call $is (call $arrayAppend (local.get $a) (local.get $e)) (i32.const 0))
          (call $is (call $arrayAppend (local.get $a) (local.get $e)) (i32.const 1))
          (call $is (call $set (global.get $f) (local.get $e) (i32.const 4) (i64.const 77)) (i32.const 0))
          (call $is (call $arrayRelease (local.get $a) (call $arrayNew (local.get $a))) (i32.const 0))
          (call $is (call $emit (global.get $ds) (local.get $a)) (i32.const 0))
          ;; The element went with its batch.
          (call $is (call $set (global.get $f) (local.get $e) (i32.const 4) (i64.const 1)) (i32.const 1)))"#,
    )
    .unwrap();
    let subscription = guest.subscriptions()[0];
    for _ in 0..3 {
        let element = |n| Packet { slots: Slots::new(sources[1].slots), ..packet(n, "a") };
        let mut batch = Payload::Array(vec![element(5), element(6)]);
        assert!(guest.event(&subscription, &mut batch).unwrap());
        let Payload::Array(batch) = batch else { panic!("an event") };
        assert_eq!((batch[0].data[0], batch[1].data[0]), (5, 66));
        let Some((1, Payload::Array(own))) = guest.emitted() else { panic!("nothing sent") };
        assert_eq!((own.len(), own[0].data[0]), (1, 77));
    }
}

/// Lists of numbers cross as bytes, whichever of the two kinds a guest names; upstream knows only one.
#[test]
fn lists_are_read_and_written() {
    const GUEST: &str = r#"(func (export "gadgetInit") (result i32)
          (global.set $ds (call $not0 (call $getDataSource @"events")))
          (global.set $f (call $not0 (call $getField (global.get $ds) @"ports")))
          (global.set $g (call $not0 (call $addField (global.get $ds) @"doubled" (i32.const 0x10000008))))
          (call $subscribe (global.get $ds) (i32.const 1) (i32.const 0) (i64.const 0)))
        (func (export "dataSourceCallback") (param i64 i32 i32)
          ;; No number, and too long for less room.
          (i32.store (i32.const 900) (i32.const 0))
          (drop (call $getScalar (global.get $f) (local.get 2) (i32.const 7) (i32.const 900)))
          (call $is (i32.load (i32.const 900)) (i32.const 1))
          (call $is (call $getBuffer (global.get $f) (local.get 2) (i32.const KIND) (i64.const 0x5000003e8))
                    (i32.const -1))
          (call $is (call $getBuffer (global.get $f) (local.get 2) (i32.const KIND) (i64.const 0x6000003e8))
                    (i32.const 6))
          (i32.store (i32.const 1100) (i32.mul (i32.const 2) (i32.load16_u (i32.const 1000))))
          (i32.store (i32.const 1104) (i32.mul (i32.const 2) (i32.load16_u (i32.const 1004))))
          (call $is (call $set (global.get $g) (local.get 2) (i32.const KIND) (i64.const 0x80000044c))
                    (i32.const 0))
          ;; The kernel's list has the length that it has.
          (call $is (call $set (global.get $f) (local.get 2) (i32.const KIND) (i64.const 0x40000044c))
                    (i32.const 1))
          (call $is (call $set (global.get $f) (local.get 2) (i32.const KIND) (i64.const 0x60000044c))
                    (i32.const 0)))"#;
    for kind in ["14", "0x10000007"] {
        let (mut guest, _, sources) = start(&GUEST.replace("KIND", kind)).unwrap();
        let mut event = Packet { data: vec![0; sources[0].static_size], ..Packet::default() };
        event.data[12..18].copy_from_slice(&[1, 1, 2, 0, 3, 0]);
        let event = pass(&mut guest, &sources, event).unwrap().unwrap();
        let value = |name| event.value(&sources[0].accessor(sources[0].field(name).unwrap()));
        assert_eq!(value("doubled"), Value::Array(Scalar::Uint32, &[2, 2, 0, 0, 6, 0, 0, 0]), "{kind}");
        assert_eq!(value("ports"), Value::Array(Scalar::Uint16, &[2, 2, 0, 0, 6, 0]), "{kind}");
    }
}

#[test]
fn maps() {
    let (mut guest, host, mut sources) = start(
        r#"(func (export "gadgetStart") (result i32)
          (local $m i32) (local $n i32)
          (local.set $m (call $not0 (call $getMap @"map")))
          (call $is (call $getMap @"none") (i32.const 0))
          (call $is (call $update (local.get $m) @"keyy" @"vals" (i64.const 0)) (i32.const 0))
          (call $is (call $update (local.get $m) @"shrt1" @"vals" (i64.const 0)) (i32.const 1))
          (call $is (call $update (local.get $m) @"keyy" @"longer" (i64.const 0)) (i32.const 1))
          (call $is (call $lookup (local.get $m) @"keyy" (i64.const 0x4000003e8)) (i32.const 0))
          (call $is (i32.load8_u (i32.const 1000)) (i32.const 118))
          (call $is (call $delete (local.get $m) @"keyy") (i32.const 0))
          (call $is (call $delete (local.get $m) @"keyy") (i32.const 1))
          (call $is (call $mapRelease (local.get $m)) (i32.const 1))
          (call $is (call $release (local.get $m)) (i32.const 0))
          (call $is (call $release (local.get $m)) (i32.const 1))
          (local.set $n (call $not0 (call $newMap @"own" (i32.const 1) (i32.const 4) (i32.const 4) (i32.const 9))))
          (call $is (call $newMap @"big" (i32.const 1) (i32.const 4) (i32.const -1) (i32.const -1)) (i32.const 0))
          (call $is (call $mapRelease (local.get $n)) (i32.const 0))
          (i32.const 0))"#,
    )
    .unwrap();
    guest.call(Stage::Start, &mut sources).unwrap();
    assert_eq!(host.0.borrow().closed, 2);
}

#[test]
fn perf_buffers() {
    let (mut guest, host, mut sources) = start(
        r#"(func (export "gadgetStart") (result i32)
          (local $m i32) (local $r i32)
          (local.set $m (call $not0 (call $getMap @"map")))
          (call $is (call $newReader (i32.const 77) (i32.const 4096) (i32.const 1)) (i32.const 0))
          (call $is (call $newReader (local.get $m) (i32.const 1) (i32.const 0)) (i32.const 0))
          (local.set $r (call $not0 (call $newReader (local.get $m) (i32.const 4096) (i32.const 1))))
          (call $is (call $pauseReader (local.get $r)) (i32.const 0))
          (call $is (call $pauseReader (local.get $m)) (i32.const 1))
          ;; The first of two records, in no more room than it needs; the second in less.
          (call $is (call $readPerf (local.get $r) (i64.const 0x5000003e8)) (i32.const 0))
          (call $is (i32.load8_u (i32.const 1004)) (i32.const 116))
          (call $is (call $readPerf (local.get $r) (i64.const 0x5000003e8)) (i32.const 1))
          (call $is (call $readPerf (local.get $r) (i64.const 0x5000003e8)) (i32.const 2))
          (call $is (call $resumeReader (local.get $r)) (i32.const 0))
          (call $is (call $closeReader (local.get $m)) (i32.const 1))
          (call $is (call $closeReader (local.get $r)) (i32.const 0))
          (call $is (call $closeReader (local.get $r)) (i32.const 1))
          (call $is (call $readPerf (local.get $r) (i64.const 0x5000003e8)) (i32.const 1))
          (call $is (call $resumeReader (local.get $r)) (i32.const 1))
          (i32.const 0))"#,
    )
    .unwrap();
    host.0.borrow_mut().records = vec![b"second", b"first"];
    guest.call(Stage::Start, &mut sources).unwrap();
    let expected = ["7 1 false", "7 4096 true", "3 paused true", "3 paused false", "3 closed"];
    assert_eq!(host.0.borrow().readers, expected);
}

#[test]
fn what_the_machine_tells() {
    let (guest, host, _) = start(
        r#"(func (export "gadgetInit") (result i32)
          (call $is (call $param @"key" (i64.const 0x5000003e8)) (i32.const 0))
          (call $is (call $param @"key" (i64.const 0x4000003e8)) (i32.const 1))
          (call $is (call $param @"other" (i64.const 0x5000003e8)) (i32.const 1))
          (call $is (i32.load8_u (i32.const 1004)) (i32.const 101))
          (call $is (call $setConfig @"programs.x.attach_to" @"there" (i32.const 12)) (i32.const 0))
          (call $is (call $setConfig @"programs.x.attach_to" @"there" (i32.const 8)) (i32.const 1))
          (call $is (call $syscallNumber @"write") (i32.const 1))
          (call $is (call $syscallNumber @"wrote") (i32.const -1))
          (call $is (call $syscallName (i32.const 1) (i64.const 0x20000003e8)) (i32.const 0))
          (call $is (call $syscallName (i32.const 2) (i64.const 0x20000003e8)) (i32.const 1))
          (call $is (call $declaration @"write" (i64.const 0xfc000003e8)) (i32.const 0))
          (call $is (i32.load8_u (i32.const 1032)) (i32.const 2))
          (call $is (i32.load (i32.const 1068)) (i32.const 0))
          (call $is (i32.load (i32.const 1104)) (i32.const 1))
          (call $is (call $declaration @"write" (i64.const 0xfb000003e8)) (i32.const 1))
          (call $is (call $symbol @"schedule") (i32.const 1))
          (call $is (call $symbol @"shedule") (i32.const 0))
          (call $is (call $discards (i64.const 1)) (i32.const 0))
          (call $is (call $discards (i64.const 2)) (i32.const 1))
          (call $is (call $shouldLog (i32.const 2)) (i32.const 1))
          (call $is (call $shouldLog (i32.const 3)) (i32.const 0))
          (call $is (call $shouldLog (i32.const 99)) (i32.const 0))
          (call $log (i32.const 1) @"careful")
          (call $log (i32.const 4) @"chatter")
          (i32.const 0))"#,
    )
    .unwrap();
    assert_eq!(host.0.borrow().log, ["Warn: careful"]);
    assert_eq!(guest.config()["programs.x.attach_to"], "there");
}

#[test]
fn data_sources_are_left_out_when_nobody_refers_to_them() {
    let (_, _, sources) = start(
        r#"(func (export "gadgetInit") (result i32)
          (global.set $ds (call $getDataSource @"events"))
          (call $is (call $isReferenced (global.get $ds)) (i32.const 1))
          (call $is (call $isReferenced (i32.const 99)) (i32.const 2))
          (call $is (call $unreference (global.get $ds)) (i32.const 0))
          (call $is (call $isReferenced (global.get $ds)) (i32.const 0))
          (call $is (call $getDataSource @"events") (i32.const 0))
          (i32.const 0))"#,
    )
    .unwrap();
    assert!(sources[0].unreferenced && !sources[1].unreferenced);
}

#[test]
fn wasi_has_a_log_and_a_clock_but_no_files() {
    let (_, host, _) = start(
        r#"(func (export "gadgetInit") (result i32)
          (i32.store (i32.const 904) (i32.const 3))
          (call $log (i32.const 9) @"abc")
          (i32.store (i32.const 900) (i32.const 0))
          (call $is (call $write (i32.const 2) (i32.const 900) (i32.const 1) (i32.const 920)) (i32.const 0))
          (call $is (i32.load (i32.const 920)) (i32.const 3))
          (call $is (call $write (i32.const 5) (i32.const 900) (i32.const 1) (i32.const 920)) (i32.const 8))
          (call $is (call $read (i32.const 0) (i32.const 900) (i32.const 1) (i32.const 920)) (i32.const 8))
          (call $is (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0)
                      (i64.const 0) (i32.const 0) (i32.const 0)) (i32.const 52))
          (call $is (call $clock (i32.const 1) (i64.const 0) (i32.const 1000)) (i32.const 0))
          (call $is (i64.eqz (i64.load (i32.const 1000))) (i32.const 0))
          (call $is (call $clock (i32.const 1) (i64.const 0) (i32.const -4)) (i32.const 21))
          (call $is (call $random (i32.const 1000) (i32.const 16)) (i32.const 0))
          (call $is (call $random (i32.const 65530) (i32.const 16)) (i32.const 21))
          (i32.const 0))"#,
    )
    .unwrap();
    assert_eq!(host.0.borrow().log, ["Debug: abc"]);
}

#[test]
fn modules_that_cannot_be_run_are_refused() {
    let new = |wat: &str| {
        let module = wat::parse_str(wat).unwrap();
        Guest::new("test", &module, Box::new(Mock::default()), LIMITS).err().unwrap().to_string()
    };
    insta::assert_snapshot!(new("(module)"), @"guest test: exports no function gadgetAPIVersion of the type that the guest API says");
    insta::assert_snapshot!(new(r#"(module (func (export "gadgetAPIVersion") (result i64) (i64.const 2)))"#), @"guest test: written for version 2 of the guest API; this igx has version 1");
    insta::assert_snapshot!(new(r#"(module (import "ig" "fly" (func)))"#), @"guest test: wants ig.fly, which there is not in version 1 of the guest API; it needs a later igx");
    insta::assert_snapshot!(new(r#"(module (memory 257) (func (export "gadgetAPIVersion") (result i64) (i64.const 1)))"#), @"guest test: not a module that can be run: failed to instantiate memory: a resource limiter denied to allocate or grow the linear memory; the image is damaged or needs a later igx");
    let error = Guest::new("test", b"\0asm garbage", Box::new(Mock::default()), LIMITS).err().unwrap();
    assert!(error.to_string().starts_with("guest test: not a module that can be run: "), "{error}");
}
