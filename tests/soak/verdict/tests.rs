//! A broken server, as the checker would see it: each kind of loss is told, and a sound
//! one is not.

use serde_json::json;

use super::*;

fn container(sandbox: &str, state: &str) -> Container {
    Container { id: format!("id-of-{sandbox}"), sandbox: sandbox.into(), state: state.into() }
}

fn phases(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
    rows.iter().map(|(sandbox, phase)| ((*sandbox).into(), (*phase).into())).collect()
}

/// The log of a project that was made, started and stopped.
fn sound_log(uid: &str) -> Vec<Past> {
    let moves = [
        (None, "creating", None),
        (Some("creating"), "stopped", Some("created")),
        (Some("stopped"), "starting", Some("start_asked")),
        (Some("starting"), "running", Some("init_ready")),
        (Some("running"), "stopping", Some("stop_asked")),
        (Some("stopping"), "stopped", Some("stopped")),
    ];
    let past = |(generation, (from, to, by)): (i64, (Option<&str>, &str, Option<&str>))| Past {
        uid: uid.into(),
        phase: "stopped".into(),
        last: 6,
        generation,
        from: from.map(Into::into),
        to: to.into(),
        by: by.map(Into::into),
    };
    (1..).zip(moves).map(past).collect()
}

#[test]
fn a_write_that_is_lost_torn_or_undone_is_told() {
    let mut ledger = Ledger::new(0);
    let first = ledger.writing(1);
    ledger.written(1, first);
    let second = ledger.writing(1);
    let versions = ledger.files().next().expect("a file").1.clone();
    let has = |status, text: &str| version_of(1, &versions, status, text);
    let text = |version| content(1, version);
    assert_eq!(has(200, &text(first)), Some(first));
    assert_eq!(has(200, &text(second)), Some(second), "it was not answered, and may be there");

    assert_eq!(has(404, ""), None, "an acknowledged file is gone");
    assert_eq!(has(200, &text(first)[1..]), None, "a part of it");
    assert_eq!(has(200, &text(second + 1)), None, "what nobody has written");
    assert_eq!(has(503, &text(first)), None, "no answer");
    ledger.written(1, second);
    let versions = ledger.files().next().expect("a file").1;
    assert_eq!(version_of(1, versions, 200, &text(first)), None, "a newer one was acknowledged");
}

#[test]
fn a_line_that_is_lost_doubled_torn_or_out_of_order_is_told() {
    for sound in ["", "7\n", "7\n8\n9\n", "7\n8\n0\n1\n"] {
        assert_eq!(broken_lines("one", sound, 1), None, "{sound:?}");
    }
    assert_eq!(broken_lines("one", "0\n1\n", 3), None);
    assert!(broken_lines("one", "1\n2\n", 3).is_some(), "its beginning is gone");
    for broken in ["7\n9\n", "7\n8\n8\n", "7\n8\n7\n", "7\n8x\n9\n", "7\n\n8\n", "0\n0\n2\n"] {
        assert!(broken_lines("one", broken, 1).is_some(), "{broken:?}");
    }
}

#[test]
fn an_orphan_a_second_a_false_and_a_missing_container_are_told() {
    let rows = [("one", "running"), ("two", "paused"), ("three", "stopped"), ("new", "stopped")];
    let sound =
        [container("one", "running"), container("two", "paused"), container("three", "exited")];
    assert_eq!(wrong_containers(phases(&rows), &sound), Vec::<String>::new());

    let with = |more| [&sound[..], &[container(more, "running")]].concat();
    for (what, containers) in [
        ("an orphan", with("nobody")),
        ("a second one", with("one")),
        ("one that is missing", sound[1..].to_vec()),
        ("one that runs and should not", with("new")),
        ("one that should run", vec![container("one", "exited"), sound[1].clone()]),
    ] {
        assert_eq!(wrong_containers(phases(&rows), &containers).len(), 1, "{what}");
    }
}

#[test]
fn a_gap_a_double_and_an_end_too_early_in_a_log_of_transitions_are_told() {
    let both = [sound_log("one"), sound_log("two")].concat();
    assert_eq!(wrong_log(&both), Vec::<String>::new());

    for missing in 0..both.len() {
        let mut log = both.clone();
        let gone = log.remove(missing);
        assert!(!wrong_log(&log).is_empty(), "without {gone:?}");
        log.insert(missing, gone.clone());
        log.insert(missing, gone.clone());
        assert!(!wrong_log(&log).is_empty(), "twice {gone:?}");
    }
    let mut elsewhere = sound_log("one");
    elsewhere[3].from = Some("stopped".into());
    assert_eq!(wrong_log(&elsewhere).len(), 1, "it begins elsewhere");
    for given_up in ["lost", "faulted"] {
        let mut log = sound_log("one");
        log[4].by = Some(given_up.into());
        assert_eq!(wrong_log(&log).len(), 1, "{given_up}");
    }
}

#[test]
fn a_project_that_is_not_where_it_was_asked_to_be_is_told() {
    let mut ledger = Ledger::new(0);
    let shown = |phase: &str| json!({ "phase": phase });
    ledger.found(Some("running"));
    assert!(may_be(&ledger, &shown("running")));
    for elsewhere in [shown("stopped"), shown("failed"), shown("starting"), Value::Null] {
        assert!(!may_be(&ledger, &elsewhere), "{elsewhere}");
    }
    // A stop that was not answered.
    ledger.at.insert(Some("stopped"));
    assert!(may_be(&ledger, &shown("running")) && may_be(&ledger, &shown("stopped")));
    assert!(!may_be(&ledger, &Value::Null));
    ledger.found(None);
    assert!(may_be(&ledger, &Value::Null));
    for back in ["running", "failed"] {
        assert!(!may_be(&ledger, &shown(back)), "a deleted one is back, {back}");
    }
}

#[test]
fn a_process_or_a_shell_that_is_another_one_is_told() {
    let shown = |process: u32, shell: u32| json!({ "generation": 3, "process": { "pid": process }, "terminal": { "pid": shell } });
    let mut ledger = Ledger::new(0);
    ledger.note_pids(&shown(7, 8));
    assert_eq!(ledger.wrong_pids(&shown(7, 8)), None);
    for other in [shown(9, 8), shown(7, 9), json!({ "generation": 3, "process": null })] {
        assert!(ledger.wrong_pids(&other).is_some(), "{other}");
    }
    let moved = json!({ "generation": 4, "process": { "pid": 9 } });
    assert_eq!(ledger.wrong_pids(&moved), None, "it was started again since");
}

#[test]
fn a_move_that_was_answered_and_is_undone_is_told() {
    let shown = |uid: &str, generation: u64| json!({ "uid": uid, "generation": generation });
    let mut ledger = Ledger::new(0);
    assert_eq!(ledger.lost_move(&shown("a", 1)), None, "nothing was answered");
    ledger.answered(&shown("a", 4));
    ledger.answered(&Value::Null);
    for sound in [shown("a", 4), shown("a", 6), shown("b", 1)] {
        assert_eq!(ledger.lost_move(&sound), None, "{sound}");
    }
    assert!(ledger.lost_move(&shown("a", 3)).is_some());
    ledger.found(None);
    assert_eq!(ledger.lost_move(&shown("a", 1)), None, "it was deleted since");
}
