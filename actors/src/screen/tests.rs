//! What a screen promises: whoever begins with its snapshot sees what those see who
//! were there from the start.

mod generator;

use bytes::Bytes;
use generator::Generator;
use sandtree_model::ExitStatus;

use super::*;
use crate::fanout::Fanout;

fn at(offset: u64) -> Cursor {
    Cursor { epoch: 1, offset }
}

const SIZE: Size = Size { cols: 20, rows: 6 };

fn terminal(size: Size) -> vt100::Parser {
    let side = |side| std::num::NonZeroU16::new(side).unwrap();
    vt100::Parser::new(side(size.rows), side(size.cols), 0)
}

/// A terminal that was there from the start.
fn replay(size: Size, output: &[u8]) -> vt100::Parser {
    let mut terminal = terminal(size);
    terminal.process(output);
    terminal
}

/// A terminal that was used for something else, and then begins with a snapshot.
fn join(snapshot: &Snapshot, output: &[u8]) -> vt100::Parser {
    let mut terminal = terminal(snapshot.size);
    terminal.process(b"\x1b[?1049h\x1b[2;3r\x1b[?6h\x1b[31mold\x1b7\x1b[?1000h");
    terminal.process(&snapshot.bytes);
    terminal.process(&output[usize::try_from(snapshot.at.offset).unwrap()..]);
    terminal
}

fn screen_after(output: &[u8]) -> Screen {
    let screen = Screen::new(at(0), SIZE);
    screen.lock().feed(output);
    screen
}

/// Everything that can be seen of a terminal. A blank is a blank, written or not.
fn seen(terminal: &vt100::Parser) -> Vec<String> {
    let screen = terminal.screen();
    let (rows, cols) = screen.size();
    let mut seen: Vec<_> = (0..rows.get())
        .map(|row| (0..cols.get()).map(|col| cell(screen, row, col)).collect())
        .collect();
    let modes = (
        screen.cursor_position(),
        screen.hide_cursor(),
        screen.alternate_screen(),
        screen.input_mode_formatted(),
        screen.attributes_formatted(),
    );
    seen.push(format!("{modes:?}"));
    seen
}

/// The rows that differ.
fn assert_same(joined: &vt100::Parser, whole: &vt100::Parser, context: &str) {
    let (joined, whole) = (seen(joined), seen(whole));
    let differ = joined.iter().zip(&whole).enumerate().find(|(_, (left, right))| left != right);
    if let Some((row, (left, right))) = differ {
        panic!("{context}, row {row}\n  joined: {left}\n   whole: {right}");
    }
}

fn cell(screen: &vt100::Screen, row: u16, col: u16) -> String {
    let cell = screen.cell(row, col).unwrap();
    let text = if cell.has_contents() { cell.contents() } else { " " };
    if text == " " {
        return format!("[ {:?} {}]", cell.bgcolor(), cell.inverse());
    }
    let colours = (cell.fgcolor(), cell.bgcolor());
    let style = (cell.bold(), cell.dim(), cell.italic(), cell.underline(), cell.inverse());
    format!("[{text} {colours:?} {style:?} {}]", cell.is_wide())
}

#[test]
fn a_snapshot_and_what_follows_are_the_whole_output() {
    for seed in 0..200 {
        let mut generator = Generator::new(seed);
        let small = Size { cols: generator.side(), rows: generator.side() };
        let size = if seed % 2 == 0 { SIZE } else { small };
        let output = generator.output(100);
        let whole = replay(size, &output);
        let screen = Screen::new(at(0), size);
        let mut fed = 0;
        while fed < output.len() {
            let next = output.len().min(fed + 1 + generator.below(80));
            screen.lock().feed(&output[fed..next]);
            fed = next;
            let snapshot = screen.snapshot();
            assert!(!snapshot.torn);
            let context = format!("seed {seed}, joined after {fed} of {}", output.len());
            assert_same(&join(&snapshot, &output), &whole, &context);
        }
    }
}

/// Text that floods a screen, on whatever the screen was before.
#[test]
fn a_flood_of_lines_leaves_what_its_last_lines_leave() {
    let line = |number: usize, end: &str| {
        let text = "abcdefghij klmnopqrst\tuvwxyz".repeat(1 + number % 3);
        format!("{number}{}{end}", &text[..(number * 7) % text.len()])
    };
    let beginnings = [
        "",
        "middle",
        "\x1b[2;4r",
        "\x1b[2;4r\x1b[6;1H",
        "\x1b[1;3r\x1b[2;2H",
        "\x1b[?6h\x1b[3;5r",
        "\x1b[31;44m",
        "\x1b[?1049h",
        "\x1b[4hx\x1b[3G",
        "\x1b[?7l",
        "\x1b(0lqk",
        "ä\x1b[5;19H",
    ];
    for beginning in beginnings {
        for end in ["\r\n", "\n", "\r\n\r\n", " \r"] {
            for lines in [1, 7, 300, 301, 900] {
                let mut output = format!("{beginning}start\r\n").into_bytes();
                let screen = screen_after(&output);
                let flood: String = (0..lines).map(|number| line(number, end)).collect();
                screen.lock().feed(flood.as_bytes());
                output.extend_from_slice(flood.as_bytes());
                output.extend_from_slice(b"end\x1b[b\x1b[Kx");
                screen.lock().feed(b"end\x1b[b\x1b[Kx");
                let context = format!("{beginning:?} {end:?} {lines}");
                let joined = join(&screen.snapshot(), &output);
                assert_same(&joined, &replay(SIZE, &output), &context);
            }
        }
    }
}

