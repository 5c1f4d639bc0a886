use super::*;
use crate::{
    DataSource, Error, Field, Map, MapType, PerfReader, Syscall, SyscallParam, Update, life::report,
};

thread_local! {
    /// What a guest does in its steps, so that each test can say it in place.
    static INIT: RefCell<Option<Box<dyn FnOnce() -> Result>>> = const { RefCell::new(None) };
    static START: RefCell<Option<Box<dyn FnOnce() -> Result>>> = const { RefCell::new(None) };
}

struct Scripted;

impl Guest for Scripted {
    fn init() -> Result<Self> {
        INIT.take().map_or(Ok(()), |init| init())?;
        Ok(Self)
    }

    fn start(&mut self) -> Result {
        START.take().map_or(Ok(()), |start| start())
    }
}

/// Runs a guest that does this in `init`.
fn init(host: &Host, script: impl FnOnce() -> Result + 'static) -> Result {
    INIT.set(Some(Box::new(script)));
    host.run::<Scripted>()
}

/// Runs a guest that does this in `start`.
fn start(host: &Host, script: impl FnOnce() -> Result + 'static) -> Result {
    START.set(Some(Box::new(script)));
    host.run::<Scripted>()
}

fn warnings(host: &Host) -> Vec<String> {
    host.logs().into_iter().filter(|(level, _)| *level <= Level::Warn).map(|(_, text)| text).collect()
}

#[test]
fn values_of_every_type_come_back() {
    let host = Host::new();
    let all = host.data_source("all").build();
    init(&host, || {
        let all = DataSource::get("all")?;
        macro_rules! check {
            ($($type:ty: $value:expr),*) => {$(
                let field = all.add_field::<$type>(stringify!($type))?;
                all.subscribe(0, move |event| {
                    field.set(event, $value)?;
                    assert_eq!(field.get(event)?, $value);
                    Ok(())
                })?;
            )*};
        }
        check!(bool: true, i8: -1, i16: i16::MIN, i32: -7, i64: i64::MIN, u8: 255, u16: 65535);
        check!(u32: u32::MAX, u64: u64::MAX, f32: -0.5, f64: 1e300, String: "ü");
        let bytes = all.add_field::<Vec<u8>>("bytes")?;
        all.subscribe(1, move |event| bytes.set(event, &[0, 1]))
    })
    .unwrap();
    let event = host.emit(all, &[]).unwrap();
    assert_eq!(warnings(&host), [""; 0]);
    assert_eq!(event["i16"], i16::MIN.into());
    assert_eq!(event["u64"], u64::MAX.into());
    assert_eq!(event["f32"], (-0.5).into());
    assert_eq!(event["bytes"], vec![0, 1].into());
}

#[test]
fn a_char_array_is_read_to_its_nul_and_cut_when_set() {
    let host = Host::new();
    let source = host.data_source("s").chars("comm", 4).build();
    init(&host, || {
        let comm: Field<String> = DataSource::get("s")?.field("comm")?;
        DataSource::get("s")?.subscribe(0, move |event| {
            assert_eq!(comm.get(event)?, "ab");
            assert_eq!(comm.with(event, str::len)?, 2);
            // Reading within a loan of the text does not change it.
            comm.with(event, |text| assert_eq!((comm.get(event).as_deref(), text), (Ok("ab"), "ab")))?;
            comm.set(event, "longer")
        })
    })
    .unwrap();
    assert_eq!(host.emit(source, &[("comm", "ab".into())]).unwrap()["comm"], "long".into());
    assert_eq!(warnings(&host), [""; 0]);
}

#[test]
fn texts_longer_than_the_usual_room_are_read_whole() {
    let host = Host::new();
    let source = host.data_source("s").field("text", Kind::String).field("len", Kind::Uint64).build();
    init(&host, || {
        let source = DataSource::get("s")?;
        let (text, len) = (source.field::<String>("text")?, source.field::<u64>("len")?);
        source.subscribe(0, move |event| len.set(event, text.get(event)?.len() as u64))
    })
    .unwrap();
    for size in [0, 16 << 10, (16 << 10) + 1, 1 << 20, 4 << 20] {
        assert_eq!(
            host.emit(source, &[("text", "x".repeat(size).into())]).unwrap()["len"],
            (size as u64).into()
        );
    }
}

