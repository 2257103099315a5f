//! Files of events: what is read of them, and what is said of wrong ones.

use std::io::Write;
use std::path::{Path, PathBuf};

use aaren_data::sequences::{EventFormat, EventSequence, EventSplit, Events, Marks};
use flate2::{Compression, write::GzEncoder};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Where published files may be.
fn published(name: &str) -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [here.join("../../shared/data/sequences"), here.join("../datasets/sequences")];
    let own = std::env::var_os("AAREN_SEQUENCES").map(PathBuf::from);
    let found = own.into_iter().chain(folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: {name} is not there; AAREN_SEQUENCES names a folder");
    }
    found
}

fn write(folder: &Path, files: &[(&str, &[u8])]) {
    files.iter().for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes).unwrap());
}

/// Reads the first of some files.
fn read_files(files: &[(&str, &[u8])]) -> Result<Events, String> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    Events::read(&folder.path().join(files[0].0), None, None, EventSplit::Train).map_err(|error| {
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        text.replace(&format!("{}/", folder.path().display()), "")
    })
}

fn read(name: &str, text: &str) -> Result<Events, String> {
    read_files(&[(name, text.as_bytes())])
}

fn two() -> Vec<EventSequence> {
    vec![
        EventSequence { times: vec![0.0, 1.5, 1.5], marks: vec![1, 0, 2] },
        EventSequence { times: vec![3.0, 4.25], marks: vec![0, 0] },
    ]
}

/// Pickles of the two sequences as lists of events, by Python 3.11: protocol 0, and protocol 4 with a split that is empty.
const PICKLES: [&[u8]; 2] = [
    b"(dp0\nVdim_process\np1\nI3\nsVtrain\np2\n(lp3\n(lp4\n(dp5\nVtime_since_start\np6\nF0.0\nsVtime_since_last_event\np7\nF0.0\nsVtype_event\np8\nI1\nsa(dp9\ng6\nF1.5\nsg7\nF1.5\nsg8\nI0\nsa(dp10\ng6\nF1.5\nsg7\nF0.0\nsg8\nI2\nsaa(lp11\n(dp12\ng6\nF3.0\nsg7\nF3.0\nsg8\nI0\nsa(dp13\ng6\nF4.25\nsg7\nF1.25\nsg8\nI0\nsaas.",
    b"\x80\x04\x95\xfa\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x0bdim_process\x94K\x03\x8c\x05train\x94]\x94(]\x94(}\x94(\x8c\x10time_since_start\x94G\x00\x00\x00\x00\x00\x00\x00\x00\x8c\x15time_since_last_event\x94G\x00\x00\x00\x00\x00\x00\x00\x00\x8c\ntype_event\x94K\x01u}\x94(h\x06G?\xf8\x00\x00\x00\x00\x00\x00h\x07G?\xf8\x00\x00\x00\x00\x00\x00h\x08K\x00u}\x94(h\x06G?\xf8\x00\x00\x00\x00\x00\x00h\x07G\x00\x00\x00\x00\x00\x00\x00\x00h\x08K\x02ue]\x94(}\x94(h\x06G@\x08\x00\x00\x00\x00\x00\x00h\x07G@\x08\x00\x00\x00\x00\x00\x00h\x08K\x00u}\x94(h\x06G@\x11\x00\x00\x00\x00\x00\x00h\x07G?\xf4\x00\x00\x00\x00\x00\x00h\x08K\x00uee\x8c\x04test\x94]\x94u.",
];