#[test]
fn a_snapshot_looks_like_what_was_fed() {
    for seed in 10_000..10_400 {
        let output = Generator::new(seed).output(100);
        let snapshot = screen_after(&output).snapshot();
        let (joined, whole) = (join(&snapshot, &output), replay(SIZE, &output));
        assert_same(&joined, &whole, &format!("seed {seed}"));
    }
}

#[test]
fn a_saved_screen_goes_on_as_if_the_server_had_not_died() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("screen");
    for seed in 20_000..20_100 {
        let mut generator = Generator::new(seed);
        let output = generator.output(150);
        let died = generator.below(output.len());
        screen_after(&output[..died]).save(&path).unwrap();

        let screen = Screen::load(&path).unwrap().unwrap();
        let from = usize::try_from(screen.cursor().offset).unwrap();
        assert!(from <= died && screen.size() == SIZE && !screen.is_torn());
        screen.lock().feed(&output[from..]);
        let joined = join(&screen.snapshot(), &output);
        assert_same(&joined, &replay(SIZE, &output), &format!("seed {seed}"));
    }
}

#[test]
fn a_file_that_is_missing_or_not_whole_is_no_screen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("screen");
    assert!(Screen::load(&path).unwrap().is_none());
    screen_after(b"hello").save(&path).unwrap();
    let content = std::fs::read(&path).unwrap();
    for length in 0..content.len() {
        std::fs::write(&path, &content[..length]).unwrap();
        assert!(Screen::load(&path).unwrap().is_none(), "{length}");
        let mut rotten = content.clone();
        rotten[length] ^= 1;
        std::fs::write(&path, rotten).unwrap();
        assert!(Screen::load(&path).unwrap().is_none(), "{length}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn title_and_modes_come_with_a_snapshot() {
    let output = b"\x1b]2;a title\x07\x1b[?1004h\x1b[?7l\x1b[?2004h\x1b[?3h";
    let snapshot = screen_after(output).snapshot();
    let text = String::from_utf8(snapshot.bytes).unwrap();
    for part in ["\x1bc", "\x1b]2;a title\x07", "\x1b[?1004h", "\x1b[?7l", "\x1b[?2004h"] {
        assert!(text.contains(part), "{part:?} in {text:?}");
    }
    assert!(!text.contains("\x1b[?3h"));
    let reset = screen_after(&[&output[..], b"\x1b[!p"].concat()).snapshot();
    assert!(!String::from_utf8(reset.bytes).unwrap().contains("1004"));
}

#[test]
fn a_sequence_without_an_end_costs_no_memory_and_swallows_what_it_should() {
    for (opening, end) in [
        ("\x1b]0;", "\x07"),
        ("\x1b]1337;", "\x1b\\"),
        ("\x1bPq", "\x1b\\"),
        ("\x1b_", "\x1b\\"),
        ("\x1b[1;", "m"),
    ] {
        let screen = screen_after(b"before\xc3");
        screen.lock().feed(&[b"\xa9", opening.as_bytes()].concat());
        for _ in 0..1_000 {
            screen.lock().feed(&[b'0'; 1_000]);
        }
        let snapshot = screen.snapshot();
        assert!(snapshot.bytes.len() < 10_000, "{opening:?}");
        let rest = [b"000", end.as_bytes(), b"after"].concat();
        screen.lock().feed(&rest);
        let mut joined = terminal(SIZE);
        joined.process(&snapshot.bytes);
        joined.process(&rest);
        assert_eq!(joined.screen().contents(), "beforeéafter", "{opening:?}");
        let now = replay(SIZE, &screen.snapshot().bytes);
        // The last character waits for what may belong to it.
        assert_eq!(now.screen().contents(), "beforeéafte", "{opening:?}");
    }
}

#[test]
fn a_screen_saved_inside_a_long_sequence_goes_on_inside_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("screen");
    let screen = screen_after(b"before\x1b]52;c;");
    screen.lock().feed(&[b'A'; 10_000]);
    screen.save(&path).unwrap();
    let loaded = Screen::load(&path).unwrap().unwrap();
    assert_eq!(loaded.cursor(), at(13 + 10_000));
    loaded.lock().feed(b"AAAA\x07after\n");
    let now = replay(SIZE, &loaded.snapshot().bytes);
    assert_eq!(now.screen().contents(), "beforeafter");
}

