//! A gadget of other kinds than the one we are born with, built and run from its image: the runner knows none by
//! name.

use std::{fs::File, process::Command};

use crate::support::with_trace_files;

#[test]
fn a_tracepoint_and_a_raw_tracepoint_send_two_kinds_of_events() {
    let igx = with_trace_files();
    let mut run = igx.run(&["trace_files", "--host", "-o", "json", "--comm", "true"]);
    let status = Command::new("/bin/true").status().unwrap();
    assert!(status.success());
    let events = run.events(&[&|e| e["fname"] == "/etc/ld.so.cache" && e["proc"]["comm"] == "true", &|e| {
        e.get("fname").is_none() && e["proc"]["comm"] == "true"
    }]);
    let open = &events[0];
    assert_eq!(open["flags"], "O_RDONLY|O_CLOEXEC");
    assert_eq!(open["by"], "openat");
    assert_eq!(open["proc"]["parent"]["pid"], std::process::id());
    assert_eq!(open["proc"]["creds"]["user"], "root");
    assert!(open["timestamp"].as_str().unwrap().len() >= "2026-01-01T00:00:00.000000000Z".len());
    run.stop();
}

#[test]
fn a_gadget_brings_its_own_flags() {
    let igx = with_trace_files();
    let help = igx.ok(&["run", "trace_files", "--help"]);
    assert!(help.contains("--creating"), "{help}");
    assert!(help.contains("Show only opens that may create the file"), "{help}");
    assert!(!igx.ok(&["run", "trace_sni", "--help"]).contains("--creating"));

    let pid = std::process::id().to_string();
    let mut run = igx.run(&["trace_files", "--host", "-o", "json", "--creating", "--pid", &pid]);
    let made = igx.home.path().join("made");
    File::open("/etc/hostname").unwrap();
    File::create(&made).unwrap();
    let event = run.event(|e| e.get("fname").is_some() && e["proc"]["pid"] == std::process::id());
    assert_eq!(event["fname"], made.to_str().unwrap());
    run.stop();
}

#[test]
fn an_image_tells_what_is_in_it_without_being_run() {
    let igx = with_trace_files();
    let info = |key| {
        let text = igx.ok(&["image", "inspect", "trace_files", "-o", "json", "--extra-info", key]);
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let sections = info("ebpf.sections");
    let programs = info("ebpf.programs");
    let is_open = |p: &&serde_json::Value| p["Source"].as_str().unwrap().starts_with("ig_open_e:\n");
    let program = programs.as_array().unwrap().iter().find(is_open).unwrap();
    assert!(sections.as_array().unwrap().contains(&program["Section"]), "{sections}");
    let maps = info("ebpf.maps");
    assert!(
        maps.as_array().unwrap().contains(&serde_json::json!({"Name": "opens", "Type": "RingBuf"})),
        "{maps}"
    );
    let variables = info("ebpf.variables");
    let creating = variables.as_array().unwrap().iter().find(|v| v["Name"] == "creating").unwrap();
    assert_eq!((&creating["Size"], &creating["Map"]), (&1.into(), &".rodata".into()));

    let all: serde_json::Value = serde_json::from_str(&igx.ok(&["image", "inspect", "trace_files"])).unwrap();
    assert_eq!(all["ebpf.maps"]["contentType"], "application/json");
}

#[test]
fn what_a_run_shows_is_also_written_as_columns_and_yaml() {
    let igx = with_trace_files();
    let mut run = igx.run(&["trace_files", "--host", "-o", "yaml", "--comm", "cat"]);
    Command::new("cat").arg("/etc/hostname").output().unwrap();
    assert_eq!(run.line(), "---");
    run.stop();

    // Only opens have a file: the other data source keeps out of the table.
    let mut run = igx.run(&["trace_files", "--host", "--fields", "comm,fname,flags", "--comm", "cat"]);
    assert!(run.line().starts_with("COMM             FNAME "));
    Command::new("cat").arg("/etc/hostname").output().unwrap();
    loop {
        let line = run.line();
        assert!(line.starts_with("cat ") && line.contains(" O_"), "{line}");
        if line.contains(" /etc/hostname ") {
            break;
        }
    }
    run.stop();
}

#[test]
fn each_data_source_has_its_own_columns_and_filter() {
    let igx = with_trace_files();
    let help = igx.ok(&["run", "trace_files", "--help"]);
    let words: Vec<&str> = help.split_whitespace().collect();
    let help = words.join(" ");
    assert!(help.contains("--filter.open") && help.contains("--filter.start"), "{help}");
    assert!(help.contains("Fields of open, those that are shown by default with a star:"), "{help}");
    assert!(help.contains("* fname text File as the process named it"), "{help}");

    let mut run = igx.run(&[
        "trace_files",
        "--host",
        "--fields=open:fname;start:comm,proc.parent.pid",
        "--filter.open=fname==/etc/hostname",
        "--filter.start=comm==cat",
    ]);
    let headers = [run.line(), run.line()];
    assert!(headers[0] == "OPEN:" && headers[1].starts_with("FNAME"), "{headers:#?}");
    Command::new("cat").arg("/etc/hostname").output().unwrap();
    let mut wanted = vec!["START:", "COMM ", "cat ", "/etc/hostname"];
    while !wanted.is_empty() {
        let line = run.line();
        wanted.retain(|start| !line.starts_with(start));
    }
    run.stop();

    let said = igx.fails(&["run", "trace_files", "--host", "-F", "comm==cat"]);
    assert!(said.contains("--filter.open or --filter.start"), "{said}");
    let said = igx.fails(&["run", "trace_files", "--host", "--filter.start", "fname==x"]);
    assert!(said.contains("\"start\" has no field \"fname\""), "{said}");
    let said = igx.fails(&["run", "trace_files", "--host", "--fields", "comm,fnmae"]);
    assert!(said.contains("did you mean fname"), "{said}");
}