#[test]
fn every_format_has_the_same_events() {
    let gatech: [(&str, &[u8]); 2] = [("time-a.txt", b"0 1.5 1.5 \r\n\n3,4.25\n"), ("event-a.txt", b"2 1 3\n\n1 1\n\n")];
    let json = r#"[{"dim_process": 3, "seq_len": 3, "time_since_start": [0, 1.5, 1.5], "time_since_last_event": [0, 1.5, 0], "type_event": [1, 0, 2]},
                   {"dim_process": 3, "type_event": [0, 0.0], "time_since_start": [3, 4.25]}]"#;
    let rows = r#"{"dim_process": 3, "train": [[{"time_since_start": 0, "type_event": 1}, {"time_since_start": 1.5, "type_event": 0},
                   {"time_since_start": 1.5, "type_event": 2}], [{"time_since_start": 3, "type_event": 0, "x": [{}]}, {"type_event": 0, "time_since_start": 4.25}]],
                   "test": [], "note": {"train": 3}}"#;
    let lines = "{\"time_since_start\": [0, 1.5, 1.5], \"type_event\": [1, 0, 2]}\n{\"time_since_last_event\": [3, 1.25], \"type_event\": [0, 0]}\n";
    let server = r#"{"features": [{"name": "x"}], "rows": [{"row_idx": 0, "row": {"time_since_start": [0, 1.5, 1.5], "type_event": [1, 0, 2]}},
                   {"row_idx": 1, "row": {"time_since_start": [3, 4.25], "type_event": [0, 0]}}], "num_rows_total": 2}"#;
    let numbers = |first| Marks::Numbers { first, count: 3 };
    for (files, marks) in [
        (&gatech[..], numbers(1)),
        (&[("a.json", json.as_bytes())], numbers(0)),
        (&[("a.json", rows.as_bytes())], numbers(0)),
        (&[("a.jsonl", lines.as_bytes())], numbers(0)),
        (&[("a.JSON", server.as_bytes())], numbers(0)),
        (&[("a.pkl", PICKLES[0])], numbers(0)),
        (&[("a.pickle", PICKLES[1])], numbers(0)),
        // Rows of sequences in any order; marks are words by the alphabet.
        (
            &[("a.csv", b"time,sequence,mark,other\n0,s,\"up\",1\n3,t,down,2\n1.5,s,down,3\n1.5,s,without,4\n4.25,t,down,5\n")],
            Marks::Words(vec!["down".into(), "up".into(), "without".into()]),
        ),
        (
            &[("a.csv", b"sequence;time;mark\n1;0;9\n1;1.5;-1\n1;1.5;10\n2;3;-1\n2;4.25;-1")],
            Marks::Words(vec!["-1".into(), "9".into(), "10".into()]),
        ),
    ] {
        let found = read_files(files).unwrap_or_else(|error| panic!("{}: {error}", files[0].0));
        assert_eq!((found.sequences.as_slice(), found.marks), (&two()[..], marks), "{}", files[0].0);
        assert!(!found.is_dated);
    }
    // Two files by what they have in common, by both names, and packed.
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &gatech);
    write(folder.path(), &[("kinds", gatech[1].1)]);
    let read = |name: &str, marks: Option<&str>| {
        let marks = marks.map(|name| folder.path().join(name));
        Events::read(&folder.path().join(name), marks.as_deref(), None, EventSplit::Test).unwrap().sequences
    };
    assert_eq!((read("a", None), read("time-a.txt", Some("kinds"))), (two(), two()));
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(json.as_bytes()).unwrap();
    assert_eq!(read_files(&[("a.json.gz", &packed.finish().unwrap())]).unwrap().sequences, two());
    // Times alone.
    for (name, text) in [("stamps.txt", "0 1.5 1.5\n3 4.25"), ("a.csv", "sequence,time\n1,0\n1,1.5\n1,1.5\n2,3\n2,4.25\n")] {
        let found = read_files(&[(name, text.as_bytes())]).unwrap();
        assert_eq!((found.marks.count(), found.sequences[0].times.as_slice()), (0, &[0.0, 1.5, 1.5][..]), "{name}");
    }
    let dated = read_files(&[("a.csv", b"sequence,time\n1,1970-01-02\n1,1970-01-02 00:01:30\n")]).unwrap();
    assert_eq!((dated.is_dated, dated.sequences[0].times.as_slice()), (true, &[86400.0, 86490.0][..]));
}

#[test]
fn a_file_of_several_splits_gives_the_one_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let split = |time: f64| format!("[[{{\"time_since_start\": {time}, \"type_event\": 0}}]]");
    let text = format!("{{\"dim_process\": 2, \"train\": {}, \"dev\": {}, \"test\": {}}}", split(1.0), split(2.0), split(3.0));
    write(folder.path(), &[("a.json", text.as_bytes()), ("b.json", text.replace("test", "val").as_bytes())]);
    let read = |name: &str, split| Events::read(&folder.path().join(name), None, None, split);
    let first = |split| read("a.json", split).unwrap().sequences[0].times[0];
    assert_eq!([EventSplit::Train, EventSplit::Validation, EventSplit::Test].map(first), [1.0, 2.0, 3.0]);
    let message = read("b.json", EventSplit::Test).unwrap_err().to_string();
    assert!(message.ends_with("b.json: found the splits train, dev, val, expected one named test"), "{message}");
}