#[test]
fn a_field_of_another_type_is_an_error_that_names_it_and_the_event_goes_on() {
    let host = Host::new();
    let source = host.data_source("s").field("pid", Kind::Uint32).build();
    init(&host, || {
        let pid = DataSource::get("s")?.field::<u64>("pid")?;
        DataSource::get("s")?.subscribe(0, move |event| pid.get(event).map(drop))
    })
    .unwrap();
    for _ in 0..5 {
        assert_eq!(host.emit(source, &[("pid", 7.into())]).unwrap()["pid"], 7.into());
    }
    let warned = warnings(&host);
    assert!(warned[0].contains(r#"data source "s": cannot read field "pid""#), "{warned:?}");
    assert_eq!(warned.len(), 3, "failures 1, 2 and 4");
}

#[test]
fn what_is_not_there_is_said() {
    let host = Host::new();
    host.data_source("s").build();
    let result = init(&host, || DataSource::get("t").map(drop));
    assert_eq!(result, Err(Error::NoDataSource("t".into())));
    let result = init(&host, || DataSource::get("s")?.field::<u32>("f").map(drop));
    assert_eq!(result, Err(Error::NoField { data_source: "s".into(), field: "f".into() }));
    let result = init(&host, || DataSource::get("s")?.subscribe_array(0, |_| Ok(())));
    assert_eq!(result, Err(Error::Subscribe("s".into())));
    assert_eq!(start(&host, || Map::<u32, u32>::get("m").map(drop)), Err(Error::NoMap("m".into())));
    assert_eq!(warnings(&host), [""; 0], "nothing that was not given is released");
}

#[test]
fn subscriptions_run_by_priority_until_one_discards() {
    let host = Host::new();
    let source = host.data_source("s").field("way", Kind::String).build();
    init(&host, || {
        let source = DataSource::get("s")?;
        for priority in [5, -5, 0] {
            let way = source.field::<String>("way")?;
            source.subscribe(priority, move |event| {
                let before = way.get(event)?;
                if priority == 5 && before.starts_with("drop") {
                    event.discard();
                }
                way.set(event, &format!("{before} {priority}"))
            })?;
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(host.emit(source, &[]).unwrap()["way"], " -5 0 5".into());
    assert_eq!(host.emit(source, &[("way", "drop".into())]), None);
}

#[test]
fn arrays_are_read_changed_and_thinned() {
    let host = Host::new();
    let source = host.data_source("a").array().field("n", Kind::Uint32).build();
    init(&host, || {
        let source = DataSource::get("a")?;
        let n = source.field::<u32>("n")?;
        let odd = n.clone();
        source.subscribe(0, move |event| {
            if odd.get(event)? % 2 == 1 {
                event.discard();
            }
            Ok(())
        })?;
        source.subscribe_array(1, move |array| {
            let sum = array.iter().map(|data| n.get(&data)).sum::<Result<u32>>()?;
            n.set(&array.get(0).ok_or("empty")?, 100)?;
            assert!(array.get(array.len()).is_none());
            array.push(|data| n.set(data, sum))?;
            assert_eq!(array.push(|_| Err("not this one".into())), Err("not this one".into()));
            Ok(())
        })
    })
    .unwrap();
    let before = host.open_handles();
    let left = host.emit_array(source, &[&[("n", 1.into())], &[("n", 2.into())], &[("n", 4.into())]]);
    let left: Vec<_> = left.iter().map(|record| record["n"].clone()).collect();
    assert_eq!(left, [100.into(), 4.into(), 6.into()]);
    assert_eq!((host.open_handles(), warnings(&host)), (before, vec![]));
}

#[test]
fn packets_are_emitted_or_given_back() {
    let host = Host::new();
    start(&host, || {
        let one = DataSource::new("one", Type::Single)?;
        let n = one.add_field::<u32>("n")?;
        for at in 0..10_000 {
            let packet = one.packet()?;
            n.set(&packet, at)?;
            if at % 5000 == 0 {
                packet.emit()?;
            }
        }
        let many = DataSource::new("many", Type::Array)?;
        let m = many.add_field::<u32>("m")?;
        let packet = many.packet_array()?;
        packet.push(|data| m.set(data, 1))?;
        packet.push(|data| m.set(data, 2))?;
        assert!(many.packet().is_err() && one.packet_array().is_err());
        packet.emit()
    })
    .unwrap();
    let one: Vec<_> =
        host.emitted(host.source("one").unwrap()).iter().map(|packet| packet[0]["n"].clone()).collect();
    assert_eq!(one, [0.into(), 5000.into()]);
    let many = host.emitted(host.source("many").unwrap());
    assert_eq!((many.len(), many[0].len()), (1, 2));
    assert_eq!((host.open_handles(), warnings(&host)), (0, vec![]));
}

#[test]
fn a_callback_may_emit_elsewhere_but_not_into_itself() {
    let host = Host::new();
    let source = host.data_source("s").build();
    init(&host, || {
        let (source, other) = (DataSource::get("s")?, DataSource::new("other", Type::Single)?);
        let again = source.clone();
        source.subscribe(0, move |_| {
            other.packet()?.emit()?;
            again.packet()?.emit()
        })
    })
    .unwrap();
    host.emit(source, &[]).unwrap();
    assert_eq!(host.emitted(host.source("other").unwrap()).len(), 1);
    assert!(warnings(&host)[0].contains("called within itself"), "{:?}", host.logs());
}

#[test]
fn maps_are_read_written_and_closed() {
    let host = Host::new();
    let counts = host.map::<u32, u64>("counts");
    counts.insert(&1, &10);
    // The two marks that a lookup leaves to see whether anything was written.
    counts.insert(&3, &0xa5a5_a5a5_a5a5_a5a5);
    counts.insert(&4, &0x5a5a_5a5a_5a5a_5a5a);
    host.map_of_maps::<u32>("outer");
    start(&host, || {
        let counts = Map::<u32, u64>::get("counts")?;
        assert_eq!(
            [1, 2, 3, 4].map(|key| counts.lookup(&key)),
            [Some(10), None, Some(0xa5a5_a5a5_a5a5_a5a5), Some(0x5a5a_5a5a_5a5a_5a5a)]
        );
        counts.update(&2, &20, Update::NoExist)?;
        assert!(counts.update(&2, &21, Update::NoExist).is_err());
        counts.delete(&1)?;
        assert_eq!(counts.delete(&1), Err(Error::MapEntry { map: "counts".into(), action: "delete" }));

        let outer = Map::<u32, Map<u8, u8>>::get("outer")?;
        let inner = Map::<u8, u8>::new("inner", MapType::Hash, 1)?;
        inner.update(&1, &2, Update::Any)?;
        assert!(inner.update(&2, &2, Update::Any).is_err(), "it has room for one");
        outer.set_inner(&7, &inner, Update::Any)?;
        assert_eq!(outer.inner(&7).and_then(|inner| inner.lookup(&1)), Some(2));
        assert!(outer.inner(&8).is_none());
        Ok(())
    })
    .unwrap();
    assert_eq!((counts.get(&1), counts.get(&2)), (None, Some(20)));
    assert_eq!((host.open_handles(), warnings(&host)), (0, vec![]));
}

#[test]
fn perf_records_are_read_until_none_is_left() {
    let host = Host::new();
    let events = host.map::<u32, u32>("events");
    events.record(&[1, 2, 3]);
    start(&host, || {
        let mut reader = PerfReader::new(&Map::<u32, u32>::get("events")?, 4096, true)?;
        reader.pause()?;
        let mut room = [9; 4];
        assert_eq!((reader.read(&mut room)?, room), (true, [1, 2, 3, 0]));
        assert!(!reader.read(&mut room)?);
        reader.resume()
    })
    .unwrap();
    assert_eq!(host.open_handles(), 0);
}

#[test]
fn what_the_host_knows_of_the_kernel() {
    let host = Host::new();
    host.symbol("tcp_connect");
    host.discard_mntns(4);
    host.syscall(257, "openat", &[("dfd", false), ("filename", true)]);
    start(&host, || {
        assert!(crate::symbol_exists("tcp_connect") && !crate::symbol_exists("tcp"));
        assert!(crate::should_discard_mntns(4) && !crate::should_discard_mntns(5));
        let call = Syscall::by_number(257)?;
        assert_eq!((call.name(), Syscall::by_name("openat")?.number()), ("openat", 257));
        let param = |name: &str, is_pointer| SyscallParam { name: name.into(), is_pointer };
        assert_eq!(call.params()?, [param("dfd", false), param("filename", true)]);
        assert!(Syscall::by_number(1).is_err() && Syscall::by_name("close").is_err());
        crate::set_config("programs.p.attach_to", "f")
    })
    .unwrap();
    assert_eq!(host.config("programs.p.attach_to").as_deref(), Some("f"));
}

#[test]
fn a_parameter_that_cannot_be_read_says_why() {
    let host = Host::new();
    host.param("limit", "many");
    let result = start(&host, || crate::param::<u8>("limit").map(drop)).unwrap_err();
    assert_eq!(result.to_string(), r#"parameter "limit" is "many": invalid digit found in string"#);
    assert_eq!(start(&host, || crate::param::<u8>("other").map(drop)), Err(Error::NoParam("other".into())));
}

#[test]
fn sources_are_taken_out_of_use_and_fields_tagged() {
    let host = Host::new();
    let source = host.data_source("s").field("f", Kind::Uint32).build();
    init(&host, || {
        let source = DataSource::get("s")?;
        assert!(source.is_referenced()?);
        source.unreference()?;
        assert!(!source.is_referenced()?);
        source.field::<u32>("f")?.add_tag("name:f")
    })
    .unwrap();
    assert!(!host.is_referenced(source));
    assert_eq!(host.tags(source, "f"), ["name:f"]);
}

#[test]
fn under_upstream_nothing_is_discarded_and_made_packets_lack_the_programs_fields() {
    for more in [false, true] {
        let host = if more { Host::new() } else { Host::upstream() };
        let source = host.data_source("s").chars("comm", 16).field("pid", Kind::Uint32).build();
        init(&host, move || {
            assert_eq!(crate::host_is_igx(), more);
            let source = DataSource::get("s")?;
            let (comm, pid) = (source.field::<String>("comm")?, source.field::<u32>("pid")?);
            let own = source.add_field::<u32>("own")?;
            let packet = source.packet()?;
            assert_eq!(comm.set(&packet, "x").is_ok(), more);
            assert_eq!(pid.set(&packet, 1).is_ok(), more);
            own.set(&packet, 1)?;
            source.subscribe(0, |event| {
                event.discard();
                Ok(())
            })
        })
        .unwrap();
        assert_eq!(host.emit(source, &[]).is_none(), more);
    }
}

#[test]
fn the_entry_point_gives_the_verdict_and_survives_numbers_nobody_has() {
    let host = Host::new();
    host.data_source("s").build();
    init(&host, || {
        DataSource::get("s")?.subscribe(0, |event| {
            event.discard();
            Ok(())
        })?;
        DataSource::get("s")?.subscribe(0, |_| Ok(()))
    })
    .unwrap();
    assert_eq!([life::export_callback(0, 7), life::export_callback(1, 7)], [1, 0]);
    assert_eq!([life::export_callback(2, 7), life::export_callback(u64::MAX, 7)], [0, 0]);
    assert_eq!(warnings(&host).len(), 2);
}

#[test]
fn a_step_that_fails_is_told_to_the_host_with_its_reason() {
    let host = Host::new();
    INIT.set(Some(Box::new(|| Err("no such luck".into()))));
    assert_eq!(report(life::init::<Scripted>()), 1);
    assert_eq!(host.logs(), [(Level::Error, "no such luck".to_owned())]);
    assert_eq!(report(life::init::<Scripted>()), 0);
}