#[test]
fn lost_output_marks_the_screen_until_it_has_scrolled_off() {
    let screen = screen_after(b"one\r\ntwo\x1b[3");
    screen.lock().lose(100);
    assert_eq!(screen.cursor(), at(11 + 100));
    assert!(screen.snapshot().torn);
    // Four lines down to the last one, and then as many as there are.
    for line in 0..4 + SIZE.rows {
        assert!(screen.is_torn(), "{line}");
        screen.lock().feed(b"\r\n");
    }
    assert!(!screen.snapshot().torn);
}

#[test]
fn sizes_are_brought_into_range() {
    let size = |cols, rows| Size { cols, rows };
    let screen = Screen::new(at(0), size(0, 9_000));
    assert_eq!(screen.size(), size(2, 500));
    assert_eq!(screen.resize(size(501, 1)), size(500, 2));
    assert_eq!(screen.resize(size(80, 24)), size(80, 24));
    assert_eq!(screen.snapshot().size, size(80, 24));
}

#[test]
fn a_program_that_repaints_after_a_change_of_size_is_seen_by_all() {
    for seed in 30_000..30_100 {
        let mut generator = Generator::new(seed);
        let size = Size { cols: generator.side(), rows: generator.side() };
        let before = generator.output(60);
        let after = [b"\x1bc".to_vec(), generator.output(60)].concat();
        let screen = screen_after(&before);
        screen.resize(size);
        screen.lock().feed(&after);
        let output = [before, after.clone()].concat();
        let joined = join(&screen.snapshot(), &output);
        assert_same(&joined, &replay(size, &after), &format!("seed {seed}"));
    }
}

#[test]
fn hostile_output_neither_stops_a_screen_nor_grows_it() {
    for seed in 4_000..4_040 {
        let mut generator = Generator::new(seed);
        let screen = screen_after(b"");
        for _ in 0..20 {
            screen.lock().feed(&generator.noise(2_000));
            screen.resize(Size { cols: generator.side(), rows: generator.side() });
            assert!(screen.snapshot().bytes.len() < 100_000);
        }
        screen.resize(SIZE);
        screen.lock().feed(b"\x18\x1bcalive\n");
        let snapshot = screen.snapshot();
        let mut joined = terminal(SIZE);
        joined.process(&snapshot.bytes);
        assert_eq!(joined.screen().contents(), "alive");
    }
}

#[tokio::test(start_paused = true)]
async fn a_screen_follows_its_output_and_saves_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("screen");
    let fanout = Fanout::new(1_000_000, at(0));
    let screen = Screen::new(at(0), SIZE);
    let saving = Saving { path: path.clone(), every: Duration::from_secs(5) };
    let following = tokio::spawn(screen.clone().follow(fanout.join(at(0)), Some(saving)));
    fanout.push(Bytes::from_static(b"one\r\n"));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(Screen::load(&path).unwrap().unwrap().cursor(), at(5));

    // Overtaken while it did not run.
    fanout.skip_to(100);
    fanout.push(Bytes::from(vec![b'x'; 40_000]));
    fanout.end(ExitStatus::Code(0));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(screen.cursor(), at(40_099));
    assert_eq!(Screen::load(&path).unwrap().unwrap().cursor(), at(40_099));

    fanout.restart(2);
    fanout.push(Bytes::from_static(b"two\r\n"));
    drop(fanout);
    following.await.unwrap();
    let loaded = Screen::load(&path).unwrap().unwrap();
    assert_eq!(loaded.cursor(), Cursor { epoch: 2, offset: 5 });
    assert_eq!(replay(SIZE, &loaded.snapshot().bytes).screen().contents(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_late_viewer_sees_what_the_others_see() {
    let fanout = Fanout::new(1_000_000, at(0));
    let screen = Screen::new(at(0), SIZE);
    tokio::spawn(screen.clone().follow(fanout.join(at(0)), None));
    let mut generator = Generator::new(77);
    let mut output = Vec::new();
    for _ in 0..50 {
        let more = generator.output(10);
        output.extend_from_slice(&more);
        fanout.push(more.into());
        tokio::time::sleep(Duration::from_millis(1)).await;
        let snapshot = screen.snapshot();
        let mut viewer = terminal(SIZE);
        viewer.process(&snapshot.bytes);
        let mut reader = fanout.join(snapshot.at);
        while let Some(FanoutItem::Bytes(bytes)) = reader.try_next() {
            viewer.process(&bytes);
        }
        assert_same(&viewer, &replay(SIZE, &output), &format!("after {}", output.len()));
    }
}