#[test]
fn marks_are_those_of_the_file_that_is_trained_on() {
    let train = read("a.csv", "sequence,time,mark\n1,1,b\n1,2,d\n1,3,c\n").unwrap();
    let test = read("b.csv", "sequence,time,mark\n1,1,d\n1,2,b\n").unwrap().with_marks_of(&train).unwrap();
    assert_eq!((test.sequences[0].marks.as_slice(), test.marks.count()), (&[2, 0][..], 3));
    let error = |name: &str, text: &str| read(name, text).unwrap().with_marks_of(&train).unwrap_err().to_string();
    let other = error("b.csv", "sequence,time,mark\n1,1,d\n2,2,a\n");
    assert!(other.contains("b.csv: sequence 2: the mark \"a\" is not one of those of") && other.ends_with("a.csv"), "{other}");
    let none = error("b.csv", "sequence,time\n1,1\n");
    assert!(none.contains("a.csv has marks and") && none.contains("b.csv has no marks"), "{none}");
    let gatech = read_files(&[("time.txt", b"1 2"), ("event.txt", b"1 2")]).unwrap();
    let more = read_files(&[("time.txt", b"1 2"), ("event.txt", b"1 3")]).unwrap();
    assert!(gatech.clone().with_marks_of(&more).is_ok());
    let message = more.with_marks_of(&gatech).unwrap_err().to_string();
    assert!(message.contains("sequence 1: the mark \"3\""), "{message}");
}

/// Counts and sums as Python has them.
#[test]
fn published_events_have_the_numbers_that_python_reads() {
    for (part, sequences, events, times, marks) in
        [("train", 3142, 230_254, 312_924_956_737_600.6, 1_390_581), ("test", 1326, 97_233, 132_142_396_564_579.4, 588_845)]
    {
        let Some(path) = published(&format!("stackoverflow/time-{part}.txt")) else { continue };
        let found = Events::read(&path, None, None, EventSplit::Train).unwrap();
        assert_eq!((found.sequences.len(), found.count()), (sequences, events));
        assert_eq!(found.marks, Marks::Numbers { first: 1, count: 22 });
        let total: f64 = found.sequences.iter().flat_map(|sequence| &sequence.times).sum();
        assert!((total / times - 1.0).abs() < 1e-12, "{total}");
        let sum: u64 = found.sequences.iter().flat_map(|sequence| &sequence.marks).map(|mark| u64::from(*mark) + 1).sum();
        assert_eq!(sum, marks);
        // The same by what both names have in common, and under the name of the format.
        let stem = path.with_file_name(part);
        assert_eq!(Events::read(&stem, None, Some(EventFormat::Gatech), EventSplit::Train).unwrap(), found);
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_column() {
    for (times, marks, words) in [
        ("1 2\n3 2.5 4\n", "1 1\n1 1 1\n", &["time-x.txt, line 2, column 3", "\"2.5\" is before"][..]),
        ("1 2\n3 x4\n", "", &["time-x.txt, line 2, column 3", "\"x4\"", "a number"]),
        ("1 inf\n", "1 1", &["line 1, column 3", "\"inf\""]),
        ("1 2\n", "1 0\n", &["event-x.txt, line 1, column 3", "\"0\"", "from 1 to 1048576"]),
        ("1 2\n", "1 99999999999\n", &["event-x.txt, line 1, column 3"]),
        ("1 2\n", "1 2 3\n", &["event-x.txt, line 1, column 5", "found 3 marks", "time-x.txt, line 1, has 2 times"]),
        ("1 2\n", "1\n", &["event-x.txt, line 1, column 2", "found 1 marks"]),
        ("1 2\n3\n", "1 1", &["time-x.txt, line 2", "event-x.txt has no line 2"]),
        ("1 2\n", "1 1\n1\n", &["event-x.txt, line 2", "time-x.txt, line 2, has 0 times"]),
        ("\n\n", "\n", &["no event"]),
    ] {
        let message = read_files(&[("time-x.txt", times.as_bytes()), ("event-x.txt", marks.as_bytes())]).unwrap_err();
        words.iter().for_each(|word| assert!(message.contains(word), "{times:?}, {marks:?}: {message:?} lacks {word:?}"));
        assert!(!message.contains('\n'), "{message}");
    }
    let message = read("time-x.txt", "1 2").unwrap_err();
    assert!(message.contains("event-x.txt: cannot read it"), "{message}");
    for (text, words) in [
        ("", &["no row, expected a header with sequence, time and mark"][..]),
        ("sequence,time\n", &["no event"]),
        ("a,time\n1,2\n", &["no column \"sequence\"; there are a, time"]),
        ("sequence,time,mark\n1,2\n", &["line 2, column 4", "2 fields, expected 3"]),
        ("sequence,time,mark\n1,2,\n", &["line 2, column 5", "no mark"]),
        ("sequence,time\n,2\n", &["line 2, column 1", "no name"]),
        ("sequence,time\n1,2\n2,1\n1,1.5\n", &["line 4, column 3", "before the event before it of the sequence \"1\""]),
        ("sequence,time\n1,nan\n", &["line 2, column 3", "\"nan\"", "a number or a date"]),
        ("sequence,time\n1,2016-13-01\n", &["line 2, column 3", "a day that there is not"]),
        ("sequence,time\n1,2016-01-01\n1,5\n", &["line 3, column 3", "dates and numbers"]),
    ] {
        let message = read("x.csv", text).unwrap_err();
        words.iter().for_each(|word| assert!(message.contains(word), "{text:?}: {message:?} lacks {word:?}"));
    }
    for (text, words) in [
        ("", &["line 1, column 1", "EOF"][..]),
        ("[]", &["found no events; expected time_since_start"]),
        ("{\"a\": 1, \"b\": []}", &["found no events under \"a\", \"b\""]),
        (
            "[{\"time_since_start\": [1, 2],\n \"type_event\": [1, 2, 3]}]",
            &["line 2, column", "sequence 1: found 3 numbers of type_event for 2"],
        ),
        ("[{\"time_since_start\": [1,\n 0.5]}]", &["line 2, column 5", "the time 0.5 of event 2 is before the one before it, 1"]),
        (
            "[[],\n[{\"time_since_start\": 1}, {\"time_since_start\": 0}]]",
            &["line 2", "sequence 2: the time 0 of event 2 is before"],
        ),
        ("[{\"type_event\": [1]}]", &["time_since_start is missing"]),
        ("[{\"time_since_start\": [1], \"type_event\": [-1]}]", &["the mark -1, expected a whole number"]),
        ("[{\"time_since_start\": [1], \"type_event\": [0.5]}]", &["the mark 0.5"]),
        ("[{\"time_since_start\": [\"1\"]}]", &["column 26", "invalid type: string \"1\", expected a number"]),
        ("[{\"time_since_start\": [1, NaN]}]", &["line 1, column 27"]),
        (
            "[{\"time_since_start\": [1, 2], \"time_since_last_event\": [0, 5]}]",
            &["event 2 is 1 after", "and 5 by time_since_last_event"],
        ),
        ("[{\"time_since_last_event\": [0, -5]}]", &["-5 of time_since_last_event, which is below 0"]),
        ("[{\"time_since_start\": [1], \"type_event\": [3], \"dim_process\": 3}]", &["sequence 1: the mark 3 is not one of 3"]),
        ("{\"dim_process\": 1000000000000, \"train\": []}", &["dim_process 1000000000000, expected 1 to"]),
        (
            "[{\"time_since_start\": [1], \"type_event\": [3]}, {\"time_since_start\": [1]}]",
            &["sequence 2: type_event is missing"],
        ),
        (
            "[[{\"time_since_start\": 1, \"type_event\": 0}, {\"time_since_start\": 1}]]",
            &["event 2 has type_event and others have it not"],
        ),
        ("[{\"time_since_start\": [1]}] x", &["column 29", "expected value"]),
    ] {
        let message = read("x.json", text).unwrap_err();
        words.iter().for_each(|word| assert!(message.contains(word), "{text:?}: {message:?} lacks {word:?}"));
        assert!(!message.contains('\n'), "{message}");
    }
    let marks = Path::new("marks.txt");
    let message = Events::read(Path::new("a.json"), Some(marks), None, EventSplit::Train).unwrap_err().to_string();
    assert!(message.contains("a.json has its marks in the file of its times"), "{message}");
}

#[test]
fn pickles_run_no_code_and_take_no_more_than_they_are() {
    let deep = [b"\x80\x02".as_slice(), &b"]".repeat(1 << 20), &b"a".repeat((1 << 20) - 1), b"."].concat();
    // A list of lists of lists, each named ten times: 10^9 in all.
    let mut laughs = b"(lp0\n".to_vec();
    for level in 1..10 {
        let names = format!("g{}\n", level - 1).repeat(10);
        laughs.extend(format!("({names}lp{level}\n").bytes());
    }
    laughs.push(b'.');
    let shared = [&b"(lp0\n(dp1\na("[..], &b"h\0".repeat(5000), b"l."].concat();
    for (bytes, words) in [
        (&b"cos\nsystem\n(S'echo'\ntR."[..], &["byte 11", "an object of Python (os.system)", "python3 -c"][..]),
        (
            b"\x80\x04\x8c\x15numpy.core.multiarray\x8c\x06scalar\x93.",
            &["(numpy.core.multiarray.scalar), which would run as code", "x.tolist()"],
        ),
        (b"\x80\x02]R.", &["an object of Python (opcode 0x52)"]),
        (b"", &["byte 0: the file ends too early"]),
        (b"\x80\x04", &["byte 2: the file ends too early"]),
        (b"X\xff\xff\xff\x7fabc", &["the file ends too early"]),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc", &["the file ends too early"]),
        (b"].", &["found no events"]),
        (b"K\x01.", &["invalid type: integer `1`, expected a list of sequences"]),
        (b"h\x05.", &["a value that was not kept"]),
        (b"a.", &["too few values"]),
        (b"K\x01K\x02a.", &["items of what is no list"]),
        (b"]K\x02s.", &["too few values"]),
        (b"l.", &["no mark"]),
        (b"!", &["0x21 is no opcode of a pickle"]),
        (b"\x8a\x09123456789.", &["no whole number of 64 bits"]),
        (&deep, &["invalid type: sequence"]),
        (&laughs, &["invalid type: sequence"]),
        (&shared, &["time_since_start is missing"]),
    ] {
        let message = read_files(&[("x.pkl", bytes)]).unwrap_err();
        let shown = &bytes[..bytes.len().min(60)];
        words.iter().for_each(|word| assert!(message.contains(word), "{shown:?}: {message:?} lacks {word:?}"));
        assert!(!message.contains('\n'), "{message}");
    }
    // One event that a few bytes name very often.
    let event = b"(dp0\nVtime_since_start\nI1\ns";
    let many = [&b"(("[..], &event[..], &b"h\0".repeat(100), b"lp1\n", &b"g1\n".repeat(1000), b"l."].concat();
    assert!(read_files(&[("x.pkl", &many)]).unwrap_err().contains("more than it has bytes"));
}

/// Any damage is an error or still a file of events; nothing panics. `AAREN_MUTANTS` says how many of each format.
#[test]
fn damaged_files_are_refused_or_read() {
    let count = std::env::var("AAREN_MUTANTS").map_or(600, |count| count.parse().expect("AAREN_MUTANTS is a number"));
    let json = r#"{"dim_process": 3, "train": [[{"time_since_start": 0, "type_event": 1}, {"time_since_start": 1.5, "type_event": 0}]], "test": []}"#;
    let columns =
        r#"[{"time_since_start": [0, 1.5], "time_since_last_event": [0, 1.5], "type_event": [1, 0], "x": {"y": [null]}}]"#;
    let csv = "sequence,time,mark\na,0,\"x\"\nb,1e3,y\na,1.5,x\n";
    let files: [(&str, &[u8]); 6] = [
        ("time-x.txt", b"0 1.5 2e3\n4 4\n"),
        ("x.json", json.as_bytes()),
        ("x.json", columns.as_bytes()),
        ("x.csv", csv.as_bytes()),
        ("x.pkl", PICKLES[0]),
        ("x.pkl", PICKLES[1]),
    ];
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("event-x.txt", b"1 2 1\n22 1\n")]);
    let mut generator = Pcg64Mcg::seed_from_u64(1);
    let text: [&[u8]; 14] =
        [b",", b"\n", b"\"", b"-", b" ", b"[", b"]", b"\xff", b"\0", b"1e999", b"{", b"}", b"99", b"type_event"];
    for (name, whole) in files {
        let (mut refused, mut read_all) = (0, 0);
        for _ in 0..count {
            let mut bytes = whole.to_vec();
            for _ in 0..generator.random_range(1..4) {
                let at = generator.random_range(0..=bytes.len());
                let end = (at + generator.random_range(0..6)).min(bytes.len());
                let (piece, byte) = (text[generator.random_range(0..text.len())], [generator.random_range(0..=255u8)]);
                bytes.splice(at..end, if generator.random() { piece.iter().copied() } else { byte.iter().copied() });
            }
            let path = folder.path().join(name);
            std::fs::write(&path, &bytes).unwrap();
            match Events::read(&path, None, None, EventSplit::Train) {
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().contains('\n'), "{error}");
                }
                Ok(found) => {
                    read_all += 1;
                    assert!(!found.sequences.is_empty());
                    for EventSequence { times, marks } in &found.sequences {
                        assert!(!times.is_empty() && times.len() == marks.len(), "{found:?}");
                        assert!(times.iter().all(|time| time.is_finite()) && times.windows(2).all(|pair| pair[0] <= pair[1]));
                        assert!(marks.iter().all(|&mark| (mark as usize) < found.marks.count().max(1)), "{found:?}");
                    }
                }
            }
        }
        println!("{name}: {refused} refused, {read_all} read");
        assert!(refused > count / 4 && read_all > 0, "{name}: {refused} {read_all}");
    }
}
